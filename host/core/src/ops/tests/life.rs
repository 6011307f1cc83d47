//! What comes to keys by itself.

use super::common::{DAY, MS, SECOND_LONG, by, fact};
use super::*;
use crate::audit::{AuditEvent, Outcome, Severity};
use crate::backend::BackendError;
use crate::error::Cause;
use crate::key::{DueKind, KeyState};
use crate::ops::life::{self, Tended, Tender};
use crate::ops::policies::{self, WritePolicies, WriteRotation};
use crate::ops::{aliases, authorize, create, patch, rings, sync};
use crate::registration::LifecycleKind;

fn tend(world: &World) -> Tended {
    block_on(life::tend(&world.gateway))
}

/// Nothing failed, and so many things were done.
fn did(world: &World) -> usize {
    let tended = tend(world);
    assert!(tended.failed.is_empty() && tended.stopped.is_none(), "{tended:?}");
    tended.done
}

fn policies(world: &World, key: &Key, months: Option<u8>, dual_auth_delete: Option<bool>) -> Key {
    let rotation = months.map(|months| WriteRotation { enabled: None, interval_months: Some(months) });
    let input = WritePolicies { rotation, dual_auth_delete };
    block_on(policies::write(&world.gateway, &cx(FIRST), &by_id(key), Ok(input))).unwrap().0
}

fn rotating(world: &World) -> Key {
    policies(world, &world.root_key(), Some(1), None)
}

/// What the gateway itself left in the audit log.
fn own_events(world: &World) -> Vec<AuditEvent> {
    world.audit.events().into_iter().filter(|event| event.initiator.id == "keygate").collect()
}

#[test]
fn a_key_expires_on_its_day_and_the_audit_log_is_told() {
    let world = World::new();
    let at = world.now().plus(HOUR);
    let key = world.create(CreateKey { expires_at: Some(at), ..root("k") }).unwrap().key;
    world.clock.travel(HOUR - MS);
    assert_eq!(did(&world), 0);
    world.clock.travel(MS);
    assert_eq!(did(&world), 1);
    let expired = world.stored(&key).unwrap();
    assert_eq!((expired.state, expired.updated_at), (KeyState::Deactivated, world.now()));
    let event = own_events(&world).pop().unwrap();
    assert_eq!((event.action.as_str(), event.key, event.instance), ("kms.secrets.expire", Some(key.id), Some(FIRST)));
    assert_eq!((event.outcome, event.severity), (Outcome::Success, Severity::Normal));
    assert_eq!(fact(&event.response, "keyState"), Some("3"));
    assert_eq!(fact(&event.response, "expirationDate"), Some(at.to_rfc3339().as_str()));
    assert_eq!(did(&world), 0, "once is enough");
}

#[test]
fn a_key_that_is_changed_after_its_day_expires_in_the_audit_log_all_the_same() {
    type Change<'a> = &'a dyn Fn(&Key) -> Result<KeyState, Error>;
    let world = World::new();
    block_on(rings::create(&world.gateway, &cx(FIRST), "prod")).unwrap();
    let patch = |key: &Key| {
        let input = patch::Patch { ring: KeyRingId::parse("prod").unwrap() };
        block_on(patch::patch(&world.gateway, &cx(FIRST), &by_id(key), Ok(input))).map(|key| key.state)
    };
    let give =
        |key: &Key| block_on(aliases::create(&world.gateway, &cx(FIRST), &by_id(key), "new")).map(|it| it.0.state);
    let take = |key: &Key| {
        block_on(aliases::delete(&world.gateway, &cx(FIRST), &by_id(key), "old")).map(|()| KeyState::Deactivated)
    };
    let rotate = |key: &Key| world.rotate(key).map(|key| key.state);
    let sync =
        |key: &Key| block_on(sync::sync(&world.gateway, &cx(FIRST), &by_id(key))).map(|()| KeyState::Deactivated);
    let changes: [Change<'_>; 5] = [&patch, &give, &take, &rotate, &sync];
    for (n, change) in changes.into_iter().enumerate() {
        let expires_at = Some(world.now().plus(HOUR));
        let aliases = if n == 2 { texts(&["old"]) } else { Vec::new() };
        let key = world.create(CreateKey { expires_at, aliases, ..root("k") }).unwrap().key;
        world.clock.travel(HOUR);
        assert_eq!(change(&key).unwrap(), KeyState::Deactivated, "change {n}: what is told is what is");
        let stored = world.stored(&key).unwrap();
        assert_eq!((stored.state, stored.revision), (KeyState::Active, key.revision + 1), "change {n}");
        assert_eq!(did(&world), 1, "change {n}");
        let event = own_events(&world).pop().unwrap();
        assert_eq!((event.action.as_str(), event.key), ("kms.secrets.expire", Some(key.id)), "change {n}");
        assert_eq!(world.stored(&key).unwrap().state, KeyState::Deactivated);
    }
}

#[test]
fn a_backend_that_is_away_is_tried_five_times_in_a_pass_and_the_other_kinds_get_their_turn() {
    let world = World::new();
    let keys = [(); 12].map(|()| rotating(&world));
    let expiring = world.create(CreateKey { expires_at: Some(world.now().plus(HOUR)), ..root("k") }).unwrap().key;
    let deleted = world.root_key();
    world.delete(&deleted).unwrap();
    world.clock.travel(90 * DAY);
    world.backend.fail_with(Some(BackendError::Unavailable {
        backend: "fake".to_owned(),
        detail: "gone".to_owned(),
        retry_after: None,
    }));
    let mut tender = Tender::default();
    let tended = block_on(tender.tend(&world.gateway));
    assert_eq!((tended.done, tended.failed.len()), (1, 6), "five rotations and the purge");
    assert_eq!(world.stored(&expiring).unwrap().state, KeyState::Deactivated);
    assert_eq!(tended.failed.iter().filter(|(due, _)| due.kind == DueKind::Rotation).count(), 5);
    // The next passes take the others, while those that failed wait.
    let tried = |tended: Tended| tended.failed.len();
    assert_eq!(tried(block_on(tender.tend(&world.gateway))), 5);
    assert_eq!(tried(block_on(tender.tend(&world.gateway))), 2);
    assert_eq!(tried(block_on(tender.tend(&world.gateway))), 0);
    world.backend.fail_with(None);
    world.clock.travel(HOUR);
    assert_eq!(block_on(tender.tend(&world.gateway)).done, 13);
    assert!(keys.iter().all(|key| world.stored(key).unwrap().version_count == 2));
}

#[test]
fn what_is_refused_for_itself_ends_nothing() {
    let mut world = World::new();
    world.gateway.limits.versions_per_key = 1;
    let _keys = [(); 12].map(|()| rotating(&world));
    world.clock.travel(30 * DAY);
    assert_eq!(tend(&world).failed.len(), 12);
}

#[test]
fn an_authorization_lapses_after_its_week_and_is_taken_back() {
    let world = World::new();
    let key = policies(&world, &world.root_key(), None, Some(true));
    block_on(authorize::set(&world.gateway, &by("first"), &by_id(&key))).unwrap();
    world.clock.travel(7 * DAY - MS);
    assert_eq!(did(&world), 0);
    world.clock.travel(MS);
    assert_eq!(did(&world), 1);
    assert!(world.stored(&key).unwrap().authorization.is_none());
    let event = own_events(&world).pop().unwrap();
    assert_eq!(event.action, "kms.secrets.unsetkeyfordeletion");
    assert_eq!(fact(&event.response, "initialValue.authID"), Some("first"));
    assert_eq!(did(&world), 0);
}

#[test]
fn a_key_is_rotated_by_its_policy_and_its_adopters_are_told() {
    let world = World::new();
    let key = rotating(&world);
    world.register(&key, 1, false);
    world.clock.travel(30 * DAY - MS);
    assert_eq!(did(&world), 0);
    world.clock.travel(MS);
    assert_eq!(did(&world), 1);
    let rotated = world.stored(&key).unwrap();
    assert_eq!((rotated.version_count, rotated.rotated_at), (2, Some(world.now())));
    assert_eq!(world.told(&key), [LifecycleKind::Rotated]);
    let event = own_events(&world).pop().unwrap();
    assert_eq!((event.action.as_str(), event.severity), ("kms.secrets.rotate", Severity::Warning));
    assert_eq!(fact(&event.response, "keyVersionId"), Some(rotated.current_version.to_string().as_str()));
    assert_eq!(did(&world), 0);
    world.clock.travel(30 * DAY);
    assert_eq!(did(&world), 1, "and again a month later");
}

#[test]
fn a_rotation_by_hand_puts_the_next_one_off() {
    let world = World::new();
    let key = rotating(&world);
    world.clock.travel(29 * DAY);
    world.rotate(&key).unwrap();
    world.clock.travel(29 * DAY);
    assert_eq!(did(&world), 0);
    world.clock.travel(DAY);
    assert_eq!(did(&world), 1);
}

#[test]
fn only_active_keys_are_rotated() {
    let world = World::new();
    let disabled = rotating(&world);
    world.disable(&disabled).unwrap();
    let deleted = rotating(&world);
    world.delete(&deleted).unwrap();
    let switched_off = rotating(&world);
    let off = WriteRotation { enabled: Some(false), interval_months: None };
    let input = WritePolicies { rotation: Some(off), dual_auth_delete: None };
    block_on(policies::write(&world.gateway, &cx(FIRST), &by_id(&switched_off), Ok(input))).unwrap();
    // Expired in the same instant: expiration comes first.
    let expiring = world.put(Key { expires_at: Some(world.now().plus(30 * DAY)), ..rotating(&world) });
    // What no use case lets happen is left alone when it is there all the same.
    let odd = world.put(Key { imported: true, ..rotating(&world) });
    world.clock.travel(30 * DAY);
    assert_eq!(did(&world), 1);
    assert_eq!(own_events(&world).len(), 1);
    assert_eq!(world.stored(&expiring).unwrap().state, KeyState::Deactivated);
    for key in [disabled, deleted, switched_off, expiring, odd] {
        assert_eq!(world.stored(&key).unwrap().version_count, 1);
    }
}

#[test]
fn a_deleted_key_is_purged_after_ninety_days() {
    let world = World::new();
    let key = world.root_key();
    world.delete(&key).unwrap();
    world.clock.travel(90 * DAY - MS);
    assert_eq!(did(&world), 0);
    assert!(world.stored(&key).is_some());
    world.clock.travel(MS);
    assert_eq!(did(&world), 1);
    assert_eq!((world.stored(&key), world.backend.destroyed()), (None, 1));
    let event = own_events(&world).pop().unwrap();
    assert_eq!((event.action.as_str(), event.severity), ("kms.secrets.purge", Severity::Critical));
    assert_eq!(did(&world), 0);
}

#[test]
fn all_that_is_due_is_done_in_one_pass_however_much_it_is() {
    let world = World::new();
    let expires_at = Some(world.now().plus(HOUR));
    let instances = [FIRST, SECOND];
    for n in 0..1_203 {
        let input = CreateKey { expires_at, ..root("k") };
        block_on(create::create(&world.gateway, &cx(instances[n % 2]), false, Ok(input))).unwrap();
    }
    world.clock.travel(HOUR);
    assert_eq!(did(&world), 1_203);
    assert_eq!(did(&world), 0);
}

#[test]
fn one_key_that_fails_never_keeps_the_others_from_their_turn() {
    let mut world = World::new();
    world.gateway.limits.versions_per_key = 2;
    let keys = [(); 5].map(|()| rotating(&world));
    world.clock.travel(DAY);
    world.rotate(&keys[2]).unwrap();
    world.clock.travel(30 * DAY);
    let tended = tend(&world);
    assert_eq!((tended.done, tended.failed.len()), (4, 1));
    let (due, error) = &tended.failed[0];
    assert_eq!((due.kind, due.key), (DueKind::Rotation, keys[2].id));
    assert_eq!(error.reason_code(), Some(ReasonCode::VersionQuota));
    let failures: Vec<_> = own_events(&world).into_iter().filter(|event| event.outcome != Outcome::Success).collect();
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].outcome, Outcome::Failure(Cause::Refused(ReasonCode::VersionQuota)));
    assert_eq!(failures[0].key, Some(keys[2].id));
    assert_eq!(tend(&world).failed.len(), 1, "it stays due");
}

#[test]
fn what_fails_is_tried_again_less_and_less_often() {
    let world = World::new();
    let key = rotating(&world);
    world.clock.travel(30 * DAY);
    world.backend.fail_with(Some(BackendError::Busy(None)));
    let mut tender = Tender::default();
    let mut tried_at = Vec::new();
    for second in 0..=20_000_u64 {
        let failed = block_on(tender.tend(&world.gateway)).failed.len();
        if failed > 0 {
            tried_at.push(second);
        }
        world.clock.travel(SECOND_LONG);
    }
    // After 30 s, 60 s, ... and at the most an hour.
    assert_eq!(tried_at, [0, 30, 90, 210, 450, 930, 1_890, 3_810, 7_410, 11_010, 14_610, 18_210]);
    assert_eq!(own_events(&world).len(), tried_at.len(), "no audit event without a try");
    world.backend.fail_with(None);
    world.clock.travel(HOUR);
    assert_eq!(block_on(tender.tend(&world.gateway)).done, 1);
    assert_eq!(world.stored(&key).unwrap().version_count, 2);

    // The next failure begins from the shortest wait again.
    world.clock.travel(30 * DAY);
    world.backend.fail_with(Some(BackendError::Busy(None)));
    assert_eq!(block_on(tender.tend(&world.gateway)).failed.len(), 1);
    world.clock.travel(30 * SECOND_LONG - MS);
    assert_eq!(block_on(tender.tend(&world.gateway)).failed.len(), 0);
    world.clock.travel(MS);
    assert_eq!(block_on(tender.tend(&world.gateway)).failed.len(), 1);
}

#[test]
fn a_failing_key_does_not_make_a_new_one_wait() {
    let world = World::new();
    rotating(&world);
    world.clock.travel(30 * DAY);
    world.backend.fail_with(Some(BackendError::Busy(None)));
    let mut tender = Tender::default();
    assert_eq!(block_on(tender.tend(&world.gateway)).failed.len(), 1);
    world.backend.fail_with(None);
    let expiring = world.create(CreateKey { expires_at: Some(world.now().plus(MS)), ..root("k") }).unwrap().key;
    world.clock.travel(MS);
    assert_eq!(block_on(tender.tend(&world.gateway)).done, 1);
    assert_eq!(world.stored(&expiring).unwrap().state, KeyState::Deactivated);
}

#[test]
fn nothing_is_done_that_could_not_be_audited_and_the_pass_ends() {
    let world = World::new();
    for _ in 0..3 {
        world.create(CreateKey { expires_at: Some(world.now().plus(HOUR)), ..root("k") }).unwrap();
    }
    let before = block_on(world.gateway.store.due(DueKind::Expiry, world.now().plus(HOUR), None, 10)).unwrap();
    assert_eq!(before.len(), 3);
    world.clock.travel(HOUR);
    world.audit.fill_up();
    let tended = tend(&world);
    assert!(matches!(tended.stopped, Some(Error::Unavailable { ref what, .. }) if what == "audit"), "{tended:?}");
    assert_eq!((tended.done, tended.failed.len()), (0, 0));
    let after = block_on(world.gateway.store.due(DueKind::Expiry, world.now(), None, 10)).unwrap();
    assert_eq!(after, before);
}

#[test]
fn keys_of_an_instance_that_is_not_configured_are_left_as_they_are() {
    let world = World::new();
    let expires_at = Some(world.now().plus(HOUR));
    let input = CreateKey { expires_at, ..root("k") };
    let key = block_on(create::create(&world.gateway, &cx(SECOND), false, Ok(input))).unwrap().key;
    world.clock.travel(HOUR);
    let first = (*world.gateway.instances.get(FIRST).unwrap()).clone();
    let gateway = Gateway { instances: [first].into_iter().collect(), ..world.twin() };
    let tended = block_on(life::tend(&gateway));
    assert_eq!((tended.done, tended.failed.len()), (0, 0));
    assert_eq!(world.stored(&key).unwrap().state, KeyState::Active);
    assert_eq!(did(&world), 1, "put back, it gets its turn");
}

#[test]
fn two_gateways_that_tend_the_same_store_do_each_thing_once() {
    let world = World::new();
    let key = rotating(&world);
    world.clock.travel(30 * DAY);
    let other = world.twin();
    let done = did(&world) + block_on(life::tend(&other)).done;
    assert_eq!((done, world.stored(&key).unwrap().version_count), (1, 2));
}

#[test]
fn events_of_one_piece_of_work_share_an_id_that_is_nobody_elses() {
    let world = World::new();
    let expires_at = Some(world.now().plus(HOUR));
    for _ in 0..2 {
        world.create(CreateKey { expires_at, ..root("k") }).unwrap();
    }
    world.clock.travel(HOUR);
    assert_eq!(did(&world), 2);
    let ids: Vec<_> = own_events(&world).into_iter().map(|event| event.correlation_id).collect();
    assert!(ids[0] != ids[1] && ids.iter().all(|id| id.parse::<uuid::Uuid>().is_ok()), "{ids:?}");
}
