//! The plugin's own code, called natively: what a wrap would cost if there were no sandbox. Nothing but a benchmark may
//! do this; it knows only what the benchmark asks for.
//!
//! The host's functions are the SDK's stand-ins for unit tests. Their random bytes are cheaper than real ones, so the
//! comparison is a little unkind to the sandbox.

use std::cell::Cell;
use std::sync::Arc;

use keygate_core::backend::{
    BackendDescription, BackendError, BackendKey, BackendResult, Call, CryptoBackend, DataKey, ImportEnvelope,
    Imported, KeyIdentity, KeyPair, KeySpec,
};
use keygate_core::key::KeyKind;
use keygate_core::ports::{Backends, BoxFuture};
use keygate_core::secret::SecretBytes;
use keygate_plugin_aes_gcm::AesGcm;
use keygate_plugin_sdk::backend::{self as plugin, Backend as _};
use keygate_plugin_sdk::testing::grant_secret;

/// The native backend under every name that the sandboxed one has.
pub(crate) struct NativeBackends(Vec<Arc<dyn CryptoBackend>>);

impl NativeBackends {
    pub(crate) fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| Arc::new(Native::new(name)) as Arc<dyn CryptoBackend>).collect())
    }
}

impl Backends for NativeBackends {
    fn backend(&self, name: &str) -> Option<Arc<dyn CryptoBackend>> {
        self.0.iter().find(|backend| backend.name() == name).cloned()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|backend| backend.name().to_owned()).collect()
    }
}

struct Native {
    name: String,
    plugin: AesGcm,
    description: BackendDescription,
}

impl Native {
    fn new(name: &str) -> Self {
        let plugin = AesGcm::configure("{}").expect("the plugin takes no settings");
        let said = plugin.describe();
        let description = BackendDescription {
            name: said.name,
            version: said.version,
            algorithms: said.algorithms,
            max_plaintext: said.max_plaintext as usize,
            max_material: said.max_material as usize,
            features: said.features,
        };
        Self { name: name.to_owned(), plugin, description }
    }

    /// The plugin, on a thread whose stand-in host grants the KEK.
    fn here(&self) -> &AesGcm {
        thread_local!(static READY: Cell<bool> = const { Cell::new(false) });
        READY.with(|ready| {
            if !ready.replace(true) {
                grant_secret("kek", 1, &[0x4B; 32]);
            }
        });
        &self.plugin
    }

    fn failed(&self, error: &plugin::Error) -> BackendError {
        BackendError::Internal { backend: self.name.clone(), detail: format!("{error:?}") }
    }
}

fn call(call: Call<'_>) -> plugin::Call {
    plugin::Call { request_id: call.request_id.to_owned(), deadline_ms: 1_000 }
}

fn identity(identity: &KeyIdentity) -> plugin::KeyIdentity {
    plugin::KeyIdentity {
        instance_id: identity.instance.to_string(),
        key_id: identity.key.to_string(),
        version_id: identity.version.to_string(),
    }
}

fn key(key: &BackendKey<'_>) -> plugin::Key {
    plugin::Key { identity: identity(&key.identity), reference: key.reference.to_owned() }
}

fn ready<'a, T: Send + 'a>(result: BackendResult<T>) -> BoxFuture<'a, BackendResult<T>> {
    Box::pin(std::future::ready(result))
}

fn not_asked_for<'a, T: Send + 'a>() -> BoxFuture<'a, BackendResult<T>> {
    ready(Err(BackendError::Unsupported("the benchmark does not ask for this".to_owned())))
}

impl CryptoBackend for Native {
    fn name(&self) -> &str {
        &self.name
    }

    fn description(&self) -> &BackendDescription {
        &self.description
    }

    fn probe<'a>(&'a self, _: Call<'a>) -> BoxFuture<'a, BackendResult<()>> {
        not_asked_for()
    }

    fn generate_key<'a>(
        &'a self,
        circumstances: Call<'a>,
        of: KeyIdentity,
        spec: KeySpec,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        let kind = match spec.kind {
            KeyKind::Root => plugin::KeyKind::Root,
            KeyKind::Standard => plugin::KeyKind::Standard,
        };
        let spec = plugin::KeySpec { algorithm: spec.algorithm.as_str().to_owned(), bits: spec.bits, kind };
        let made = self.here().generate_key(&call(circumstances), &identity(&of), &spec);
        ready(made.map_err(|error| self.failed(&error)))
    }

    fn wrap<'a>(
        &'a self,
        circumstances: Call<'a>,
        under: BackendKey<'a>,
        plaintext: &'a SecretBytes,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        let wrapped = self.here().wrap(&call(circumstances), &key(&under), plaintext.expose(), aad);
        ready(wrapped.map_err(|error| self.failed(&error)))
    }

    fn import_key<'a>(
        &'a self,
        _: Call<'a>,
        _: KeyIdentity,
        _: KeySpec,
        _: &'a SecretBytes,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        not_asked_for()
    }

    fn export_key<'a>(&'a self, _: Call<'a>, _: BackendKey<'a>) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        not_asked_for()
    }

    fn generate_data_key<'a>(
        &'a self,
        _: Call<'a>,
        _: BackendKey<'a>,
        _: u32,
        _: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<DataKey>> {
        not_asked_for()
    }

    fn unwrap<'a>(
        &'a self,
        _: Call<'a>,
        _: BackendKey<'a>,
        _: &'a [u8],
        _: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        not_asked_for()
    }

    fn rewrap<'a>(
        &'a self,
        _: Call<'a>,
        _: BackendKey<'a>,
        _: BackendKey<'a>,
        _: &'a [u8],
        _: &'a [u8],
        _: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        not_asked_for()
    }

    fn destroy_key<'a>(&'a self, _: Call<'a>, _: BackendKey<'a>) -> BoxFuture<'a, BackendResult<()>> {
        not_asked_for()
    }

    fn random<'a>(&'a self, _: Call<'a>, _: u32) -> BoxFuture<'a, BackendResult<SecretBytes>> {
        not_asked_for()
    }

    fn create_import_key<'a>(
        &'a self,
        _: Call<'a>,
        _: KeyIdentity,
        _: &'a str,
    ) -> BoxFuture<'a, BackendResult<KeyPair>> {
        not_asked_for()
    }

    fn open_import<'a>(
        &'a self,
        _: Call<'a>,
        _: BackendKey<'a>,
        _: KeyIdentity,
        _: KeySpec,
        _: &'a ImportEnvelope,
    ) -> BoxFuture<'a, BackendResult<Imported>> {
        not_asked_for()
    }

    fn create_transport_key<'a>(&'a self, _: Call<'a>, _: KeyIdentity) -> BoxFuture<'a, BackendResult<KeyPair>> {
        not_asked_for()
    }

    fn seal_for_transport<'a>(
        &'a self,
        _: Call<'a>,
        _: BackendKey<'a>,
        _: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        not_asked_for()
    }

    fn open_transport<'a>(
        &'a self,
        _: Call<'a>,
        _: BackendKey<'a>,
        _: KeyIdentity,
        _: KeySpec,
        _: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>> {
        not_asked_for()
    }
}
