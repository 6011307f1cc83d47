//! The work of a migration, a few keys at a time.
//!
//! Passes over all keys in the order of their ids: the first moves what it finds; each later one, begun when no call of the
//! pass before can be under way any more, destroys what was left where the material had been, and moves what came in
//! between. A pass that leaves nothing to the next one is the last. How far a pass has come is written after each few keys
//! together with what was counted, and the versions themselves say what was done since, so that a gateway that dies
//! counts nothing twice and forgets nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use super::put;
use super::transfer::{Carrier, Halt};
use crate::access::Action;
use crate::backend::{BackendError, BackendKey, Call, KeyIdentity};
use crate::clock::Timestamp;
use crate::error::{Error, ReasonCode};
use crate::future::{BoxFuture, all};
use crate::ids::{EventId, InstanceId, KeyId};
use crate::key::{Key, KeyKind, KeyState, KeyVersion};
use crate::migration::{Counts, Migration, MigrationState, Stay, StayReason, Transport};
use crate::ops::rotate;
use crate::pipeline::{self, Administered, Done, Gateway};
use crate::store::{Change, PageRequest, StoreError};

/// How many versions or ids are read at once.
const PAGE: usize = 500;

/// How many keys are taken between one writing down of how far it has come and the next, for each that is worked on at a time.
const ROUNDS: usize = 4;

/// How often a few keys are tried while backends fail over them, before the backends are asked whether they do well otherwise.
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

#[derive(Clone, Copy, Debug)]
struct Failing {
    times: u32,
    until: Timestamp,
}

/// Why a step could not be done.
enum Trouble {
    /// Backends fail. `true` where a look may show that it is the keys, not the backends.
    Away(String, bool),
    /// Store, audit log or entropy are away.
    Stop(Error),
    /// The migration was stopped, or changed.
    Overtaken,
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        if error == StoreError::Conflict { Self::Overtaken } else { Self::Stop(error.into()) }
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Stop(error)
    }
}

impl Runner {
    /// Does the next little part of an instance's migration.
    pub async fn step(&mut self, gateway: &Gateway, instance: InstanceId) -> Step {
        let now = gateway.clock.now();
        if let Some(failing) = self.failing.get(&instance).filter(|failing| now < failing.until) {
            return Step::Wait(failing.until.since(now));
        }
        let migration = match gateway.store.migration(instance).await {
            Ok(Some(migration)) if migration.state == MigrationState::Running => migration,
            Ok(_) => {
                self.failing.remove(&instance);
                return Step::Idle;
            }
            Err(_) => return self.failed(instance, now),
        };
        if now < migration.pass_at {
            return Step::Wait(migration.pass_at.since(now));
        }
        let times = self.failing.get(&instance).map_or(0, |failing| failing.times);
        let pass = Pass { gateway, migration: &migration, insists: false };
        let outcome = match pass.advance(now).await {
            Err(Trouble::Away(_, true)) if times >= PATIENCE && pass.backends_do_well().await => {
                Pass { insists: true, ..pass }.advance(now).await
            }
            outcome => outcome,
        };
        match outcome {
            Ok(()) => {
                self.failing.remove(&instance);
                Step::Worked
            }
            Err(Trouble::Overtaken) => Step::Worked,
            Err(Trouble::Away(why, _)) => {
                pass.wait_for(why, now).await;
                self.failed(instance, now)
            }
            Err(Trouble::Stop(error)) => {
                pass.wait_for(error.to_string(), now).await;
                self.failed(instance, now)
            }
        }
    }

    fn failed(&mut self, instance: InstanceId, now: Timestamp) -> Step {
        let times = self.failing.get(&instance).map_or(0, |failing| failing.times);
        let wait = FIRST_WAIT.saturating_mul(1 << times.min(10)).min(LONGEST_WAIT);
        self.failing.insert(instance, Failing { times: times.saturating_add(1), until: now.plus(wait) });
        Step::Wait(wait)
    }
}

/// How many keys an instance has, deleted ones too.
pub(super) async fn count_keys(gateway: &Gateway, instance: InstanceId) -> Result<u64, StoreError> {
    let ids = gateway.store.key_ids(instance, None, usize::MAX).await?;
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}

/// What came of one key.
#[derive(Debug, Default)]
struct Outcome {
    moved: u64,
    renewed: u64,
    destroyed: u64,
    pending: u64,
    /// What is to be told of it that was not told before.
    stay: Option<Stay>,
}

impl Outcome {
    fn stays(key: KeyId, versions: u32, renewed: bool, reason: StayReason, detail: String) -> Self {
        Self { stay: Some(Stay { key, versions, renewed, reason, detail }), ..Self::default() }
    }
}

/// A pass of a migration, as it stands.
struct Pass<'a> {
    gateway: &'a Gateway,
    migration: &'a Migration,
    /// Whether a backend that fails over a key is taken to fail over that key alone.
    insists: bool,
}

impl Pass<'_> {
    /// Makes the transport key, or goes past a few keys, or ends the pass.
    async fn advance(&self, now: Timestamp) -> Result<(), Trouble> {
        let Migration { instance, cursor, .. } = *self.migration;
        for name in [&self.migration.from, &self.migration.to] {
            let found = self.gateway.backend(name);
            found.map_err(|error| Trouble::Away(error.to_string(), false))?;
        }
        self.may_go_on()?;
        if self.migration.transport == Transport::Unasked {
            return self.ask_for_transport(now).await;
        }
        let width = self.gateway.limits.migration_concurrency.max(1);
        let ids = self.gateway.store.key_ids(instance, cursor, width * ROUNDS).await?;
        let Some(last) = ids.last().copied() else { return self.end(now).await };
        let mut counts = self.migration.counts;
        let mut batch = Vec::new();
        for some in ids.chunks(width) {
            let work = some.iter().map(|id| Box::pin(self.tend(*id)) as BoxFuture<'_, _>).collect();
            for outcome in all(work).await {
                let Outcome { moved, renewed, destroyed, pending, stay } = outcome?;
                counts = Counts {
                    seen: counts.seen + 1,
                    moved: counts.moved + moved,
                    renewed: counts.renewed + renewed,
                    stayed: counts.stayed + stay.as_ref().map_or(0, |stay| u64::from(stay.versions)),
                    destroyed: counts.destroyed + destroyed,
                    pending: counts.pending + pending,
                    ..counts
                };
                batch.extend(stay.map(|stay| Change::PutStay { instance, stay }));
            }
        }
        // First, so that what stayed behind in the migration before is gone before anything of this one is there.
        let migration = self.next(now, |migration| Migration { cursor: Some(last), counts, ..migration });
        batch.insert(0, Change::PutMigration { migration });
        Ok(self.gateway.store.commit(batch).await?)
    }

    /// Whether new keys still go to where this migration moves the old ones, and the instance may use that. Both are
    /// somebody's to change while it runs.
    fn may_go_on(&self) -> Result<(), Trouble> {
        let Migration { instance, to, .. } = self.migration;
        let away = |why: String| Err(Trouble::Away(why, false));
        let Some(instance) = self.gateway.instances.get(*instance) else {
            return away("the instance is gone".to_owned());
        };
        if instance.backend != *to {
            return away(format!(
                "the instance makes new keys on `{}` now; bind it to `{to}` again, or stop this",
                instance.backend
            ));
        }
        self.gateway.may_use_backend(&instance).or_else(|error| away(error.to_string()))
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
        let away = |error: Error| Trouble::Away(error.to_string(), false);
        let to = self.gateway.backend(&self.migration.to).map_err(away)?;
        let transport = match to.create_transport_key(call, identity).await {
            Ok(pair) => Transport::Key { key, reference: pair.private, public: pair.public },
            Err(
                error @ (BackendError::Unavailable { .. }
                | BackendError::Busy(_)
                | BackendError::Fault(_)
                | BackendError::Internal { .. }),
            ) => return Err(Trouble::Away(error.to_string(), false)),
            Err(error) => Transport::None(format!("backend `{}` takes no keys: {error}", to.name())),
        };
        Ok(put(self.gateway, &self.next(now, |migration| Migration { transport, ..migration })).await?)
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
        // Nothing needs it any more. One that cannot be destroyed is waste, not danger.
        if let (Transport::Key { key, reference, .. }, Ok(to)) =
            (&self.migration.transport, self.gateway.backend(&self.migration.to))
        {
            let call = Call { request_id: &id, timeout: None };
            let identity = KeyIdentity { instance: self.migration.instance, key: *key, version: key.first_version() };
            let _ = to.destroy_key(call, BackendKey { identity, reference }).await;
        }
        Ok(())
    }

    /// Does what there is to do for one key.
    async fn tend(&self, id: KeyId) -> Result<Outcome, Trouble> {
        let instance = self.migration.instance;
        let store = &self.gateway.store;
        let known = store.stay(instance, id).await?;
        let damaged = |error: StoreError| match error {
            error @ StoreError::Corrupt(_) if known.is_none() => {
                Ok(Outcome::stays(id, 1, false, StayReason::Damaged, error.to_string()))
            }
            StoreError::Corrupt(_) => Ok(Outcome::default()),
            error => Err(Trouble::Stop(error.into())),
        };
        let key = match store.key(instance, id).await {
            Ok(Some(key)) if !key.purging => key,
            Ok(_) => return Ok(Outcome::default()),
            Err(error) => return damaged(error),
        };
        let versions = match self.versions(&key).await {
            Ok(versions) => versions,
            Err(error) => return damaged(error),
        };
        // What a pass has come past already, and could not write down: its versions say that it was done.
        let was_moved = |version: &&KeyVersion| {
            let since = |at| at >= self.migration.pass_at;
            version.former.as_ref().is_some_and(|former| since(former.left_at))
        };
        let moved = versions.iter().filter(was_moved).count() as u64;
        let left = |version: &KeyVersion| version.key_ref.backend == self.migration.from;
        let has_work = versions
            .iter()
            .any(|version| (left(version) && known.is_none()) || (version.former.is_some() && !was_moved(&version)));
        let begun = Outcome { moved, pending: moved, ..Outcome::default() };
        if !has_work {
            return Ok(begun);
        }
        let request_id = EventId::generate(self.gateway.entropy.as_ref()).map_err(Error::from)?.to_string();
        let call = Call { request_id: &request_id, timeout: None };
        let away = |error: Error| Trouble::Away(error.to_string(), false);
        let carrier = Carrier {
            gateway: self.gateway,
            call,
            migration: self.migration,
            from: self.gateway.backend(&self.migration.from).map_err(away)?,
            to: self.gateway.backend(&self.migration.to).map_err(away)?,
            key: &key,
        };
        let mut away = None;
        let work = async |now| match self.carry(&carrier, versions, known.is_some(), begun, now).await {
            Ok(outcome) => Ok(self.told(&key, outcome)),
            Err(Trouble::Away(why, looks)) => {
                away = Some((why.clone(), looks));
                Err(Error::Unavailable { what: "migration".to_owned(), detail: why, retry_after: None })
            }
            Err(Trouble::Stop(error)) => Err(error),
            Err(Trouble::Overtaken) => Err(StoreError::Conflict.into()),
        };
        let outcome = self.gateway.by_itself(Action::MoveKey, &request_id, &key, work).await;
        match (outcome, away) {
            (Ok(outcome), _) => Ok(outcome),
            (Err(_), Some((why, looks))) => Err(Trouble::Away(why, looks)),
            (Err(error), None) => Err(Trouble::Stop(error)),
        }
    }

    fn told(&self, key: &Key, outcome: Outcome) -> Done<Outcome> {
        let Outcome { moved, renewed, destroyed, stay, .. } = &outcome;
        let mut done = Done::new(()).about(key).asked("from", &self.migration.from).asked("to", &self.migration.to);
        done = done.tell("moved", moved).tell("renewed", renewed).tell("destroyed", destroyed);
        if let Some(Stay { versions, reason, .. }) = stay {
            done = done.tell("stayed", versions).tell("reason", reason.as_str());
        }
        done.map(|()| outcome)
    }

    async fn versions(&self, key: &Key) -> Result<Vec<KeyVersion>, StoreError> {
        let mut versions = Vec::new();
        loop {
            let page = PageRequest { offset: versions.len(), limit: PAGE };
            let items = self.gateway.store.versions(key.instance, key.id, page).await?.items;
            let is_last = items.len() < PAGE;
            versions.extend(items);
            if is_last {
                return Ok(versions);
            }
        }
    }

    /// Destroys what is due of a key's versions, and moves those that are to be moved.
    async fn carry(
        &self,
        carrier: &Carrier<'_>,
        versions: Vec<KeyVersion>,
        is_known: bool,
        mut outcome: Outcome,
        now: Timestamp,
    ) -> Result<Outcome, Trouble> {
        let mut stuck: Vec<KeyVersion> = Vec::new();
        let mut why = None;
        for mut version in versions {
            if let Some(former) = version.former.clone() {
                if former.left_at >= self.migration.pass_at {
                    continue;
                }
                if now < former.left_at.plus(self.gateway.limits.migration_grace) {
                    outcome.pending += 1;
                    continue;
                }
                match self.judge(carrier.clear(&version, &former).await, &mut outcome)? {
                    Ok(true) => outcome.destroyed += 1,
                    Ok(false) => continue,
                    Err(stays) => {
                        why = Some(stays);
                        stuck.push(version);
                        continue;
                    }
                }
                version.former = None;
            }
            if version.key_ref.backend != self.migration.from || is_known {
                continue;
            }
            match self.judge(carrier.move_version(&version).await, &mut outcome)? {
                Ok(true) => {
                    outcome.moved += 1;
                    outcome.pending += 1;
                }
                Ok(false) => {}
                Err(stays) => {
                    why = Some(stays);
                    stuck.push(version);
                }
            }
        }
        if let Some((reason, mut detail)) = why.filter(|_| !is_known) {
            let is_current = |version: &KeyVersion| version.id == carrier.key.current_version;
            let mut renewed = !stuck.iter().any(is_current);
            if !renewed && matches!(reason, StayReason::NotTransportable | StayReason::SampleNotOpened) {
                match self.renew(carrier, now).await? {
                    Ok(()) => {
                        outcome.renewed += 1;
                        renewed = true;
                    }
                    Err(hindered) => detail = format!("{detail}; {hindered}"),
                }
            }
            let versions = u32::try_from(stuck.len()).unwrap_or(u32::MAX);
            outcome.stay = Some(Stay { key: carrier.key.id, versions, renewed, reason, detail });
        }
        Ok(outcome)
    }

    /// What is to be done about a version: `true` where it is done, `false` where it is for the next pass, or why it stays.
    fn judge(
        &self,
        done: Result<(), Halt>,
        outcome: &mut Outcome,
    ) -> Result<Result<bool, (StayReason, String)>, Trouble> {
        match done {
            Ok(()) => Ok(Ok(true)),
            Err(Halt::Changed) => {
                outcome.pending += 1;
                Ok(Ok(false))
            }
            Err(Halt::Stays(reason, detail)) => Ok(Err((reason, detail))),
            Err(Halt::Away(why)) if self.insists => Ok(Err((StayReason::BackendFailed, why))),
            Err(Halt::Away(why)) => Err(Trouble::Away(why, true)),
            Err(Halt::Stop(error)) => Err(Trouble::Stop(error)),
        }
    }

    /// Makes a new version on the other backend, where a rotation could: or says what keeps it from that.
    async fn renew(&self, carrier: &Carrier<'_>, now: Timestamp) -> Result<Result<(), String>, Trouble> {
        let key = pipeline::settle(carrier.key.clone(), now);
        let hindered = match (key.kind, key.state) {
            (KeyKind::Standard, _) => Some("a standard key gets no new version"),
            (KeyKind::Root, _) if key.imported => Some("an imported key gets a new version from its owner only"),
            (KeyKind::Root, KeyState::Active) => None,
            (KeyKind::Root, _) => Some("in its state it gets no new version"),
        };
        if let Some(hindered) = hindered {
            return Ok(Err(hindered.to_owned()));
        }
        let to = &self.migration.to;
        match rotate::new_version(self.gateway, carrier.call, to, &key, None, now, |key| key).await {
            Ok(_) => Ok(Ok(())),
            Err(error @ (Error::Busy { .. } | Error::Fault(_))) if !self.insists => {
                Err(Trouble::Away(error.to_string(), true))
            }
            Err(error @ Error::Unavailable { .. }) => Err(Trouble::Away(error.to_string(), false)),
            // Somebody has changed the key meanwhile: it is looked at again.
            Err(error) if error.reason_code() == Some(ReasonCode::Conflict) => {
                Err(Trouble::Away(error.to_string(), false))
            }
            Err(error) => Ok(Err(format!("no new version was made: {error}"))),
        }
    }
}
