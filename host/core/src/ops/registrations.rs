//! Registrations: services that protect a resource of theirs with a root key say so (`api-v2: .../registrations`).
//!
//! Every change of a registration raises the revision of its key in the same commit, so that a change in the key's life
//! never misses one: a key is deleted by what its registrations say, and each adopter is told what becomes of the key.

mod input;
mod list;

pub use input::RegistrationInput;
pub use list::{ListRegistrations, list};

use crate::access::Action;
use crate::clock::Timestamp;
use crate::crn::ResourceCrn;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{KeySelector, VersionId};
use crate::key::{Key, KeyKind, KeyState, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use crate::store::{Batch, Change, PageRequest, RegistrationFilter, StoreError};

/// A registration, and what its key is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationView {
    /// The registration.
    pub registration: Registration,
    /// The name of its key.
    pub key_name: String,
}

/// How often a change begins anew because somebody changed the key or another registration of it at the same time. A
/// service can register many resources at once with one key.
pub(super) const ATTEMPTS: u32 = 64;

/// Registers a resource with a key. Returns the registration, and whether it is new: the same again is not. One that
/// ended with the deletion of its key, which was restored, begins anew.
///
/// # Errors
/// `INVALID_PARAM_ERR` for the CRN, `INVALID_FIELD_ERR`, `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_REG_ERR`,
/// `KEY_INVALID_STATE_ERR` unless the key is Active, `KEY_VERSION_INVALID` for a version that is not the newest,
/// `REGISTRATION_DUP_ERR` where there is one that says something else, `REGISTRATION_QUOTA_ERR` where there are
/// [`crate::limits::Limits::registrations_per_key`], and what chain, store and audit log fail with.
pub async fn create(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    crn: &str,
    input: Result<RegistrationInput, Error>,
) -> Result<(RegistrationView, bool), Error> {
    addressed(gateway, cx, Action::CreateRegistration, selector, crn, input.map(Wish::Create)).await
}

/// Changes of a registration what `input` says, and leaves the rest as it is.
///
/// # Errors
/// `INVALID_PARAM_ERR` for the CRN, `INVALID_FIELD_ERR`, `KEY_NOT_FOUND_ERR`, `REGISTRATION_NOT_FOUND_ERR`,
/// `KEY_VERSION_INVALID` for a version that is not the key's or is older than the registration's, and what chain, store
/// and audit log fail with.
pub async fn merge(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    crn: &str,
    input: Result<RegistrationInput, Error>,
) -> Result<(RegistrationView, bool), Error> {
    addressed(gateway, cx, Action::MergeRegistration, selector, crn, input.map(Wish::Merge)).await
}

/// Replaces a registration: what `input` does not say is gone, apart from the key version.
///
/// # Errors
/// As for [`merge`].
pub async fn write(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    crn: &str,
    input: Result<RegistrationInput, Error>,
) -> Result<(RegistrationView, bool), Error> {
    addressed(gateway, cx, Action::WriteRegistration, selector, crn, input.map(Wish::Write)).await
}

/// Deletes a registration, and with it what its service has not acknowledged yet. Returns it as it was.
///
/// # Errors
/// `INVALID_PARAM_ERR` for the CRN, `KEY_NOT_FOUND_ERR`, `REGISTRATION_NOT_FOUND_ERR`, and what chain, store and audit log
/// fail with.
pub async fn delete(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    crn: &str,
) -> Result<RegistrationView, Error> {
    let deleted = addressed(gateway, cx, Action::DeleteRegistration, selector, crn, Ok(Wish::Delete)).await?;
    Ok(deleted.0)
}

/// Acknowledges that the key of a registration was deleted. Returns the registration as it is now.
///
/// # Errors
/// `INVALID_FIELD_ERR` for the CRN, `KEY_NOT_FOUND_ERR`, `REGISTRATION_NOT_FOUND_ERR`, `REG_INVALID_STATE_ERR` unless the
/// registration is Suspended, and what chain, store and audit log fail with.
pub async fn deactivate(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    crn: Result<String, Error>,
) -> Result<RegistrationView, Error> {
    let crn = crn.and_then(|crn| {
        ResourceCrn::parse(&crn).map_err(|rule| {
            let text = format!("The field 'resourceCrn' must be: {rule}");
            Reason::new(ReasonCode::InvalidField, text).field("resourceCrn").into()
        })
    });
    run(gateway, cx, Action::DeactivateRegistration, selector, crn, Ok(Wish::Deactivate)).await.map(|(view, _)| view)
}

/// What is to become of a registration.
enum Wish {
    Create(RegistrationInput),
    Merge(RegistrationInput),
    Write(RegistrationInput),
    Delete,
    Deactivate,
}

impl Wish {
    fn check(&self) -> Result<(), Error> {
        match self {
            Self::Create(input) | Self::Merge(input) | Self::Write(input) => input.check(),
            Self::Delete | Self::Deactivate => Ok(()),
        }
    }
}

/// A change of the registration that the path names.
async fn addressed(
    gateway: &Gateway,
    cx: &RequestContext,
    action: Action,
    selector: &KeySelector,
    crn: &str,
    wish: Result<Wish, Error>,
) -> Result<(RegistrationView, bool), Error> {
    let crn = ResourceCrn::parse(crn).map_err(|rule| {
        let text = format!("The param 'urlEncodedResourceCRN' must be: {rule}");
        Reason::new(ReasonCode::InvalidParam, text).param("urlEncodedResourceCRN").into()
    });
    run(gateway, cx, action, selector, crn, wish).await
}

async fn run(
    gateway: &Gateway,
    cx: &RequestContext,
    action: Action,
    selector: &KeySelector,
    crn: Result<ResourceCrn, Error>,
    wish: Result<Wish, Error>,
) -> Result<(RegistrationView, bool), Error> {
    let mut ask = Ask::key(action, selector);
    if let Ok(crn) = &crn {
        ask = ask.with("resource.service", crn.service_name());
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let (crn, wish) = (crn?, wish?);
            wish.check()?;
            let key = admitted.key()?;
            let by = Stamp { at: admitted.now, by: cx.principal.id.clone() };
            let (registration, is_new) = change(gateway, key, &crn, &wish, &by).await?;
            let view = RegistrationView { registration, key_name: key.name.clone() };
            Ok(Done::new((view, is_new)).about(key).asked("resourceCrn", &crn))
        })
        .await
}

/// What is to be done, and what is told of it.
struct Step {
    registration: Registration,
    is_new: bool,
    /// Nothing, where all is as wished already.
    changes: Batch,
}

/// Does what is wished, on what the store has at that moment. Begins anew while others come first.
async fn change(
    gateway: &Gateway,
    key: &Key,
    crn: &ResourceCrn,
    wish: &Wish,
    by: &Stamp,
) -> Result<(Registration, bool), Error> {
    for _ in 0..ATTEMPTS {
        // The stored key, not the settled one: that an expired key becomes Deactivated is not for a registration to do.
        // In another ring it is not the key that the chain was asked about.
        let stored = gateway.store.key(key.instance, key.id).await?;
        let stored = stored.filter(|stored| stored.ring == key.ring).ok_or(StoreError::Conflict)?;
        let registration = gateway.store.registration(key.instance, key.id, crn).await?;
        let step = step(gateway, &stored, registration, crn, wish, by).await?;
        if step.changes.is_empty() {
            return Ok((step.registration, step.is_new));
        }
        let mut batch = vec![touch(stored)];
        batch.extend(step.changes);
        match gateway.store.commit(batch).await {
            Ok(()) => return Ok((step.registration, step.is_new)),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

/// The key that registrations of are changed: as it is, with one more revision.
pub(super) fn touch(key: Key) -> Change {
    let revision = key.revision + 1;
    Change::UpdateKey { key: Key { revision, ..key } }
}

async fn step(
    gateway: &Gateway,
    key: &Key,
    before: Option<Registration>,
    crn: &ResourceCrn,
    wish: &Wish,
    by: &Stamp,
) -> Result<Step, Error> {
    let before = match (wish, before) {
        (Wish::Create(input), before) => {
            let step = create_step(key, before, crn, input, by)?;
            // One that is there already, in whatever state, does not count twice.
            if step.registration.revision == 1 && !step.changes.is_empty() {
                check_quota(gateway, key).await?;
            }
            return Ok(step);
        }
        (_, None) => return Err(Error::refused(ReasonCode::RegistrationNotFound, "Registration does not exist")),
        (_, Some(before)) => before,
    };
    let next = Registration { updated: by.clone(), revision: before.revision + 1, ..before.clone() };
    match wish {
        Wish::Create(input) | Wish::Write(input) => {
            let next = Registration {
                description: input.description.clone(),
                prevent_key_deletion: input.prevent_key_deletion.unwrap_or(false),
                note: input.note.clone(),
                ..next
            };
            Ok(put(moved(gateway, key, next, input.version).await?, false))
        }
        Wish::Merge(input) => {
            let next = Registration {
                description: input.description.clone().or(next.description),
                prevent_key_deletion: input.prevent_key_deletion.unwrap_or(next.prevent_key_deletion),
                note: input.note.clone().or(next.note),
                ..next
            };
            Ok(put(moved(gateway, key, next, input.version).await?, false))
        }
        Wish::Delete => delete_step(gateway, before).await,
        Wish::Deactivate => deactivate_step(gateway, before, next).await,
    }
}

async fn delete_step(gateway: &Gateway, before: Registration) -> Result<Step, Error> {
    let mut changes = vec![Change::RemoveRegistration {
        instance: before.instance,
        key: before.key,
        crn: before.crn.clone(),
        revision: before.revision,
    }];
    changes.extend(pending(gateway, &before).await?.iter().map(acknowledge));
    Ok(Step { registration: before, is_new: false, changes })
}

async fn deactivate_step(gateway: &Gateway, before: Registration, next: Registration) -> Result<Step, Error> {
    if before.state != RegistrationState::Suspended {
        return Err(Error::refused(
            ReasonCode::RegistrationState,
            "The registration is not Suspended: there is no deletion of its key to acknowledge",
        ));
    }
    let mut step = put(Registration { state: RegistrationState::Deactivated, ..next }, false);
    let pending = pending(gateway, &before).await?;
    step.changes.extend(pending.iter().filter(|event| event.kind == LifecycleKind::Deleted).map(acknowledge));
    Ok(step)
}

fn create_step(
    key: &Key,
    before: Option<Registration>,
    crn: &ResourceCrn,
    input: &RegistrationInput,
    by: &Stamp,
) -> Result<Step, Error> {
    check_key(key, by.at)?;
    if input.version.is_some_and(|version| version != key.current_version) {
        return Err(version_invalid("a new registration begins at the key's newest version; leave `keyVersionId` out"));
    }
    let revision = before.as_ref().map_or(0, |before| before.revision) + 1;
    match before {
        Some(before) if before.protects() && input.says(&before) => {
            return Ok(Step { registration: before, is_new: false, changes: Vec::new() });
        }
        Some(before) if before.protects() => {
            return Err(Error::refused(
                ReasonCode::RegistrationDuplicate,
                "The registration exists already with other properties; change it with PATCH, or replace it with PUT",
            ));
        }
        _ => {}
    }
    let registration = Registration {
        instance: key.instance,
        key: key.id,
        crn: crn.clone(),
        created: by.clone(),
        updated: by.clone(),
        description: input.description.clone(),
        prevent_key_deletion: input.prevent_key_deletion.unwrap_or(false),
        note: input.note.clone(),
        version: key.current_version,
        version_created_at: key.current_version_created_at,
        state: RegistrationState::Active,
        revision,
    };
    Ok(put(registration, true))
}

fn put(registration: Registration, is_new: bool) -> Step {
    let changes = vec![Change::PutRegistration { registration: registration.clone() }];
    Step { registration, is_new, changes }
}

/// Each deletion, restore and rotation of a key changes all its registrations in one commit. That the count still holds
/// then is the key's revision to see to.
async fn check_quota(gateway: &Gateway, key: &Key) -> Result<(), Error> {
    let most = gateway.limits.registrations_per_key;
    let filter = RegistrationFilter { key: Some(key.id), ..RegistrationFilter::default() };
    let count = PageRequest { offset: 0, limit: 0 };
    if gateway.store.registrations(key.instance, &filter, count).await?.total >= most {
        let text = format!("A key has at most {most} registrations; delete one that is not needed, or use another key");
        return Err(Error::refused(ReasonCode::RegistrationQuota, text));
    }
    Ok(())
}

/// Only Active root keys take registrations.
fn check_key(key: &Key, now: Timestamp) -> Result<(), Error> {
    if key.kind == KeyKind::Standard {
        let text = "Resources are registered with root keys, and this is a standard key";
        return Err(Error::refused(ReasonCode::KeyRootRequiredToRegister, text));
    }
    if key.state_at(now) != KeyState::Active {
        let text = "The key is not Active, and only Active keys take registrations";
        return Err(Error::refused(ReasonCode::KeyInvalidState, text));
    }
    Ok(())
}

/// A registration at another version of its key, where one is given: never at an older one than before.
async fn moved(
    gateway: &Gateway,
    key: &Key,
    registration: Registration,
    version: Option<VersionId>,
) -> Result<Registration, Error> {
    match version.filter(|version| *version != registration.version) {
        None => Ok(registration),
        Some(version) => forward(gateway, key, registration, version)
            .await?
            .ok_or_else(|| version_invalid("a version of this key, the one that the registration has or a newer one")),
    }
}

/// A registration at a newer version of its key; `None` when it is not a version of the key, or not newer.
pub(super) async fn forward(
    gateway: &Gateway,
    key: &Key,
    registration: Registration,
    version: VersionId,
) -> Result<Option<Registration>, Error> {
    let Some(newer) = gateway.store.version(key.instance, key.id, version).await? else { return Ok(None) };
    let older = gateway.store.version(key.instance, key.id, registration.version).await?;
    if older.is_some_and(|older| older.sequence >= newer.sequence) {
        return Ok(None);
    }
    Ok(Some(Registration { version, version_created_at: newer.created_at, ..registration }))
}

/// What the service of a registration has not acknowledged yet.
async fn pending(gateway: &Gateway, registration: &Registration) -> Result<Vec<LifecycleEvent>, Error> {
    let all = PageRequest { offset: 0, limit: usize::MAX };
    let mut events = gateway.store.events(registration.instance, Some(registration.key), all).await?.items;
    events.retain(|event| event.crn == registration.crn);
    Ok(events)
}

/// That an event needs no acknowledgement any more.
pub(super) fn acknowledge(event: &LifecycleEvent) -> Change {
    Change::RemoveEvent { instance: event.instance, event: event.id }
}

fn version_invalid(rule: &str) -> Error {
    let text = format!("The field 'keyVersionId' must be: {rule}");
    Reason::new(ReasonCode::KeyVersionInvalid, text).field("keyVersionId").into()
}
