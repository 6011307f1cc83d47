//! `POST /event_ack`, and what nobody has acknowledged yet. Services are told of what happens to keys that protect their
//! resources, and say when they have done their part.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Problems;
use super::registrations::{ATTEMPTS, acknowledge as remove, forward, touch};
use crate::access::{Action, PrincipalKind};
use crate::clock::Timestamp;
use crate::crn::ResourceCrn;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{EventId, KeyId, VersionId};
use crate::key::{Key, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use crate::store::{Batch, Change, Page, PageRequest, StoreError};

/// How many events one request can acknowledge; the API publishes no bound. They go in one commit.
pub const MOST: usize = 1_000;

/// That a service has done its part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Of which event.
    pub event: EventId,
    /// How the resource's data keys stand now, in the service's word: `[A-Z_]{1,64}`, such as `DEK_ENABLED`.
    pub adopter_key_state: String,
    /// When, as the service has it.
    pub at: Timestamp,
    /// The key version that the resource is protected by now, where said.
    pub version: Option<VersionId>,
}

/// Takes acknowledgements: all of them or none. An acknowledged event is gone. With it, the registration moves to the key
/// version that the service names, if that is a newer one of the key; and one that is Suspended, because its key was
/// deleted, becomes Deactivated.
///
/// # Errors
/// `MISSING_FIELD_ERR` where there is none, `INVALID_FIELD_ERR`; `EVENT_NOT_FOUND` for an event that is not there (any
/// more), or is another service's; and what chain, store and audit log fail with.
pub async fn acknowledge(
    gateway: &Gateway,
    cx: &RequestContext,
    input: Result<Vec<Acknowledgement>, Error>,
) -> Result<(), Error> {
    gateway
        .run(cx, Ask::instance(Action::AcknowledgeEvent), async |admitted: Admitted| {
            let input = input?;
            check(&input)?;
            let by = Stamp { at: admitted.now, by: cx.principal.id.clone() };
            for _ in 0..ATTEMPTS {
                let batch = batch(gateway, cx, &input, &by).await?;
                match gateway.store.commit(batch).await {
                    Ok(()) => return Ok(Done::new(()).tell("totalResources", input.len())),
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(StoreError::Conflict.into())
        })
        .await
}

fn check(input: &[Acknowledgement]) -> Result<(), Error> {
    let mut problems = Problems::default();
    if input.is_empty() {
        problems.missing("eventId");
    }
    if input.len() > MOST {
        problems.field("eventId", format!("a request acknowledges at most {MOST} events; send the others in another"));
    }
    let is_word = |text: &str| text.len() <= 64 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    if input.iter().any(|one| one.adopter_key_state.is_empty() || !is_word(&one.adopter_key_state)) {
        problems.field("adopterKeyState", "`adopterKeyState` is a word of 1 to 64 characters A-Z and '_'");
    }
    let mut events: Vec<_> = input.iter().map(|one| one.event).collect();
    events.sort_unstable();
    events.dedup();
    if events.len() < input.len() {
        problems.field("eventId", "an `eventId` stands twice; acknowledge each event once");
    }
    problems.finish()
}

/// What acknowledgements change, on what the store has now.
async fn batch(gateway: &Gateway, cx: &RequestContext, input: &[Acknowledgement], by: &Stamp) -> Result<Batch, Error> {
    let mut batch = Vec::with_capacity(input.len());
    let mut keys: BTreeMap<KeyId, Key> = BTreeMap::new();
    let mut changed: BTreeMap<(KeyId, ResourceCrn), (Registration, bool)> = BTreeMap::new();
    for one in input {
        let event = gateway.store.event(cx.instance, one.event).await?;
        let event = event.filter(|event| is_own(cx, event)).ok_or_else(missing)?;
        let key = match keys.get(&event.key) {
            Some(key) => key.clone(),
            None => {
                let key = gateway.store.key(cx.instance, event.key).await?;
                key.filter(|key| is_in_ring(cx, key)).ok_or_else(missing)?
            }
        };
        batch.push(remove(&event));
        let place = (event.key, event.crn.clone());
        let (before, was_changed) = match changed.remove(&place) {
            Some(found) => found,
            None => match gateway.store.registration(cx.instance, event.key, &event.crn).await? {
                Some(registration) => (registration, false),
                // It was deleted, and its key still told of it.
                None => continue,
            },
        };
        let after = acknowledged(gateway, &key, before.clone(), &event, one.version).await?;
        let is_changed = was_changed || after != before;
        changed.insert(place, (after, is_changed));
        keys.insert(key.id, key);
    }
    let changed: Vec<_> = changed.into_values().filter(|(_, is_changed)| *is_changed).collect();
    let of_changed: BTreeSet<KeyId> = changed.iter().map(|(registration, _)| registration.key).collect();
    keys.retain(|id, _| of_changed.contains(id));
    batch.extend(keys.into_values().map(touch));
    batch.extend(changed.into_iter().map(|(registration, _)| {
        let revision = registration.revision + 1;
        Change::PutRegistration { registration: Registration { updated: by.clone(), revision, ..registration } }
    }));
    Ok(batch)
}

/// A registration as its service's acknowledgement leaves it.
async fn acknowledged(
    gateway: &Gateway,
    key: &Key,
    registration: Registration,
    event: &LifecycleEvent,
    version: Option<VersionId>,
) -> Result<Registration, Error> {
    let state = match (event.kind, registration.state) {
        // Of this deletion, and not of one before it that was taken back.
        (LifecycleKind::Deleted, RegistrationState::Suspended) if is_of_deletion(key, event) => {
            RegistrationState::Deactivated
        }
        (_, state) => state,
    };
    let registration = Registration { state, ..registration };
    let moved = match version {
        Some(version) => forward(gateway, key, registration.clone(), version).await?,
        None => None,
    };
    Ok(moved.unwrap_or(registration))
}

/// Whether an event tells of the deletion that the key is under now.
fn is_of_deletion(key: &Key, event: &LifecycleEvent) -> bool {
    key.deletion.as_ref().is_some_and(|deletion| event.at >= deletion.at)
}

/// Whether the caller is the service that an event is for. The chain lets services in here and knows nothing of events.
fn is_own(cx: &RequestContext, event: &LifecycleEvent) -> bool {
    match &cx.principal.kind {
        PrincipalKind::Service { name } => name == event.crn.service_name(),
        PrincipalKind::User => false,
    }
}

fn is_in_ring(cx: &RequestContext, key: &Key) -> bool {
    cx.ring.as_ref().is_none_or(|ring| *ring == key.ring)
}

fn missing() -> Error {
    Reason::new(ReasonCode::EventNotFound, "Event does not exist").field("eventId").into()
}

/// Lists the events that no service has acknowledged yet, oldest first. The ring that the request names narrows that to
/// the keys in it.
///
/// # Errors
/// Those of the query, and what chain, store and audit log fail with.
pub async fn list(
    gateway: &Gateway,
    cx: &RequestContext,
    page: Result<PageRequest, Error>,
) -> Result<Page<LifecycleEvent>, Error> {
    gateway
        .run(cx, Ask::instance(Action::ListEvents), async |_: Admitted| {
            let page = page?;
            let page = match cx.ring {
                None => gateway.store.events(cx.instance, None, page).await?,
                Some(_) => of_ring(gateway, cx, page).await?,
            };
            let count = page.items.len();
            Ok(Done::new(page).tell("totalResources", count))
        })
        .await
}

/// Not fast, and not asked often: events are few, and those of one ring fewer.
async fn of_ring(
    gateway: &Gateway,
    cx: &RequestContext,
    page: PageRequest,
) -> Result<Page<LifecycleEvent>, StoreError> {
    let all = PageRequest { offset: 0, limit: usize::MAX };
    let mut here: BTreeMap<KeyId, bool> = BTreeMap::new();
    let mut found = Vec::new();
    for event in gateway.store.events(cx.instance, None, all).await?.items {
        let is_here = match here.get(&event.key) {
            Some(is_here) => *is_here,
            None => {
                let key = gateway.store.key(cx.instance, event.key).await?;
                key.is_some_and(|key| is_in_ring(cx, &key))
            }
        };
        here.insert(event.key, is_here);
        if is_here {
            found.push(event);
        }
    }
    let total = found.len();
    Ok(Page { items: found.into_iter().skip(page.offset).take(page.limit).collect(), total })
}
