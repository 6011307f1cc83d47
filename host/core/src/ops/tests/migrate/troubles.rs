//! What goes wrong while keys move, and what comes of it.

use super::*;
use crate::ids::KeyId;
use crate::migration::Transport;

impl Move {
    /// Keys on the old backend, each with a ciphertext, and a migration that has begun.
    fn begun(keys: usize) -> (Self, Vec<Key>, Vec<String>) {
        let mut it = Self::new();
        let keys: Vec<Key> = (0..keys).map(|_| it.world.root_key()).collect();
        let ciphertexts = keys.iter().map(|key| it.wrap(key)).collect();
        it.bind("other");
        it.start("fake", "other").unwrap();
        (it, keys, ciphertexts)
    }

    /// Works until it waits for the second pass.
    fn first_pass(&self) {
        let mut runner = Runner::default();
        while self.migration().pass == 1 {
            block_on(runner.step(&self.world.gateway, FIRST));
        }
    }

    /// Takes so many steps, travelling in time where it must wait.
    fn steps(&self, runner: &mut Runner, steps: usize) {
        for _ in 0..steps {
            if let Step::Wait(wait) = block_on(runner.step(&self.world.gateway, FIRST)) {
                self.world.clock.travel(wait);
            }
        }
    }

    fn reference(&self, key: &Key) -> Vec<u8> {
        self.versions(key).remove(0).key_ref.reference
    }

    fn transport(&self) -> Vec<u8> {
        match self.migration().transport {
            Transport::Key { reference, .. } => reference,
            other => panic!("{other:?}"),
        }
    }

    /// What the audit log was told in answers of this action, by name.
    fn told(&self, action: &str, name: &str) -> Vec<String> {
        let events = self.world.audit.events().into_iter().filter(|event| event.action == action);
        let facts = events.flat_map(|event| event.response);
        facts.filter(|(fact, _)| *fact == name).map(|(_, value)| value).collect()
    }
}

fn away() -> BackendError {
    BackendError::Unavailable { backend: "fake".to_owned(), detail: "no answer".to_owned(), retry_after: None }
}

const MOVE: &str = "keygate.backends.migration.move";

#[test]
fn a_key_that_the_new_place_has_lost_is_used_where_it_was_before() {
    let (mut it, keys, mut ciphertexts) = Move::begun(3);
    it.first_pass();
    let lost = &keys[1];
    ciphertexts[1] = it.wrap(lost);
    it.other.lose(&it.reference(lost));
    assert_eq!(it.unwrap(lost, &ciphertexts[1]).unwrap_err().reason_code(), Some(ReasonCode::KeyMaterialMissing));
    it.run(30);
    let counts = it.migration().counts;
    assert_eq!((counts.moved, counts.destroyed, counts.stayed), (3, 2, 1));
    let stays = it.stays();
    assert_eq!((stays[0].key, stays[0].reason, stays[0].renewed), (lost.id, StayReason::CameBack, false));
    assert_eq!(it.places(lost), ["fake"]);
    it.unwrap(lost, &ciphertexts[1]).unwrap();
    // Either way is open: back with all of them, and there once more.
    for (from, to, moved) in [("other", "fake", 2), ("fake", "other", 3)] {
        it.world.clock.travel(Duration::from_secs(1));
        it.bind(to);
        it.start(from, to).unwrap();
        it.run(60);
        assert_eq!((it.migration().counts.moved, it.stays()), (moved, Vec::new()), "to {to}");
        for (key, ciphertext) in keys.iter().zip(&ciphertexts) {
            assert_eq!(it.places(key), [to]);
            it.unwrap(key, ciphertext).unwrap();
        }
    }
}

#[test]
fn a_way_back_that_is_begun_before_the_end_finds_what_was_lost() {
    let (mut it, keys, ciphertexts) = Move::begun(3);
    it.first_pass();
    it.other.lose(&it.reference(&keys[2]));
    let id = it.migration().id;
    block_on(migrate::stop(&it.world.gateway, &cx(FIRST), Ok(FIRST), Ok(id))).unwrap();
    it.world.clock.travel(it.world.gateway.limits.migration_grace);
    it.bind("fake");
    it.start("other", "fake").unwrap();
    it.run(60);
    assert_eq!((it.migration().counts.moved, it.stays()), (3, Vec::new()));
    for (key, ciphertext) in keys.iter().zip(&ciphertexts) {
        assert_eq!(it.places(key), ["fake"]);
        it.unwrap(key, ciphertext).unwrap();
    }
}

#[test]
fn a_key_that_no_place_shows_keeps_both_in_its_record() {
    let (it, keys, _) = Move::begun(2);
    let lost = &keys[0];
    let before = it.reference(lost);
    it.first_pass();
    it.other.lose(&it.reference(lost));
    it.world.backend.lose(&before);
    let versions = it.versions(lost);
    it.run(30);
    assert_eq!((it.stays()[0].key, it.stays()[0].reason), (lost.id, StayReason::MaterialMissing));
    assert_eq!(it.versions(lost), versions, "it is there again when either shows it");
}

#[test]
fn load_is_waited_for_and_one_bad_key_is_left() {
    let (it, keys, _) = Move::begun(6);
    let (bad, loaded) = (&keys[1], &keys[4]);
    it.world.backend.fail_over(bad.id, Some(away()));
    it.world.backend.fail_over(loaded.id, Some(BackendError::Busy(None)));
    let mut runner = Runner::default();
    it.steps(&mut runner, 60);
    // The one that fails while the backends do well stays; the one that is asked for too much goes on being asked for.
    let stays = it.stays();
    assert_eq!(stays.len(), 1, "{stays:?}");
    assert_eq!((stays[0].key, stays[0].reason), (bad.id, StayReason::BackendFailed));
    assert_eq!((it.migration().pass, it.places(loaded)), (1, vec!["fake".to_owned()]));
    assert!(keys.iter().filter(|key| ![bad.id, loaded.id].contains(&key.id)).all(|key| it.places(key) == ["other"]));
    it.world.backend.fail_over(loaded.id, None);
    it.run(60);
    let counts = it.migration().counts;
    assert_eq!((counts.moved, counts.destroyed, counts.stayed), (5, 5, 1));
}

#[test]
fn a_key_that_fails_only_while_its_backend_does_is_not_given_up() {
    let (it, keys, _) = Move::begun(2);
    let mut runner = Runner::default();
    it.steps(&mut runner, 1);
    it.world.backend.fail_with(Some(away()));
    it.steps(&mut runner, 30);
    it.world.backend.fail_with(None);
    it.steps(&mut runner, 1);
    assert!(keys.iter().all(|key| it.places(key) == ["other"]), "{:?}", it.stays());
}

#[test]
fn what_was_done_beside_a_key_in_trouble_is_counted() {
    let (mut it, keys, _) = Move::begun(10);
    it.world.gateway.limits.migration_concurrency = 10;
    let mut ids: Vec<KeyId> = keys.iter().map(|key| key.id).collect();
    ids.sort();
    it.world.backend.fail_over(ids[3], Some(BackendError::Busy(None)));
    let mut runner = Runner::default();
    it.steps(&mut runner, 3);
    let stuck = it.migration();
    assert_eq!((stuck.counts.seen, stuck.counts.moved, stuck.cursor), (3, 3, Some(ids[2])));
    assert!(stuck.waiting.is_some());
    let recorded = it.told(MOVE, "moved").len();
    it.steps(&mut runner, 5);
    assert_eq!((it.migration().counts.moved, it.told(MOVE, "moved").len()), (3, recorded), "nothing is told twice");
    it.world.backend.fail_over(ids[3], None);
    it.first_pass();
    assert_eq!(it.migration().counts.moved, 10);
    // The same in the second pass, where what is forgotten is counted at once.
    it.other.fail_over(ids[3], Some(BackendError::Busy(None)));
    it.steps(&mut runner, 3);
    assert_eq!((it.migration().counts.seen, it.migration().counts.destroyed), (3, 9));
    it.other.fail_over(ids[3], None);
    it.run(30);
    let counts = it.migration().counts;
    assert_eq!((counts.moved, counts.destroyed, counts.stayed), (10, 10, 0));
}

#[test]
fn nothing_moves_into_a_token_that_does_not_know_the_transport_key_until_somebody_begins_anew() {
    let (it, keys, _) = Move::begun(3);
    let mut runner = Runner::default();
    it.steps(&mut runner, 1);
    let lost = it.transport();
    it.other.lose(&lost);
    it.steps(&mut runner, 20);
    assert!(it.migration().waiting.is_some_and(|why| why.contains("does not know the transport key")));
    assert_eq!((it.transport(), it.migration().counts.moved, it.stays()), (lost, 0, Vec::new()));
    let id = it.migration().id;
    block_on(migrate::stop(&it.world.gateway, &cx(FIRST), Ok(FIRST), Ok(id))).unwrap();
    it.start("fake", "other").unwrap();
    it.run(30);
    assert_eq!((it.migration().counts.moved, it.stays()), (3, Vec::new()));
    assert!(keys.iter().all(|key| it.places(key) == ["other"]));
}

#[test]
fn a_purge_destroys_also_what_shows_again_where_a_key_came_back_from() {
    let (it, keys, _) = Move::begun(1);
    it.first_pass();
    let there = it.reference(&keys[0]);
    it.other.lose(&there);
    it.run(30);
    assert_eq!(it.stays()[0].reason, StayReason::CameBack);
    let former = it.versions(&keys[0]).remove(0).former.map(|former| former.key_ref);
    assert_eq!(former.map(|it| (it.backend, it.reference)), Some(("other".to_owned(), there)));
}

#[test]
fn a_way_back_that_nobody_came_to_write_down_is_told_all_the_same() {
    let store = Arc::new(MemoryStore::default());
    let mut world = World::new();
    world.gateway.store = store.clone();
    let mut it = Move::with(world);
    let key = it.world.root_key();
    it.bind("other");
    it.start("fake", "other").unwrap();
    it.first_pass();
    it.other.lose(&it.reference(&key));
    it.world.clock.travel(it.world.gateway.limits.migration_grace * 2);
    // The first one is the way back, the second what is told of it.
    store.fail_commit(2, false);
    it.steps(&mut Runner::default(), 1);
    assert!(!store.will_fail() && it.stays().is_empty());
    it.run(30);
    assert_eq!(
        (it.stays().len(), it.stays()[0].reason, it.places(&key)),
        (1, StayReason::CameBack, vec!["fake".to_owned()])
    );
    assert_eq!(it.migration().counts.stayed, 1);
}

#[test]
fn what_fails_while_a_backend_is_away_speaks_against_no_key() {
    let (it, keys, _) = Move::begun(2);
    let mut runner = Runner::default();
    it.steps(&mut runner, 1);
    it.world.backend.fail_with(Some(away()));
    it.steps(&mut runner, 12);
    // It is back, and stumbles once more.
    it.world.backend.fail_with(None);
    it.world.backend.fail_over(keys[0].id, Some(away()));
    it.steps(&mut runner, 2);
    assert_eq!(it.stays(), Vec::new());
    it.world.backend.fail_over(keys[0].id, None);
    it.run(60);
    assert_eq!((it.migration().counts.moved, it.stays()), (2, Vec::new()));
}

#[test]
fn no_transport_key_is_left_behind() {
    let store = Arc::new(MemoryStore::default());
    let mut world = World::new();
    world.gateway.store = store.clone();
    let mut it = Move::with(world);
    it.world.root_key();
    it.bind("other");
    it.start("fake", "other").unwrap();
    // It was not written down: nothing would know of it.
    store.fail_commit(1, false);
    it.steps(&mut Runner::default(), 1);
    assert_eq!((it.migration().transport, it.other.destroyed()), (Transport::Unasked, 1));
    // It was, and only the answer was lost.
    store.fail_commit(1, true);
    it.steps(&mut Runner::default(), 1);
    let pair = it.transport();
    assert_eq!(it.other.destroyed(), 1);
    let id = it.migration().id;
    block_on(migrate::stop(&it.world.gateway, &cx(FIRST), Ok(FIRST), Ok(id))).unwrap();
    it.bind("fake");
    it.start("other", "fake").unwrap();
    assert_eq!(it.other.destroyed(), 2, "the other way has no use for it");
    assert!(it.other.is_gone(&pair));
}

#[test]
fn a_damaged_note_of_what_stayed_stops_no_other_key() {
    let store = Arc::new(MemoryStore::default());
    let mut world = World::new();
    world.gateway.store = store.clone();
    let mut it = Move::with(world);
    let keys: Vec<Key> = (0..4).map(|_| it.world.root_key()).collect();
    it.bind("other");
    it.start("fake", "other").unwrap();
    store.damage_stay(keys[2].id);
    it.run(60);
    assert_eq!(it.migration().counts.moved, 3);
    assert_eq!((it.stays()[0].key, it.stays()[0].reason), (keys[2].id, StayReason::Damaged));
    it.start("fake", "other").unwrap();
    it.run(60);
    assert_eq!((it.migration().counts.moved, it.stays()), (1, Vec::new()));
}

#[test]
fn what_was_moved_and_not_recorded_is_recorded_later() {
    let mut it = Move::new();
    let keys = [it.world.root_key(), it.world.root_key()];
    it.world.rotate(&keys[0]).unwrap();
    it.bind("other");
    it.start("fake", "other").unwrap();
    let mut ids: Vec<String> =
        keys.iter().flat_map(|key| it.versions(key)).map(|version| version.id.to_string()).collect();
    let mut runner = Runner::default();
    it.steps(&mut runner, 1);
    // It is moved, and its event is lost: as when the gateway is killed in between.
    let broken = Arc::new(MemoryAudit::default());
    broken.break_down();
    it.world.gateway.audit = broken;
    it.steps(&mut runner, 1);
    assert!(keys.iter().all(|key| it.places(key)[0] == "other") && it.told(MOVE, "moved").is_empty());
    it.world.gateway.audit = it.world.audit.clone();
    it.run(30);
    let listed = |name: &str| {
        let told = it.told(MOVE, name).into_iter();
        let mut ids: Vec<String> = told.flat_map(|ids| ids.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
        ids.sort();
        ids
    };
    ids.sort();
    assert_eq!((listed("movedVersionIds"), listed("destroyedVersionIds")), (ids.clone(), ids));
    let recovered: usize = it.told(MOVE, "recovered").iter().map(|count| count.parse::<usize>().unwrap()).sum();
    assert_eq!(recovered, 3);
    assert_eq!((it.migration().counts.moved, it.migration().counts.destroyed), (3, 3));
}

#[test]
fn a_new_version_that_a_migration_makes_is_recorded_as_a_rotation() {
    let (it, keys, _) = Move::begun(1);
    it.other.refuse_transports();
    it.run(30);
    let current = it.world.stored(&keys[0]).unwrap().current_version.to_string();
    assert_eq!(it.told("kms.secrets.rotate", "keyVersionId"), [current]);
    assert_eq!(it.told(MOVE, "renewed"), ["1"]);
}

#[test]
fn a_new_version_whose_event_was_lost_is_named_by_that_of_the_move() {
    let (mut it, keys, _) = Move::begun(1);
    it.other.refuse_transports();
    let mut runner = Runner::default();
    it.steps(&mut runner, 1);
    let broken = Arc::new(MemoryAudit::default());
    broken.break_down();
    it.world.gateway.audit = broken;
    it.steps(&mut runner, 1);
    assert_eq!(it.places(&keys[0]), ["other", "fake"], "it was made");
    it.world.gateway.audit = it.world.audit.clone();
    it.run(30);
    let current = it.world.stored(&keys[0]).unwrap().current_version.to_string();
    assert_eq!(it.told(MOVE, "keyVersionId"), [current]);
    assert_eq!(it.places(&keys[0]), ["other", "fake"], "and made once");
}
