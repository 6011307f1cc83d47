//! The work of a migration, a few keys at a time.
//!
//! Passes over all keys in the order of their ids: the first moves what it finds; each later one, begun when no call of the
//! pass before can be under way any more, destroys what was left where the material had been, and moves what came in
//! between. A pass that leaves nothing to the next one is the last. How far a pass has come is written after each few keys
//! together with what was counted, and the versions themselves say what was moved since. That something was destroyed is
//! forgotten by the version in the same commit that counts it. So a gateway that dies forgets nothing and counts nothing twice;
//! what it may leave out are new versions that it made a moment before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::tend::{Outcome, Trouble};
use super::{discard_transport, put};
use crate::access::Action;
use crate::backend::{BackendError, Call, KeyIdentity};
use crate::clock::Timestamp;
use crate::error::{Error, ReasonCode};
use crate::future::{BoxFuture, all};
use crate::ids::{EventId, InstanceId, KeyId};
use crate::migration::{Counts, Migration, MigrationState, Transport};
use crate::pipeline::{Administered, Gateway};
use crate::store::{Change, StoreError};

/// How many keys are taken between one writing down of how far it has come and the next, for each that is worked on at a time.
const ROUNDS: usize = 4;

/// How often a backend may fail over a key, before both are asked whether they do well otherwise.
const PATIENCE: u32 = 5;

/// The first wait after a failure; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// There is no migration to work at.
    Idle,
    /// Something was done, and there may be more to do at once.
    Worked,
    /// There is nothing to do for so long: something is away, or calls that had begun are waited for.
    Wait(Duration),
}

/// Works at migrations. It remembers failures, so as to wait longer and longer; all else is in the store.
#[derive(Debug, Default)]
pub struct Runner {
    failing: BTreeMap<InstanceId, Failing>,
}

#[derive(Debug)]
struct Failing {
    /// How many steps have failed since one got anywhere.
    times: u32,
    until: Timestamp,
    /// How often a backend has failed over each key.
    over: BTreeMap<KeyId, u32>,
    /// The keys whose audit events are kept, though the pass has not come past them.
    told: BTreeSet<KeyId>,
}

/// What kept a step from being done.
struct Setback {
    trouble: Trouble,
    /// The keys that a backend failed over.
    over: Vec<KeyId>,
    /// The keys that were done all the same.
    done: Vec<KeyId>,
    /// Whether the store knows: how far it came, and what it waits for.
    is_noted: bool,
    /// Whether it got anywhere all the same.
    is_further: bool,
}

impl From<Trouble> for Setback {
    fn from(trouble: Trouble) -> Self {
        Self { trouble, over: Vec::new(), done: Vec::new(), is_noted: false, is_further: false }
    }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Trouble::from(error).into()
    }
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Trouble::from(error).into()
    }
}

impl Runner {
    /// Does the next little part of an instance's migration.
    pub async fn step(&mut self, gateway: &Gateway, instance: InstanceId) -> Step {
        let now = gateway.clock.now();
        let failing = self.failing.get(&instance);
        if let Some(failing) = failing.filter(|failing| now < failing.until) {
            return Step::Wait(failing.until.since(now));
        }
        let migration = match gateway.store.migration(instance).await {
            Ok(Some(migration)) if migration.state == MigrationState::Running => migration,
            Ok(_) => {
                self.failing.remove(&instance);
                return Step::Idle;
            }
            Err(error) => return self.failed(instance, now, error.into()),
        };
        if now < migration.pass_at {
            return Step::Wait(migration.pass_at.since(now));
        }
        let (mut suspects, mut told) = (BTreeSet::new(), BTreeSet::new());
        if let Some(failing) = failing {
            suspects.extend(failing.over.iter().filter(|(_, times)| **times >= PATIENCE).map(|(key, _)| *key));
            told.clone_from(&failing.told);
        }
        let mut pass = Pass { gateway, migration: &migration, suspects, told };
        if !pass.suspects.is_empty() && !pass.backends_do_well().await {
            pass.suspects.clear();
            // What a backend fails over while it does not do well speaks against no key.
            if let Some(failing) = self.failing.get_mut(&instance) {
                failing.over.clear();
            }
        }
        match pass.advance(now).await {
            Ok(()) => {
                self.failing.remove(&instance);
                Step::Worked
            }
            Err(Setback { trouble: Trouble::Overtaken, .. }) => Step::Worked,
            Err(setback) => {
                if !setback.is_noted {
                    pass.wait_for(setback.trouble.to_string(), now).await;
                }
                self.failed(instance, now, setback)
            }
        }
    }

    fn failed(&mut self, instance: InstanceId, now: Timestamp, setback: Setback) -> Step {
        let new = || Failing { times: 0, until: now, over: BTreeMap::new(), told: BTreeSet::new() };
        let failing = self.failing.entry(instance).or_insert_with(new);
        for key in setback.over {
            let times = failing.over.entry(key).or_default();
            *times = times.saturating_add(1);
        }
        failing.told.extend(setback.done);
        if setback.is_further {
            failing.times = 0;
        }
        let wait = FIRST_WAIT.saturating_mul(1 << failing.times.min(10)).min(LONGEST_WAIT);
        failing.times = failing.times.saturating_add(1);
        failing.until = now.plus(wait);
        Step::Wait(wait)
    }
}

/// How many keys an instance has, deleted ones too.
pub(super) async fn count_keys(gateway: &Gateway, instance: InstanceId) -> Result<u64, StoreError> {
    let ids = gateway.store.key_ids(instance, None, usize::MAX).await?;
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

/// A pass of a migration, as it stands.
pub(super) struct Pass<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) migration: &'a Migration,
    /// The keys that a backend which fails over them is taken to fail over alone.
    pub(super) suspects: BTreeSet<KeyId>,
    /// The keys whose audit events are kept already.
    pub(super) told: BTreeSet<KeyId>,
}

/// What came of a few keys.
struct Tally {
    cursor: Option<KeyId>,
    counts: Counts,
    changes: Vec<Change>,
    setback: Option<Setback>,
    done: Vec<KeyId>,
}

impl Tally {
    fn take(&mut self, instance: InstanceId, key: KeyId, outcome: Result<Outcome, Trouble>) {
        let Outcome { moved, renewed, destroyed, stayed, pending, stay, changes } = match outcome {
            Ok(outcome) => outcome,
            Err(trouble) => return self.fail(key, trouble),
        };
        self.done.push(key);
        // This is in the store, or comes to be there with these counts.
        self.counts.renewed += renewed;
        self.counts.destroyed += destroyed;
        self.counts.stayed += stayed;
        self.changes.extend(changes);
        self.changes.extend(stay.map(|stay| Change::PutStay { instance, stay }));
        // Behind a key that is to be looked at again, all others are, too: their versions say that they were moved.
        if self.setback.is_none() {
            self.cursor = Some(key);
            self.counts.seen += 1;
            self.counts.moved += moved;
            self.counts.pending += pending;
        }
    }

    fn fail(&mut self, key: KeyId, trouble: Trouble) {
        let over = matches!(trouble, Trouble::Over(_)).then_some(key);
        let setback = match self.setback.take() {
            Some(setback) if !trouble.is_graver(&setback.trouble) => setback,
            Some(setback) => Setback { trouble, ..setback },
            None => trouble.into(),
        };
        self.setback.insert(setback).over.extend(over);
    }
}

impl Pass<'_> {
    /// Makes the transport key, or goes past a few keys, or ends the pass.
    async fn advance(&self, now: Timestamp) -> Result<(), Setback> {
        let Migration { instance, cursor, counts, .. } = *self.migration;
        for name in [&self.migration.from, &self.migration.to] {
            self.gateway.backend(name).map_err(Trouble::away)?;
        }
        self.may_go_on()?;
        if self.migration.transport == Transport::Unasked {
            return Ok(self.ask_for_transport(now).await?);
        }
        let width = self.gateway.limits.migration_concurrency.max(1);
        let ids = self.gateway.store.key_ids(instance, cursor, width * ROUNDS).await?;
        if ids.is_empty() {
            return Ok(self.end(now).await?);
        }
        let mut tally = Tally { cursor, counts, changes: Vec::new(), setback: None, done: Vec::new() };
        for some in ids.chunks(width) {
            let work = some.iter().map(|id| Box::pin(self.tend(*id)) as BoxFuture<'_, _>).collect();
            for (key, outcome) in some.iter().zip(all(work).await) {
                tally.take(instance, *key, outcome);
            }
            if tally.setback.is_some() {
                break;
            }
        }
        self.note(tally, now).await
    }

    /// Writes down what came of a few keys, also where there was trouble with some of them.
    async fn note(&self, tally: Tally, now: Timestamp) -> Result<(), Setback> {
        let Tally { cursor, counts, changes, setback, done } = tally;
        let trouble = setback.as_ref().map(|setback| &setback.trouble);
        let waiting = trouble.filter(|trouble| !matches!(trouble, Trouble::Overtaken)).map(ToString::to_string);
        let is_new = self.migration.waiting != waiting;
        let is_further = cursor != self.migration.cursor || !changes.is_empty();
        let mut setback = setback.map(|setback| Setback { done, is_noted: true, is_further, ..setback });
        if let Some(setback) = setback.take_if(|_| !is_further && !is_new) {
            return Err(setback);
        }
        let migration = self.next(now, |migration| Migration { cursor, counts, waiting: waiting.clone(), ..migration });
        // First, so that what stayed behind in the migration before is gone before anything of this one is there.
        let mut batch = vec![Change::PutMigration { migration }];
        batch.extend(changes);
        self.gateway.store.commit(batch).await?;
        setback.map_or(Ok(()), Err)
    }

    /// Whether new keys still go to where this migration moves the old ones, and the instance may use that. Both are
    /// somebody's to change while it runs.
    fn may_go_on(&self) -> Result<(), Trouble> {
        let Migration { instance, to, .. } = self.migration;
        let Some(instance) = self.gateway.instances.get(*instance) else {
            return Err(Trouble::Away("the instance is gone".to_owned()));
        };
        if instance.backend != *to {
            return Err(Trouble::Away(format!(
                "the instance makes new keys on `{}` now; bind it to `{to}` again, or stop this",
                instance.backend
            )));
        }
        self.gateway.may_use_backend(&instance).map_err(Trouble::away)
    }

    fn next(&self, now: Timestamp, change: impl FnOnce(Migration) -> Migration) -> Migration {
        let revision = self.migration.revision + 1;
        change(Migration { waiting: None, updated_at: now, revision, ..self.migration.clone() })
    }

    /// Notes why it does not go on. That this cannot be noted is no matter.
    async fn wait_for(&self, why: String, now: Timestamp) {
        if self.migration.waiting.as_ref() != Some(&why) {
            let waiting = self.next(now, |migration| Migration { waiting: Some(why), ..migration });
            let _ = put(self.gateway, &waiting).await;
        }
    }

    async fn backends_do_well(&self) -> bool {
        let call = Call { request_id: "migration", timeout: None };
        for name in [&self.migration.from, &self.migration.to] {
            let Ok(backend) = self.gateway.backend(name) else { return false };
            if backend.probe(call).await.is_err() {
                return false;
            }
        }
        true
    }

    async fn ask_for_transport(&self, now: Timestamp) -> Result<(), Trouble> {
        let id = EventId::generate(self.gateway.entropy.as_ref()).map_err(Error::from)?;
        let key = KeyId::from_bytes(*id.as_bytes());
        let request_id = id.to_string();
        let call = Call { request_id: &request_id, timeout: None };
        let identity = KeyIdentity { instance: self.migration.instance, key, version: key.first_version() };
        let to = self.gateway.backend(&self.migration.to).map_err(Trouble::away)?;
        let transport = match to.create_transport_key(call, identity).await {
            Ok(pair) => Transport::Key { key, reference: pair.private, public: pair.public },
            Err(
                error @ (BackendError::Unavailable { .. }
                | BackendError::Busy(_)
                | BackendError::Fault(_)
                | BackendError::Internal { .. }),
            ) => return Err(Trouble::Away(error.to_string())),
            Err(error) => Transport::None(format!("backend `{}` takes no keys: {error}", to.name())),
        };
        let asked = self.next(now, |migration| Migration { transport, ..migration });
        let Err(error) = put(self.gateway, &asked).await else { return Ok(()) };
        // A pair that no record names is not to stay in a token; whether one names it only a look tells.
        let found = self.gateway.store.migration(self.migration.instance).await;
        if found.is_ok_and(|found| found.is_none_or(|found| found.transport != asked.transport)) {
            discard_transport(self.gateway, &asked).await;
        }
        Err(error.into())
    }

    /// After the last key: the next pass, or the end.
    async fn end(&self, now: Timestamp) -> Result<(), Trouble> {
        let grace = self.gateway.limits.migration_grace.max(Duration::from_millis(1));
        if self.migration.counts.pending > 0 || self.migration.pass == 1 {
            // Nothing that was moved in this pass is destroyed before calls that had begun have ended. And calls that had begun
            // before the instance made new keys on the other backend may have made one here since: there are two passes at least.
            let from = if self.migration.counts.pending > 0 { now } else { self.migration.pass_at };
            let keys = count_keys(self.gateway, self.migration.instance).await?;
            let again = self.next(now, |migration| Migration {
                pass: migration.pass + 1,
                pass_at: from.plus(grace).max(now.plus(Duration::from_millis(1))),
                cursor: None,
                counts: Counts { keys, seen: 0, pending: 0, ..migration.counts },
                ..migration
            });
            return Ok(put(self.gateway, &again).await?);
        }
        let id = EventId::generate(self.gateway.entropy.as_ref()).map_err(Error::from)?.to_string();
        let work = async || {
            let done = self.next(now, |migration| Migration {
                state: MigrationState::Done,
                ended_at: Some(now),
                transport: Transport::Unasked,
                ..migration
            });
            let Counts { moved, renewed, stayed, .. } = done.counts;
            let facts = vec![
                ("instanceId", done.instance.to_string()),
                ("from", done.from.clone()),
                ("to", done.to.clone()),
                ("moved", moved.to_string()),
                ("renewed", renewed.to_string()),
                ("stayed", stayed.to_string()),
            ];
            Administered { outcome: put(self.gateway, &done).await.map_err(Error::from), facts }
        };
        match self.gateway.administer_itself(Action::EndMigration, &id, work).await {
            Err(error) if error.reason_code() == Some(ReasonCode::Conflict) => return Err(Trouble::Overtaken),
            outcome => outcome?,
        }
        // Nothing needs it any more.
        discard_transport(self.gateway, self.migration).await;
        Ok(())
    }
}
