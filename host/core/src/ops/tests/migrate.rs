//! Keys on their way from one backend to another.

mod troubles;

use super::common::DAY;
use super::*;
use crate::backend::{BackendError, BackendKey, KeyIdentity};
use crate::ids::MigrationId;
use crate::key::{KeyRef, KeyState, KeyVersion};
use crate::migration::{Counts, Migration, MigrationState, Stay, StayReason};
use crate::ops::migrate::{self, Route, Runner, Step};
use crate::ops::wrap::Wrap;
use crate::ops::{purge, read, rewrap, unwrap};
use crate::store::{Change, PageRequest};

const ALL: PageRequest = PageRequest { offset: 0, limit: usize::MAX };

/// A gateway whose first instance has its keys on `fake`, and makes new ones on `other`.
struct Move {
    world: World,
    other: Arc<FakeBackend>,
}

impl Move {
    fn new() -> Self {
        Self::with(World::new())
    }

    /// The world as it is, with one backend more. Keys that are there are on the old one.
    fn with(mut world: World) -> Self {
        let other = Arc::new(FakeBackend::new("other"));
        world.gateway.backends = Arc::new(FakeBackends::new(vec![world.backend.clone(), other.clone()]));
        Self { world, other }
    }

    /// From now on new keys are made here.
    fn bind(&mut self, backend: &str) {
        let bound = |instance: Arc<Instance>| Instance { backend: backend.to_owned(), ..(*instance).clone() };
        self.world.gateway.instances = self.world.gateway.instances.iter().map(bound).collect();
    }

    fn start(&self, from: &str, to: &str) -> Result<Migration, Error> {
        let route = Route { from: from.to_owned(), to: to.to_owned() };
        block_on(migrate::start(&self.world.gateway, &cx(FIRST), Ok(FIRST), Ok(route)))
    }

    fn migration(&self) -> Migration {
        block_on(self.world.gateway.store.migration(FIRST)).unwrap().expect("a migration")
    }

    fn stays(&self) -> Vec<Stay> {
        block_on(self.world.gateway.store.stays(FIRST, ALL)).unwrap().items
    }

    /// Works until there is nothing to do, travelling in time where it must wait; at most so many steps.
    fn run(&self, steps: usize) {
        let mut runner = Runner::default();
        for _ in 0..steps {
            match block_on(runner.step(&self.world.gateway, FIRST)) {
                Step::Idle => return,
                Step::Worked => {}
                Step::Wait(wait) => self.world.clock.travel(wait),
            }
        }
        panic!("it has no end: {:?}", self.migration());
    }

    fn versions(&self, key: &Key) -> Vec<KeyVersion> {
        block_on(self.world.gateway.store.versions(key.instance, key.id, ALL)).unwrap().items
    }

    /// Where the versions of a key are, newest first.
    fn places(&self, key: &Key) -> Vec<String> {
        self.versions(key).into_iter().map(|version| version.key_ref.backend).collect()
    }

    fn wrap(&self, key: &Key) -> String {
        block_on(wrap::wrap(&self.world.gateway, &cx(FIRST), &by_id(key), Ok(Wrap::default()))).unwrap().ciphertext
    }

    fn unwrap(&self, key: &Key, ciphertext: &str) -> Result<unwrap::Unwrapped, Error> {
        let input = unwrap::Ciphertext { ciphertext: ciphertext.to_owned(), aad: Vec::new() };
        block_on(unwrap::unwrap(&self.world.gateway, &cx(FIRST), &by_id(key), Ok(input)))
    }
}

#[test]
fn all_versions_of_all_keys_move_and_old_ciphertexts_open() {
    let mut it = Move::new();
    let root = it.world.root_key();
    let first = it.wrap(&root);
    it.world.rotate(&root).unwrap();
    let second = it.wrap(&root);
    let imported = it.world.imported(&[5; 24]);
    let disabled = it.world.key_in(KeyState::Suspended);
    let deleted = it.world.key_in(KeyState::Destroyed);
    let standard = CreateKey { kind: KeyKind::Standard, payload: plain(b"secret"), ..super::root("s") };
    let standard = it.world.create(standard).unwrap().key;
    let before = it.world.stored(&root).unwrap();
    it.bind("other");
    let begun = it.start("fake", "other").unwrap();
    it.run(40);
    let done = it.migration();
    assert_eq!((done.state, done.id, done.counts.moved, done.counts.destroyed), (MigrationState::Done, begun.id, 6, 6));
    assert_eq!((done.counts.stayed, it.stays()), (0, Vec::new()));
    assert_eq!(it.world.backend.destroyed(), 6);
    for key in [&root, &imported, &disabled, &deleted, &standard] {
        for version in it.versions(key) {
            assert_eq!((version.key_ref.backend.as_str(), version.former), ("other", None));
        }
    }
    assert_eq!(it.world.stored(&root).unwrap(), before, "clients see nothing of it");
    for ciphertext in [&first, &second] {
        it.unwrap(&root, ciphertext).unwrap();
    }
    let input = unwrap::Ciphertext { ciphertext: first, aad: Vec::new() };
    let (_, rewrapped) = block_on(rewrap::rewrap(&it.world.gateway, &cx(FIRST), &by_id(&root), Ok(input))).unwrap();
    it.unwrap(&root, &rewrapped.ciphertext).unwrap();
    let payload = block_on(read::read(&it.world.gateway, &cx(FIRST), &by_id(&standard))).unwrap().payload.unwrap();
    assert_eq!(payload.expose(), b"secret");
    let events = it.world.audit.events();
    let count = |action| events.iter().filter(|event| event.action == action).count();
    assert_eq!(count("keygate.backends.migrate"), 1);
    assert_eq!(
        count("keygate.backends.migration.move"),
        10,
        "one for each key that moves, and one where it is destroyed"
    );
    assert_eq!(count("keygate.backends.migration.end"), 1);
}

#[test]
fn nothing_is_destroyed_before_calls_that_had_begun_have_ended() {
    let mut it = Move::new();
    let key = it.world.root_key();
    it.bind("other");
    it.start("fake", "other").unwrap();
    let mut runner = Runner::default();
    let grace = it.world.gateway.limits.migration_grace;
    let wait = loop {
        match block_on(runner.step(&it.world.gateway, FIRST)) {
            Step::Wait(wait) => break wait,
            Step::Worked => {}
            Step::Idle => panic!("it is over"),
        }
    };
    assert_eq!(wait, grace);
    assert_eq!((it.places(&key), it.world.backend.destroyed()), (vec!["other".to_owned()], 0));
    it.world.clock.travel(grace - Duration::from_millis(1));
    assert_eq!(block_on(runner.step(&it.world.gateway, FIRST)), Step::Wait(Duration::from_millis(1)));
    assert_eq!(it.world.backend.destroyed(), 0);
    it.run(9);
    assert_eq!(it.world.backend.destroyed(), 1);
}

#[test]
fn what_cannot_travel_gets_a_new_version_where_it_can() {
    let mut it = Move::new();
    let generated = it.world.root_key();
    let old = it.wrap(&generated);
    let imported = it.world.imported(&[5; 16]);
    let disabled = it.world.key_in(KeyState::Suspended);
    it.other.refuse_transports();
    it.bind("other");
    it.start("fake", "other").unwrap();
    it.run(40);
    let counts = it.migration().counts;
    assert_eq!((counts.moved, counts.renewed, counts.stayed), (0, 1, 3));
    assert_eq!(it.places(&generated), ["other", "fake"]);
    assert_eq!((it.places(&imported), it.places(&disabled)), (vec!["fake".to_owned()], vec!["fake".to_owned()]));
    let stays = it.stays();
    let stay = |key: &Key| stays.iter().find(|stay| stay.key == key.id).unwrap();
    assert!(stay(&generated).renewed && !stay(&imported).renewed && !stay(&disabled).renewed);
    assert!(stays.iter().all(|stay| stay.reason == StayReason::NotTransportable && stay.versions == 1));
    assert!(stay(&imported).detail.contains("keys stay where they are"), "{stays:?}");
    assert!(stay(&disabled).detail.contains("in its state"), "{stays:?}");
    let opened = it.unwrap(&generated, &old).unwrap();
    it.unwrap(&generated, &opened.rewrapped.expect("it is under an old version").ciphertext).unwrap();
    assert_eq!(it.world.backend.destroyed(), 0, "what stayed is there");
}

#[test]
fn one_bad_key_stops_no_other_and_its_mapping_stays() {
    let it = Move::new();
    let keys: Vec<Key> = (0..5).map(|_| it.world.root_key()).collect();
    let bad = &keys[2];
    let before = it.versions(bad).remove(0);
    let broken = KeyVersion { key_ref: KeyRef { reference: vec![1], ..before.key_ref.clone() }, ..before.clone() };
    let change = |before: &KeyVersion, after: &KeyVersion| {
        let (instance, key, before, after) = (FIRST, bad.id, before.clone(), after.clone());
        it.world.commit(vec![Change::UpdateVersion { instance, key, before, after }]);
    };
    change(&before, &broken);
    let mut it = it;
    it.bind("other");
    it.start("fake", "other").unwrap();
    it.run(60);
    assert_eq!((it.migration().counts.moved, it.migration().counts.stayed), (4, 1));
    assert_eq!(it.stays()[0].reason, StayReason::MaterialMissing);
    assert_eq!(it.versions(bad), std::slice::from_ref(&broken), "nothing of it was changed");
    // When it is there again, another migration takes it along.
    let (instance, key) = (FIRST, bad.id);
    it.world.commit(vec![Change::UpdateVersion { instance, key, before: broken, after: before }]);
    it.start("fake", "other").unwrap();
    it.run(60);
    assert_eq!((it.migration().counts.moved, it.stays()), (1, Vec::new()));
}

#[test]
fn a_token_that_does_not_show_a_key_changes_nothing_of_its_record() {
    let it = Move::new();
    let key = it.world.root_key();
    let ciphertext = it.wrap(&key);
    let (before, versions) = (it.world.stored(&key), it.versions(&key));
    it.world.backend.fail_with(Some(BackendError::KeyNotFound));
    for _ in 0..3 {
        let error = it.unwrap(&key, &ciphertext).unwrap_err();
        assert_eq!(error.reason_code(), Some(ReasonCode::KeyMaterialMissing));
        let error = block_on(wrap::wrap(&it.world.gateway, &cx(FIRST), &by_id(&key), Ok(Wrap::default()))).unwrap_err();
        assert_eq!(error.reason_code(), Some(ReasonCode::KeyMaterialMissing));
    }
    assert_eq!((it.world.stored(&key), it.versions(&key)), (before, versions));
    it.world.backend.fail_with(None);
    it.unwrap(&key, &ciphertext).unwrap();
}

#[test]
fn a_backend_that_is_away_is_waited_for() {
    let mut it = Move::new();
    let key = it.world.root_key();
    it.bind("other");
    it.start("fake", "other").unwrap();
    let mut runner = Runner::default();
    assert_eq!(block_on(runner.step(&it.world.gateway, FIRST)), Step::Worked, "the transport key");
    let away = BackendError::Unavailable { backend: "other".to_owned(), detail: "gone".to_owned(), retry_after: None };
    it.other.fail_with(Some(away));
    let mut waits = Vec::new();
    for _ in 0..12 {
        let Step::Wait(wait) = block_on(runner.step(&it.world.gateway, FIRST)) else { panic!("it did not wait") };
        waits.push(wait.as_secs());
        it.world.clock.travel(wait);
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60, 60]);
    assert!(it.migration().waiting.is_some_and(|why| why.contains("gone")));
    assert_eq!(it.places(&key), ["fake"]);
    it.other.fail_with(None);
    it.run(20);
    assert_eq!((it.places(&key), it.migration().counts.stayed), (vec!["other".to_owned()], 0));
}

#[test]
fn a_stopped_migration_goes_on_where_it_was() {
    let mut it = Move::new();
    it.world.gateway.limits.migration_concurrency = 1;
    let keys: Vec<Key> = (0..10).map(|_| it.world.root_key()).collect();
    it.bind("other");
    let begun = it.start("fake", "other").unwrap();
    let mut runner = Runner::default();
    for _ in 0..2 {
        block_on(runner.step(&it.world.gateway, FIRST));
    }
    let stop = |id| block_on(migrate::stop(&it.world.gateway, &cx(FIRST), Ok(FIRST), Ok(id)));
    let stopped = stop(begun.id).unwrap();
    assert_eq!((stopped.state, stopped.counts.moved), (MigrationState::Stopped, 4));
    assert_eq!(block_on(runner.step(&it.world.gateway, FIRST)), Step::Idle);
    let unknown = stop(MigrationId::from_bytes([9; 16])).unwrap_err();
    assert_eq!(unknown.reason_code(), Some(ReasonCode::MigrationNotFound));
    let again = it.start("fake", "other").unwrap();
    assert_eq!((again.id, again.counts), (begun.id, stopped.counts));
    let other_way = it.start("other", "fake").unwrap_err();
    assert_eq!(other_way.reason_code(), Some(ReasonCode::InstanceNotBound));
    it.run(60);
    assert_eq!(it.migration().counts.moved, 10);
    assert!(keys.iter().all(|key| it.places(key) == ["other"]));
}

#[test]
fn what_cannot_be_begun_says_why() {
    let mut it = Move::new();
    let code = |outcome: Result<Migration, Error>| outcome.unwrap_err().reason_code().unwrap();
    assert_eq!(code(it.start("fake", "other")), ReasonCode::InstanceNotBound);
    assert_eq!(code(it.start("fake", "fake")), ReasonCode::InvalidField);
    assert_eq!(code(it.start("fake", "nowhere")), ReasonCode::BackendNotFound);
    let route = Ok(Route { from: "other".to_owned(), to: "fake".to_owned() });
    let unknown = InstanceId::from_bytes([77; 16]);
    let outcome = block_on(migrate::start(&it.world.gateway, &cx(FIRST), Ok(unknown), route));
    assert_eq!(code(outcome), ReasonCode::InstanceNotFound);
    it.start("other", "fake").unwrap();
    it.bind("other");
    assert_eq!(code(it.start("fake", "other")), ReasonCode::MigrationUnderWay);
}

#[test]
fn a_purge_destroys_both_places() {
    let mut it = Move::new();
    let key = it.world.key_in(KeyState::Destroyed);
    it.bind("other");
    it.start("fake", "other").unwrap();
    let mut runner = Runner::default();
    while !matches!(block_on(runner.step(&it.world.gateway, FIRST)), Step::Wait(_)) {}
    assert!(it.versions(&key)[0].former.is_some());
    it.world.clock.travel(DAY);
    let (here, there) = (it.world.backend.destroyed(), it.other.destroyed());
    block_on(purge::purge(&it.world.gateway, &cx(FIRST), &by_id(&key))).unwrap();
    assert_eq!((it.world.backend.destroyed(), it.other.destroyed()), (here + 1, there + 1));
    it.run(9);
    assert_eq!(it.migration().state, MigrationState::Done);
}

#[test]
fn keys_go_there_and_back() {
    let mut it = Move::new();
    let keys: Vec<Key> = (0..70).map(|_| it.world.root_key()).collect();
    let mut ciphertexts: Vec<(usize, String)> = Vec::new();
    for (from, to) in [("fake", "other"), ("other", "fake"), ("fake", "other")] {
        ciphertexts.extend(keys.iter().enumerate().map(|(n, key)| (n, it.wrap(key))));
        it.bind(to);
        it.start(from, to).unwrap();
        it.run(60);
        assert_eq!((it.migration().counts.moved, it.migration().counts.destroyed), (70, 70), "to {to}");
        for (n, ciphertext) in &ciphertexts {
            it.unwrap(&keys[*n], ciphertext).unwrap();
        }
    }
}

#[test]
fn a_call_that_meets_a_move_reads_the_record_again() {
    let mut it = Move::new();
    let key = it.world.root_key();
    let ciphertext = it.wrap(&key);
    it.bind("other");
    it.start("fake", "other").unwrap();
    it.run(20);
    // The old backend has forgotten the key, and says so; the record is read again, and names the other one.
    let moved = it.versions(&key).remove(0);
    let stale = KeyVersion { key_ref: KeyRef { backend: "fake".to_owned(), ..moved.key_ref.clone() }, ..moved.clone() };
    let (instance, id) = (FIRST, key.id);
    it.world.commit(vec![Change::UpdateVersion { instance, key: id, before: moved.clone(), after: stale.clone() }]);
    it.world.backend.fail_with(Some(BackendError::KeyNotFound));
    assert!(it.unwrap(&key, &ciphertext).is_err());
    it.world.commit(vec![Change::UpdateVersion { instance, key: id, before: stale, after: moved }]);
    it.unwrap(&key, &ciphertext).unwrap();
}

/// What goes wrong once.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    From(u64),
    To(u64),
    Commit(u64),
    Answer(u64),
}

#[test]
fn no_key_is_ever_in_neither_place_wherever_it_stops() {
    let mishaps: [fn(u64) -> Mishap; 4] = [Mishap::From, Mishap::To, Mishap::Commit, Mishap::Answer];
    let mut met = 0;
    for mishap in mishaps {
        // As many places as there are: until one is never come to.
        for nth in 1.. {
            let (was_met, counts) = with_mishap(mishap(nth));
            assert_eq!((counts.moved, counts.destroyed), (5, 5), "{:?}", mishap(nth));
            if !was_met {
                break;
            }
            met += 1;
        }
    }
    assert!(met > 50, "{met} places where something can go wrong");
}

/// Moves a few keys while something goes wrong and the gateway dies of it; returns whether it did, and how many versions were
/// counted.
fn with_mishap(mishap: Mishap) -> (bool, Counts) {
    let store = Arc::new(MemoryStore::default());
    let mut world = World::new();
    world.gateway.store = store.clone();
    let mut it = Move::with(world);
    let root = it.world.root_key();
    let mut wrapped = vec![it.wrap(&root)];
    it.world.rotate(&root).unwrap();
    wrapped.push(it.wrap(&root));
    let imported = it.world.imported(&[5; 24]);
    let standard = it.world.create(CreateKey { kind: KeyKind::Standard, ..super::root("s") }).unwrap().key;
    let deleted = it.world.key_in(KeyState::Destroyed);
    let keys = [root.clone(), imported, standard, deleted];
    it.bind("other");
    it.start("fake", "other").unwrap();
    match mishap {
        Mishap::From(nth) => it.world.backend.fail_call(nth),
        Mishap::To(nth) => it.other.fail_call(nth),
        Mishap::Commit(nth) => store.fail_commit(nth, false),
        Mishap::Answer(nth) => store.fail_commit(nth, true),
    }
    let pending = || it.world.backend.will_fail() || it.other.will_fail() || store.will_fail();
    for _ in 0..200 {
        // Each step in a gateway that knows nothing but what the store says.
        match block_on(Runner::default().step(&it.world.gateway, FIRST)) {
            Step::Idle => break,
            Step::Worked => {}
            Step::Wait(wait) => it.world.clock.travel(wait),
        }
        for key in &keys {
            for version in it.versions(key) {
                let identity = KeyIdentity { instance: key.instance, key: key.id, version: version.id };
                let backend = if version.key_ref.backend == "fake" { &it.world.backend } else { &it.other };
                let there = BackendKey { identity, reference: &version.key_ref.reference };
                assert!(backend.has(there), "{mishap:?}: {version:?} is in neither place");
            }
        }
    }
    let was_met = !pending();
    it.world.backend.fail_call(0);
    it.other.fail_call(0);
    let migration = it.migration();
    assert_eq!(migration.state, MigrationState::Done, "{mishap:?}: {migration:?}");
    assert_eq!(migration.counts.stayed, 0, "{mishap:?}: {:?}", it.stays());
    for ciphertext in &wrapped {
        it.unwrap(&root, ciphertext).unwrap();
    }
    assert!(keys.iter().flat_map(|key| it.versions(key)).all(|version| version.former.is_none()));
    (was_met, migration.counts)
}
