//! Create, read, list, rotate, delete.

use super::*;
use crate::backend::BackendError;
use crate::key::KeyState;
use crate::ops::{delete, list, read, samples, versions};
use crate::store::{KeyFilter, PageRequest, Sort};

const ALL: PageRequest = PageRequest { offset: 0, limit: 5_000 };

#[test]
fn a_new_root_key_is_active_and_gives_no_material() {
    let world = World::new();
    let created = world.create(CreateKey { return_payload: true, ..root("k") }).unwrap();
    assert!(created.payload.is_none());
    let key = &created.key;
    assert_eq!((key.state, key.bits, key.version_count), (KeyState::Active, 256, 1));
    assert_eq!(key.current_version, key.id.first_version());
    let found = block_on(read::read(&world.gateway, &cx(FIRST), &by_id(key))).unwrap();
    assert!(found.payload.is_none());
    assert_eq!(found.key, *key);
}

#[test]
fn a_standard_key_gives_its_material_to_whoever_may_read_it() {
    let world = World::new();
    let input = CreateKey { kind: KeyKind::Standard, payload: plain(b"any bytes"), ..root("s") };
    let created = world.create(input).unwrap();
    assert!(created.payload.is_none(), "it was not asked for");
    assert!(created.key.imported);
    let found = block_on(read::read(&world.gateway, &cx(FIRST), &by_id(&created.key))).unwrap();
    assert_eq!(found.payload.unwrap().expose(), b"any bytes");

    let generated = world.create(CreateKey { kind: KeyKind::Standard, return_payload: true, ..root("g") }).unwrap();
    assert_eq!(generated.payload.unwrap().len(), 32);
}

#[test]
fn material_has_bounds_by_kind() {
    let world = World::new();
    let import = |kind, len| world.create(CreateKey { kind, payload: plain(&vec![7; len]), ..root("k") });
    for len in [16, 24, 32] {
        assert_eq!(import(KeyKind::Root, len).unwrap().key.bits as usize, len * 8);
    }
    for len in [0, 15, 33, 64] {
        assert_eq!(code(import(KeyKind::Root, len)), ReasonCode::InvalidField);
    }
    assert!(import(KeyKind::Standard, 1).is_ok());
    assert!(import(KeyKind::Standard, 7_500).is_ok());
    assert_eq!(code(import(KeyKind::Standard, 7_501)), ReasonCode::InvalidField);
}

#[test]
fn everything_wrong_with_a_new_key_is_told_at_once() {
    let world = World::new();
    let input = CreateKey {
        name: String::new(),
        description: Some("d".repeat(241)),
        tags: texts(&["a:b"]),
        aliases: texts(&["x", "same", "same"]),
        expires_at: Some(Timestamp::from_unix_ms(1)),
        ..root("k")
    };
    let Err(Error::Refused(reasons)) = world.create(input) else { panic!("not refused") };
    assert_eq!(reasons.len(), 6, "{reasons:?}");
    let six = CreateKey { aliases: texts(&["a1", "a2", "a3", "a4", "a5", "a6"]), ..root("k") };
    assert_eq!(code(world.create(six)), ReasonCode::AliasQuota);
}

#[test]
fn an_alias_is_taken_once_an_instance_and_leaves_no_material_behind() {
    let world = World::new();
    let aliased = || CreateKey { aliases: texts(&["prod"]), ..root("k") };
    world.create(aliased()).unwrap();
    assert_eq!(code(world.create(aliased())), ReasonCode::AliasNotUnique);
    assert_eq!(world.backend.destroyed(), 1, "the key that could not be recorded must be destroyed");
    assert!(block_on(create::create(&world.gateway, &cx(SECOND), false, Ok(aliased()))).is_ok());
}

#[test]
fn rotation_waits_for_its_interval_and_keeps_all_versions() {
    let world = World::new();
    let key = world.root_key();
    let once = world.rotate(&key).unwrap();
    assert_eq!(once.version_count, 2);
    assert_eq!(code(world.rotate(&key)), ReasonCode::RotationNotPermitted);
    world.clock.travel(HOUR - Duration::from_millis(1));
    assert_eq!(code(world.rotate(&key)), ReasonCode::RotationNotPermitted);
    world.clock.travel(Duration::from_millis(1));
    let twice = world.rotate(&key).unwrap();
    let query = versions::ListVersions { page: ALL, all_key_states: false };
    let (_, page) = block_on(versions::versions(&world.gateway, &cx(FIRST), &by_id(&key), Ok(query))).unwrap();
    let ids: Vec<_> = page.items.iter().map(|version| version.id).collect();
    assert_eq!(ids, [twice.current_version, once.current_version, key.current_version], "newest first");
}

#[test]
fn an_imported_key_is_rotated_with_material_and_a_generated_one_without() {
    let world = World::new();
    let generated = world.root_key();
    let imported = world.create(CreateKey { payload: plain(&[1; 32]), ..root("i") }).unwrap().key;
    let rotate = |key: &Key, payload: Option<&[u8]>| {
        let input = rotate::Rotate { payload: payload.and_then(plain) };
        block_on(rotate::rotate(&world.gateway, &cx(FIRST), &by_id(key), Ok(input)))
    };
    assert_eq!(code(rotate(&generated, Some(&[2; 32]))), ReasonCode::InvalidQueryParam);
    assert_eq!(code(rotate(&imported, None)), ReasonCode::KeyPayloadRequired);
    assert_eq!(code(rotate(&imported, Some(&[2; 31]))), ReasonCode::InvalidField);
    assert_eq!(rotate(&imported, Some(&[2; 16])).unwrap().bits, 128);
}

#[test]
fn a_deleted_key_is_gone_from_use_and_from_lists_and_still_there_to_see() {
    let world = World::new();
    let key = world.root_key();
    let other = world.root_key();
    let deleted = block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&key), Ok(false))).unwrap();
    assert_eq!(deleted.state, KeyState::Destroyed);
    assert_eq!(code(world.wrap(&key, b"x", &[])), ReasonCode::KeyDeleted);
    assert_eq!(code(world.rotate(&key)), ReasonCode::KeyDeleted);
    let again = block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&key), Ok(false)));
    assert_eq!(code(again), ReasonCode::KeyDeleted);
    assert!(block_on(read::metadata(&world.gateway, &cx(FIRST), &by_id(&key))).is_ok());

    let listed = |filter: KeyFilter| {
        let query = list::ListKeys { filter, sort: Sort::default(), page: ALL, count: false };
        let listing = block_on(list::list(&world.gateway, &cx(FIRST), Ok(query))).unwrap();
        listing.keys.iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(KeyFilter::default()), [other.id]);
    let destroyed = KeyFilter { states: vec![KeyState::Destroyed], ..KeyFilter::default() };
    assert_eq!(listed(destroyed), [key.id]);
}

#[test]
fn an_expired_key_unwraps_and_wraps_no_more() {
    let world = World::new();
    let now = crate::ports::Clock::now(world.clock.as_ref());
    let key = world.create(CreateKey { expires_at: Some(now.plus(HOUR)), ..root("k") }).unwrap().key;
    assert!(world.wrap(&key, b"x", &[]).is_ok());
    world.clock.travel(HOUR);
    assert_eq!(code(world.wrap(&key, b"x", &[])), ReasonCode::KeyActionInvalidState);
    assert!(world.rotate(&key).is_ok(), "a deactivated key can be rotated");
    let listed = |state| {
        let filter = KeyFilter { states: vec![state], ..KeyFilter::default() };
        block_on(list::count(&world.gateway, &cx(FIRST), Ok(filter))).unwrap()
    };
    assert_eq!((listed(KeyState::Active), listed(KeyState::Deactivated)), (0, 1), "lists see it too");
}

#[test]
fn keys_that_their_backend_does_not_open_are_found_before_the_first_request() {
    let world = World::new();
    let (key, deleted) = (world.root_key(), world.root_key());
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&deleted), Ok(false))).unwrap();
    let look = || block_on(samples::samples(&world.gateway)).unwrap();
    assert_eq!((look()["fake"].opened, look()["fake"].unopened.len()), (1, 0), "deleted keys do not count");
    world.backend.fail_with(Some(BackendError::InvalidKeyRef { backend: "fake".to_owned() }));
    let unopened = &look()["fake"].unopened;
    assert_eq!(unopened.iter().map(|sample| sample.key.id).collect::<Vec<_>>(), [key.id]);
    let elsewhere = Gateway { backends: Arc::new(FakeBackends::new(Vec::new())), ..world.gateway };
    assert!(block_on(samples::samples(&elsewhere)).unwrap().is_empty(), "a backend that is gone stops nobody");
}

#[test]
fn instances_do_not_see_each_other() {
    let world = World::new();
    let key = world.root_key();
    let elsewhere = block_on(read::metadata(&world.gateway, &cx(SECOND), &by_id(&key)));
    assert_eq!(code(elsewhere), ReasonCode::KeyNotFound);
    let unknown = block_on(read::metadata(&world.gateway, &cx(InstanceId::from_bytes([9; 16])), &by_id(&key)));
    assert_eq!(code(unknown), ReasonCode::InstanceNotFound);
}

#[test]
fn a_backend_that_fails_leaves_no_record() {
    let world = World::new();
    world.backend.fail_with(Some(BackendError::Busy(None)));
    assert!(matches!(world.create(root("k")), Err(Error::Busy { .. })));
    world.backend.fail_with(None);
    let count = block_on(list::count(&world.gateway, &cx(FIRST), Ok(KeyFilter::default()))).unwrap();
    assert_eq!(count, 0);
}

#[test]
fn a_key_whose_material_cannot_be_handed_out_is_not_made() {
    let world = World::new();
    world.backend.refuse_exports();
    let input = CreateKey { kind: KeyKind::Standard, return_payload: true, ..root("s") };
    assert!(world.create(input).is_err());
    assert_eq!(world.backend.destroyed(), 1, "nor is its material left behind");
    let count = block_on(list::count(&world.gateway, &cx(FIRST), Ok(KeyFilter::default()))).unwrap();
    assert_eq!(count, 0);
}

/// Entropy for so many draws.
struct Scarce(std::sync::atomic::AtomicU64, CountingEntropy);

impl crate::ports::Entropy for Scarce {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), crate::entropy::EntropyError> {
        use std::sync::atomic::Ordering::Relaxed;
        match self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => self.1.fill(bytes),
            Err(_) => Err(crate::entropy::EntropyError("none is left".to_owned())),
        }
    }
}

#[test]
fn a_rotation_that_does_not_come_as_far_as_its_commit_leaves_no_material() {
    let world = World::new();
    let key = world.root_key();
    world.register(&key, 1, false);
    // Enough for the version, and not for the event of its adopter.
    let entropy = Scarce(1.into(), CountingEntropy::default());
    let gateway = Gateway { entropy: Arc::new(entropy), ..world.twin() };
    let rotated = block_on(rotate::rotate(&gateway, &cx(FIRST), &by_id(&key), Ok(rotate::Rotate::default())));
    assert!(rotated.is_err());
    assert_eq!((world.backend.destroyed(), world.stored(&key).unwrap().version_count), (1, 1));
}

#[test]
fn a_ring_that_is_not_there_is_refused() {
    let world = World::new();
    let key = world.root_key();
    let in_ring = in_ring("prod");
    let created = block_on(create::create(&world.gateway, &in_ring, false, Ok(root("k"))));
    assert_eq!(code(created), ReasonCode::KeyRingNotFound);
    let found = block_on(read::metadata(&world.gateway, &in_ring, &by_id(&key)));
    assert_eq!(code(found), ReasonCode::KeyNotFound);
}

#[test]
fn a_standard_key_is_restored_with_what_it_was_and_with_nothing_else() {
    let world = World::new();
    let input = CreateKey { kind: KeyKind::Standard, payload: plain(b"a secret"), ..root("s") };
    let key = world.create(input).unwrap().key;
    world.delete(&key).unwrap();
    world.clock.travel(HOUR);
    let Err(Error::Refused(reasons)) = world.restore(&key, plain(b"a secret")) else { panic!("restored") };
    assert_eq!(reasons.len(), 1);
    assert_eq!(reasons[0].code, ReasonCode::InvalidField);
    assert_eq!(reasons[0].target, Some(crate::error::Target::Field("payload".to_owned())));
    let restored = world.restore(&key, None).unwrap();
    assert_eq!((restored.state, restored.version_count), (KeyState::Active, 1));
}
