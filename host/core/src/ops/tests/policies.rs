//! Policies of keys.

use super::common::{DAY, MS, by, fact};
use super::*;
use crate::audit::Severity;
use crate::error::Target;
use crate::key::{DueKind, KeyState};
use crate::ops::create::Overrides;
use crate::ops::life;
use crate::ops::policies::{self, KeyPolicyKind, WritePolicies, WriteRotation};

fn write(world: &World, user: &str, key: &Key, input: WritePolicies) -> Result<Key, Error> {
    block_on(policies::write(&world.gateway, &by(user), &by_id(key), Ok(input))).map(|(key, _)| key)
}

fn rotation(enabled: Option<bool>, interval_months: Option<u8>) -> WritePolicies {
    WritePolicies { rotation: Some(WriteRotation { enabled, interval_months }), dual_auth_delete: None }
}

fn dual_auth(enabled: bool) -> WritePolicies {
    WritePolicies { rotation: None, dual_auth_delete: Some(enabled) }
}

#[test]
fn an_interval_alone_switches_rotation_on_and_what_is_not_said_stays() {
    let world = World::new();
    let key = world.root_key();
    let said = |input| {
        let policy = write(&world, "m", &key, input).unwrap().rotation.unwrap();
        (policy.enabled, policy.interval_months)
    };
    assert_eq!(said(rotation(None, Some(3))), (true, 3));
    assert_eq!(said(rotation(Some(false), None)), (false, 3));
    assert_eq!(said(rotation(Some(true), None)), (true, 3));
    assert_eq!(said(rotation(Some(false), Some(12))), (false, 12));
    assert_eq!(said(rotation(None, Some(1))), (true, 1));
}

#[test]
fn a_policy_keeps_its_id_and_its_maker_when_it_is_written_again() {
    let world = World::new();
    let key = world.root_key();
    let first = write(&world, "one", &key, rotation(None, Some(3))).unwrap().rotation.unwrap().record;
    let made = world.now();
    world.clock.travel(HOUR);
    let changed = write(&world, "two", &key, rotation(None, Some(4))).unwrap();
    let record = changed.rotation.unwrap().record;
    assert_eq!((record.id, &record.created), (first.id, &first.created));
    assert_eq!((record.created.at, record.created.by.as_str()), (made, "one"));
    assert_eq!((record.updated.at, record.updated.by.as_str()), (world.now(), "two"));
    assert_eq!((changed.updated_at, changed.told_at), (world.now(), None));
}

#[test]
fn rotation_is_every_one_to_twelve_months_and_needs_to_know_how_many() {
    let world = World::new();
    let key = world.root_key();
    for months in [0, 13, 255] {
        let Err(Error::Refused(reasons)) = write(&world, "m", &key, rotation(None, Some(months))) else {
            panic!("{months} taken")
        };
        assert_eq!(reasons[0].code, ReasonCode::InvalidField);
        assert_eq!(reasons[0].target, Some(Target::Field("interval_month".to_owned())));
    }
    assert_eq!(code(write(&world, "m", &key, rotation(Some(true), None))), ReasonCode::MissingField);
    assert_eq!(code(write(&world, "m", &key, rotation(None, None))), ReasonCode::MissingField);
    assert_eq!(world.stored(&key).as_ref(), Some(&key));
    assert!(write(&world, "m", &key, rotation(None, Some(12))).is_ok());
    assert_eq!(code(write(&world, "m", &key, rotation(None, None))), ReasonCode::MissingField);
}

#[test]
fn switching_off_a_rotation_that_never_was_on_changes_nothing() {
    let world = World::new();
    let key = world.root_key();
    assert_eq!(write(&world, "m", &key, rotation(Some(false), None)).unwrap(), key);
    assert_eq!(world.stored(&key), Some(key));
}

#[test]
fn only_generated_root_keys_are_rotated_by_the_gateway() {
    let world = World::new();
    let standard = world.create(CreateKey { kind: KeyKind::Standard, ..root("s") }).unwrap().key;
    assert_eq!(code(write(&world, "m", &standard, rotation(None, Some(3)))), ReasonCode::KeyInvalidState);
    let overridden = Overrides { rotation: Some((true, 3)), dual_auth_delete: None };
    let input = CreateKey { kind: KeyKind::Standard, overrides: Some(overridden), ..root("s") };
    assert_eq!(code(world.create(input)), ReasonCode::KeyRootRequired, "made with one, it is another error");
    let imported = world.imported(&[1; 32]);
    assert_eq!(code(write(&world, "m", &imported, rotation(None, Some(3)))), ReasonCode::InvalidField);
    for key in [&standard, &imported] {
        assert!(write(&world, "m", key, dual_auth(true)).unwrap().needs_dual_auth(), "both can be deleted by two");
    }
}

#[test]
fn what_is_wrong_with_the_request_is_told_before_what_does_not_fit_the_key() {
    let world = World::new();
    let standard = world.create(CreateKey { kind: KeyKind::Standard, ..root("s") }).unwrap().key;
    let standard = write(&world, "m", &standard, dual_auth(true)).unwrap();
    let codes = |input| match write(&world, "m", &standard, input) {
        Err(Error::Refused(reasons)) => reasons.into_iter().map(|reason| reason.code).collect::<Vec<_>>(),
        other => panic!("not refused: {other:?}"),
    };
    let both = |months| WritePolicies { dual_auth_delete: Some(false), ..rotation(None, months) };
    assert_eq!(codes(both(Some(13))), [ReasonCode::InvalidField]);
    assert_eq!(codes(both(None)), [ReasonCode::MissingField]);
    assert_eq!(codes(both(Some(3))), [ReasonCode::KeyInvalidState; 2]);
    assert_eq!(world.stored(&standard), Some(standard));
}

#[test]
fn a_new_rotation_policy_does_not_rotate_an_old_key_at_once() {
    let world = World::new();
    let key = world.root_key();
    world.clock.travel(400 * DAY);
    let key = write(&world, "m", &key, rotation(None, Some(1))).unwrap();
    assert_eq!(key.due(), [(DueKind::Rotation, world.now().plus(30 * DAY))]);
    assert_eq!(block_on(life::tend(&world.gateway)).done, 0);
    world.clock.travel(30 * DAY - MS);
    assert_eq!(block_on(life::tend(&world.gateway)).done, 0);
    world.clock.travel(MS);
    assert_eq!(block_on(life::tend(&world.gateway)).done, 1);
}

#[test]
fn dual_authorization_is_never_switched_off_again() {
    let world = World::new();
    let key = world.root_key();
    let off = write(&world, "m", &key, dual_auth(false)).unwrap();
    assert_eq!(off.dual_auth.as_ref().map(|policy| policy.enabled), Some(false), "off already is no reason to refuse");
    let on = write(&world, "m", &key, dual_auth(true)).unwrap();
    assert!(on.needs_dual_auth());
    let Err(Error::Refused(reasons)) = write(&world, "m", &key, dual_auth(false)) else { panic!("switched off") };
    assert_eq!(reasons[0].code, ReasonCode::KeyInvalidState);
    assert_eq!(reasons[0].target, Some(Target::Field("dualAuthDelete".to_owned())));
    assert_eq!(world.stored(&key), Some(on));
    assert!(write(&world, "m", &key, dual_auth(true)).unwrap().needs_dual_auth());
}

#[test]
fn two_policies_are_written_together_or_not_at_all() {
    let world = World::new();
    let key = world.root_key();
    let both = |months| WritePolicies { dual_auth_delete: Some(true), ..rotation(None, Some(months)) };
    assert_eq!(code(write(&world, "m", &key, both(13))), ReasonCode::InvalidField);
    assert_eq!(world.stored(&key).as_ref(), Some(&key));
    let written = write(&world, "m", &key, both(3)).unwrap();
    assert!(written.needs_dual_auth() && written.rotation.as_ref().is_some_and(|policy| policy.enabled));
    assert_eq!(written.revision, key.revision + 1);
    assert_eq!(code(write(&world, "m", &key, WritePolicies::default())), ReasonCode::BadBody);
}

#[test]
fn policies_are_read_of_a_key_in_any_state_with_the_instance_for_their_crns() {
    let world = World::new();
    let key = world.root_key();
    write(&world, "m", &key, WritePolicies { dual_auth_delete: Some(false), ..rotation(None, Some(3)) }).unwrap();
    let deleted = world.delete(&key).unwrap();
    assert_eq!(deleted.state, KeyState::Destroyed);
    for (which, count) in
        [(None, "2"), (Some(KeyPolicyKind::Rotation), "1"), (Some(KeyPolicyKind::DualAuthDelete), "1")]
    {
        let (found, instance) = block_on(policies::read(&world.gateway, &cx(FIRST), &by_id(&key), Ok(which))).unwrap();
        assert_eq!((&found, instance.id), (&deleted, FIRST));
        assert_eq!(fact(&world.last_event().response, "totalResources"), Some(count));
    }
}

#[test]
fn kinds_have_the_names_of_the_api() {
    for kind in KeyPolicyKind::ALL {
        assert_eq!(KeyPolicyKind::parse(kind.as_str()), Some(kind));
    }
    assert_eq!(KeyPolicyKind::parse("dualAuthDelete"), Some(KeyPolicyKind::DualAuthDelete));
    assert_eq!(KeyPolicyKind::parse("Rotation"), None);
}

#[test]
fn the_audit_log_is_told_what_was_switched() {
    let world = World::new();
    let key = world.root_key();
    write(&world, "m", &key, rotation(None, Some(3))).unwrap();
    let event = world.last_event();
    assert_eq!((event.action.as_str(), event.severity), ("kms.policies.write", Severity::Warning));
    assert_eq!(fact(&event.request, "initialValue.policyRotationEnabled"), Some("false"));
    assert_eq!(fact(&event.request, "newValue.policyRotationEnabled"), Some("true"));
    assert_eq!(fact(&event.request, "newValue.policyDualAuthDeleteEnabled"), None, "it was not written");
}
