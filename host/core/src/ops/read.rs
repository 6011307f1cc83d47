//! `GET /keys/{id}` and `GET /keys/{id}/metadata`.

use super::material;
use crate::access::Action;
use crate::error::Error;
use crate::ids::KeySelector;
use crate::key::{Key, KeyKind, KeyState};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::secret::SecretBytes;

/// A key, with its material where that may be seen.
#[derive(Debug)]
pub struct ReadKey {
    /// Its metadata.
    pub key: Key,
    /// A standard key's material; never a root key's, and not that of a key that is deleted.
    pub payload: Option<SecretBytes>,
}

/// Reads a key with its material.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, and what backend, chain, store and audit log fail with.
pub async fn read(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<ReadKey, Error> {
    gateway
        .run(cx, Ask::key(Action::Read, selector), async |admitted: Admitted| {
            let key = admitted.key()?;
            let payload = if key.kind == KeyKind::Standard && key.state != KeyState::Destroyed {
                let mut held = material::current(gateway, key).await?;
                Some(loop {
                    match held.backend.export_key(cx.call(), held.key()).await {
                        Ok(payload) => break payload,
                        Err(error) => held.moved(gateway, error).await?,
                    }
                })
            } else {
                None
            };
            Ok(Done::new(ReadKey { key: key.clone(), payload }).about(key))
        })
        .await
}

/// Reads a key's metadata.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, and what chain, store and audit log fail with.
pub async fn metadata(gateway: &Gateway, cx: &RequestContext, selector: &KeySelector) -> Result<Key, Error> {
    gateway
        .run(cx, Ask::key(Action::ReadMetadata, selector), async |admitted: Admitted| {
            let key = admitted.key()?;
            Ok(Done::new(key.clone()).about(key))
        })
        .await
}
