//! Not a request: before the first one, a look at whether the backends still open the keys that the store holds. A KEK
//! file that was made anew under the old version's number passes every probe, and would seal new keys beside old ones
//! that nobody can open any more.

use super::material;
use crate::backend::{BackendError, Call};
use crate::error::Error;
use crate::key::{Key, KeyState};
use crate::pipeline::Gateway;
use crate::secret::SecretBytes;
use crate::store::{KeyFilter, PageRequest};

/// A key that its backend does not open.
#[derive(Debug)]
pub struct Unopened {
    /// Which.
    pub key: Key,
    /// Why not.
    pub error: BackendError,
}

/// Tries one key of each instance. Nothing is changed and nothing is audited: nobody asked for anything.
///
/// # Errors
/// When the store cannot be read, or a key's backend is not configured.
pub async fn samples(gateway: &Gateway) -> Result<Vec<Unopened>, Error> {
    let call = Call { request_id: "start", timeout: None };
    let filter = KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() };
    let mut unopened = Vec::new();
    for instance in gateway.instances.iter() {
        let page = gateway.store.keys(instance.id, &filter, PageRequest { offset: 0, limit: 1 }).await?;
        for key in page.items {
            let held = material::current(gateway, &key).await?;
            match held.backend.wrap(call, held.key(), &SecretBytes::new(vec![0]), b"").await {
                // A standard key wraps nothing; that it was told apart means that it was opened.
                Ok(_) | Err(BackendError::Unsupported(_) | BackendError::InvalidInput(_)) => {}
                Err(error) => unopened.push(Unopened { key, error }),
            }
        }
    }
    Ok(unopened)
}
