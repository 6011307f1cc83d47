//! What the host itself makes a backend show before it is trusted with a key: that it gives back what it took, and
//! only for the AAD, the key and the kind that it was taken under. A plugin that wants to can pass and cheat later; a
//! plugin that is merely wrong is found here.

use keygate_core::backend::{Algorithm, BackendError, BackendKey, Call, CryptoBackend, KeyIdentity, KeySpec};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::ports::Entropy;
use keygate_core::secret::SecretBytes;

const PLAINTEXT: &[u8] = b"what the host knows";
const AAD: &[u8] = b"and what it is bound to";
const OTHER_AAD: &[u8] = b"another";
const SPEC: KeySpec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };
const DATA_KEY: u32 = 32;

/// Why a backend was not believed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unproven {
    /// It did not do what it was asked.
    #[error(transparent)]
    Failed(#[from] BackendError),
    /// It did something else.
    #[error("{0}")]
    Wrong(&'static str),
    /// The host has no randomness to name keys with. Says why.
    #[error("the host's own generator failed: {0}")]
    NoEntropy(String),
}

/// Makes two versions of a key, wraps, unwraps, moves from one to the other, and tries what must not work. Destroys both.
pub(super) async fn prove(backend: &dyn CryptoBackend, entropy: &dyn Entropy, call: Call<'_>) -> Result<(), Unproven> {
    // Nobody's: a backend that keeps keys under their names, in a token say, must not find one of its own here.
    let [old, other] = [identity(entropy)?, identity(entropy)?];
    let new = KeyIdentity { version: other.version, ..old };
    let from = backend.generate_key(call, old, SPEC).await?;
    let source = BackendKey { identity: old, reference: &from };
    let proven = match backend.generate_key(call, new, SPEC).await {
        Ok(to) => {
            let target = BackendKey { identity: new, reference: &to };
            let proven = with_keys(backend, call, source, target, other).await;
            let destroyed = backend.destroy_key(call, target).await;
            // What was wrong first is told first; a key that cannot be destroyed is wrong as well.
            proven.and(destroyed.map_err(Unproven::from))
        }
        Err(error) => Err(error.into()),
    };
    let destroyed = backend.destroy_key(call, source).await;
    proven.and(destroyed.map_err(Unproven::from))
}

fn identity(entropy: &dyn Entropy) -> Result<KeyIdentity, Unproven> {
    let id = || {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes).map_err(|e| Unproven::NoEntropy(e.to_string()))?;
        Ok::<_, Unproven>(bytes)
    };
    Ok(KeyIdentity {
        instance: InstanceId::from_bytes(id()?),
        key: KeyId::from_bytes(id()?),
        version: VersionId::from_bytes(id()?),
    })
}

async fn with_keys(
    backend: &dyn CryptoBackend,
    call: Call<'_>,
    key: BackendKey<'_>,
    next: BackendKey<'_>,
    other: KeyIdentity,
) -> Result<(), Unproven> {
    let wrapped = wraps(backend, call, key).await?;
    bound(backend, call, key, &wrapped, other).await?;
    refuses(backend.unwrap(call, next, &wrapped, AAD).await, "it unwraps with another version of the key")?;

    let moved = backend.rewrap(call, key, next, &wrapped, AAD, OTHER_AAD).await?;
    let opened = backend.unwrap(call, next, &moved, OTHER_AAD).await;
    gives_back(opened, PLAINTEXT, "it does not unwrap what it rewrapped")?;

    let made = backend.generate_data_key(call, key, DATA_KEY, AAD).await?;
    let opened = backend.unwrap(call, key, &made.wrapped, AAD).await;
    gives_back(opened, made.plaintext.expose(), "it does not unwrap the data key that it made")?;

    refuses(backend.export_key(call, key).await, "it gives away the material of a root key")
}

/// Wraps and unwraps.
async fn wraps(backend: &dyn CryptoBackend, call: Call<'_>, key: BackendKey<'_>) -> Result<Vec<u8>, Unproven> {
    let plaintext = SecretBytes::new(PLAINTEXT.to_vec());
    let wrapped = backend.wrap(call, key, &plaintext, AAD).await?;
    if backend.wrap(call, key, &plaintext, AAD).await? == wrapped {
        return Err(Unproven::Wrong("it wraps the same plaintext to the same ciphertext twice"));
    }
    let opened = backend.unwrap(call, key, &wrapped, AAD).await;
    gives_back(opened, PLAINTEXT, "it does not unwrap what it wrapped")?;
    Ok(wrapped)
}

/// Tries a ciphertext, and the key-ref, where they do not belong.
async fn bound(
    backend: &dyn CryptoBackend,
    call: Call<'_>,
    key: BackendKey<'_>,
    wrapped: &[u8],
    other: KeyIdentity,
) -> Result<(), Unproven> {
    refuses(backend.unwrap(call, key, wrapped, OTHER_AAD).await, "it unwraps under another AAD")?;
    let mut damaged = wrapped.to_vec();
    if let Some(last) = damaged.last_mut() {
        *last ^= 1;
    }
    refuses(backend.unwrap(call, key, &damaged, AAD).await, "it unwraps a damaged ciphertext")?;
    let elsewhere = [
        (KeyIdentity { instance: other.instance, ..key.identity }, "it takes a key-ref for another instance's"),
        (KeyIdentity { key: other.key, ..key.identity }, "it takes a key-ref for another key's"),
        (KeyIdentity { version: other.version, ..key.identity }, "it takes a key-ref for another version's"),
    ];
    for (identity, wrong) in elsewhere {
        refuses(backend.unwrap(call, BackendKey { identity, ..key }, wrapped, AAD).await, wrong)?;
    }
    Ok(())
}

/// Another answer than the one that it must be is wrong; so is to say that the parts do not belong together.
fn gives_back(
    outcome: Result<SecretBytes, BackendError>,
    expected: &[u8],
    wrong: &'static str,
) -> Result<(), Unproven> {
    match outcome {
        Ok(found) if found.expose() == expected => Ok(()),
        Ok(_) | Err(BackendError::AuthenticationFailed | BackendError::InvalidKeyRef { .. }) => {
            Err(Unproven::Wrong(wrong))
        }
        Err(error) => Err(error.into()),
    }
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
