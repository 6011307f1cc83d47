//! Not a request: before the first one, and before other plugins get to do the work, a look at whether the backends still
//! open the keys that the store holds. A KEK file that was made anew under the old version's number passes every probe,
//! and would seal new keys beside old ones that nobody can open any more.

use std::collections::{BTreeMap, BTreeSet};

use super::material;
use crate::backend::{BackendError, Call};
use crate::error::Error;
use crate::ids::InstanceId;
use crate::key::{Key, KeyState, KeyVersion};
use crate::pipeline::Gateway;
use crate::secret::SecretBytes;
use crate::store::{KeyFilter, PageRequest, Sort};

/// A key that its backend does not open.
#[derive(Debug)]
pub struct Unopened {
    /// Which.
    pub key: Key,
    /// Why not.
    pub error: BackendError,
}

/// What the samples of one backend came to.
#[derive(Debug, Default)]
pub struct Samples {
    /// How many keys were opened.
    pub opened: usize,
    /// Those that were not.
    pub unopened: Vec<Unopened>,
}

/// How many keys of each instance are tried.
const SAMPLES: usize = 8;

/// Tries some keys of each instance, deleted ones apart; returns what came of it, by backend. Nothing is changed and
/// nothing is audited: nobody asked for anything. Keys on a backend that is not configured are passed over; a request for
/// one will say so.
///
/// # Errors
/// When the store cannot be read.
pub async fn samples(gateway: &Gateway) -> Result<BTreeMap<String, Samples>, Error> {
    let call = Call { request_id: "start", timeout: None };
    let mut backends: BTreeMap<String, Samples> = BTreeMap::new();
    for instance in gateway.instances.iter() {
        let page = PageRequest { offset: 0, limit: SAMPLES };
        for key in gateway.store.keys(instance.id, &KeyFilter::default(), &Sort::default(), page).await? {
            let held = match material::current(gateway, &key).await {
                Ok(held) => held,
                Err(Error::Unavailable { .. }) => continue,
                Err(error) => return Err(error),
            };
            let samples = backends.entry(held.backend.name().to_owned()).or_default();
            match held.backend.wrap(call, held.key(), &SecretBytes::new(vec![0]), b"").await {
                // A standard key wraps nothing; that it was told apart means that it was opened.
                Ok(_) | Err(BackendError::Unsupported(_) | BackendError::InvalidInput(_)) => samples.opened += 1,
                Err(error) => samples.unopened.push(Unopened { key, error }),
            }
        }
    }
    Ok(backends)
}

/// How many keys are read at a time in search of those on a backend.
const PAGE: usize = 1_000;

/// A key of these instances that has a version on one of these backends, deleted ones included: they can be restored; or that
/// has left material there which is not destroyed yet. Looks through all of them, so it is for the moment in which a backend
/// is to go.
///
/// # Errors
/// When the store cannot be read.
pub async fn key_on(
    gateway: &Gateway,
    instances: &BTreeSet<InstanceId>,
    backends: &BTreeSet<String>,
) -> Result<Option<(Key, String)>, Error> {
    let filter = KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() };
    let store = &gateway.store;
    for instance in instances.iter().copied() {
        let mut offset = 0;
        loop {
            let page = PageRequest { offset, limit: PAGE };
            let keys = store.keys(instance, &filter, &Sort::default(), page).await?;
            let read = keys.len();
            for key in keys {
                let all = PageRequest { offset: 0, limit: usize::MAX };
                let versions = store.versions(instance, key.id, all).await?.items;
                let places = |version: KeyVersion| {
                    [Some(version.key_ref.backend), version.former.map(|former| former.key_ref.backend)]
                };
                let mut names = versions.into_iter().flat_map(places).flatten();
                if let Some(name) = names.find(|name| backends.contains(name)) {
                    return Ok(Some((key, name)));
                }
            }
            if read < PAGE {
                break;
            }
            offset += read;
        }
    }
    Ok(None)
}
