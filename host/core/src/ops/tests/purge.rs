//! Purge: when it may be, and what is left when it fails half way.

use super::common::{MS, fact};
use super::*;
use crate::audit::Severity;
use crate::backend::BackendError;
use crate::ids::Alias;
use crate::key::KeyState;
use crate::ops::{life, purge};
use crate::store::Change;

fn purge(world: &World, key: &Key) -> Result<Key, Error> {
    block_on(purge::purge(&world.gateway, &cx(FIRST), &by_id(key)))
}

#[test]
fn a_purge_comes_four_hours_after_the_deletion_at_the_earliest_and_leaves_nothing() {
    let world = World::new();
    let key = world.create(CreateKey { aliases: texts(&["prod"]), ..root("k") }).unwrap().key;
    let rotated = world.rotate(&key).unwrap();
    let crn = world.register(&key, 1, false);
    let deleted = world.delete_by_force(&key).unwrap();
    assert_eq!(code(purge(&world, &key)), ReasonCode::TooEarly);
    world.clock.travel(4 * HOUR - MS);
    assert_eq!(code(purge(&world, &key)), ReasonCode::TooEarly);
    assert_eq!((world.backend.destroyed(), world.stored(&key)), (0, Some(deleted.clone())));
    world.clock.travel(MS);
    assert_eq!(purge(&world, &key).unwrap(), deleted, "the key as it was");

    assert_eq!(world.backend.destroyed(), 2, "the material of every version");
    assert!(world.stored(&key).is_none() && world.registration(&key, &crn).is_none());
    assert!(world.events(&key).is_empty());
    let version = block_on(world.gateway.store.version(FIRST, key.id, rotated.current_version)).unwrap();
    assert!(version.is_none());
    assert_eq!(code(purge(&world, &key)), ReasonCode::KeyNotFound);
    assert!(world.create(CreateKey { aliases: texts(&["prod"]), ..root("k") }).is_ok(), "its alias is free");
}

#[test]
fn the_audit_log_is_told_of_a_purge_with_its_dates() {
    let world = World::new();
    let key = world.root_key();
    let at = world.delete(&key).unwrap().deletion.unwrap().at;
    world.clock.travel(4 * HOUR);
    purge(&world, &key).unwrap();
    let event = world.last_event();
    assert_eq!(
        (event.action.as_str(), event.severity, event.key),
        ("kms.secrets.purge", Severity::Critical, Some(key.id))
    );
    assert_eq!(fact(&event.response, "deletionDate"), Some(at.to_rfc3339().as_str()));
    assert_eq!(fact(&event.response, "purgeAllowedFrom"), Some(at.plus(4 * HOUR).to_rfc3339().as_str()));
    assert_eq!(fact(&event.response, "purgeEligibleOn"), Some(at.plus(90 * 24 * HOUR).to_rfc3339().as_str()));
}

#[test]
fn a_purge_that_a_backend_stops_can_be_repeated_and_the_key_does_not_come_back_meanwhile() {
    let unavailable =
        BackendError::Unavailable { backend: "fake".to_owned(), detail: "gone".to_owned(), retry_after: None };
    for failure in [unavailable, BackendError::Busy(None)] {
        let world = World::new();
        let key = world.root_key();
        world.delete(&key).unwrap();
        world.clock.travel(4 * HOUR);
        world.backend.fail_with(Some(failure));
        assert!(matches!(purge(&world, &key), Err(Error::Unavailable { .. } | Error::Busy { .. })));
        let left = world.stored(&key).unwrap();
        assert!(left.purging && left.state == KeyState::Destroyed);
        world.backend.fail_with(None);
        assert_eq!(code(world.restore(&key, None)), ReasonCode::RestoreExpired);
        assert!(purge(&world, &key).is_ok());
        assert!(world.stored(&key).is_none());
    }
}

#[test]
fn what_a_purge_left_is_finished_by_the_gateway_itself() {
    let world = World::new();
    let key = world.root_key();
    world.delete(&key).unwrap();
    world.clock.travel(4 * HOUR);
    assert_eq!(block_on(life::tend(&world.gateway)).done, 0, "nobody began it");
    world.backend.fail_with(Some(BackendError::Busy(None)));
    assert!(purge(&world, &key).is_err());
    world.backend.fail_with(None);
    assert_eq!(block_on(life::tend(&world.gateway)).done, 1);
    assert!(world.stored(&key).is_none());
}

#[test]
fn material_that_is_gone_already_is_as_good() {
    let world = World::new();
    let key = world.root_key();
    world.delete(&key).unwrap();
    world.clock.travel(4 * HOUR);
    world.backend.fail_with(Some(BackendError::KeyNotFound));
    assert!(purge(&world, &key).is_ok());
    assert!(world.stored(&key).is_none());
}

#[test]
fn a_key_that_its_backend_does_not_know_is_not_purged_as_if_it_did() {
    let world = World::new();
    let key = world.root_key();
    world.delete(&key).unwrap();
    world.clock.travel(4 * HOUR);
    world.backend.fail_with(Some(BackendError::InvalidKeyRef { backend: "fake".to_owned() }));
    assert!(matches!(purge(&world, &key), Err(Error::Internal(_))));
    assert!(world.stored(&key).is_some());
}

#[test]
fn a_change_between_admission_and_purge_stops_it_before_anything_is_destroyed() {
    let world = World::new();
    let key = world.root_key();
    world.delete(&key).unwrap();
    world.clock.travel(4 * HOUR);
    let id = key.id;
    let gateway = world.meanwhile(move |gateway| {
        let key = block_on(gateway.store.key(FIRST, id)).unwrap().unwrap();
        let restored = Key { state: KeyState::Active, deletion: None, revision: key.revision + 1, ..key };
        block_on(gateway.store.commit(vec![Change::UpdateKey { key: restored }])).unwrap();
    });
    assert_eq!(code(block_on(purge::purge(&gateway, &cx(FIRST), &by_id(&key)))), ReasonCode::Conflict);
    assert_eq!((world.backend.destroyed(), world.stored(&key).unwrap().state), (0, KeyState::Active));
}

#[test]
fn a_record_is_removed_while_it_is_purging_and_never_otherwise() {
    let world = World::new();
    let key = world.root_key();
    let deleted = world.delete(&key).unwrap();
    let stale = deleted.revision - 1;
    assert!(matches!(block_on(purge::remove(&world.gateway, &deleted, stale)), Err(Error::Internal(_))));
    assert_eq!(world.stored(&key), Some(deleted.clone()));
    world.put(Key { purging: true, ..deleted.clone() });
    assert!(block_on(purge::remove(&world.gateway, &deleted, stale)).is_ok(), "others only changed it");
    assert_eq!(world.stored(&key), None);
}

#[test]
fn a_key_is_purged_by_its_alias_too() {
    let world = World::new();
    let key = world.create(CreateKey { aliases: texts(&["prod"]), ..root("k") }).unwrap().key;
    world.delete(&key).unwrap();
    world.clock.travel(4 * HOUR);
    let alias = KeySelector::Alias(Alias::parse("prod").unwrap());
    assert!(block_on(purge::purge(&world.gateway, &cx(FIRST), &alias)).is_ok());
    assert!(world.stored(&key).is_none());
}
