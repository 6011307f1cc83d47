//! Key rings: made, listed, emptied, deleted.

use super::*;
use crate::key::KeyState;
use crate::ops::rings::{self, RingView};
use crate::ops::{delete, read};
use crate::store::{Change, Page, PageRequest};

const ALL: PageRequest = PageRequest { offset: 0, limit: 5_000 };

fn make(world: &World, id: &str) -> Result<bool, Error> {
    block_on(rings::create(&world.gateway, &cx(FIRST), id))
}

fn remove(world: &World, id: &str, force: bool) -> Result<(), Error> {
    block_on(rings::delete(&world.gateway, &cx(FIRST), id, Ok(force)))
}

fn list(world: &World, cx: &RequestContext, page: PageRequest) -> Page<RingView> {
    block_on(rings::list(&world.gateway, cx, Ok(page))).unwrap()
}

fn ids(page: &Page<RingView>) -> Vec<&str> {
    page.items.iter().map(|ring| ring.id.as_str()).collect()
}

fn key_in(world: &World, ring: &str) -> Key {
    block_on(create::create(&world.gateway, &in_ring(ring), false, Ok(root("k")))).unwrap().key
}

fn delete_key(world: &World, key: &Key) {
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(key), Ok(false))).unwrap();
}

fn look(world: &World, key: &Key) -> Key {
    block_on(read::metadata(&world.gateway, &cx(FIRST), &by_id(key))).unwrap()
}

#[test]
fn default_comes_first_and_only_with_its_id() {
    let world = World::new();
    assert_eq!(ids(&list(&world, &cx(FIRST), ALL)), ["default"]);
    for ring in ["zeta", "alpha", "a1"] {
        assert!(make(&world, ring).unwrap());
    }
    let page = list(&world, &cx(FIRST), ALL);
    assert_eq!(ids(&page), ["default", "a1", "alpha", "zeta"]);
    assert_eq!(page.items[0].created, None);
    assert_eq!(page.items[1].created.as_ref().unwrap().by, "IBMid-1");
    let part = list(&world, &cx(FIRST), PageRequest { offset: 1, limit: 2 });
    assert_eq!((ids(&part), part.total), (vec!["a1", "alpha"], 4));
    assert!(list(&world, &cx(FIRST), PageRequest { offset: 9, limit: 2 }).items.is_empty());
    assert_eq!(ids(&list(&world, &cx(SECOND), ALL)), ["default"], "rings are their instance's");
}

#[test]
fn whoever_asks_in_a_ring_sees_that_one_only() {
    let world = World::new();
    make(&world, "mine").unwrap();
    make(&world, "other").unwrap();
    let page = list(&world, &in_ring("mine"), ALL);
    assert_eq!((ids(&page), page.total), (vec!["mine"], 1));
    assert!(list(&world, &in_ring("none"), ALL).items.is_empty());
}

#[test]
fn a_ring_that_is_there_is_not_new() {
    let world = World::new();
    assert!(make(&world, "prod").unwrap());
    let made = list(&world, &cx(FIRST), ALL);
    world.clock.travel(HOUR);
    assert!(!make(&world, "prod").unwrap());
    assert!(!make(&world, "default").unwrap());
    assert_eq!(list(&world, &cx(FIRST), ALL), made);
}

#[test]
fn what_cannot_be_a_ring_is_refused() {
    let world = World::new();
    for bad in ["x", "under_score", "é-é", "", &"r".repeat(101)] {
        assert_eq!(code(make(&world, bad)), ReasonCode::InvalidPathParam, "{bad:?}");
        assert_eq!(code(remove(&world, bad, true)), ReasonCode::InvalidPathParam, "{bad:?}");
    }
    assert_eq!(code(remove(&world, "default", false)), ReasonCode::InvalidPathParam);
    assert_eq!(code(remove(&world, "default", true)), ReasonCode::InvalidPathParam);
    assert_eq!(code(remove(&world, "none", false)), ReasonCode::KeyRingNotFound);
    assert_eq!(code(remove(&world, "none", true)), ReasonCode::KeyRingNotFound);
}

#[test]
fn an_instance_has_fifty_rings_beside_default() {
    let world = World::new();
    for n in 0..50 {
        assert!(make(&world, &format!("ring-{n}")).unwrap());
    }
    assert_eq!(code(make(&world, "one-more")), ReasonCode::KeyRingQuota);
    assert!(!make(&world, "ring-7").unwrap(), "one that is there takes no place");
    remove(&world, "ring-7", false).unwrap();
    assert!(make(&world, "one-more").unwrap());
}

#[test]
fn a_ring_with_keys_goes_by_force_only_and_only_when_all_are_deleted() {
    let world = World::new();
    make(&world, "prod").unwrap();
    let (live, deleted) = (key_in(&world, "prod"), key_in(&world, "prod"));
    delete_key(&world, &deleted);
    assert_eq!(code(remove(&world, "prod", false)), ReasonCode::KeyRingNotEmpty);
    assert_eq!(code(remove(&world, "prod", true)), ReasonCode::KeyRingKeysNotDeleted);
    assert_eq!(look(&world, &deleted).ring.as_str(), "prod", "nothing is moved while one key is live");

    delete_key(&world, &live);
    assert_eq!(code(remove(&world, "prod", false)), ReasonCode::KeyRingNotEmpty, "deleted keys count");
    world.clock.travel(HOUR);
    remove(&world, "prod", true).unwrap();
    for key in [&live, &deleted] {
        let moved = look(&world, key);
        assert!(moved.ring.is_default());
        assert_eq!((moved.state, moved.updated_at), (KeyState::Destroyed, key.created_at.plus(HOUR)));
    }
    assert_eq!(ids(&list(&world, &cx(FIRST), ALL)), ["default"]);
}

#[test]
fn the_chain_knows_which_ring_is_to_go_and_whether_by_force() {
    let world = World::new();
    make(&world, "prod").unwrap();
    remove(&world, "prod", true).unwrap();
    assert_eq!(
        world.gate.facts(),
        [("force", "true"), ("new-ring", "default")].map(|(a, b)| (a.to_owned(), b.to_owned()))
    );
    let broken = Err(Error::refused(ReasonCode::InvalidQueryParam, "`force` is true or false"));
    let refused = block_on(rings::delete(&world.gateway, &cx(FIRST), "prod", broken));
    assert_eq!(code(refused), ReasonCode::InvalidQueryParam);
    assert!(world.gate.facts().is_empty());
}

/// Puts many deleted keys into a ring, without the backend.
fn many_deleted(world: &World, ring: &str, count: u64) -> Key {
    let deleted = key_in(world, ring);
    delete_key(world, &deleted);
    let deleted = look(world, &deleted);
    let version = |key: &Key| {
        let version = world.gateway.store.version(FIRST, deleted.id, deleted.current_version);
        let version = block_on(version).unwrap().unwrap();
        crate::key::KeyVersion { id: key.current_version, ..version }
    };
    for n in 1..count {
        let mut bytes = [0xAB; 16];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        let id = crate::ids::KeyId::from_bytes(bytes);
        let key = Key { id, current_version: id.first_version(), revision: 1, ..deleted.clone() };
        let change = Change::InsertKey { version: version(&key), key };
        block_on(world.gateway.store.commit(vec![change])).unwrap();
    }
    deleted
}

#[test]
fn a_ring_of_more_keys_than_one_commit_takes_is_emptied_too() {
    let world = World::new();
    make(&world, "big").unwrap();
    let one = many_deleted(&world, "big", 1_001);
    remove(&world, "big", true).unwrap();
    assert!(look(&world, &one).ring.is_default());
    let left = crate::store::KeyFilter {
        states: KeyState::ALL.to_vec(),
        ring: Some(KeyRingId::parse("big").unwrap()),
        ..Default::default()
    };
    assert_eq!(block_on(world.gateway.store.count(FIRST, &left)).unwrap(), 0);
    assert_eq!(ids(&list(&world, &cx(FIRST), ALL)), ["default"]);
}

#[test]
fn a_ring_of_exactly_as_many_keys_as_one_commit_takes_goes() {
    let world = World::new();
    make(&world, "big").unwrap();
    many_deleted(&world, "big", 500);
    remove(&world, "big", true).unwrap();
    assert_eq!(ids(&list(&world, &cx(FIRST), ALL)), ["default"]);
}

#[test]
fn a_key_that_comes_into_the_ring_meanwhile_keeps_it() {
    for force in [false, true] {
        let world = World::new();
        make(&world, "prod").unwrap();
        let gateway = world.meanwhile(|gateway| {
            block_on(create::create(gateway, &in_ring("prod"), false, Ok(root("late")))).unwrap();
        });
        let refused = block_on(rings::delete(&gateway, &cx(FIRST), "prod", Ok(force)));
        let expected = if force { ReasonCode::KeyRingKeysNotDeleted } else { ReasonCode::KeyRingNotEmpty };
        assert_eq!(code(refused), expected);
        assert_eq!(ids(&list(&world, &cx(FIRST), ALL)), ["default", "prod"]);
    }
}

#[test]
fn many_who_make_the_same_ring_make_it_once_and_keys_and_rings_never_miss_each_other() {
    let world = World::new();
    let new = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                if make(&world, "prod").unwrap() {
                    new.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(new.into_inner(), 1);
    for _ in 0..50 {
        std::thread::scope(|scope| {
            scope.spawn(|| drop(make(&world, "brief")));
            scope.spawn(|| drop(remove(&world, "brief", false)));
            scope.spawn(|| {
                drop(block_on(create::create(&world.gateway, &in_ring("brief"), false, Ok(root("k")))));
            });
        });
    }
    let states = KeyState::ALL.to_vec();
    let brief = crate::store::KeyFilter { states, ring: KeyRingId::parse("brief").ok(), ..Default::default() };
    let keys = block_on(world.gateway.store.count(FIRST, &brief)).unwrap();
    let is_there = ids(&list(&world, &cx(FIRST), ALL)).contains(&"brief");
    assert!(keys == 0 || is_there, "{keys} keys are in a ring that is gone");
}
