//! What the host itself makes a backend show before it is trusted with a key: that it gives back what it took, and
//! only for the AAD, the key and the kind that it was taken under. A plugin that wants to can pass and cheat later; a
//! plugin that is merely wrong is found here.

use keygate_core::backend::{Algorithm, BackendError, BackendKey, Call, CryptoBackend, KeyIdentity, KeySpec};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::secret::SecretBytes;

const PLAINTEXT: &[u8] = b"what the host knows";
const AAD: &[u8] = b"and what it is bound to";

/// Why a backend was not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unproven {
    /// It did not do what it was asked.
    #[error(transparent)]
    Failed(#[from] BackendError),
    /// It did something else.
    #[error("{0}")]
    Wrong(&'static str),
}

/// Makes a key, wraps, unwraps, and tries what must not work. Destroys the key.
pub(super) async fn prove(backend: &dyn CryptoBackend, call: Call<'_>) -> Result<(), Unproven> {
    let identity = KeyIdentity {
        instance: InstanceId::from_bytes([0; 16]),
        key: KeyId::from_bytes([0; 16]),
        version: VersionId::from_bytes([0; 16]),
    };
    let spec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };
    let reference = backend.generate_key(call, identity, spec).await?;
    let key = BackendKey { identity, reference: &reference };
    let proven = with_key(backend, call, key).await;
    backend.destroy_key(call, key).await?;
    proven
}

async fn with_key(backend: &dyn CryptoBackend, call: Call<'_>, key: BackendKey<'_>) -> Result<(), Unproven> {
    let plaintext = SecretBytes::new(PLAINTEXT.to_vec());
    let wrapped = backend.wrap(call, key, &plaintext, AAD).await?;
    if backend.wrap(call, key, &plaintext, AAD).await? == wrapped {
        return Err(Unproven::Wrong("it wraps the same plaintext to the same ciphertext twice"));
    }
    if backend.unwrap(call, key, &wrapped, AAD).await?.expose() != PLAINTEXT {
        return Err(Unproven::Wrong("it does not unwrap what it wrapped"));
    }
    refuses(backend.unwrap(call, key, &wrapped, b"another").await, "it unwraps under another AAD")?;
    let mut damaged = wrapped.clone();
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    refuses(backend.unwrap(call, key, &damaged, AAD).await, "it unwraps a damaged ciphertext")?;
    let identity = KeyIdentity { key: KeyId::from_bytes([1; 16]), ..key.identity };
    let moved = BackendKey { identity, ..key };
    refuses(backend.unwrap(call, moved, &wrapped, AAD).await, "it takes a key-ref for another key's")?;
    refuses(backend.export_key(call, key).await, "it gives away the material of a root key")
}

/// An answer where there must be none is wrong; so is a failure that has another cause.
fn refuses(outcome: Result<SecretBytes, BackendError>, wrong: &'static str) -> Result<(), Unproven> {
    match outcome {
        Ok(_) => Err(Unproven::Wrong(wrong)),
        Err(BackendError::AuthenticationFailed | BackendError::InvalidKeyRef { .. } | BackendError::Unsupported(_)) => {
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
