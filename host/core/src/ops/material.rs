//! What the use cases do with backends, in one place: find the key version that a ciphertext or a key needs, and make
//! new versions.

use std::sync::Arc;

use super::input::{MAX_SECRET_BYTES, Problems};
use crate::backend::{Algorithm, BackendError, BackendKey, Call, CryptoBackend, ImportEnvelope, KeyIdentity, KeySpec};
use crate::clock::Timestamp;
use crate::encoding;
use crate::envelope::{Envelope, canonical_aad};
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::VersionId;
use crate::key::{Key, KeyKind, KeyRef, KeyVersion};
use crate::pipeline::Gateway;
use crate::secret::SecretBytes;

/// The longest material of a root key, in bytes.
const MAX_ROOT_BYTES: usize = 32;

/// Material that comes from outside.
#[derive(Debug)]
pub enum Material {
    /// In clear, as far as the gateway is concerned.
    Plain(SecretBytes),
    /// Under the instance's import token: only the backend can open it.
    UnderToken(SealedMaterial),
}

/// Material under an import token (`api-contract`, g-4).
#[derive(Debug)]
pub struct SealedMaterial {
    /// `RSAES_OAEP_SHA_256`, or `RSAES_OAEP_SHA_1`.
    pub algorithm: String,
    /// The material, encrypted to the token's public key.
    pub encrypted_key: Vec<u8>,
    /// The token's nonce, encrypted under the material.
    pub encrypted_nonce: Vec<u8>,
    /// What that encryption began with.
    pub iv: Vec<u8>,
}

impl Material {
    /// How many bytes it has. Under an import token only the backend learns that, so it counts as the longest that comes under
    /// one.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Plain(material) => material.len(),
            Self::UnderToken(_) => MAX_ROOT_BYTES,
        }
    }

    /// Whether it comes under an import token.
    pub const fn under_token(&self) -> bool {
        matches!(self, Self::UnderToken(_))
    }

    /// Checks what can be checked before a backend sees it.
    pub(super) fn check(&self, kind: KeyKind, problems: &mut Problems) {
        match (self, kind) {
            (Self::Plain(material), KeyKind::Root) if !matches!(material.len(), 16 | 24 | 32) => {
                problems.field("payload", "the material of a root key has 16, 24 or 32 bytes, in base64");
            }
            (Self::Plain(material), KeyKind::Standard) if material.is_empty() || material.len() > MAX_SECRET_BYTES => {
                let text = format!("the material of a standard key has 1 to {MAX_SECRET_BYTES} bytes, in base64");
                problems.field("payload", text);
            }
            (Self::Plain(_), _) => {}
            (Self::UnderToken(_), KeyKind::Standard) => {
                let text = "a standard key is not imported under an import token; leave `encryptedNonce` and `iv` out";
                problems.field("encryptedNonce", text);
            }
            (Self::UnderToken(sealed), KeyKind::Root) => sealed.check(problems),
        }
    }
}

impl SealedMaterial {
    fn check(&self, problems: &mut Problems) {
        match self.algorithm.as_str() {
            "RSAES_OAEP_SHA_256" if self.iv.len() != 12 => problems.field("iv", "`iv` has 12 bytes, in base64"),
            "RSAES_OAEP_SHA_1" if self.iv.len() != 16 => {
                problems.field("iv", "with RSAES_OAEP_SHA_1, `iv` has 16 bytes, in base64");
            }
            "RSAES_OAEP_SHA_256" | "RSAES_OAEP_SHA_1" => {}
            _ => {
                let text = "`encryptionAlgorithm` is RSAES_OAEP_SHA_256; RSAES_OAEP_SHA_1 is taken, too";
                problems.field("encryptionAlgorithm", text);
            }
        }
    }
}

/// A key version together with the backend that holds its material.
pub(super) struct Held {
    identity: KeyIdentity,
    version: KeyVersion,
    /// The backend's name in the ciphertexts' header and AAD: that of the one that wrote them.
    writer: String,
    /// Whether it is there to open a ciphertext that has been written.
    opens: bool,
    /// Whether its record was read again already.
    is_second: bool,
    pub(super) backend: Arc<dyn CryptoBackend>,
}

impl Held {
    pub(super) fn key(&self) -> BackendKey<'_> {
        BackendKey { identity: self.identity, reference: &self.version.key_ref.reference }
    }

    pub(super) fn version(&self) -> VersionId {
        self.version.id
    }

    pub(super) fn aad(&self, caller: &[String]) -> Vec<u8> {
        canonical_aad(&self.identity, &self.writer, caller)
    }

    /// Puts what the backend wrapped into the form that clients hold.
    pub(super) fn seal(&self, wrapped: Vec<u8>) -> Result<String, Error> {
        let backend = self.writer.clone();
        let sealed = Envelope { version: self.version.id, backend, wrapped }.encode();
        Ok(encoding::encode(&sealed.map_err(|error| Error::Internal(error.to_string()))?))
    }

    /// Encrypts.
    pub(super) async fn wrap(
        &mut self,
        gateway: &Gateway,
        call: Call<'_>,
        plaintext: &SecretBytes,
        caller: &[String],
    ) -> Result<Vec<u8>, Error> {
        loop {
            match self.backend.wrap(call, self.key(), plaintext, &self.aad(caller)).await {
                Ok(wrapped) => return Ok(wrapped),
                Err(error) => self.moved(gateway, error).await?,
            }
        }
    }

    /// What to do after the backend failed with this: `Ok` is to try once more. Where the backend does not know the key, its
    /// record is read again: a migration may have moved it in between, and the backend that has it now is to be asked then.
    /// Nothing else ever comes of a key that its backend does not show: the record stays as it is, and the key is there
    /// again when the backend shows it.
    pub(super) async fn moved(&mut self, gateway: &Gateway, error: BackendError) -> Result<(), Error> {
        if self.is_second || !matches!(error, BackendError::KeyNotFound | BackendError::InvalidKeyRef { .. }) {
            return Err(error.into());
        }
        let KeyIdentity { instance, key, version } = self.identity;
        let found = gateway.store.version(instance, key, version).await?;
        let Some(moved) = found.filter(|found| found.key_ref != self.version.key_ref) else {
            return Err(error.into());
        };
        self.backend = gateway.place(instance, &moved.key_ref.backend)?;
        // What is to be opened was written by whoever wrote it; what is to be written is written here.
        if !self.opens {
            self.writer.clone_from(&moved.key_ref.backend);
        }
        self.version = moved;
        self.is_second = true;
        Ok(())
    }
}

impl Opened {
    /// Decrypts it.
    pub(super) async fn unwrap(
        &mut self,
        gateway: &Gateway,
        call: Call<'_>,
        caller: &[String],
    ) -> Result<SecretBytes, Error> {
        loop {
            let aad = self.held.aad(caller);
            match self.held.backend.unwrap(call, self.held.key(), &self.wrapped, &aad).await {
                Ok(plaintext) => return Ok(plaintext),
                Err(error) => self.held.moved(gateway, error).await?,
            }
        }
    }
}

fn identity(key: &Key, version: VersionId) -> KeyIdentity {
    KeyIdentity { instance: key.instance, key: key.id, version }
}

/// The newest version of a key.
pub(super) async fn current(gateway: &Gateway, key: &Key) -> Result<Held, Error> {
    let version = gateway.store.version(key.instance, key.id, key.current_version).await?.ok_or_else(|| {
        Error::Internal(format!("the store has key {} and not its version {}", key.id, key.current_version))
    })?;
    let backend = gateway.place(key.instance, &version.key_ref.backend)?;
    let writer = version.key_ref.backend.clone();
    Ok(Held { identity: identity(key, version.id), version, writer, opens: false, is_second: false, backend })
}

/// A ciphertext as clients hold it, taken apart, with the version that opens it.
pub(super) struct Opened {
    pub(super) held: Held,
    pub(super) wrapped: Vec<u8>,
}

/// Finds what opens a ciphertext of this key: the backend that has the version now, which need not be the one that wrote the
/// ciphertext. The writer's name is in the AAD, so one that was altered in the header opens nothing.
pub(super) async fn open(gateway: &Gateway, key: &Key, ciphertext: &str) -> Result<Opened, Error> {
    let bytes = encoding::decode(ciphertext).map_err(|_| {
        Reason::new(ReasonCode::InvalidField, "`ciphertext` is not base64; send it as it came from wrap")
            .field("ciphertext")
    })?;
    let envelope = Envelope::decode(&bytes).map_err(|_| unprocessable())?;
    let version = gateway.store.version(key.instance, key.id, envelope.version).await?.ok_or_else(unprocessable)?;
    let backend = gateway.place(key.instance, &version.key_ref.backend)?;
    let held = Held {
        identity: identity(key, version.id),
        version,
        writer: envelope.backend,
        opens: true,
        is_second: false,
        backend,
    };
    Ok(Opened { held, wrapped: envelope.wrapped })
}

fn unprocessable() -> Error {
    Reason::new(ReasonCode::UnprocessableCiphertext, "The ciphertext was not wrapped by this key, or is damaged")
        .field("ciphertext")
        .into()
}

/// Makes the material of a new version on a backend: generated, or from what the caller sent. Returns where it is and how
/// many bits it has.
pub(super) async fn make(
    gateway: &Gateway,
    call: Call<'_>,
    backend: &dyn CryptoBackend,
    identity: KeyIdentity,
    kind: KeyKind,
    material: Option<&Material>,
    now: Timestamp,
) -> Result<(KeyRef, u32), Error> {
    let (reference, bits) = match material {
        None => {
            let spec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind };
            (backend.generate_key(call, identity, spec).await?, spec.bits)
        }
        Some(Material::Plain(material)) => {
            let spec = spec(kind, material);
            (backend.import_key(call, identity, spec, material).await?, spec.bits)
        }
        Some(Material::UnderToken(sealed)) => open_import(gateway, call, backend, identity, sealed, now).await?,
    };
    Ok((KeyRef { backend: backend.name().to_owned(), reference }, bits))
}

/// Imported material of a root key is an AES key; that of a standard key is of any form.
fn spec(kind: KeyKind, material: &SecretBytes) -> KeySpec {
    let algorithm = match kind {
        KeyKind::Standard => Algorithm::Secret,
        KeyKind::Root => Algorithm::Aes,
    };
    KeySpec { algorithm, bits: u32::try_from(material.len() * 8).unwrap_or(u32::MAX), kind }
}

/// Has the backend that holds the instance's import token open what came under it. The material never is in here.
async fn open_import(
    gateway: &Gateway,
    call: Call<'_>,
    backend: &dyn CryptoBackend,
    identity: KeyIdentity,
    sealed: &SealedMaterial,
    now: Timestamp,
) -> Result<(Vec<u8>, u32), Error> {
    let token = gateway.store.import_token(identity.instance).await?.ok_or_else(|| {
        Error::refused(
            ReasonCode::ImportTokenNotFound,
            "There is no import token in this instance; make one with POST /api/v2/import_token",
        )
    })?;
    // One that another backend holds, from before the instance got this one, is as good as none.
    if now >= token.expires_at || token.private_key.backend != backend.name() {
        return Err(Error::refused(
            ReasonCode::ImportTokenExpired,
            "The import token has expired; make a new one and encrypt the key under it",
        ));
    }
    let (instance, key) = token.pair;
    let pair = KeyIdentity { instance, key, version: key.first_version() };
    let import_key = BackendKey { identity: pair, reference: &token.private_key.reference };
    let envelope = ImportEnvelope {
        algorithm: sealed.algorithm.clone(),
        encrypted_key: sealed.encrypted_key.clone(),
        encrypted_nonce: sealed.encrypted_nonce.clone(),
        iv: sealed.iv.clone(),
        expected_nonce: token.nonce.clone().into(),
    };
    let spec = KeySpec { algorithm: Algorithm::Aes, bits: 0, kind: KeyKind::Root };
    let imported = backend.open_import(call, import_key, identity, spec, &envelope).await?;
    Ok((imported.reference, imported.bits))
}

/// Takes back material that no record names. That destroying fails is for the log only: a key in a token that no record
/// names is waste, not danger.
pub(super) async fn discard(call: Call<'_>, backend: &dyn CryptoBackend, identity: KeyIdentity, key_ref: &KeyRef) {
    let key = BackendKey { identity, reference: &key_ref.reference };
    let _ = backend.destroy_key(call, key).await;
}
