//! What comes to keys by itself: expiration, the lapse of authorizations, rotation by policy, purge. Nobody asks for it; the
//! gateway looks again and again for what has come due.
//!
//! Nothing hangs on when exactly it looks: requests see keys as they are at their own instant (see [`Key::state_at`] and
//! [`Key::authorization_at`]). And nothing hangs on how often, or in how many gateways at once: each change is made on the
//! revision of the key that was looked at.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{authorize, purge, rotate};
use crate::access::Action;
use crate::backend::Call;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{EventId, InstanceId, KeyId};
use crate::key::{DueKind, Key, KeyKind, KeyState};
use crate::pipeline::{self, Done, Gateway};
use crate::store::{Change, Due, StoreError};

/// How many due things are asked for at once.
const PAGE: usize = 500;

/// The longest time until something that failed is tried again.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How many things of one kind may fail one after the other, for want of something that they all need, before the pass lets
/// the others of that kind be. Each would wait for its time limit and fill the audit log.
const MOST_IN_A_ROW: usize = 5;

/// What came of one pass.
#[derive(Debug, Default)]
pub struct Tended {
    /// How many things were done.
    pub done: usize,
    /// What could not be done, and why. It stays due.
    pub failed: Vec<(Due, Error)>,
    /// Why the pass ended before its end: store or audit log are away, so that nothing could be done for any key.
    pub stopped: Option<Error>,
}

/// Does everything that is due, whatever failed before. One thing that fails does not keep the others from being done; five
/// of a kind in a row that find their backend away leave the rest of that kind to the next pass.
pub async fn tend(gateway: &Gateway) -> Tended {
    Tender::default().tend(gateway).await
}

/// Tends keys pass after pass. It remembers what failed, and tries that again less and less often: after
/// [`crate::limits::Limits::tend_interval`], then after twice as long each time, at the most an hour. Each try leaves an
/// audit event, and a backend that is away for a night would fill the log otherwise.
#[derive(Debug, Default)]
pub struct Tender {
    waiting: BTreeMap<What, Wait>,
}

/// What is due to which key. Not when: an authorization that is given anew is another one, and as hopeless to take back.
type What = (DueKind, InstanceId, KeyId);

#[derive(Clone, Copy, Debug)]
struct Wait {
    until: Timestamp,
    wait: Duration,
}

/// The pass cannot go on.
struct Stopped(Error);

impl Tender {
    /// One pass over everything that is due.
    pub async fn tend(&mut self, gateway: &Gateway) -> Tended {
        let mut tended = Tended::default();
        let now = gateway.clock.now();
        let mut failing = BTreeMap::new();
        for kind in DueKind::ALL {
            if let Err(Stopped(error)) = self.tend_kind(gateway, kind, now, &mut tended, &mut failing).await {
                tended.stopped = Some(error);
                self.keep_waits(|what| what.0 >= kind, &mut failing);
                break;
            }
        }
        // What is due no longer, by whoever's doing, is forgotten.
        self.waiting = failing;
        tended
    }

    /// What was not come to keeps its wait.
    fn keep_waits(&self, which: impl Fn(&What) -> bool, failing: &mut BTreeMap<What, Wait>) {
        for (what, wait) in self.waiting.iter().filter(|(what, _)| which(what)) {
            failing.entry(*what).or_insert(*wait);
        }
    }

    async fn tend_kind(
        &self,
        gateway: &Gateway,
        kind: DueKind,
        now: Timestamp,
        tended: &mut Tended,
        failing: &mut BTreeMap<What, Wait>,
    ) -> Result<(), Stopped> {
        let until = match kind {
            DueKind::Purge => before(now, gateway.limits.purge_after),
            DueKind::Expiry | DueKind::Lapse | DueKind::Rotation => now,
        };
        let (mut after, mut in_a_row) = (None, 0);
        loop {
            let page = gateway.store.due(kind, until, after, PAGE).await.map_err(|error| Stopped(error.into()))?;
            for due in &page {
                let what = (kind, due.instance, due.key);
                let waited = self.waiting.get(&what);
                if let Some(wait) = waited.filter(|wait| now < wait.until) {
                    failing.insert(what, *wait);
                    continue;
                }
                match tend_one(gateway, *due, until).await? {
                    Ok(was_done) => {
                        tended.done += usize::from(was_done);
                        in_a_row = 0;
                    }
                    Err(error) => {
                        in_a_row = if is_outage(&error) { in_a_row + 1 } else { 0 };
                        tended.failed.push((*due, error));
                        failing.insert(what, next_wait(waited, gateway.limits.tend_interval, now));
                    }
                }
                if in_a_row == MOST_IN_A_ROW {
                    self.keep_waits(|what| what.0 == kind, failing);
                    return Ok(());
                }
            }
            after = page.last().copied();
            if page.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// Whether it failed for something that others need, too.
fn is_outage(error: &Error) -> bool {
    matches!(error, Error::Unavailable { .. } | Error::Busy { .. } | Error::Fault(_))
}

fn next_wait(waited: Option<&Wait>, shortest: Duration, now: Timestamp) -> Wait {
    let wait = waited.map_or(shortest, |waited| waited.wait.saturating_mul(2).min(LONGEST_WAIT.max(shortest)));
    Wait { until: now.plus(wait), wait }
}

/// The instant this much earlier, or the beginning of time.
fn before(now: Timestamp, by: Duration) -> Timestamp {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    Timestamp::from_unix_ms(now.unix_ms().saturating_sub(by))
}

/// Does one thing, if it is still due. Says whether it was.
async fn tend_one(gateway: &Gateway, due: Due, until: Timestamp) -> Result<Result<bool, Error>, Stopped> {
    // The keys of an instance that was taken out of the configuration are left as they are: it may be put back.
    if gateway.instances.get(due.instance).is_none() {
        return Ok(Ok(false));
    }
    gateway.audit.reserve().map_err(|error| Stopped(error.into()))?;
    let key = match gateway.store.key(due.instance, due.key).await {
        Ok(Some(key)) => key,
        Ok(None) => return Ok(Ok(false)),
        Err(error @ StoreError::Unavailable(_)) => return Err(Stopped(error.into())),
        Err(error) => return Ok(Err(error.into())),
    };
    if !key.due().iter().any(|(kind, at)| *kind == due.kind && *at <= until) {
        return Ok(Ok(false));
    }
    Ok(act(gateway, due.kind, key).await)
}

async fn act(gateway: &Gateway, kind: DueKind, key: Key) -> Result<bool, Error> {
    // Made like the ids of requests, so that logs and audit events of one piece of work are found together.
    let id = EventId::generate(gateway.entropy.as_ref())?.to_string();
    let call = Call { request_id: &id, timeout: None };
    match kind {
        DueKind::Expiry => {
            let work = async |now| expire(gateway, &key, now).await;
            gateway.by_itself(Action::Expire, &id, &key, work).await?;
        }
        DueKind::Lapse => {
            let work = async |now| {
                let lapsed = authorize::put(gateway, &key, None, now).await?;
                Ok(authorize::told(&key, &lapsed, now))
            };
            gateway.by_itself(Action::UnsetKeyForDeletion, &id, &key, work).await?;
        }
        DueKind::Rotation => {
            let key = pipeline::settle(key, gateway.clock.now());
            if key.state != KeyState::Active || key.kind != KeyKind::Root || key.imported {
                return Ok(false);
            }
            let work = async |now| rotate_by_policy(gateway, call, &key, now).await;
            gateway.by_itself(Action::Rotate, &id, &key, work).await?;
        }
        DueKind::Purge => {
            let work = async |_| {
                purge::shred(gateway, call, &key).await?;
                Ok(purge::told(&gateway.limits, &key))
            };
            gateway.by_itself(Action::Purge, &id, &key, work).await?;
        }
    }
    Ok(true)
}

async fn expire(gateway: &Gateway, key: &Key, now: Timestamp) -> Result<Done<()>, Error> {
    let revision = key.revision + 1;
    let expired = Key { state: KeyState::Deactivated, updated_at: now, revision, ..key.clone() };
    gateway.store.commit(vec![Change::UpdateKey { key: expired.clone() }]).await?;
    let done = Done::new(()).about(&expired);
    Ok(match expired.expires_at {
        Some(at) => done.tell("expirationDate", at.to_rfc3339()),
        None => done,
    })
}

/// The hour between two rotations does not count here: a key comes due a month after the last one at the earliest.
async fn rotate_by_policy(gateway: &Gateway, call: Call<'_>, key: &Key, now: Timestamp) -> Result<Done<()>, Error> {
    let instance = gateway.instances.get(key.instance);
    let instance = instance.ok_or_else(|| Error::Internal(format!("instance {} is not configured", key.instance)))?;
    gateway.may_use_backend(&instance)?;
    let rotated = rotate::new_version(gateway, call, &instance.backend, key, None, now, |key| key).await?;
    Ok(rotate::told(&rotated))
}
