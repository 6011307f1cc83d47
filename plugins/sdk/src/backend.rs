//! Backends: plugins that hold key material. The contract, with every bound, is `wit/crypto/backend.wit`.

use zeroize::{Zeroize, Zeroizing};

use crate::bindings::backend::exports::keygate::crypto::backend::Guest;
pub use crate::bindings::backend::keygate::crypto::types::{
    Call, Description, Error, ImportEnvelope, ImportRejection, Imported, Key, KeyIdentity, KeyKind, KeyPair, KeyRef,
    KeySpec,
};
use crate::bindings::backend::keygate::crypto::types::{DataKey as WireDataKey, SettingsError as WireSettingsError};
use crate::settings::SettingsError;
use crate::slot::Slot;

/// The longest text of an [`Error`] that the host takes, in bytes.
const MAX_TEXT: usize = 1_024;

/// Secret bytes, wiped when dropped.
pub type SecretBytes = Zeroizing<Vec<u8>>;

/// The outcome of a backend's work.
pub type Result<T> = core::result::Result<T, Error>;

/// A new data key.
pub struct DataKey {
    /// In clear, for the caller.
    pub plaintext: SecretBytes,
    /// The same, wrapped.
    pub wrapped: Vec<u8>,
}

/// A backend. The value is what [`Backend::configure`] made of the settings; nothing else outlives a call.
///
/// Inputs that are secret are wiped when the call ends. The host checks all inputs and outputs against the bounds of the
/// contract; a backend still checks what its own safety depends on.
pub trait Backend: Sized + Send + Sync + 'static {
    /// Reads the settings. May call nothing but the log, and depend on nothing but the text: the host may keep a
    /// snapshot of the outcome.
    ///
    /// # Errors
    /// Settings that cannot work, unknown ones included.
    fn configure(settings: &str) -> core::result::Result<Self, SettingsError>;

    /// What this backend is.
    fn describe(&self) -> Description;

    /// Shows that it works, with known answers and with the granted secrets or tokens.
    ///
    /// # Errors
    /// What does not work.
    fn probe(&self, call: &Call) -> Result<()>;

    /// Makes a key and returns its key-ref.
    ///
    /// # Errors
    /// `unsupported` for a specification that this backend does not know.
    fn generate_key(&self, call: &Call, identity: &KeyIdentity, spec: &KeySpec) -> Result<KeyRef>;

    /// Takes material in and returns its key-ref.
    ///
    /// # Errors
    /// `invalid-input` where material and specification do not agree.
    fn import_key(&self, call: &Call, identity: &KeyIdentity, spec: &KeySpec, material: &[u8]) -> Result<KeyRef>;

    /// Gives the material of a standard key back.
    ///
    /// # Errors
    /// `unsupported` for a root key, whatever the caller says.
    fn export_key(&self, call: &Call, key: &Key) -> Result<SecretBytes>;

    /// Encrypts with authentication, binding `aad` and the identity.
    ///
    /// # Errors
    /// `invalid-key-ref` for one that is not this key version's.
    fn wrap(&self, call: &Call, key: &Key, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>>;

    /// Makes `len` random bytes and wraps them.
    ///
    /// # Errors
    /// As [`Backend::wrap`].
    fn generate_data_key(&self, call: &Call, key: &Key, len: u32, aad: &[u8]) -> Result<DataKey>;

    /// Decrypts what [`Backend::wrap`] made.
    ///
    /// # Errors
    /// `authentication-failed` for anything else.
    fn unwrap(&self, call: &Call, key: &Key, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes>;

    /// Moves a ciphertext from one key version to another.
    ///
    /// # Errors
    /// As [`Backend::unwrap`] and [`Backend::wrap`].
    fn rewrap(
        &self,
        call: &Call,
        source: &Key,
        target: &Key,
        wrapped: &[u8],
        source_aad: &[u8],
        target_aad: &[u8],
    ) -> Result<Vec<u8>> {
        let plaintext = self.unwrap(call, source, wrapped, source_aad)?;
        self.wrap(call, target, &plaintext, target_aad)
    }

    /// Destroys what the key-ref stands for. A key that is gone already is success.
    ///
    /// # Errors
    /// A device that is away.
    fn destroy_key(&self, call: &Call, key: &Key) -> Result<()>;

    /// Seals what the key-ref stands for anew, under the newest version of what this backend seals with; `None` if it is
    /// sealed so already, or nothing seals it.
    ///
    /// # Errors
    /// As [`Backend::wrap`].
    fn reseal_key(&self, call: &Call, key: &Key) -> Result<Option<KeyRef>>;

    /// `len` bytes of the generator that the backend makes its keys with.
    ///
    /// # Errors
    /// A device that is away.
    fn random(&self, call: &Call, len: u32) -> Result<SecretBytes>;

    /// Makes an RSA-4096 key pair for an import token. Feature `import-token`.
    ///
    /// # Errors
    /// `unsupported`, unless it is written.
    fn create_import_key(&self, _call: &Call, _identity: &KeyIdentity, _algorithm: &str) -> Result<KeyPair> {
        Err(unsupported("create-import-key"))
    }

    /// Opens an import inside the backend. `spec.bits` 0: any size of the algorithm will do. Feature `import-token`.
    ///
    /// # Errors
    /// `unsupported`, unless it is written.
    fn open_import(
        &self,
        _call: &Call,
        _import_key: &Key,
        _identity: &KeyIdentity,
        _spec: &KeySpec,
        _envelope: &ImportEnvelope,
    ) -> Result<Imported> {
        Err(unsupported("open-import"))
    }

    /// Makes a key pair to receive keys from another backend. Feature `transport`.
    ///
    /// # Errors
    /// `unsupported`, unless it is written.
    fn create_transport_key(&self, _call: &Call, _identity: &KeyIdentity) -> Result<KeyPair> {
        Err(unsupported("create-transport-key"))
    }

    /// Seals a key to another backend's transport key. Feature `transport`.
    ///
    /// # Errors
    /// `unsupported`, unless it is written.
    fn seal_for_transport(&self, _call: &Call, _key: &Key, _recipient: &[u8]) -> Result<Vec<u8>> {
        Err(unsupported("seal-for-transport"))
    }

    /// Opens what another backend sealed to this transport key. Feature `transport`.
    ///
    /// # Errors
    /// `unsupported`, unless it is written.
    fn open_transport(
        &self,
        _call: &Call,
        _transport_key: &Key,
        _identity: &KeyIdentity,
        _spec: &KeySpec,
        _sealed: &[u8],
    ) -> Result<KeyRef> {
        Err(unsupported("open-transport"))
    }
}

fn unsupported(function: &str) -> Error {
    Error::Unsupported(format!("this backend has no {function}: its description does not list the feature"))
}

/// A backend that [`crate::export_backend!`] exports; the macro implements this.
#[doc(hidden)]
pub trait Exported: Backend {
    /// Where the sandbox keeps it.
    fn slot() -> &'static Slot<Self>;
}

/// The component's exports, in terms of the trait.
#[doc(hidden)]
pub struct Component<T>(core::marker::PhantomData<T>);

/// Before anything else: the plugin that `configure` left here.
fn enter<T: Exported>() -> core::result::Result<&'static T, &'static str> {
    #[cfg(target_arch = "wasm32")]
    crate::panics::install();
    T::slot().get()
}

/// Runs a call on the configured plugin, and keeps its error within the contract's bounds.
fn on<T: Exported, R>(work: impl FnOnce(&'static T) -> Result<R>) -> Result<R> {
    let plugin = enter::<T>().map_err(|text| Error::Internal(text.to_owned()))?;
    work(plugin).map_err(|error| match error {
        Error::InvalidInput(text) => Error::InvalidInput(crate::cut(text, MAX_TEXT)),
        Error::Unsupported(text) => Error::Unsupported(crate::cut(text, MAX_TEXT)),
        Error::Unavailable(text) => Error::Unavailable(crate::cut(text, MAX_TEXT)),
        Error::Internal(text) => Error::Internal(crate::cut(text, MAX_TEXT)),
        other => other,
    })
}

/// Hands secret bytes to the binding, which passes them to the host and frees them.
fn hand_over(mut secret: SecretBytes) -> Vec<u8> {
    core::mem::take(&mut *secret)
}

impl<T: Exported> Guest for Component<T> {
    #[expect(clippy::panic, reason = "the contract has no error here, and a trap with a reason is what is left")]
    fn describe() -> Description {
        match enter::<T>() {
            Ok(plugin) => plugin.describe(),
            Err(text) => panic!("{text}"),
        }
    }

    fn configure(settings: String) -> core::result::Result<(), WireSettingsError> {
        #[cfg(target_arch = "wasm32")]
        crate::panics::install();
        T::slot()
            .fill(T::configure(&settings))
            .map_err(|SettingsError { path, message }| WireSettingsError { path, message })
    }

    fn probe(call: Call) -> Result<()> {
        on::<T, _>(|plugin| plugin.probe(&call))
    }

    fn generate_key(call: Call, identity: KeyIdentity, spec: KeySpec) -> Result<KeyRef> {
        on::<T, _>(|plugin| plugin.generate_key(&call, &identity, &spec))
    }

    fn import_key(call: Call, identity: KeyIdentity, spec: KeySpec, material: Vec<u8>) -> Result<KeyRef> {
        let material = SecretBytes::new(material);
        on::<T, _>(|plugin| plugin.import_key(&call, &identity, &spec, &material))
    }

    fn export_key(call: Call, key: Key) -> Result<Vec<u8>> {
        on::<T, _>(|plugin| plugin.export_key(&call, &key).map(hand_over))
    }

    fn wrap(call: Call, key: Key, plaintext: Vec<u8>, aad: Vec<u8>) -> Result<Vec<u8>> {
        let plaintext = SecretBytes::new(plaintext);
        on::<T, _>(|plugin| plugin.wrap(&call, &key, &plaintext, &aad))
    }

    fn generate_data_key(call: Call, key: Key, len: u32, aad: Vec<u8>) -> Result<WireDataKey> {
        let made = on::<T, _>(|plugin| plugin.generate_data_key(&call, &key, len, &aad))?;
        Ok(WireDataKey { plaintext: hand_over(made.plaintext), wrapped: made.wrapped })
    }

    fn unwrap(call: Call, key: Key, wrapped: Vec<u8>, aad: Vec<u8>) -> Result<Vec<u8>> {
        on::<T, _>(|plugin| plugin.unwrap(&call, &key, &wrapped, &aad).map(hand_over))
    }

    fn rewrap(
        call: Call,
        source: Key,
        target: Key,
        wrapped: Vec<u8>,
        source_aad: Vec<u8>,
        target_aad: Vec<u8>,
    ) -> Result<Vec<u8>> {
        on::<T, _>(|plugin| plugin.rewrap(&call, &source, &target, &wrapped, &source_aad, &target_aad))
    }

    fn destroy_key(call: Call, key: Key) -> Result<()> {
        on::<T, _>(|plugin| plugin.destroy_key(&call, &key))
    }

    fn reseal_key(call: Call, key: Key) -> Result<Option<KeyRef>> {
        on::<T, _>(|plugin| plugin.reseal_key(&call, &key))
    }

    fn random(call: Call, len: u32) -> Result<Vec<u8>> {
        on::<T, _>(|plugin| plugin.random(&call, len).map(hand_over))
    }

    fn create_import_key(call: Call, identity: KeyIdentity, algorithm: String) -> Result<KeyPair> {
        on::<T, _>(|plugin| plugin.create_import_key(&call, &identity, &algorithm))
    }

    fn open_import(
        call: Call,
        import_key: Key,
        identity: KeyIdentity,
        spec: KeySpec,
        mut envelope: ImportEnvelope,
    ) -> Result<Imported> {
        let opened = on::<T, _>(|plugin| plugin.open_import(&call, &import_key, &identity, &spec, &envelope));
        envelope.expected_nonce.zeroize();
        opened
    }

    fn create_transport_key(call: Call, identity: KeyIdentity) -> Result<KeyPair> {
        on::<T, _>(|plugin| plugin.create_transport_key(&call, &identity))
    }

    fn seal_for_transport(call: Call, key: Key, recipient: Vec<u8>) -> Result<Vec<u8>> {
        on::<T, _>(|plugin| plugin.seal_for_transport(&call, &key, &recipient))
    }

    fn open_transport(
        call: Call,
        transport_key: Key,
        identity: KeyIdentity,
        spec: KeySpec,
        sealed: Vec<u8>,
    ) -> Result<KeyRef> {
        on::<T, _>(|plugin| plugin.open_transport(&call, &transport_key, &identity, &spec, &sealed))
    }
}

#[cfg(test)]
#[path = "backend_tests.rs"]
mod tests;
