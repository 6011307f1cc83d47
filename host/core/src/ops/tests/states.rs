//! Disable, enable, delete, restore, sync, patch: each cell of the table of states, and each timer at its edge.

use super::common::{ALL, DAY, MS, SECOND_LONG, by, fact, resource};
use super::*;
use crate::audit::{Outcome, Severity};
use crate::backend::BackendError;
use crate::error::{Cause, Reason, Target};
use crate::ids::Alias;
use crate::key::{KeyAlias, KeyState, Stamp};
use crate::ops::policies::{self, WritePolicies};
use crate::ops::unwrap::{self, Ciphertext};
use crate::ops::{authorize, delete, disable, patch, purge, read, sync};
use crate::registration::{LifecycleKind, RegistrationState};
use crate::ring::KeyRing;
use crate::store::Change;

fn sync(world: &World, key: &Key) -> Result<(), Error> {
    block_on(sync::sync(&world.gateway, &cx(FIRST), &by_id(key)))
}

fn patch(world: &World, key: &Key, ring: &str) -> Result<Key, Error> {
    let ring = KeyRingId::parse(ring).unwrap();
    block_on(patch::patch(&world.gateway, &cx(FIRST), &by_id(key), Ok(patch::Patch { ring })))
}

fn make_ring(world: &World, id: &str) {
    let created = Stamp { at: world.now(), by: "m".to_owned() };
    let ring = KeyRing { instance: FIRST, id: KeyRingId::parse(id).unwrap(), created };
    world.commit(vec![Change::InsertRing { ring, at_most: 50 }]);
}

type Act = fn(&World, &Key) -> Result<(), Error>;

/// An action, and what it comes to in each of [`KeyState::ALL`].
type Row = (&'static str, Act, [Option<ReasonCode>; 5]);

#[test]
fn every_action_is_refused_in_the_states_that_do_not_allow_it() {
    use ReasonCode::{
        KeyActionInvalidState as Action, KeyDeleted as Deleted, KeyInvalidState as Invalid, NotDualAuth, TooEarly,
    };
    let rows: [Row; 10] = [
        ("disable", |w, k| w.disable(k).map(drop), [Some(Action), None, Some(Action), Some(Action), Some(Deleted)]),
        (
            "enable",
            |w, k| w.enable(k).map(drop),
            [Some(Action), Some(Action), Some(TooEarly), Some(Action), Some(Deleted)],
        ),
        ("delete", |w, k| w.delete(k).map(drop), [None, None, None, None, Some(Deleted)]),
        (
            "restore",
            |w, k| w.restore(k, None).map(drop),
            [Some(Action), Some(Action), Some(Action), Some(Action), Some(TooEarly)],
        ),
        (
            "purge",
            |w, k| block_on(purge::purge(&w.gateway, &cx(FIRST), &by_id(k))).map(drop),
            [Some(Action), Some(Action), Some(Action), Some(Action), Some(TooEarly)],
        ),
        ("sync", sync, [None, None, Some(TooEarly), None, Some(TooEarly)]),
        ("patch", |w, k| patch(w, k, "default").map(drop), [None, None, None, None, Some(Deleted)]),
        (
            "setKeyForDeletion",
            |w, k| block_on(authorize::set(&w.gateway, &cx(FIRST), &by_id(k))).map(drop),
            [Some(Action), Some(NotDualAuth), Some(Action), Some(Action), Some(Deleted)],
        ),
        (
            "write policies",
            |w, k| {
                let input = WritePolicies { dual_auth_delete: Some(true), rotation: None };
                block_on(policies::write(&w.gateway, &cx(FIRST), &by_id(k), Ok(input))).map(drop)
            },
            [Some(Invalid), None, Some(Invalid), Some(Invalid), Some(Deleted)],
        ),
        (
            "read policies",
            |w, k| block_on(policies::read(&w.gateway, &cx(FIRST), &by_id(k), Ok(None))).map(drop),
            [None; 5],
        ),
    ];
    for (name, act, row) in rows {
        for (state, expected) in KeyState::ALL.into_iter().zip(row) {
            let world = World::new();
            let key = world.key_in(state);
            let before = world.stored(&key);
            let outcome = act(&world, &key);
            let found = outcome.as_ref().err().and_then(Error::reason_code);
            assert_eq!(found, expected, "{name} of a key that is {state:?}: {outcome:?}");
            if expected.is_some() {
                assert_eq!(world.stored(&key), before, "{name} of a key that is {state:?} was refused and changed it");
            }
        }
    }
}

#[test]
fn root_only_actions_refuse_standard_keys_for_what_they_are() {
    let world = World::new();
    let key = world.create(CreateKey { kind: KeyKind::Standard, ..root("s") }).unwrap().key;
    for _ in 0..2 {
        for outcome in [world.disable(&key).map(drop), world.enable(&key).map(drop), sync(&world, &key)] {
            assert_eq!(code(outcome), ReasonCode::KeyRootRequired);
        }
        // Once more, deleted: what it is comes before where it is.
        let _ = world.delete(&key);
    }
}

#[test]
fn a_key_that_is_not_there_is_not_found_by_any_action() {
    let world = World::new();
    let key = Key::sample(KeyKind::Root);
    for outcome in [
        world.disable(&key).map(drop),
        world.enable(&key).map(drop),
        world.delete(&key).map(drop),
        world.restore(&key, None).map(drop),
        sync(&world, &key),
        patch(&world, &key, "default").map(drop),
        block_on(authorize::unset(&world.gateway, &cx(FIRST), &by_id(&key))).map(drop),
        block_on(purge::purge(&world.gateway, &cx(FIRST), &by_id(&key))).map(drop),
    ] {
        assert_eq!(code(outcome), ReasonCode::KeyNotFound);
    }
}

#[test]
fn a_disabled_key_does_nothing_until_it_is_enabled_half_a_minute_later_at_the_earliest() {
    let world = World::new();
    let key = world.root_key();
    let disabled = world.disable(&key).unwrap();
    assert_eq!((disabled.state, disabled.disabled_at), (KeyState::Suspended, Some(world.now())));
    assert_eq!(code(world.wrap(&key, b"x", &[])), ReasonCode::KeyActionInvalidState);
    assert_eq!(code(world.enable(&key)), ReasonCode::TooEarly);
    world.clock.travel(30 * SECOND_LONG - MS);
    let Err(Error::Refused(reasons)) = world.enable(&key) else { panic!("enabled too early") };
    assert!(reasons[0].message.contains("wait 1 more seconds, until 2026-09-21T"), "{}", reasons[0].message);
    world.clock.travel(MS);
    let enabled = world.enable(&key).unwrap();
    assert_eq!((enabled.state, enabled.disabled_at), (KeyState::Active, None));
    assert!(world.wrap(&key, b"x", &[]).is_ok());
    assert_eq!(world.last_event().outcome, Outcome::Success);
    // The other direction has no timer.
    assert!(world.disable(&key).is_ok());
}

#[test]
fn a_key_that_expired_while_it_was_disabled_is_deactivated_when_it_is_enabled() {
    let world = World::new();
    let key = world.create(CreateKey { expires_at: Some(world.now().plus(HOUR)), ..root("k") }).unwrap().key;
    world.disable(&key).unwrap();
    world.clock.travel(HOUR);
    assert_eq!(block_on(read::metadata(&world.gateway, &cx(FIRST), &by_id(&key))).unwrap().state, KeyState::Suspended);
    assert_eq!(world.enable(&key).unwrap().state, KeyState::Deactivated);
    assert_eq!(code(world.wrap(&key, b"x", &[])), ReasonCode::KeyActionInvalidState);
}

#[test]
fn a_restore_waits_half_a_minute_and_comes_a_month_later_at_the_latest() {
    for (after, expected) in [
        (30 * SECOND_LONG - MS, Some(ReasonCode::TooEarly)),
        (30 * SECOND_LONG, None),
        (30 * SECOND_LONG + MS, None),
        (30 * DAY - MS, None),
        (30 * DAY, None),
        (30 * DAY + MS, Some(ReasonCode::RestoreExpired)),
        (89 * DAY, Some(ReasonCode::RestoreExpired)),
    ] {
        let world = World::new();
        let key = world.root_key();
        let wrapped = world.wrap(&key, b"data key", &[]).unwrap();
        world.delete(&key).unwrap();
        world.clock.travel(after);
        let outcome = world.restore(&key, None);
        assert_eq!(outcome.as_ref().err().and_then(Error::reason_code), expected, "after {after:?}");
        if let Ok(restored) = outcome {
            assert_eq!((restored.state, &restored.deletion), (KeyState::Active, &None));
            assert_eq!(restored.current_version, key.current_version);
            let input = Ciphertext { ciphertext: wrapped.ciphertext, aad: Vec::new() };
            let back = block_on(unwrap::unwrap(&world.gateway, &cx(FIRST), &by_id(&key), Ok(input))).unwrap();
            assert_eq!(back.plaintext.expose(), b"data key");
        }
    }
}

#[test]
fn an_expired_key_is_not_restored_from_the_instant_of_its_expiration_on() {
    let world = World::new();
    let expires_at = Some(world.now().plus(HOUR));
    let keys = [(); 2].map(|()| world.create(CreateKey { expires_at, ..root("k") }).unwrap().key);
    for key in &keys {
        world.delete(key).unwrap();
    }
    world.clock.travel(HOUR - MS);
    assert!(world.restore(&keys[0], None).is_ok());
    world.clock.travel(MS);
    assert_eq!(code(world.restore(&keys[1], None)), ReasonCode::KeyExpired);
}

#[test]
fn a_key_comes_back_with_all_that_it_was() {
    let world = World::new();
    make_ring(&world, "prod");
    let input = CreateKey { aliases: texts(&["one", "two"]), tags: texts(&["tag"]), ..root("k") };
    let key = block_on(crate::ops::create::create(&world.gateway, &in_ring("prod"), false, Ok(input))).unwrap().key;
    let input = WritePolicies {
        rotation: Some(policies::WriteRotation { enabled: None, interval_months: Some(3) }),
        dual_auth_delete: None,
    };
    let (key, _) = block_on(policies::write(&world.gateway, &cx(FIRST), &by_id(&key), Ok(input))).unwrap();
    let deleted = world.delete(&key).unwrap();
    assert_eq!(deleted.deletion, Some(Stamp { at: world.now(), by: "IBMid-1".to_owned() }));
    world.clock.travel(HOUR);
    let restored = world.restore(&key, None).unwrap();
    let now = Some(world.now());
    let expected = Key { updated_at: world.now(), told_at: now, revision: key.revision + 2, ..key };
    assert_eq!(restored, expected);
    let alias = KeySelector::Alias(Alias::parse("two").unwrap());
    assert!(block_on(read::metadata(&world.gateway, &cx(FIRST), &alias)).is_ok());
}

#[test]
fn a_key_that_was_disabled_is_disabled_when_it_comes_back() {
    let world = World::new();
    let key = world.root_key();
    world.disable(&key).unwrap();
    world.delete(&key).unwrap();
    world.clock.travel(HOUR);
    let restored = world.restore(&key, None).unwrap();
    assert_eq!(restored.state, KeyState::Suspended);
    assert_eq!(world.enable(&key).unwrap().state, KeyState::Active);
    // Once enabled, it is no longer one that was disabled.
    world.delete(&key).unwrap();
    world.clock.travel(HOUR);
    assert_eq!(world.restore(&key, None).unwrap().state, KeyState::Active);
}

#[test]
fn a_restore_with_material_makes_a_new_version_and_keeps_the_old_ones() {
    let world = World::new();
    let key = world.imported(&[1; 32]);
    let wrapped = world.wrap(&key, b"old", &[]).unwrap();
    world.delete(&key).unwrap();
    world.clock.travel(HOUR);
    assert_eq!(code(world.restore(&key, plain(&[2; 31]))), ReasonCode::InvalidField);
    let restored = world.restore(&key, plain(&[2; 16])).unwrap();
    assert_eq!((restored.state, restored.version_count, restored.bits), (KeyState::Active, 2, 128));
    assert!(restored.deletion.is_none() && restored.current_version != key.current_version);
    assert_eq!(world.stored(&key), Some(restored));
    let input = Ciphertext { ciphertext: wrapped.ciphertext, aad: Vec::new() };
    let back = block_on(unwrap::unwrap(&world.gateway, &cx(FIRST), &by_id(&key), Ok(input))).unwrap();
    assert_eq!(back.plaintext.expose(), b"old");
}

#[test]
fn an_imported_key_comes_back_without_material_and_a_generated_one_takes_none() {
    let world = World::new();
    let (imported, generated) = (world.imported(&[1; 32]), world.root_key());
    for key in [&imported, &generated] {
        world.delete(key).unwrap();
    }
    world.clock.travel(HOUR);
    let Err(Error::Refused(reasons)) = world.restore(&generated, plain(&[2; 32])) else { panic!("not refused") };
    assert_eq!(reasons[0].code, ReasonCode::KeyImportRequired);
    assert_eq!(reasons[0].target, Some(Target::Field("payload".to_owned())));
    assert_eq!(world.restore(&imported, None).unwrap().version_count, 1);
    assert!(world.restore(&generated, None).is_ok());
}

#[test]
fn a_backend_that_fails_restores_nothing() {
    let world = World::new();
    let key = world.imported(&[1; 32]);
    let deleted = world.delete(&key).unwrap();
    world.clock.travel(HOUR);
    world.backend.fail_with(Some(BackendError::Busy(None)));
    assert!(matches!(world.restore(&key, plain(&[2; 32])), Err(Error::Busy { .. })));
    assert_eq!(world.stored(&key), Some(deleted));
}

#[test]
fn the_rules_are_told_what_material_comes_with_a_restore_and_whither_a_key_is_moved() {
    let world = World::new();
    let key = world.imported(&[1; 32]);
    world.delete(&key).unwrap();
    world.clock.travel(HOUR);
    world.restore(&key, plain(&[2; 32])).unwrap();
    let facts = world.gate.facts();
    assert_eq!(fact(&facts, "new-key.imported"), Some("true"));
    assert_eq!(fact(&facts, "import-token"), Some("false"));
    patch(&world, &key, "default").unwrap();
    assert_eq!(fact(&world.gate.facts(), "new-ring"), Some("default"));
    world.delete_by_force(&key).unwrap();
    assert_eq!(fact(&world.gate.facts(), "force"), Some("true"));
    let broken = || Err(Reason::new(ReasonCode::BadBody, "broken").into());
    let refused = block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&key), broken()));
    assert_eq!(code(refused), ReasonCode::BadBody);
    assert_eq!(fact(&world.gate.facts(), "force"), None, "what could not be read is not told");
}

#[test]
fn a_key_that_protects_something_is_deleted_by_force_only_and_never_against_a_retention_policy() {
    let world = World::new();
    let key = world.root_key();
    let crn = world.register(&key, 1, false);
    let Err(Error::Refused(reasons)) = world.delete(&key) else { panic!("deleted") };
    assert_eq!(reasons[0].code, ReasonCode::ProtectedResource);
    assert_eq!(reasons[0].target, Some(Target::QueryParam("force".to_owned())));
    let held = world.register(&key, 2, true);
    assert_eq!(
        code(world.delete(&key)),
        ReasonCode::DeletionPrevented,
        "`force` would be no help, so it is not advised"
    );
    assert_eq!(code(world.delete_by_force(&key)), ReasonCode::DeletionPrevented);
    assert_eq!(world.state_of(&key, &crn), RegistrationState::Active);
    assert!(world.events(&key).is_empty());

    let registration = world.registration(&key, &held).unwrap();
    world.commit(vec![Change::RemoveRegistration {
        instance: FIRST,
        key: key.id,
        crn: held,
        revision: registration.revision,
    }]);
    let deleted = world.delete_by_force(&key).unwrap();
    assert_eq!((deleted.state, deleted.told_at), (KeyState::Destroyed, Some(world.now())));
    assert_eq!(world.state_of(&key, &crn), RegistrationState::Suspended);
    assert_eq!(world.told(&key), [LifecycleKind::Deleted]);
}

#[test]
fn force_without_registrations_is_nothing_special() {
    let world = World::new();
    let key = world.root_key();
    assert_eq!(world.delete_by_force(&key).unwrap().state, KeyState::Destroyed);
    assert_eq!(world.last_event().severity, Severity::Critical);
}

#[test]
fn registrations_come_back_with_their_key_unless_their_service_has_acknowledged_the_deletion() {
    for payload in [None, plain(&[2; 32])] {
        let world = World::new();
        let key = world.imported(&[1; 32]);
        let (kept, ended) = (world.register(&key, 1, false), world.register(&key, 2, false));
        world.delete_by_force(&key).unwrap();
        let registration = world.registration(&key, &ended).unwrap();
        let (state, revision) = (RegistrationState::Deactivated, registration.revision + 1);
        let registration = crate::registration::Registration { state, revision, ..registration };
        world.commit(vec![Change::PutRegistration { registration }]);
        world.clock.travel(HOUR);
        let restored = world.restore(&key, payload).unwrap();
        assert_eq!(world.state_of(&key, &kept), RegistrationState::Active);
        assert_eq!(world.state_of(&key, &ended), RegistrationState::Deactivated);
        let events = world.events(&key);
        let restorations: Vec<_> = events.iter().filter(|event| event.kind == LifecycleKind::Restored).collect();
        assert_eq!(restorations.len(), 1);
        assert_eq!((&restorations[0].crn, restorations[0].version), (&kept, restored.current_version));
        assert!(events.iter().all(|event| event.kind != LifecycleKind::Rotated));
        assert_eq!(code(world.delete(&key)), ReasonCode::ProtectedResource, "it protects again");
    }
}

#[test]
fn a_registration_that_slips_in_keeps_its_key_from_being_deleted() {
    let world = World::new();
    let key = world.root_key();
    let id = key.id;
    let gateway = world.meanwhile(move |gateway| {
        let key = block_on(gateway.store.key(FIRST, id)).unwrap().unwrap();
        let key = Key { revision: key.revision + 1, ..key };
        block_on(gateway.store.commit(vec![Change::UpdateKey { key }])).unwrap();
    });
    let refused = block_on(delete::delete(&gateway, &cx(FIRST), &by_id(&key), Ok(true)));
    assert_eq!(code(refused), ReasonCode::Conflict);
    assert_eq!(world.stored(&key).unwrap().state, KeyState::Active);
}

#[test]
fn each_change_tells_every_adopter_once() {
    let world = World::new();
    let key = world.root_key();
    for number in 0..3 {
        world.register(&key, number, false);
    }
    world.disable(&key).unwrap();
    world.clock.travel(HOUR);
    world.enable(&key).unwrap();
    world.clock.travel(HOUR);
    sync(&world, &key).unwrap();
    let expected = [[LifecycleKind::Disabled; 3], [LifecycleKind::Enabled; 3], [LifecycleKind::Synced; 3]].concat();
    assert_eq!(world.told(&key), expected);
    let mut resources: Vec<_> = world.events(&key)[..3].iter().map(|event| event.crn.as_str().to_owned()).collect();
    resources.sort();
    assert_eq!(resources, [resource(0), resource(1), resource(2)]);
}

#[test]
fn a_sync_comes_an_hour_after_the_last_word_at_the_earliest() {
    let changes: [(&str, Act); 5] = [
        ("rotate", |world, key| world.rotate(key).map(drop)),
        ("disable", |world, key| world.disable(key).map(drop)),
        ("enable", |world, key| {
            world.disable(key)?;
            world.clock.travel(HOUR);
            world.enable(key).map(drop)
        }),
        ("restore", |world, key| {
            world.delete(key)?;
            world.clock.travel(HOUR);
            world.restore(key, None).map(drop)
        }),
        ("sync", sync),
    ];
    for (name, change) in changes {
        let world = World::new();
        let key = world.root_key();
        world.clock.travel(MS);
        change(&world, &key).unwrap();
        assert_eq!(code(sync(&world, &key)), ReasonCode::TooEarly, "{name}");
        world.clock.travel(HOUR - MS);
        assert_eq!(code(sync(&world, &key)), ReasonCode::TooEarly, "{name}");
        world.clock.travel(MS);
        let before = world.stored(&key).unwrap();
        sync(&world, &key).unwrap();
        let after = world.stored(&key).unwrap();
        assert_eq!(after.told_at, Some(world.now()), "{name}");
        assert_eq!(after.updated_at, before.updated_at, "asking changes nothing");
    }
}

#[test]
fn making_a_key_and_writing_its_policies_do_not_put_a_sync_off() {
    let world = World::new();
    let key = world.root_key();
    let input = WritePolicies { dual_auth_delete: Some(true), rotation: None };
    block_on(policies::write(&world.gateway, &cx(FIRST), &by_id(&key), Ok(input))).unwrap();
    sync(&world, &key).unwrap();
}

#[test]
fn a_sync_of_a_deleted_key_asks_those_that_have_not_acknowledged_the_deletion() {
    let world = World::new();
    let key = world.root_key();
    let crn = world.register(&key, 1, false);
    world.delete_by_force(&key).unwrap();
    assert_eq!(code(sync(&world, &key)), ReasonCode::TooEarly);
    world.clock.travel(HOUR);
    sync(&world, &key).unwrap();
    assert_eq!(world.told(&key), [LifecycleKind::Deleted, LifecycleKind::Synced]);
    assert_eq!(world.state_of(&key, &crn), RegistrationState::Suspended);
}

#[test]
fn a_key_moves_to_a_ring_that_is_there_and_the_audit_log_knows_whence() {
    let world = World::new();
    make_ring(&world, "prod");
    let key = world.root_key();
    let moved = patch(&world, &key, "prod").unwrap();
    assert_eq!((moved.ring.as_str(), moved.revision), ("prod", key.revision + 1));
    let event = world.last_event();
    assert_eq!(fact(&event.request, "initialValue.keyRingId"), Some("default"));
    assert_eq!(fact(&event.request, "newValue.keyRingId"), Some("prod"));
    assert!(block_on(read::metadata(&world.gateway, &in_ring("prod"), &by_id(&key))).is_ok());

    let again = patch(&world, &key, "prod").unwrap();
    assert_eq!(again, moved, "where it is already, nothing changes");
    let Err(Error::Refused(reasons)) = patch(&world, &key, "nowhere") else { panic!("moved") };
    assert_eq!(reasons[0].code, ReasonCode::KeyRingNotFound);
    assert_eq!(reasons[0].target, Some(Target::Field("keyRingID".to_owned())));
    assert_eq!(world.stored(&key), Some(moved));
}

#[test]
fn a_change_that_comes_between_is_a_conflict_and_nothing_is_done() {
    let world = World::new();
    let key = world.root_key();
    let id = key.id;
    let gateway = world.meanwhile(move |gateway| {
        let key = block_on(gateway.store.key(FIRST, id)).unwrap().unwrap();
        let aliases = vec![KeyAlias {
            alias: Alias::parse("new").unwrap(),
            given: Stamp { at: key.created_at, by: "x".to_owned() },
        }];
        let key = Key { revision: key.revision + 1, aliases, ..key };
        block_on(gateway.store.commit(vec![Change::UpdateKey { key }])).unwrap();
    });
    let disabled = block_on(disable::disable(&gateway, &by("IBMid-2"), &by_id(&key)));
    assert_eq!(code(disabled), ReasonCode::Conflict);
    let stored = world.stored(&key).unwrap();
    assert_eq!((stored.state, stored.aliases.len()), (KeyState::Active, 1));
    assert_eq!(world.last_event().outcome, Outcome::Failure(Cause::Refused(ReasonCode::Conflict)));
    assert!(block_on(world.gateway.store.events(FIRST, None, ALL)).unwrap().items.is_empty());
}
