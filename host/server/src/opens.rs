//! Whether the backends open what the store holds: before the first request, and before others take their place.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keygate_core::backend::BackendError;
use keygate_core::error::Error;
use keygate_core::ids::KeyId;
use keygate_core::ops::samples::{Samples, Unopened, samples};
use keygate_core::pipeline::Gateway;

use crate::problem::Problem;

/// How often keys are tried whose backend is busy, and how long it is given in between.
const TRIES: u32 = 6;
const BETWEEN: Duration = Duration::from_millis(250);

/// Tries some keys. A backend that takes none of its key-refs stops the start: most likely the secret they were sealed under
/// is another one now, and new keys would be sealed beside old ones that are lost with it. Single keys that do not open, and
/// devices that are away, are told in the log and stop nothing.
///
/// Where the gateway `before` is to be replaced, one key that opens there and not here is one too many; and so is one that
/// cannot be tried, because its backend stays busy.
pub(crate) async fn keys_open(gateway: &Gateway, before: Option<&Gateway>) -> Result<(), Vec<Problem>> {
    let replaces = before.is_some();
    let found = tried(gateway, replaces).await?;
    let any = found.values().flat_map(|samples| &samples.unopened).any(|sample| counts(sample, replaces));
    let mut lost_before = BTreeSet::new();
    if let Some(before) = before.filter(|_| any) {
        let found = tried(before, true).await?;
        let lost = found.into_values().flat_map(|samples| samples.unopened).filter(|sample| !is_busy(sample));
        lost_before.extend(lost.map(|sample| sample.key.id));
    }
    let problems = problems(&found, replaces.then_some(&lost_before));
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

fn is_busy(sample: &Unopened) -> bool {
    matches!(sample.error, BackendError::Busy(_))
}

/// Whether it speaks against going on that this one did not open.
fn counts(sample: &Unopened, replaces: bool) -> bool {
    match &sample.error {
        BackendError::InvalidKeyRef { .. } => true,
        // A secret that is gone, a token that is another: whatever it is, it was not so before.
        _ => replaces && !is_busy(sample),
    }
}

/// What comes of trying some keys. Where all of them count, those whose backend is busy are given some time.
async fn tried(gateway: &Gateway, all: bool) -> Result<BTreeMap<String, Samples>, Vec<Problem>> {
    let mut tries = 1;
    loop {
        let found = samples(gateway).await.map_err(|error| vec![unread(&error).passing()])?;
        let is_done = !found.values().flat_map(|samples| &samples.unopened).any(is_busy);
        if is_done || !all || tries == TRIES {
            return Ok(found);
        }
        tries += 1;
        tokio::time::sleep(BETWEEN).await;
    }
}

/// What is wrong with going on. `lost_before` are the keys that did not open before either, where there was a before.
fn problems(found: &BTreeMap<String, Samples>, lost_before: Option<&BTreeSet<KeyId>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (backend, Samples { opened, unopened }) in found {
        for Unopened { key, error } in unopened {
            tracing::warn!(key = %key.id, instance = %key.instance, %error, "a key cannot be used now");
        }
        let tried = opened + unopened.len();
        let mut lost =
            unopened.iter().filter(|sample| counts(sample, lost_before.is_some())).filter(|sample| match lost_before {
                Some(before) => !before.contains(&sample.key.id),
                None => *opened == 0,
            });
        if let Some(Unopened { key, error }) = lost.next() {
            let (not, first) = (unopened.len(), key.id);
            let problem = format!(
                "backend `{backend}` does not open {not} of {tried} keys that were tried, {first} first: {error}"
            );
            let mend = "bring back the secret (the KEK) that the keys of this store were sealed under; a version's \
                        number is never used again for other bytes";
            problems.push(Problem::new("keys", problem, mend));
        }
        let busy = unopened.iter().filter(|sample| is_busy(sample)).count();
        if lost_before.is_some() && busy > 0 {
            let problem = format!("backend `{backend}` was busy, so {busy} of {tried} keys could not be tried");
            problems.push(Problem::new("keys", problem, "reload again, when there is less to do").passing());
        }
    }
    problems
}

/// The store cannot be read.
pub(crate) fn unread(error: &Error) -> Problem {
    let mend = "see the log, and restore the store from a backup if it is damaged";
    Problem::new("keys", error.to_string(), mend)
}

#[cfg(test)]
mod tests {
    use keygate_core::key::{Key, KeyKind};

    use super::*;

    fn key(n: u8) -> Key {
        Key { id: KeyId::from_bytes([n; 16]), ..Key::sample(KeyKind::Root) }
    }

    /// What is wrong after so many were opened and these were not.
    fn wrong(opened: usize, unopened: Vec<(u8, BackendError)>, lost_before: Option<&[u8]>) -> Vec<Problem> {
        let unopened = unopened.into_iter().map(|(n, error)| Unopened { key: key(n), error }).collect();
        let found = [("software".to_owned(), Samples { opened, unopened })].into();
        let before = lost_before.map(|keys| keys.iter().map(|n| KeyId::from_bytes([*n; 16])).collect());
        problems(&found, before.as_ref())
    }

    fn busy() -> BackendError {
        BackendError::Busy(None)
    }

    fn sealed_otherwise() -> BackendError {
        BackendError::InvalidKeyRef { backend: "software".to_owned() }
    }

    #[test]
    fn a_key_that_could_not_be_tried_keeps_a_gateway_from_being_replaced_and_not_from_starting() {
        assert_eq!(wrong(3, vec![(1, busy())], None), []);
        let told = wrong(3, vec![(1, busy())], Some(&[]));
        assert!(told.len() == 1 && told[0].is_passing && told[0].problem.contains("1 of 4 keys"), "{told:?}");
        // One that is lost for good is no matter of trying again.
        let told = wrong(0, vec![(1, busy()), (2, sealed_otherwise())], Some(&[]));
        assert!(told.len() == 2 && !told[0].is_passing, "{told:?}");
    }

    #[test]
    fn what_was_lost_before_is_no_reason_and_what_is_lost_by_this_is() {
        assert_eq!(wrong(3, vec![(1, sealed_otherwise())], Some(&[1])), []);
        assert_eq!(wrong(3, vec![(2, sealed_otherwise())], Some(&[1])).len(), 1);
        assert_eq!(wrong(3, vec![(1, sealed_otherwise())], None), [], "single keys stop no start");
        assert_eq!(wrong(0, vec![(1, sealed_otherwise())], None).len(), 1);
    }
}
