//! Events: what happens to a key is told to its adopters until they say that they know.

use super::registrations::{COS, bucket, register};
use super::*;
use crate::crn::ResourceCrn;
use crate::ids::{EventId, VersionId};
use crate::ops::events::{self, Acknowledgement};
use crate::ops::registrations::RegistrationInput;
use crate::ops::{delete, rings};
use crate::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use crate::store::{Change, PageRequest};

const ALL: PageRequest = PageRequest { offset: 0, limit: 5_000 };

fn pending_in(world: &World, cx: &RequestContext) -> Vec<LifecycleEvent> {
    block_on(events::list(&world.gateway, cx, Ok(ALL))).unwrap().items
}

fn pending(world: &World) -> Vec<LifecycleEvent> {
    pending_in(world, &cx(FIRST))
}

fn acknowledgement(event: EventId, version: Option<VersionId>) -> Acknowledgement {
    Acknowledgement { event, adopter_key_state: "DEK_ENABLED".to_owned(), at: Timestamp::from_unix_ms(1), version }
}

fn acknowledge_by(world: &World, cx: &RequestContext, all: Vec<Acknowledgement>) -> Result<(), Error> {
    block_on(events::acknowledge(&world.gateway, cx, Ok(all)))
}

fn acknowledge(world: &World, all: Vec<Acknowledgement>) -> Result<(), Error> {
    acknowledge_by(world, &service(COS), all)
}

fn registration(world: &World, key: &Key, name: &str) -> Registration {
    let crn = ResourceCrn::parse(&bucket(name)).unwrap();
    block_on(world.gateway.store.registration(FIRST, key.id, &crn)).unwrap().unwrap()
}

/// A key with the bucket `b`, rotated once.
fn rotated() -> (World, Key, LifecycleEvent) {
    let world = World::new();
    let key = world.root_key();
    register(&world, &key, &bucket("b"), RegistrationInput::default()).unwrap();
    let key = world.rotate(&key).unwrap();
    let event = pending(&world).remove(0);
    (world, key, event)
}

#[test]
fn an_event_is_acknowledged_once() {
    let (world, key, event) = rotated();
    assert_eq!((event.kind, event.key, event.version), (LifecycleKind::Rotated, key.id, key.current_version));
    acknowledge(&world, vec![acknowledgement(event.id, None)]).unwrap();
    assert!(pending(&world).is_empty());
    assert_eq!(code(acknowledge(&world, vec![acknowledgement(event.id, None)])), ReasonCode::EventNotFound);
    assert_eq!(
        registration(&world, &key, "b").version,
        key.id.first_version(),
        "the service did not say that it moved"
    );
}

#[test]
fn a_registration_moves_to_the_version_that_was_acknowledged() {
    let (world, key, event) = rotated();
    acknowledge(&world, vec![acknowledgement(event.id, Some(key.current_version))]).unwrap();
    let moved = registration(&world, &key, "b");
    assert_eq!((moved.version, moved.version_created_at), (key.current_version, key.current_version_created_at));
    assert_eq!(moved.updated.by, "iam-ServiceId-cloud-object-storage");
    let stored = block_on(world.gateway.store.key(FIRST, key.id)).unwrap().unwrap();
    assert_eq!(stored, Key { revision: key.revision + 1, ..key });
}

#[test]
fn a_version_that_is_another_key_s_or_an_old_one_moves_nothing() {
    let (world, key, event) = rotated();
    let foreign = world.root_key().current_version;
    acknowledge(&world, vec![acknowledgement(event.id, Some(foreign))]).unwrap();
    assert_eq!(registration(&world, &key, "b").version, key.id.first_version());

    world.clock.travel(HOUR);
    let newest = world.rotate(&key).unwrap().current_version;
    let event = pending(&world).remove(0);
    acknowledge(&world, vec![acknowledgement(event.id, Some(newest))]).unwrap();
    world.clock.travel(HOUR);
    world.rotate(&key).unwrap();
    let event = pending(&world).remove(0);
    acknowledge(&world, vec![acknowledgement(event.id, Some(key.current_version))]).unwrap();
    assert_eq!(registration(&world, &key, "b").version, newest, "it does not go back");
}

#[test]
fn all_of_a_request_are_acknowledged_or_none() {
    let (world, key, first) = rotated();
    register(&world, &key, &bucket("c"), RegistrationInput::default()).unwrap();
    world.clock.travel(HOUR);
    let newest = world.rotate(&key).unwrap().current_version;
    let all: Vec<_> = pending(&world).iter().map(|event| acknowledgement(event.id, Some(newest))).collect();
    assert_eq!(all.len(), 3);
    let unknown = acknowledgement(EventId::from_bytes([0xEE; 16]), None);
    let with_unknown = all.iter().cloned().chain([unknown]).collect();
    assert_eq!(code(acknowledge(&world, with_unknown)), ReasonCode::EventNotFound);
    assert_eq!((pending(&world).len(), pending(&world)[0].id), (3, first.id));
    assert_eq!(registration(&world, &key, "b").version, key.id.first_version());

    acknowledge(&world, all).unwrap();
    assert!(pending(&world).is_empty());
    for name in ["b", "c"] {
        assert_eq!(registration(&world, &key, name).version, newest);
    }
}

#[test]
fn nobody_acknowledges_for_another_or_learns_of_anothers_events() {
    let (world, _, event) = rotated();
    let acknowledgement = || vec![acknowledgement(event.id, None)];
    let nobody = service("");
    let elsewhere = RequestContext { instance: SECOND, ..service(COS) };
    for other in [&cx(FIRST), &service("databases-for-postgresql"), &nobody, &elsewhere] {
        assert_eq!(code(acknowledge_by(&world, other, acknowledgement())), ReasonCode::EventNotFound);
    }
    assert_eq!(pending(&world).len(), 1);
}

#[test]
fn the_ring_of_a_request_narrows_what_it_is_about() {
    let (world, key, event) = rotated();
    block_on(rings::create(&world.gateway, &cx(FIRST), "prod")).unwrap();
    let other = block_on(create::create(&world.gateway, &in_ring("prod"), false, Ok(root("k")))).unwrap().key;
    register(&world, &other, &bucket("c"), RegistrationInput::default()).unwrap();
    world.rotate(&other).unwrap();
    let of = |ring: &str| pending_in(&world, &in_ring(ring)).iter().map(|event| event.key).collect::<Vec<_>>();
    assert_eq!((of("default"), of("prod"), of("none")), (vec![key.id], vec![other.id], vec![]));
    let in_prod = RequestContext { ring: KeyRingId::parse("prod").ok(), ..service(COS) };
    let refused = acknowledge_by(&world, &in_prod, vec![acknowledgement(event.id, None)]);
    assert_eq!(code(refused), ReasonCode::EventNotFound);
    let page = block_on(events::list(&world.gateway, &cx(FIRST), Ok(PageRequest { offset: 1, limit: 5 }))).unwrap();
    assert_eq!((page.items.len(), page.total), (1, 2));
}

#[test]
fn a_deletion_is_acknowledged_by_its_event_too() {
    let (world, key, _) = rotated();
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&key), Ok(true))).unwrap();
    assert_eq!(registration(&world, &key, "b").state, RegistrationState::Suspended);
    let deletion = pending(&world).into_iter().find(|event| event.kind == LifecycleKind::Deleted).unwrap();
    acknowledge(&world, vec![acknowledgement(deletion.id, None)]).unwrap();
    assert_eq!(registration(&world, &key, "b").state, RegistrationState::Deactivated);
    assert_eq!(pending(&world).len(), 1, "the rotation is still to be acknowledged");
}

#[test]
fn a_restore_takes_the_deletion_back_from_who_has_not_acknowledged_it() {
    let (world, key, _) = rotated();
    register(&world, &key, &bucket("c"), RegistrationInput::default()).unwrap();
    let deletions = || pending(&world).into_iter().filter(|event| event.kind == LifecycleKind::Deleted);
    let delete = || block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&key), Ok(true))).unwrap();
    delete();
    let (old, other): (Vec<_>, Vec<_>) = deletions().partition(|event| event.crn.as_str() == bucket("b"));
    acknowledge(&world, vec![acknowledgement(other[0].id, None)]).unwrap();
    world.clock.travel(HOUR);
    world.restore(&key, None).unwrap();
    assert_eq!(deletions().count(), 0);
    assert_eq!(registration(&world, &key, "b").state, RegistrationState::Active);
    assert_eq!(registration(&world, &key, "c").state, RegistrationState::Deactivated, "its service knew");
    assert_eq!(code(acknowledge(&world, vec![acknowledgement(old[0].id, None)])), ReasonCode::EventNotFound);
    assert_eq!(registration(&world, &key, "b").state, RegistrationState::Active);

    // Nor does an event of a deletion that was taken back, wherever it comes from, tell that this one is known.
    world.clock.travel(HOUR);
    delete();
    world.commit(vec![Change::InsertEvent { event: old[0].clone() }]);
    acknowledge(&world, vec![acknowledgement(old[0].id, None)]).unwrap();
    assert_eq!(registration(&world, &key, "b").state, RegistrationState::Suspended);
    let event = deletions().next().unwrap();
    acknowledge(&world, vec![acknowledgement(event.id, None)]).unwrap();
    assert_eq!(registration(&world, &key, "b").state, RegistrationState::Deactivated);
}

#[test]
fn acknowledgements_are_checked_before_any_is_looked_up() {
    let (world, _, event) = rotated();
    let state = |word: &str| {
        let one = Acknowledgement { adopter_key_state: word.to_owned(), ..acknowledgement(event.id, None) };
        acknowledge(&world, vec![one])
    };
    for bad in ["", "dek_enabled", "DEK ENABLED", "DEK\n", &"D".repeat(65)] {
        assert_eq!(code(state(bad)), ReasonCode::InvalidField, "{bad:?}");
    }
    let twice = vec![acknowledgement(event.id, None); 2];
    assert_eq!(code(acknowledge(&world, twice)), ReasonCode::InvalidField);
    assert_eq!(code(acknowledge(&world, Vec::new())), ReasonCode::MissingField);
    let many = (0..1_001_u128).map(|n| acknowledgement(EventId::from_bytes(n.to_be_bytes()), None)).collect();
    assert_eq!(code(acknowledge(&world, many)), ReasonCode::InvalidField);
    assert_eq!(pending(&world).len(), 1);
    state(&"D".repeat(64)).unwrap();
}

#[test]
fn of_many_who_acknowledge_the_same_at_once_one_gets_through() {
    let (world, key, event) = rotated();
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| match acknowledge(&world, vec![acknowledgement(event.id, Some(key.current_version))]) {
                Ok(()) => _ = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
                Err(error) => assert_eq!(error.reason_code(), Some(ReasonCode::EventNotFound)),
            });
        }
    });
    assert_eq!(done.into_inner(), 1);
    assert_eq!(registration(&world, &key, "b").revision, 2);
}
