//! `GET`, `POST` and `DELETE /key_rings`: the parts of an instance.

use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{InstanceId, KeyRingId};
use crate::key::{Key, KeyState, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::ring::KeyRing;
use crate::store::{Change, KeyFilter, Page, PageRequest, Sort, StoreError};

/// A key ring, as lists tell of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingView {
    /// Its id.
    pub id: KeyRingId,
    /// Made when and by whom. Nobody made `default`.
    pub created: Option<Stamp>,
}

/// How many keys are moved out of a ring in one commit.
const MOVED_AT_ONCE: usize = 500;

/// How often moving keys out of a ring begins anew because somebody changed one of them.
const ATTEMPTS: u32 = 16;

/// Lists the key rings of an instance: `default` first, then by id. A ring that the request names narrows the list to
/// that one, because the caller may have been allowed for that one only.
///
/// # Errors
/// Those of the query, and what chain, store and audit log fail with.
pub async fn list(
    gateway: &Gateway,
    cx: &RequestContext,
    page: Result<PageRequest, Error>,
) -> Result<Page<RingView>, Error> {
    gateway
        .run(cx, Ask::ring(Action::ListKeyRings, None), async |_: Admitted| {
            let page = page?;
            let made = gateway.store.rings(cx.instance).await?.into_iter();
            let made = made.map(|KeyRing { id, created, .. }| RingView { id, created: Some(created) });
            let default = RingView { id: KeyRingId::default(), created: None };
            let wanted = |ring: &RingView| cx.ring.as_ref().is_none_or(|named| *named == ring.id);
            let rings: Vec<_> = std::iter::once(default).chain(made).filter(wanted).collect();
            let total = rings.len();
            let items: Vec<_> = rings.into_iter().skip(page.offset).take(page.limit).collect();
            let count = items.len();
            Ok(Done::new(Page { items, total }).tell("totalResources", count))
        })
        .await
}

/// Makes a key ring. Returns whether it is new: one that is there already is as good, and `default` always is.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`, `KEY_RING_RESOURCE_QUOTA_ERR`, and what chain, store and audit log fail with.
pub async fn create(gateway: &Gateway, cx: &RequestContext, id: &str) -> Result<bool, Error> {
    let id = KeyRingId::parse(id);
    gateway
        .run(cx, Ask::ring(Action::CreateKeyRing, id.as_ref().ok()), async |admitted: Admitted| {
            let id = named(&id)?;
            let is_new = !id.is_default() && gateway.store.ring(cx.instance, id).await?.is_none();
            let is_new = is_new && insert(gateway, cx, id, admitted.now).await?;
            Ok(Done::new(is_new).asked("keyRingId", id))
        })
        .await
}

/// Puts a ring into the store; says whether it was not there before.
async fn insert(gateway: &Gateway, cx: &RequestContext, id: &KeyRingId, now: Timestamp) -> Result<bool, Error> {
    let created = Stamp { at: now, by: cx.principal.id.clone() };
    let ring = KeyRing { instance: cx.instance, id: id.clone(), created };
    let change = Change::InsertRing { ring, at_most: gateway.limits.rings_per_instance };
    match gateway.store.commit(gateway.in_instance(cx.instance, change)).await {
        Ok(()) => Ok(true),
        // Somebody else made it at the same time.
        Err(StoreError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Deletes a key ring. By force, the deleted keys in it are moved to `default`; while a key in it is not deleted, nothing
/// happens.
///
/// Up to 500 keys and their ring go in one commit. Of more, those moved before the last commit stay in `default` even if
/// a new key in the ring then keeps it.
///
/// # Errors
/// `INVALID_PATH_PARAM_ERR`, also for `default`; `KEY_RING_NOT_FOUND_ERR`; `KEY_RING_NOT_EMPTY_ERR`, by force
/// `KEY_RING_KEYS_NOT_DELETED_ERR`; and what chain, store and audit log fail with.
pub async fn delete(gateway: &Gateway, cx: &RequestContext, id: &str, force: Result<bool, Error>) -> Result<(), Error> {
    let id = KeyRingId::parse(id);
    let mut ask = Ask::ring(Action::DeleteKeyRing, id.as_ref().ok());
    if let Ok(force) = force {
        ask = ask.with("force", force);
        if force {
            // What is left in it goes there.
            ask = ask.with("new-ring", KeyRingId::default());
        }
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let force = force?;
            let id = named(&id)?;
            if id.is_default() {
                return Err(wrong("`default` is there for good, and is not deleted"));
            }
            if gateway.store.ring(cx.instance, id).await?.is_none() {
                return Err(missing(id));
            }
            if force {
                empty_and_remove(gateway, cx.instance, id, admitted.now).await?;
            } else {
                remove(gateway, cx.instance, id, Vec::new()).await?;
            }
            Ok(Done::new(()).asked("keyRingId", id))
        })
        .await
}

/// Moves the deleted keys of a ring to `default`, and removes it with the last of them.
async fn empty_and_remove(
    gateway: &Gateway,
    instance: InstanceId,
    id: &KeyRingId,
    now: Timestamp,
) -> Result<(), Error> {
    let mut attempts = 0;
    while attempts < ATTEMPTS {
        refuse_live_keys(gateway, instance, id).await?;
        let deleted = KeyFilter { states: vec![KeyState::Destroyed], ring: Some(id.clone()), ..KeyFilter::default() };
        let page = PageRequest { offset: 0, limit: MOVED_AT_ONCE };
        let keys = gateway.store.keys(instance, &deleted, &Sort::default(), page).await?;
        let count = keys.len();
        let changes: Vec<_> = keys.into_iter().map(|key| to_default(key, now)).collect();
        if count == MOVED_AT_ONCE {
            match gateway.store.commit(changes).await {
                Ok(()) => {}
                // One of them was restored or purged meanwhile.
                Err(StoreError::Conflict) => attempts += 1,
                Err(error) => return Err(error.into()),
            }
            continue;
        }
        match remove(gateway, instance, id, changes).await {
            Ok(()) => return Ok(()),
            // The same; or a key came into the ring, which the next look tells apart.
            Err(error) if matches!(error.reason_code(), Some(ReasonCode::Conflict | ReasonCode::KeyRingNotEmpty)) => {
                attempts += 1;
            }
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Conflict.into())
}

fn to_default(key: Key, now: Timestamp) -> Change {
    let key = Key { ring: KeyRingId::default(), updated_at: now, revision: key.revision + 1, ..key };
    Change::UpdateKey { key }
}

/// Removes a ring, after `changes` in the same commit.
async fn remove(
    gateway: &Gateway,
    instance: InstanceId,
    id: &KeyRingId,
    mut changes: Vec<Change>,
) -> Result<(), Error> {
    changes.push(Change::RemoveRing { instance, ring: id.clone() });
    match gateway.store.commit(changes).await {
        Ok(()) => Ok(()),
        Err(StoreError::Conflict) if gateway.store.ring(instance, id).await?.is_none() => Err(missing(id)),
        Err(error) => Err(error.into()),
    }
}

async fn refuse_live_keys(gateway: &Gateway, instance: InstanceId, id: &KeyRingId) -> Result<(), Error> {
    let live = KeyFilter { ring: Some(id.clone()), ..KeyFilter::default() };
    match gateway.store.count(instance, &live).await? {
        0 => Ok(()),
        live => Err(Error::refused(
            ReasonCode::KeyRingKeysNotDeleted,
            format!(
                "The key ring '{id}' has {live} keys that are not deleted; delete them, or move them to another ring"
            ),
        )),
    }
}

fn named<'a>(id: &'a Result<KeyRingId, &'static str>) -> Result<&'a KeyRingId, Error> {
    id.as_ref().map_err(|rule| wrong(rule))
}

fn wrong(rule: &str) -> Error {
    Reason::new(ReasonCode::InvalidPathParam, format!("The path_param 'key-ring-id' is wrong: {rule}"))
        .path("key-ring-id")
        .into()
}

fn missing(id: &KeyRingId) -> Error {
    Reason::new(ReasonCode::KeyRingNotFound, format!("There is no key ring '{id}' in this instance"))
        .path("key-ring-id")
        .into()
}
