//! Changes in the life of a key that its adopters must hear of: the change, what becomes of its registrations, and an
//! event for each of them that it concerns, in one commit.

use std::collections::BTreeSet;

use super::registrations::acknowledge;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::EventId;
use crate::key::Key;
use crate::pipeline::Gateway;
use crate::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use crate::store::{Batch, Change, PageRequest, RegistrationFilter, StoreError};

/// Why a change was not committed.
pub(super) enum Failed {
    /// It did not come as far as the commit, so it is not there.
    Before(Error),
    /// The store refused it, or could not do it: then only a look tells whether it is there.
    Commit(StoreError),
}

impl Failed {
    /// Whether it is sure that nothing was committed.
    pub(super) fn is_undone(&self) -> bool {
        match self {
            Self::Before(_) => true,
            Self::Commit(error) => is_refusal(error),
        }
    }
}

/// Whether a commit that ended with this left nothing. After any other failure it may be there.
pub(super) fn is_refusal(error: &StoreError) -> bool {
    !matches!(error, StoreError::Unavailable(_) | StoreError::Corrupt(_))
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Before(error) => error,
            Failed::Commit(error) => error.into(),
        }
    }
}

/// All registrations of a key.
pub(super) async fn registrations(gateway: &Gateway, key: &Key) -> Result<Vec<Registration>, StoreError> {
    let filter = RegistrationFilter { key: Some(key.id), ..RegistrationFilter::default() };
    let all = PageRequest { offset: 0, limit: usize::MAX };
    Ok(gateway.store.registrations(key.instance, &filter, all).await?.items)
}

/// What becomes of a registration in this state when this happens to its key; `None` where it does not concern it.
const fn after(state: RegistrationState, kind: LifecycleKind) -> Option<RegistrationState> {
    match (state, kind) {
        (RegistrationState::Active, LifecycleKind::Deleted) => Some(RegistrationState::Suspended),
        (RegistrationState::Suspended, LifecycleKind::Restored) => Some(RegistrationState::Active),
        // The service of a Suspended one has not said yet that it knows of the deletion.
        (RegistrationState::Active, _) | (RegistrationState::Suspended, LifecycleKind::Synced) => Some(state),
        (RegistrationState::Suspended | RegistrationState::Deactivated, _) => None,
    }
}

/// Commits a key as it is now to be, `more` beside it, and an event for each adopter that it concerns. Registrations of a
/// key that is deleted become Suspended, and Active again when it is restored: then there is nothing left to acknowledge
/// of the deletion. Returns the key as committed.
///
/// The key's revision keeps registrations from slipping in between: whatever changes a registration raises it.
pub(super) async fn commit(
    gateway: &Gateway,
    key: Key,
    kind: LifecycleKind,
    now: Timestamp,
    more: Vec<Change>,
) -> Result<Key, Failed> {
    let key = Key { told_at: Some(now), ..key };
    let mut batch = vec![Change::UpdateKey { key: key.clone() }];
    batch.extend(more);
    batch.extend(tell(gateway, &key, kind, now).await.map_err(Failed::Before)?);
    gateway.store.commit(batch).await.map_err(Failed::Commit)?;
    Ok(key)
}

/// What a change in the life of a key means for its adopters.
async fn tell(gateway: &Gateway, key: &Key, kind: LifecycleKind, now: Timestamp) -> Result<Batch, Error> {
    let mut batch = Batch::new();
    let mut revived = BTreeSet::new();
    for registration in registrations(gateway, key).await? {
        let Some(state) = after(registration.state, kind) else { continue };
        batch.push(event(gateway, key, &registration, kind, now)?);
        if state != registration.state {
            if state == RegistrationState::Active {
                revived.insert(registration.crn.clone());
            }
            let revision = registration.revision + 1;
            batch.push(Change::PutRegistration { registration: Registration { state, revision, ..registration } });
        }
    }
    if !revived.is_empty() {
        let all = PageRequest { offset: 0, limit: usize::MAX };
        let pending = gateway.store.events(key.instance, Some(key.id), all).await?.items;
        let void = |event: &&LifecycleEvent| event.kind == LifecycleKind::Deleted && revived.contains(&event.crn);
        batch.extend(pending.iter().filter(void).map(acknowledge));
    }
    Ok(batch)
}

/// An event for one adopter.
fn event(
    gateway: &Gateway,
    key: &Key,
    registration: &Registration,
    kind: LifecycleKind,
    now: Timestamp,
) -> Result<Change, Error> {
    let id = EventId::generate(gateway.entropy.as_ref())?;
    let event = LifecycleEvent {
        instance: key.instance,
        id,
        key: key.id,
        crn: registration.crn.clone(),
        kind,
        at: now,
        version: key.current_version,
    };
    Ok(Change::InsertEvent { event })
}
