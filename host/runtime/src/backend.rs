//! A backend: each call of the port becomes a call into a sandbox of its own, and what comes back is checked.

use std::ops::RangeInclusive;
use std::sync::Arc;

use keygate_core::backend::{
    BackendDescription, BackendError, BackendKey, BackendResult, Call, CryptoBackend, DataKey, ImportEnvelope,
    ImportRejection, Imported, KeyIdentity, KeyPair, KeySpec,
};
use keygate_core::error::FaultKind;
use keygate_core::ports::BoxFuture;
use keygate_core::secret::SecretBytes;

use crate::bindings::convert::{self, IdentityText, MAX_IN_TRANSPORT, MAX_KEY_REF, MAX_OVERHEAD};
use crate::bindings::crypto::keygate::crypto::types as wit;
use crate::contract::BackendContract;
use crate::faults::{CallError, Failure};
use crate::sandbox::{Plugin, Sandbox, bounded};

/// The longest AAD, in bytes. These bounds are those of `wit/crypto/backend.wit`.
const MAX_AAD: usize = 65_536;
/// The sizes of data keys, in bytes.
const DATA_KEY: RangeInclusive<u32> = 16..=64;
/// The longest material under an import token, encrypted with RSA-4096, in bytes.
const MAX_ENCRYPTED_KEY: usize = 512;
/// The longest encrypted nonce of an import token, in bytes.
const MAX_ENCRYPTED_NONCE: usize = 1_024;
/// The longest iv of one, in bytes.
const MAX_IV: usize = 64;
/// The longest public key that a key is sealed to, in bytes: that of RSA-4096 has 550.
const MAX_RECIPIENT: usize = 1_024;
/// The most random bytes in one answer.
const MAX_RANDOM: usize = 4_096;

/// A plugin under a backend's name.
pub(crate) struct WasmBackend {
    pub(crate) name: String,
    pub(crate) plugin: Arc<Plugin<BackendContract>>,
    pub(crate) description: BackendDescription,
}

/// What a guest answered.
type Answered<T> = Result<Result<T, wit::Error>, Failure>;

/// Calls a function of the contract in a sandbox of its own, and checks the answer.
macro_rules! ask {
    ($self:ident, $call:ident, $name:literal, |$guest:ident, $store:ident, $circumstances:ident| $ask:expr, $check:expr) => {{
        let mut sandbox = $self.enter($name, $call).await?;
        let until = sandbox.until;
        let $circumstances = wit::Call { request_id: $call.request_id, deadline_ms: sandbox.deadline_ms() };
        let $guest = sandbox.guest.keygate_crypto_backend();
        let $store = &mut sandbox.store;
        let answered = bounded(until, $ask).await;
        $self.check($name, &sandbox, answered, $check)
    }};
}

impl WasmBackend {
    async fn enter(&self, function: &'static str, call: Call<'_>) -> BackendResult<Sandbox<BackendContract>> {
        self.plugin.enter(function, call).await.map_err(failed)
    }

    fn check<T, R>(
        &self,
        function: &'static str,
        sandbox: &Sandbox<BackendContract>,
        answered: Answered<T>,
        check: impl FnOnce(T) -> Result<R, String>,
    ) -> BackendResult<R> {
        let checked = match sandbox.outcome(answered).map_err(failed)? {
            Ok(value) => check(value),
            Err(error) => match convert::backend_error(error, &self.name) {
                Ok(BackendError::Unavailable { backend, detail, .. }) => {
                    // The contract has no room for it; the token's door told the host.
                    let retry_after = sandbox.store.data().come_again;
                    return Err(BackendError::Unavailable { backend, detail, retry_after });
                }
                Ok(error) => return Err(error),
                Err(problem) => Err(problem),
            },
        };
        checked.map_err(|problem| self.plugin.facts.fault(function, FaultKind::Output, problem).into())
    }

    fn takes(&self, what: &str, len: usize, most: usize) -> BackendResult<()> {
        if len <= most {
            return Ok(());
        }
        let name = &self.name;
        Err(BackendError::InvalidInput(format!("The {what} has {len} bytes; backend `{name}` takes at most {most}")))
    }

    /// Whether an AAD is within its bounds.
    fn takes_aad(&self, aad: &[u8]) -> BackendResult<()> {
        self.takes("AAD", aad.len(), MAX_AAD)
    }

    /// Whether a ciphertext is one that can have come from here.
    fn takes_wrapped(&self, wrapped: &[u8]) -> BackendResult<()> {
        self.takes("ciphertext", wrapped.len(), self.description.max_plaintext.saturating_add(MAX_OVERHEAD))
    }

    /// Whether a key-ref is within its bounds. It comes from the store and not from a caller, who could mend nothing.
    fn takes_key(&self, key: BackendKey<'_>) -> BackendResult<()> {
        if (1..=MAX_KEY_REF).contains(&key.reference.len()) {
            return Ok(());
        }
        Err(BackendError::InvalidKeyRef { backend: self.name.clone() })
    }

    /// Whether material has the size that its key is said to have.
    fn takes_material(&self, spec: KeySpec, material: &SecretBytes) -> BackendResult<()> {
        self.takes("material", material.len(), self.description.max_material)?;
        if material.len().checked_mul(8) == usize::try_from(spec.bits).ok() {
            return Ok(());
        }
        let (len, bits) = (material.len(), spec.bits);
        Err(BackendError::InvalidInput(format!("The material has {len} bytes; a key of {bits} bits has {}", bits / 8)))
    }
}

/// Whether an import is within its bounds. What is not is refused as the plugin would, in the plugin's order.
fn takes_import(envelope: &ImportEnvelope) -> BackendResult<()> {
    let (iv, nonce) = (envelope.iv.len(), envelope.encrypted_nonce.len());
    if envelope.encrypted_key.len() > MAX_ENCRYPTED_KEY {
        return Err(BackendError::ImportRejected(ImportRejection::Material));
    }
    if iv > MAX_IV || nonce > MAX_ENCRYPTED_NONCE {
        return Err(BackendError::ImportRejected(ImportRejection::NonceIv));
    }
    Ok(())
}

fn failed(error: CallError) -> BackendError {
    match error {
        CallError::Busy => BackendError::Busy(None),
        CallError::Fault(fault) => BackendError::Fault(fault),
    }
}

/// Takes secret bytes over, so that they are wiped also when they turn out to be out of bounds.
fn secret(bytes: Vec<u8>, what: &str, least: usize, most: usize) -> Result<SecretBytes, String> {
    let bytes = SecretBytes::new(bytes);
    if (least..=most).contains(&bytes.len()) {
        Ok(bytes)
    } else {
        Err(format!("{what} has {} bytes; {least} to {most} is right", bytes.len()))
    }
}

impl CryptoBackend for WasmBackend {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &BackendDescription {
        &self.description
    }

    fn probe<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, BackendResult<()>> {
        Box::pin(async move { ask!(self, call, "probe", |guest, store, c| guest.call_probe(store, c), Ok) })
    }

    fn generate_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        Box::pin(async move {
            let identity = IdentityText::new(identity);
            let spec = convert::key_spec(spec);
            ask!(
                self,
                call,
                "generate-key",
                |guest, store, c| guest.call_generate_key(store, c, identity.identity(), spec),
                convert::key_ref
            )
        })
    }

    fn import_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        material: &'a SecretBytes,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        Box::pin(async move {
            self.takes_material(spec, material)?;
            let identity = IdentityText::new(identity);
            let spec = convert::key_spec(spec);
            ask!(
                self,
                call,
                "import-key",
                |guest, store, c| guest.call_import_key(store, c, identity.identity(), spec, material.expose()),
                convert::key_ref
            )
        })
    }

    fn export_key<'a>(&'a self, call: Call<'a>, key: BackendKey<'a>) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        Box::pin(async move {
            self.takes_key(key)?;
            let identity = IdentityText::new(key.identity);
            let most = self.description.max_material;
            ask!(
                self,
                call,
                "export-key",
                |guest, store, c| guest.call_export_key(store, c, identity.key(key.reference)),
                |bytes| secret(bytes, "the material", 1, most)
            )
        })
    }

    fn wrap<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        plaintext: &'a SecretBytes,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        Box::pin(async move {
            self.takes_key(key)?;
            self.takes("plaintext", plaintext.len(), self.description.max_plaintext)?;
            self.takes_aad(aad)?;
            let identity = IdentityText::new(key.identity);
            ask!(
                self,
                call,
                "wrap",
                |guest, store, c| guest.call_wrap(store, c, identity.key(key.reference), plaintext.expose(), aad),
                |bytes| convert::wrapped(bytes, plaintext.len())
            )
        })
    }

    fn generate_data_key<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        len: u32,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<DataKey>> {
        Box::pin(async move {
            self.takes_key(key)?;
            if !DATA_KEY.contains(&len) {
                let (least, most) = DATA_KEY.into_inner();
                let text = format!("A data key of {len} bytes cannot be made; {least} to {most} is right");
                return Err(BackendError::InvalidInput(text));
            }
            self.takes_aad(aad)?;
            let identity = IdentityText::new(key.identity);
            let exactly = len as usize;
            ask!(
                self,
                call,
                "generate-data-key",
                |guest, store, c| guest.call_generate_data_key(store, c, identity.key(key.reference), len, aad),
                |made: wit::DataKey| {
                    let plaintext = secret(made.plaintext, "the data key", exactly, exactly)?;
                    Ok(DataKey { plaintext, wrapped: convert::wrapped(made.wrapped, exactly)? })
                }
            )
        })
    }

    fn unwrap<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        wrapped: &'a [u8],
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        Box::pin(async move {
            self.takes_key(key)?;
            self.takes_wrapped(wrapped)?;
            self.takes_aad(aad)?;
            let identity = IdentityText::new(key.identity);
            let most = self.description.max_plaintext;
            ask!(
                self,
                call,
                "unwrap",
                |guest, store, c| guest.call_unwrap(store, c, identity.key(key.reference), wrapped, aad),
                |bytes| secret(bytes, "the plaintext", 0, most)
            )
        })
    }

    fn rewrap<'a>(
        &'a self,
        call: Call<'a>,
        source: BackendKey<'a>,
        target: BackendKey<'a>,
        wrapped: &'a [u8],
        source_aad: &'a [u8],
        target_aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        Box::pin(async move {
            self.takes_key(source)?;
            self.takes_key(target)?;
            self.takes_wrapped(wrapped)?;
            self.takes_aad(source_aad)?;
            self.takes_aad(target_aad)?;
            let (from, to) = (IdentityText::new(source.identity), IdentityText::new(target.identity));
            ask!(
                self,
                call,
                "rewrap",
                |guest, store, c| guest.call_rewrap(
                    store,
                    c,
                    from.key(source.reference),
                    to.key(target.reference),
                    wrapped,
                    source_aad,
                    target_aad
                ),
                // The plaintext is not known out here; it is no longer than its ciphertext.
                |bytes| convert::wrapped(bytes, wrapped.len())
            )
        })
    }

    fn destroy_key<'a>(&'a self, call: Call<'a>, key: BackendKey<'a>) -> BoxFuture<'a, BackendResult<()>> {
        Box::pin(async move {
            self.takes_key(key)?;
            let identity = IdentityText::new(key.identity);
            ask!(
                self,
                call,
                "destroy-key",
                |guest, store, c| guest.call_destroy_key(store, c, identity.key(key.reference)),
                Ok
            )
        })
    }

    fn random<'a>(&'a self, call: Call<'a>, len: u32) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        Box::pin(async move {
            let exactly = len as usize;
            if exactly > MAX_RANDOM {
                let text = format!("{len} random bytes cannot be asked for at once; {MAX_RANDOM} is the most");
                return Err(BackendError::InvalidInput(text));
            }
            ask!(self, call, "random", |guest, store, c| guest.call_random(store, c, len), |bytes| secret(
                bytes,
                "the answer",
                exactly,
                exactly
            ))
        })
    }

    fn create_import_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
        algorithm: &'a str,
    ) -> BoxFuture<'a, BackendResult<KeyPair>> {
        Box::pin(async move {
            let identity = IdentityText::new(identity);
            ask!(
                self,
                call,
                "create-import-key",
                |guest, store, c| guest.call_create_import_key(store, c, identity.identity(), algorithm),
                convert::key_pair
            )
        })
    }

    fn open_import<'a>(
        &'a self,
        call: Call<'a>,
        import_key: BackendKey<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        envelope: &'a ImportEnvelope,
    ) -> BoxFuture<'a, BackendResult<Imported>> {
        Box::pin(async move {
            self.takes_key(import_key)?;
            takes_import(envelope)?;
            let (opener, identity) = (IdentityText::new(import_key.identity), IdentityText::new(identity));
            let spec = convert::key_spec(spec);
            ask!(
                self,
                call,
                "open-import",
                |guest, store, c| guest.call_open_import(
                    store,
                    c,
                    opener.key(import_key.reference),
                    identity.identity(),
                    spec,
                    convert::import_envelope(envelope)
                ),
                convert::imported
            )
        })
    }

    fn create_transport_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
    ) -> BoxFuture<'a, BackendResult<KeyPair>> {
        Box::pin(async move {
            let identity = IdentityText::new(identity);
            ask!(
                self,
                call,
                "create-transport-key",
                |guest, store, c| guest.call_create_transport_key(store, c, identity.identity()),
                convert::key_pair
            )
        })
    }

    fn seal_for_transport<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        recipient: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        Box::pin(async move {
            self.takes_key(key)?;
            self.takes("public key of the recipient", recipient.len(), MAX_RECIPIENT)?;
            let identity = IdentityText::new(key.identity);
            ask!(
                self,
                call,
                "seal-for-transport",
                |guest, store, c| guest.call_seal_for_transport(store, c, identity.key(key.reference), recipient),
                convert::in_transport
            )
        })
    }

    fn open_transport<'a>(
        &'a self,
        call: Call<'a>,
        transport_key: BackendKey<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        Box::pin(async move {
            self.takes_key(transport_key)?;
            self.takes("sealed key", sealed.len(), MAX_IN_TRANSPORT)?;
            let (opener, identity) = (IdentityText::new(transport_key.identity), IdentityText::new(identity));
            let spec = convert::key_spec(spec);
            ask!(
                self,
                call,
                "open-transport",
                |guest, store, c| guest.call_open_transport(
                    store,
                    c,
                    opener.key(transport_key.reference),
                    identity.identity(),
                    spec,
                    sealed
                ),
                convert::key_ref
            )
        })
    }
}
