//! What a pass does with one key.

use std::fmt;

use super::run::Pass;
use super::transfer::{Carrier, Cleared, Halt};
use crate::access::Action;
use crate::backend::Call;
use crate::clock::Timestamp;
use crate::error::{Error, ReasonCode};
use crate::ids::{EventId, KeyId, VersionId};
use crate::key::{Former, Key, KeyKind, KeyState, KeyVersion};
use crate::migration::{Migration, Stay, StayReason};
use crate::ops::rotate;
use crate::pipeline::{self, Done};
use crate::store::{Change, PageRequest, StoreError};

/// How many versions are read at once.
const PAGE: usize = 500;

/// How many versions the audit log is told by their ids in one event.
const TOLD: usize = 200;

/// Why a step could not be done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Something is away or has too much to do. This passes by itself, or by somebody's hand.
    Away(String),
    /// A backend failed over a key. A look may show that it is the key, not the backend.
    Over(String),
    /// Store, audit log or entropy are away.
    Stop(Error),
    /// The migration was stopped, or changed.
    Overtaken,
}

impl Trouble {
    pub(super) fn away(error: Error) -> Self {
        Self::Away(error.to_string())
    }

    /// Whether it is this one that something is to be done about first.
    pub(super) const fn is_graver(&self, other: &Self) -> bool {
        const fn rank(trouble: &Trouble) -> u8 {
            match trouble {
                Trouble::Over(_) => 0,
                Trouble::Away(_) => 1,
                Trouble::Stop(_) => 2,
                Trouble::Overtaken => 3,
            }
        }
        rank(self) > rank(other)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::Over(why) => f.write_str(why),
            Self::Stop(error) => error.fmt(f),
            Self::Overtaken => f.write_str("the migration was changed"),
        }
    }
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

/// What came of one key.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) moved: u64,
    pub(super) renewed: u64,
    pub(super) destroyed: u64,
    pub(super) stayed: u64,
    pub(super) pending: u64,
    /// What is to be told of it that was not told before.
    pub(super) stay: Option<Stay>,
    /// What its versions are to forget, in the commit that counts it.
    pub(super) changes: Vec<Change>,
}

impl Outcome {
    fn damaged(key: KeyId, error: &StoreError) -> Self {
        let stay = Stay { key, versions: 1, renewed: false, reason: StayReason::Damaged, detail: error.to_string() };
        Self { stayed: 1, stay: Some(stay), ..Self::default() }
    }
}

/// What is known of a key's versions while it is worked on.
#[derive(Default)]
struct Work {
    outcome: Outcome,
    /// How many versions were moved by somebody who did not come to write it down.
    recovered: usize,
    /// The versions that were moved in this pass.
    moved: Vec<VersionId>,
    /// Those whose material was destroyed where it had been.
    destroyed: Vec<VersionId>,
}

/// What is to be done about a version.
enum Judged<T> {
    Done(T),
    /// It is for the next pass.
    Later,
    Stays(StayReason, String),
}

impl Pass<'_> {
    /// Does what there is to do for one key.
    pub(super) async fn tend(&self, id: KeyId) -> Result<Outcome, Trouble> {
        let instance = self.migration.instance;
        let store = &self.gateway.store;
        let known = match store.stay(instance, id).await {
            Ok(known) => known,
            // What was known of it is lost; the next migration looks at it again.
            Err(error @ StoreError::Corrupt(_)) => return Ok(Outcome::damaged(id, &error)),
            Err(error) => return Err(error.into()),
        };
        let damaged = |error: StoreError| match error {
            error @ StoreError::Corrupt(_) if known.is_none() => Ok(Outcome::damaged(id, &error)),
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
        let moved: Vec<_> = versions.iter().filter(|version| self.was_moved(version)).map(|it| it.id).collect();
        let left = |version: &KeyVersion| version.key_ref.backend == self.migration.from;
        let has_work =
            versions.iter().any(|version| (left(version) && known.is_none()) || self.is_due(version, known.as_ref()));
        let count = moved.len() as u64;
        let outcome = Outcome { moved: count, pending: count, ..Outcome::default() };
        if !has_work && (moved.is_empty() || self.told.contains(&id)) {
            return Ok(outcome);
        }
        let work = Work { recovered: moved.len(), moved, outcome, ..Work::default() };
        self.record(&key, versions, known.as_ref(), work).await
    }

    /// What this pass has come past already, and could not write down: its versions say that it was done.
    fn was_moved(&self, version: &KeyVersion) -> bool {
        let since = |at| at >= self.migration.pass_at;
        version.key_ref.backend == self.migration.to
            && version.former.as_ref().is_some_and(|former| since(former.left_at))
    }

    /// Whether it is time to destroy what a version has left. What it came back from is left alone until another migration, or
    /// a purge, comes by.
    fn is_due(&self, version: &KeyVersion, known: Option<&Stay>) -> bool {
        let Migration { pass_at, to, .. } = self.migration;
        let came_back = |former: &Former| known.is_some() && former.key_ref.backend == *to;
        version.former.as_ref().is_some_and(|former| former.left_at < *pass_at && !came_back(former))
    }

    /// Does the work, and has it recorded. What was done by a gateway that was killed before it could record it is recorded
    /// now; so it may stand there twice.
    async fn record(
        &self,
        key: &Key,
        versions: Vec<KeyVersion>,
        known: Option<&Stay>,
        mut work: Work,
    ) -> Result<Outcome, Trouble> {
        let request_id = EventId::generate(self.gateway.entropy.as_ref()).map_err(Error::from)?.to_string();
        let call = Call { request_id: &request_id, timeout: None };
        let carrier = Carrier {
            gateway: self.gateway,
            call,
            migration: self.migration,
            from: self.gateway.backend(&self.migration.from).map_err(Trouble::away)?,
            to: self.gateway.backend(&self.migration.to).map_err(Trouble::away)?,
            key,
        };
        let mut trouble = None;
        let carry = async |now| match self.carry(&carrier, versions, known, &mut work, now).await {
            Ok(()) => Ok(self.told(key, &work)),
            Err(found) => {
                let error =
                    Error::Unavailable { what: "migration".to_owned(), detail: found.to_string(), retry_after: None };
                trouble = Some(found);
                Err(error)
            }
        };
        let recorded = self.gateway.by_itself(Action::MoveKey, &request_id, key, carry).await;
        match (recorded, trouble) {
            (Ok(()), _) => Ok(work.outcome),
            (Err(_), Some(trouble)) => Err(trouble),
            (Err(error), None) => Err(Trouble::Stop(error)),
        }
    }

    fn told(&self, key: &Key, work: &Work) -> Done<()> {
        let Outcome { moved, renewed, destroyed, stay, .. } = &work.outcome;
        let mut done = Done::new(()).about(key).asked("from", &self.migration.from).asked("to", &self.migration.to);
        done = done.asked("migrationId", self.migration.id);
        done = done.tell("moved", moved).tell("renewed", renewed).tell("destroyed", destroyed);
        for (name, versions) in [("movedVersionIds", &work.moved), ("destroyedVersionIds", &work.destroyed)] {
            if !versions.is_empty() {
                done = done.tell(name, listed(versions));
            }
        }
        if work.recovered > 0 {
            done = done.tell("recovered", work.recovered);
        }
        if let Some(Stay { versions, reason, renewed: is_new, .. }) = stay {
            done = done.tell("stayed", versions).tell("reason", reason.as_str());
            // Made by a gateway that may not have come to record it, or by somebody's rotation.
            if *is_new && *renewed == 0 {
                done = done.tell("keyVersionId", key.current_version);
            }
        }
        done
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
        mut versions: Vec<KeyVersion>,
        known: Option<&Stay>,
        work: &mut Work,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let mut stuck: Vec<VersionId> = Vec::new();
        let mut why = None;
        for version in &mut versions {
            match self.clear(carrier, version, known, work, now).await? {
                Judged::Done(()) => {}
                Judged::Later => continue,
                Judged::Stays(reason, detail) => {
                    why = Some((reason, detail));
                    stuck.push(version.id);
                    continue;
                }
            }
            if version.key_ref.backend != self.migration.from || known.is_some() {
                continue;
            }
            match self.judge(carrier, carrier.move_version(version).await, work)? {
                Judged::Done(()) => {
                    work.outcome.moved += 1;
                    work.outcome.pending += 1;
                    work.moved.push(version.id);
                    version.key_ref.backend.clone_from(&self.migration.to);
                }
                Judged::Later => {}
                Judged::Stays(reason, detail) => {
                    why = Some((reason, detail));
                    stuck.push(version.id);
                }
            }
        }
        let Some((reason, detail)) = why else { return Ok(()) };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let mut stay = Stay { key: carrier.key.id, versions: number(stuck.len()), renewed: true, reason, detail };
        match known {
            // It stays, and there may be more of it, or another reason to: as its versions are now.
            Some(known) => {
                let left: Vec<_> = versions.iter().filter(|it| it.key_ref.backend == self.migration.from).collect();
                stay.versions = number(left.len().max(stuck.len())).max(known.versions);
                stay.renewed = !left.iter().any(|version| version.id == carrier.key.current_version);
                if (stay.reason, stay.versions, stay.renewed) == (known.reason, known.versions, known.renewed) {
                    return Ok(());
                }
            }
            None => {
                stay.renewed = !stuck.contains(&carrier.key.current_version);
                if !stay.renewed && matches!(reason, StayReason::NotTransportable | StayReason::SampleNotOpened) {
                    self.renew(carrier, &mut stay, work, now).await?;
                }
            }
        }
        work.outcome.stayed += u64::from(stay.versions - known.map_or(0, |known| known.versions.min(stay.versions)));
        work.outcome.stay = Some(stay);
        Ok(())
    }

    /// Destroys the material of a version where it was before, if it is time. Done where it has left nothing anywhere.
    async fn clear(
        &self,
        carrier: &Carrier<'_>,
        version: &mut KeyVersion,
        known: Option<&Stay>,
        work: &mut Work,
        now: Timestamp,
    ) -> Result<Judged<()>, Trouble> {
        let Some(former) = version.former.clone() else { return Ok(Judged::Done(())) };
        if !self.is_due(version, known) {
            // It came back in this pass, and who did that did not come to write it down.
            let came_back =
                version.key_ref.backend == self.migration.from && former.key_ref.backend == self.migration.to;
            return Ok(if came_back && known.is_none() {
                let why = format!("backend `{}` did not show it any more after it had moved", self.migration.to);
                Judged::Stays(StayReason::CameBack, why)
            } else {
                Judged::Later
            });
        }
        if now < former.left_at.plus(self.gateway.limits.migration_grace) {
            work.outcome.pending += 1;
            return Ok(Judged::Later);
        }
        match self.judge(carrier, carrier.clear(version, &former).await, work)? {
            Judged::Later => Ok(Judged::Later),
            Judged::Stays(reason, why) => Ok(Judged::Stays(reason, why)),
            Judged::Done(Cleared::Gone) => {
                let after = KeyVersion { former: None, ..version.clone() };
                work.outcome.changes.push(carrier.change(version, after));
                work.destroyed.push(version.id);
                work.outcome.destroyed += 1;
                // One that moves on does so in the next pass, by what its record says then.
                if version.key_ref.backend == self.migration.from && known.is_none() {
                    work.outcome.pending += 1;
                }
                Ok(Judged::Later)
            }
            Judged::Done(Cleared::Back(back, why)) => {
                *version = *back;
                if version.key_ref.backend != self.migration.to {
                    return Ok(Judged::Stays(StayReason::CameBack, why));
                }
                work.outcome.moved += 1;
                work.outcome.pending += 1;
                work.moved.push(version.id);
                Ok(Judged::Later)
            }
        }
    }

    fn judge<T>(&self, carrier: &Carrier<'_>, done: Result<T, Halt>, work: &mut Work) -> Result<Judged<T>, Trouble> {
        match done {
            Ok(done) => Ok(Judged::Done(done)),
            Err(Halt::Changed) => {
                work.outcome.pending += 1;
                Ok(Judged::Later)
            }
            Err(Halt::Stays(reason, detail)) => Ok(Judged::Stays(reason, detail)),
            Err(Halt::Away(why)) if self.suspects.contains(&carrier.key.id) => {
                Ok(Judged::Stays(StayReason::BackendFailed, why))
            }
            Err(Halt::Away(why)) => Err(Trouble::Over(why)),
            Err(Halt::Passing(why)) => Err(Trouble::Away(why)),
            Err(Halt::Stop(error)) => Err(Trouble::Stop(error)),
        }
    }

    /// Makes a new version on the other backend, where a rotation could: or says what keeps it from that. It is recorded as
    /// the rotation that it is.
    async fn renew(
        &self,
        carrier: &Carrier<'_>,
        stay: &mut Stay,
        work: &mut Work,
        now: Timestamp,
    ) -> Result<(), Trouble> {
        let key = pipeline::settle(carrier.key.clone(), now);
        let hindered = match (key.kind, key.state) {
            (KeyKind::Standard, _) => Some("a standard key gets no new version"),
            (KeyKind::Root, _) if key.imported => Some("an imported key gets a new version from its owner only"),
            (KeyKind::Root, KeyState::Active) => None,
            (KeyKind::Root, _) => Some("in its state it gets no new version"),
        };
        if let Some(hindered) = hindered {
            stay.detail = format!("{}; {hindered}", stay.detail);
            return Ok(());
        }
        let rotate = async |now| {
            let to = &self.migration.to;
            let rotated = rotate::new_version(self.gateway, carrier.call, to, &key, None, now, |key| key).await?;
            Ok(rotate::told(&rotated))
        };
        match self.gateway.by_itself(Action::Rotate, carrier.call.request_id, &key, rotate).await {
            Ok(()) => {
                work.outcome.renewed += 1;
                stay.renewed = true;
                Ok(())
            }
            Err(error @ Error::Fault(_)) if !self.suspects.contains(&key.id) => Err(Trouble::Over(error.to_string())),
            Err(error @ (Error::Busy { .. } | Error::Unavailable { .. })) => Err(Trouble::Away(error.to_string())),
            // It was made. The next try finds it.
            Err(error @ Error::Unrecorded(_)) => Err(Trouble::Stop(error)),
            // Somebody has changed the key meanwhile: it is looked at again.
            Err(error) if error.reason_code() == Some(ReasonCode::Conflict) => Err(Trouble::Away(error.to_string())),
            Err(error) => {
                stay.detail = format!("{}; no new version was made: {error}", stay.detail);
                Ok(())
            }
        }
    }
}

/// Ids, as the audit log is told them.
fn listed(versions: &[VersionId]) -> String {
    let mut ids: Vec<String> = versions.iter().take(TOLD).map(ToString::to_string).collect();
    if let Some(more) = versions.len().checked_sub(TOLD).filter(|more| *more > 0) {
        ids.push(format!("and {more} more"));
    }
    ids.join(",")
}
