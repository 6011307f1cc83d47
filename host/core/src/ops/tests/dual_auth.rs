//! Deleting with two authorizations, step by step as the two documents on it tell (`manage-dual-authorization`,
//! `delete-dual-auth-keys`). That it takes somebody else is asked of the built-in rule first; here the rules say yes to
//! all, and the domain holds by itself.

use super::common::{DAY, MS, by, fact};
use super::*;
use crate::audit::Severity;
use crate::key::KeyState;
use crate::ops::instance_policies::{self, WriteInstancePolicy};
use crate::ops::policies::{self, WritePolicies};
use crate::ops::{authorize, delete};
use crate::policy::{InstancePolicyKind, PolicyAttributes};

fn set(world: &World, user: &str, key: &Key) -> Result<Key, Error> {
    block_on(authorize::set(&world.gateway, &by(user), &by_id(key)))
}

fn unset(world: &World, user: &str, key: &Key) -> Result<Key, Error> {
    block_on(authorize::unset(&world.gateway, &by(user), &by_id(key)))
}

fn delete(world: &World, user: &str, key: &Key) -> Result<Key, Error> {
    block_on(delete::delete(&world.gateway, &by(user), &by_id(key), Ok(false)))
}

fn switch_instance(world: &World, enabled: bool) {
    let policy =
        WriteInstancePolicy { kind: InstancePolicyKind::DualAuthDelete, enabled, attributes: PolicyAttributes::None };
    block_on(instance_policies::write(&world.gateway, &cx(FIRST), false, Ok(vec![policy]))).unwrap();
}

/// A key that two people delete.
fn dual_key(world: &World) -> Key {
    let key = world.root_key();
    let input = WritePolicies { dual_auth_delete: Some(true), rotation: None };
    block_on(policies::write(&world.gateway, &cx(FIRST), &by_id(&key), Ok(input))).unwrap().0
}

#[test]
fn the_instance_policy_is_for_keys_that_are_made_while_it_is_on() {
    let world = World::new();
    let before = world.root_key();
    switch_instance(&world, true);
    let during = world.root_key();
    let standard = world.create(CreateKey { kind: KeyKind::Standard, ..root("s") }).unwrap().key;
    switch_instance(&world, false);
    let after = world.root_key();
    for (key, expected) in [(&before, false), (&during, true), (&standard, true), (&after, false)] {
        assert_eq!(key.needs_dual_auth(), expected);
        let deleted = delete(&world, "first", key);
        assert_eq!(deleted.is_err(), expected);
        if expected {
            assert_eq!(code(deleted), ReasonCode::AuthorizationsNotMet);
            assert_eq!(world.stored(key).as_ref(), Some(key), "existing keys keep what they were made with");
        }
    }
}

#[test]
fn one_user_authorizes_and_another_one_deletes_within_a_week() {
    for (after, expected) in [
        (Duration::ZERO, None),
        (7 * DAY - MS, None),
        (7 * DAY, Some(ReasonCode::AuthorizationsNotMet)),
        (7 * DAY + MS, Some(ReasonCode::AuthorizationsNotMet)),
    ] {
        let world = World::new();
        let key = dual_key(&world);
        let authorized = set(&world, "first", &key).unwrap();
        assert_eq!(authorized.state, KeyState::Active, "it stays in use");
        assert!(world.wrap(&key, b"x", &[]).is_ok());
        let lapses_at = authorized.authorization.as_ref().unwrap().lapses_at;
        assert_eq!(lapses_at, world.now().plus(7 * DAY));
        world.clock.travel(after);
        assert_eq!(code(delete(&world, "first", &key)), ReasonCode::AuthorizationsNotMet, "not by the same user");
        let deleted = delete(&world, "second", &key);
        assert_eq!(deleted.as_ref().err().and_then(Error::reason_code), expected, "after {after:?}");
        if let Ok(deleted) = deleted {
            assert_eq!((deleted.state, &deleted.authorization), (KeyState::Destroyed, &None), "used up");
            assert_eq!(deleted.deletion.unwrap().by, "second");
        }
    }
}

#[test]
fn force_does_not_replace_the_second_user() {
    let world = World::new();
    let key = dual_key(&world);
    assert_eq!(code(world.delete_by_force(&key)), ReasonCode::AuthorizationsNotMet);
}

#[test]
fn an_authorization_can_be_taken_back_and_given_again() {
    let world = World::new();
    let key = dual_key(&world);
    set(&world, "first", &key).unwrap();
    assert!(unset(&world, "third", &key).unwrap().authorization.is_none(), "whoever gave it");
    assert_eq!(code(delete(&world, "second", &key)), ReasonCode::AuthorizationsNotMet);
    let before = world.stored(&key);
    unset(&world, "first", &key).unwrap();
    assert_eq!(world.stored(&key), before, "taking back what is not there is done with");
    set(&world, "first", &key).unwrap();
    assert!(delete(&world, "second", &key).is_ok());
}

#[test]
fn a_later_authorization_replaces_the_first_and_its_giver_is_the_one_who_cannot_delete() {
    let world = World::new();
    let key = dual_key(&world);
    set(&world, "first", &key).unwrap();
    world.clock.travel(DAY);
    let again = set(&world, "second", &key).unwrap().authorization.unwrap();
    assert_eq!((again.given.by.as_str(), again.lapses_at), ("second", world.now().plus(7 * DAY)));
    assert_eq!(code(delete(&world, "second", &key)), ReasonCode::AuthorizationsNotMet);
    assert!(delete(&world, "first", &key).is_ok());
}

#[test]
fn a_lapsed_authorization_can_be_given_anew() {
    let world = World::new();
    let key = dual_key(&world);
    set(&world, "first", &key).unwrap();
    world.clock.travel(7 * DAY);
    set(&world, "first", &key).unwrap();
    assert!(delete(&world, "second", &key).is_ok());
}

#[test]
fn a_restored_key_takes_two_people_again() {
    let world = World::new();
    let key = dual_key(&world);
    set(&world, "first", &key).unwrap();
    delete(&world, "second", &key).unwrap();
    world.clock.travel(HOUR);
    let restored = world.restore(&key, None).unwrap();
    assert!(restored.needs_dual_auth() && restored.authorization.is_none());
    assert_eq!(code(delete(&world, "second", &key)), ReasonCode::AuthorizationsNotMet);
}

#[test]
fn a_disabled_key_is_deleted_by_an_authorization_that_was_given_before() {
    let world = World::new();
    let key = dual_key(&world);
    set(&world, "first", &key).unwrap();
    world.disable(&key).unwrap();
    assert_eq!(code(unset(&world, "first", &key)), ReasonCode::KeyActionInvalidState);
    assert!(delete(&world, "second", &key).is_ok());
}

#[test]
fn a_key_that_one_deletes_takes_no_authorization() {
    let world = World::new();
    let key = world.root_key();
    assert_eq!(code(set(&world, "first", &key)), ReasonCode::NotDualAuth);
    assert_eq!(code(unset(&world, "first", &key)), ReasonCode::NotDualAuth);
    assert_eq!(world.stored(&key), Some(key));
}

#[test]
fn the_audit_log_is_told_who_authorized_until_when() {
    let world = World::new();
    let key = dual_key(&world);
    set(&world, "first", &key).unwrap();
    let event = world.last_event();
    assert_eq!((event.action.as_str(), event.severity), ("kms.secrets.setkeyfordeletion", Severity::Warning));
    assert_eq!(fact(&event.response, "initialValue.authID"), None);
    assert_eq!(fact(&event.response, "newValue.authID"), Some("first"));
    let until = world.now().plus(7 * DAY).to_rfc3339();
    assert_eq!(fact(&event.response, "newValue.authExpiration"), Some(until.as_str()));
    unset(&world, "second", &key).unwrap();
    let event = world.last_event();
    assert_eq!(event.action, "kms.secrets.unsetkeyfordeletion");
    assert_eq!(fact(&event.response, "initialValue.authID"), Some("first"));
    assert_eq!(fact(&event.response, "initialValue.authExpiration"), Some(until.as_str()));
    assert_eq!(fact(&event.response, "newValue.authID"), None);
}
