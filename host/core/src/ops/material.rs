//! What the use cases do with backends, in one place: find the key version that a ciphertext or a key needs, and make
//! new versions.

use std::sync::Arc;

use crate::backend::{Algorithm, BackendKey, CryptoBackend, KeyIdentity, KeySpec};
use crate::encoding;
use crate::envelope::{Envelope, canonical_aad};
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::VersionId;
use crate::key::{Key, KeyKind, KeyRef, KeyVersion};
use crate::pipeline::{Gateway, RequestContext};
use crate::secret::SecretBytes;
use crate::store::StoreError;

/// A key version together with the backend that holds its material.
pub(super) struct Held {
    identity: KeyIdentity,
    version: KeyVersion,
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
        canonical_aad(&self.identity, self.backend.name(), caller)
    }

    /// Puts what the backend wrapped into the form that clients hold.
    pub(super) fn seal(&self, wrapped: Vec<u8>) -> Result<String, Error> {
        let backend = self.version.key_ref.backend.clone();
        let sealed = Envelope { version: self.version.id, backend, wrapped }.encode();
        Ok(encoding::encode(&sealed.map_err(|error| Error::Internal(error.to_string()))?))
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
    let backend = gateway.backend(&version.key_ref.backend)?;
    Ok(Held { identity: identity(key, version.id), version, backend })
}

/// A ciphertext as clients hold it, taken apart, with the version that opens it.
pub(super) struct Opened {
    pub(super) held: Held,
    pub(super) wrapped: Vec<u8>,
}

/// Finds what opens a ciphertext of this key.
pub(super) async fn open(gateway: &Gateway, key: &Key, ciphertext: &str) -> Result<Opened, Error> {
    let bytes = encoding::decode(ciphertext).map_err(|_| {
        Reason::new(ReasonCode::InvalidField, "`ciphertext` is not base64; send it as it came from wrap")
            .field("ciphertext")
    })?;
    let envelope = Envelope::decode(&bytes).map_err(|_| unprocessable())?;
    let version = gateway
        .store
        .version(key.instance, key.id, envelope.version)
        .await?
        .filter(|version| version.key_ref.backend == envelope.backend)
        .ok_or_else(unprocessable)?;
    let backend = gateway.backend(&version.key_ref.backend)?;
    Ok(Opened { held: Held { identity: identity(key, version.id), version, backend }, wrapped: envelope.wrapped })
}

fn unprocessable() -> Error {
    Reason::new(ReasonCode::UnprocessableCiphertext, "The ciphertext was not wrapped by this key, or is damaged")
        .field("ciphertext")
        .into()
}

/// Makes the material of a new version on a backend: generated, or from what the caller sent.
pub(super) async fn make(
    cx: &RequestContext,
    backend: &dyn CryptoBackend,
    identity: KeyIdentity,
    kind: KeyKind,
    material: Option<&SecretBytes>,
) -> Result<(KeyRef, u32), Error> {
    let spec = spec(kind, material);
    let reference = match material {
        None => backend.generate_key(cx.call(), identity, spec).await?,
        Some(material) => backend.import_key(cx.call(), identity, spec, material).await?,
    };
    Ok((KeyRef { backend: backend.name().to_owned(), reference }, spec.bits))
}

/// Generated keys have 256 bits; imported ones what was sent, of any form where the key is standard.
fn spec(kind: KeyKind, material: Option<&SecretBytes>) -> KeySpec {
    let algorithm = match (kind, material) {
        (KeyKind::Standard, Some(_)) => Algorithm::Secret,
        _ => Algorithm::Aes,
    };
    let bits = material.map_or(256, |material| u32::try_from(material.len() * 8).unwrap_or(u32::MAX));
    KeySpec { algorithm, bits, kind }
}

/// Takes back material whose record was refused. After any other failure of the store the record may be there, and then
/// its material must be too. That destroying fails is for the log only: a key in a token that no record names is waste,
/// not danger.
pub(super) async fn discard(
    cx: &RequestContext,
    backend: &dyn CryptoBackend,
    identity: KeyIdentity,
    key_ref: &KeyRef,
    why: &StoreError,
) {
    if matches!(why, StoreError::Conflict | StoreError::AliasTaken(_)) {
        let key = BackendKey { identity, reference: &key_ref.reference };
        let _ = backend.destroy_key(cx.call(), key).await;
    }
}
