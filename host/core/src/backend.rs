//! The port to the crypto backends: whoever implements it holds key material; whoever calls it never sees any.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::future::BoxFuture;
use crate::ids::{InstanceId, KeyId, VersionId};
use crate::key::KeyKind;
use crate::secret::SecretBytes;

/// Which key version a call is about. Backends bind it into what they seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIdentity {
    /// The instance.
    pub instance: InstanceId,
    /// The key.
    pub key: KeyId,
    /// The version.
    pub version: VersionId,
}

/// A key version, as the backend needs it.
#[derive(Clone, Copy, Debug)]
pub struct BackendKey<'a> {
    /// Which it is.
    pub identity: KeyIdentity,
    /// What this backend made of it.
    pub reference: &'a [u8],
}

/// What material a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// An AES key of 128, 192 or 256 bits.
    Aes,
    /// Any bytes. Standard keys only.
    Secret,
}

impl Algorithm {
    /// The name that backends know it by (`wit/crypto`: `key-spec.algorithm`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aes => "AES",
            Self::Secret => "SECRET",
        }
    }
}

/// What key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySpec {
    /// Of what.
    pub algorithm: Algorithm,
    /// How big, a multiple of 8. 0 is for [`CryptoBackend::open_import`]: whatever comes out.
    pub bits: u32,
    /// What for.
    pub kind: KeyKind,
}

/// The circumstances of a call.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The correlation id.
    pub request_id: &'a str,
    /// At most this long; the backend's own limit may be shorter. `None` leaves it to that.
    pub timeout: Option<Duration>,
}

/// What a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendDescription {
    /// What it calls itself.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The names of the algorithms it takes.
    pub algorithms: Vec<String>,
    /// The longest plaintext it wraps, in bytes.
    pub max_plaintext: usize,
    /// The longest material it takes, in bytes.
    pub max_material: usize,
    /// What it can do beyond what all can.
    pub features: Vec<String>,
}

/// A new data key.
#[derive(Debug)]
pub struct DataKey {
    /// In clear, for the caller.
    pub plaintext: SecretBytes,
    /// Wrapped.
    pub wrapped: Vec<u8>,
}

/// A key pair whose private half stays with the backend.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The private half, as the backend keeps it.
    pub private: Vec<u8>,
    /// The public half: SubjectPublicKeyInfo, DER.
    pub public: Vec<u8>,
}

/// What was opened out of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The key, as the backend keeps it.
    pub reference: Vec<u8>,
    /// Its size in bits: 128, 192 or 256.
    pub bits: u32,
}

/// Material that came under an import token. `Debug` shows sizes only.
#[derive(Clone)]
pub struct ImportEnvelope {
    /// `RSAES_OAEP_SHA_256` (the nonce under AES-GCM) or `RSAES_OAEP_SHA_1` (under AES-CBC).
    pub algorithm: String,
    /// The material, encrypted to the token's public key.
    pub encrypted_key: Vec<u8>,
    /// The nonce, encrypted under the material.
    pub encrypted_nonce: Vec<u8>,
    /// 12 bytes for GCM, 16 for CBC.
    pub iv: Vec<u8>,
    /// The nonce that must come out, 1 to 64 bytes. Wiped.
    pub expected_nonce: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ImportEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportEnvelope")
            .field("algorithm", &self.algorithm)
            .field("encrypted_key", &self.encrypted_key.len())
            .field("encrypted_nonce", &self.encrypted_nonce.len())
            .field("iv", &self.iv.len())
            .finish_non_exhaustive()
    }
}

/// Why an import token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportRejection {
    /// The encrypted key is not one.
    Material,
    /// The nonce does not open, or the iv is none; with CBC also that it is another nonce.
    NonceIv,
    /// It is another nonce.
    Nonce,
}

/// Why a backend did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The key-ref is not its own, is damaged, or is another key version's.
    #[error("backend `{backend}` does not take this key-ref")]
    InvalidKeyRef {
        /// Which backend.
        backend: String,
    },
    /// The key is not there (any more).
    #[error("the key is not in the backend")]
    KeyNotFound,
    /// Ciphertext, AAD and key do not belong together.
    #[error("authentication failed")]
    AuthenticationFailed,
    /// Something the caller can mend.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The import was refused.
    #[error("import refused: {0:?}")]
    ImportRejected(ImportRejection),
    /// It does not do that.
    #[error("unsupported: {0}")]
    Unsupported(String),
    /// Try again, after this long where known.
    #[error("busy")]
    Busy(Option<Duration>),
    /// What it needs is away.
    #[error("backend `{backend}` is unavailable: {detail}")]
    Unavailable {
        /// Which backend.
        backend: String,
        /// For the operator.
        detail: String,
        /// When to try again, where known.
        retry_after: Option<Duration>,
    },
    /// It says that it has a defect.
    #[error("backend `{backend}`: {detail}")]
    Internal {
        /// Which backend.
        backend: String,
        /// For the operator.
        detail: String,
    },
    /// It failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The outcome of a backend's work.
pub type BackendResult<T> = Result<T, BackendError>;

/// A crypto backend (`wit/crypto/backend.wit`, where each function's bounds are written).
pub trait CryptoBackend: Send + Sync {
    /// Its name in `plugins.toml`.
    fn name(&self) -> &str;

    /// What it said it is, when it was loaded.
    fn description(&self) -> &BackendDescription;

    /// Shows that it works.
    fn probe<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, BackendResult<()>>;

    /// Makes a key; returns its key-ref.
    fn generate_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>>;

    /// Takes material in; returns the key-ref.
    fn import_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        material: &'a SecretBytes,
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>>;

    /// Gives the material of a standard key.
    fn export_key<'a>(&'a self, call: Call<'a>, key: BackendKey<'a>) -> BoxFuture<'a, BackendResult<SecretBytes>>;

    /// Encrypts.
    fn wrap<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        plaintext: &'a SecretBytes,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>>;

    /// Makes `len` (16 to 64) random bytes and encrypts them.
    fn generate_data_key<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        len: u32,
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<DataKey>>;

    /// Decrypts.
    fn unwrap<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        wrapped: &'a [u8],
        aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<SecretBytes>>;

    /// Decrypts under `source` and encrypts under `target`, in one sandbox.
    fn rewrap<'a>(
        &'a self,
        call: Call<'a>,
        source: BackendKey<'a>,
        target: BackendKey<'a>,
        wrapped: &'a [u8],
        source_aad: &'a [u8],
        target_aad: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>>;

    /// Destroys what the key-ref stands for.
    fn destroy_key<'a>(&'a self, call: Call<'a>, key: BackendKey<'a>) -> BoxFuture<'a, BackendResult<()>>;

    /// `len` (0 to 4,096) random bytes.
    fn random<'a>(&'a self, call: Call<'a>, len: u32) -> BoxFuture<'a, BackendResult<SecretBytes>>;

    /// Makes a key pair for an import token; `algorithm` is `RSA-4096`. Takes seconds, and has a limit of its own
    /// (`limits.slow_deadline` of the plugin): for work in the background.
    fn create_import_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
        algorithm: &'a str,
    ) -> BoxFuture<'a, BackendResult<KeyPair>>;

    /// Opens an import; returns what was in it. `spec.bits` 0: any size of the algorithm will do.
    fn open_import<'a>(
        &'a self,
        call: Call<'a>,
        import_key: BackendKey<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        envelope: &'a ImportEnvelope,
    ) -> BoxFuture<'a, BackendResult<Imported>>;

    /// Makes a key pair to receive keys from another backend. Takes seconds, as [`CryptoBackend::create_import_key`] does.
    /// A backend without the feature `transport` says `Unsupported`.
    fn create_transport_key<'a>(
        &'a self,
        call: Call<'a>,
        identity: KeyIdentity,
    ) -> BoxFuture<'a, BackendResult<KeyPair>>;

    /// Seals a key to the transport key of another backend (`recipient`: SubjectPublicKeyInfo, DER), so that nobody between
    /// the two can read it.
    fn seal_for_transport<'a>(
        &'a self,
        call: Call<'a>,
        key: BackendKey<'a>,
        recipient: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>>;

    /// Opens what another backend sealed to this transport key; returns the key-ref. Whether it is the right key is for the
    /// caller to find out, with a ciphertext that the other backend made.
    fn open_transport<'a>(
        &'a self,
        call: Call<'a>,
        transport_key: BackendKey<'a>,
        identity: KeyIdentity,
        spec: KeySpec,
        sealed: &'a [u8],
    ) -> BoxFuture<'a, BackendResult<Vec<u8>>>;
}
