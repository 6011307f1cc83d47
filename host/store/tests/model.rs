//! Random batches, done by the redb store and by the store in memory: both must say the same and hold the same, also
//! after the file was closed and opened again.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use keygate_core::clock::Timestamp;
use keygate_core::crn::{CrnQuery, ResourceCrn};
use keygate_core::fakes::store::MemoryStore;
use keygate_core::ids::{InstanceId, VersionId};
use keygate_core::key::{DueKind, Key, KeyKind, KeyState};
use keygate_core::query::{Search, Sort, parse_filter};
use keygate_core::registration::Registration;
use keygate_core::store::{Batch, Change, KeyFilter, KeyStore, PageRequest, RegistrationFilter};
use keygate_store::conformance::samples::{
    self, EVERYTHING, alias, insert, instance, key, key_id, next, ring, version,
};
use keygate_store::{RedbOptions, RedbStore};

const INSTANCES: u64 = 2;
const KEYS: u64 = 5;
const ALIASES: u64 = 12;
const VERSIONS: u64 = 12;
const EVENTS: u64 = 6;
const RINGS: [&str; 4] = ["default", "other", "oth", "nobody"];
const RESOURCES: [(&str, &str); 4] = [("storage", "a"), ("storage", "ab"), ("stor", "a"), ("db", "b")];

/// SplitMix64: small, and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn number(&mut self, bound: u64) -> u32 {
        self.below(bound) as u32
    }
}

fn resource(random: &mut Random) -> ResourceCrn {
    let (service, resource) = RESOURCES[random.below(RESOURCES.len() as u64) as usize];
    samples::crn(service, resource).unwrap()
}

/// The revision after this one; now and then what is no longer so, or never was.
fn after(random: &mut Random, revision: u64) -> u64 {
    let off_by = if random.below(6) == 0 { random.below(3) } else { 1 };
    revision + off_by
}

async fn random_batch(random: &mut Random, model: &MemoryStore) -> Batch {
    let mut batch = Vec::new();
    for _ in 0..1 + random.below(3) {
        let at = instance(1 + random.number(INSTANCES) as u8);
        batch.push(match random.below(3) {
            0 => change_beside_keys(random, model, at).await,
            _ => change_of_a_key(random, model, at).await,
        });
    }
    batch
}

async fn change_of_a_key(random: &mut Random, model: &MemoryStore, at: InstanceId) -> Change {
    let number = random.number(KEYS);
    let now = model.key(at, key_id(number)).await.unwrap();
    let names: Vec<String> = (0..random.below(3)).map(|_| format!("alias-{}", random.below(ALIASES))).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let revision = now.as_ref().map_or(1, |key| key.revision);
    // Mostly what fits: insertions where there is nothing, and the rest where there is something.
    let fits = random.below(8) != 0;
    let kind = if fits && now.is_none() { 0 } else { random.below(10) };
    match kind {
        0 => insert(at, number, &names).unwrap().1.remove(0),
        1..=4 => {
            let now = now.unwrap_or_else(|| key(at, number, KeyKind::Root).0);
            let full = samples::full_key(at, number).unwrap().0;
            let changed = |key: &mut Key| {
                key.revision = after(random, now.revision);
                key.name = format!("name {}", random.below(4));
                key.aliases = names.iter().map(|name| samples::given(name).unwrap()).collect();
                key.state = KeyState::ALL[random.below(5) as usize];
                key.ring = ring(RINGS[random.below(3) as usize]).unwrap();
                let mut instant = || (random.below(2) == 0).then(|| Timestamp::from_unix_ms(1 + random.below(4)));
                (key.expires_at, key.rotated_at) = (instant(), instant());
                key.deletion = instant().map(|at| samples::stamp(at.unix_ms(), 1));
                key.rotation = instant().and(full.rotation);
                key.authorization = instant().and(full.authorization);
            };
            Change::UpdateKey { key: next(&now, changed) }
        }
        5..=8 => {
            let mut version = version(number, 1 + random.number(VERSIONS));
            if random.below(5) == 0 {
                version.id = VersionId::from_bytes([random.below(VERSIONS) as u8; 16]);
            }
            Change::InsertVersion { instance: at, key: key_id(number), version }
        }
        _ => Change::RemoveKey { instance: at, key: key_id(number), revision: after(random, revision) - 1 },
    }
}

async fn change_beside_keys(random: &mut Random, model: &MemoryStore, at: InstanceId) -> Change {
    let key = random.number(KEYS);
    match random.below(12) {
        0..=2 => {
            let name = RINGS[random.below(3) as usize];
            Change::InsertRing { ring: samples::key_ring(at, name).unwrap(), at_most: random.below(4) as usize }
        }
        3 => Change::RemoveRing { instance: at, ring: ring(RINGS[random.below(4) as usize]).unwrap() },
        4 => {
            let revision = after(random, model.policies(at).await.unwrap().revision);
            Change::PutPolicies { instance: at, policies: samples::policies(revision) }
        }
        5 => {
            let before = model.import_token(at).await.unwrap().map_or(0, |token| token.revision);
            Change::PutImportToken { token: samples::import_token(at, after(random, before)) }
        }
        6..=8 => {
            let crn = resource(random);
            let before = model.registration(at, key_id(key), &crn).await.unwrap();
            let registration = Registration {
                prevent_key_deletion: random.below(2) == 0,
                revision: after(random, before.map_or(0, |before| before.revision)),
                ..samples::registration(at, key, crn)
            };
            Change::PutRegistration { registration }
        }
        9 => {
            let crn = resource(random);
            let before = model.registration(at, key_id(key), &crn).await.unwrap();
            let revision = after(random, before.map_or(1, |before| before.revision)) - 1;
            Change::RemoveRegistration { instance: at, key: key_id(key), crn, revision }
        }
        10 => {
            let crn = resource(random);
            Change::InsertEvent { event: samples::event(at, random.number(EVENTS), key, random.below(3), crn) }
        }
        _ => Change::RemoveEvent { instance: at, event: samples::event_id(random.number(EVENTS)) },
    }
}

fn filters() -> Vec<KeyFilter> {
    let everything = KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() };
    let at = Timestamp::from_unix_ms(2);
    let in_state = |state| KeyFilter { states: vec![state], at, ..KeyFilter::default() };
    let found = |text| KeyFilter { search: Some(Search::parse(text).unwrap()), ..everything.clone() };
    let rotated = parse_filter("lastRotateDate=gt:\"1970-01-01T00:00:00.001Z\"").unwrap().conditions;
    vec![
        KeyFilter { states: vec![KeyState::Suspended], ring: Some(ring("other").unwrap()), ..KeyFilter::default() },
        in_state(KeyState::Active),
        in_state(KeyState::Deactivated),
        found("name:name 1"),
        found("not:alias:alias-1"),
        KeyFilter { conditions: rotated, ..everything.clone() },
        KeyFilter { except: Some(key_id(2)), ..everything.clone() },
        everything,
    ]
}

/// Checks that the two answer a question in the same words.
macro_rules! agree {
    ($store:expr, $model:expr, $when:expr, $call:ident($($argument:expr),*)) => {
        assert_eq!($store.$call($($argument),*).await, $model.$call($($argument),*).await, "{}: {}", $when, stringify!($call))
    };
}

async fn assert_same(store: &RedbStore, model: &MemoryStore, when: &str) {
    let pages = [EVERYTHING, PageRequest { offset: 1, limit: 2 }];
    let sorts = ["id", "-lastRotateDate,state"].map(|text| Sort::parse(text).unwrap());
    for kind in DueKind::ALL {
        agree!(store, model, when, due(kind, Timestamp::from_unix_ms(u64::MAX), None, 99));
        let some = model.due(kind, Timestamp::from_unix_ms(3), None, 2).await.unwrap();
        agree!(store, model, when, due(kind, Timestamp::from_unix_ms(3), some.first().copied(), 2));
    }
    for number in 1..=INSTANCES as u8 {
        let at = instance(number);
        for filter in &filters() {
            for (page, sort) in pages.into_iter().zip(&sorts).chain(pages.into_iter().zip(sorts.iter().rev())) {
                agree!(store, model, when, keys(at, filter, sort, page));
            }
            agree!(store, model, when, count(at, filter));
        }
        for name in 0..ALIASES {
            agree!(store, model, when, key_by_alias(at, &alias(&format!("alias-{name}")).unwrap()));
        }
        for number in 0..KEYS as u32 {
            let id = key_id(number);
            let wanted = model.versions(at, id, EVERYTHING).await.unwrap();
            assert_eq!(store.versions(at, id, EVERYTHING).await.as_ref(), Ok(&wanted), "{when}: versions");
            for version in wanted.items {
                assert_eq!(store.version(at, id, version.id).await, Ok(Some(version)), "{when}: a version");
            }
        }
        assert_same_beside_keys(store, model, at, when).await;
    }
}

async fn assert_same_beside_keys(store: &RedbStore, model: &MemoryStore, at: InstanceId, when: &str) {
    let pages = [EVERYTHING, PageRequest { offset: 1, limit: 2 }];
    agree!(store, model, when, rings(at));
    agree!(store, model, when, policies(at));
    agree!(store, model, when, import_token(at));
    for name in RINGS {
        agree!(store, model, when, ring(at, &ring(name).unwrap()));
    }
    let query = |text: &str| Some(CrnQuery::parse(text).unwrap());
    let all = RegistrationFilter::default();
    let filters = [
        RegistrationFilter { ring: Some(ring("other").unwrap()), ..all.clone() },
        RegistrationFilter { resources: query("crn:v1:bluemix:public:storage:us-south:a/1:2::a*"), ..all.clone() },
        RegistrationFilter { resources: query("crn:v1:bluemix:public:*:us-south:a/1:2::a"), ..all.clone() },
        RegistrationFilter { prevent_key_deletion: Some(true), key: Some(key_id(1)), ..all.clone() },
        all,
    ];
    for page in pages {
        for filter in &filters {
            agree!(store, model, when, registrations(at, filter, page));
        }
        for key in [None, Some(key_id(1)), Some(key_id(2))] {
            agree!(store, model, when, events(at, key, page));
        }
    }
    for (service, resource) in RESOURCES {
        agree!(store, model, when, registration(at, key_id(1), &samples::crn(service, resource).unwrap()));
    }
    for number in 0..EVENTS as u32 {
        agree!(store, model, when, event(at, samples::event_id(number)));
    }
}

async fn run(path: &Path, seed: u64) {
    let mut random = Random(seed);
    let model = MemoryStore::default();
    let mut store = RedbStore::open(path, RedbOptions::default()).unwrap();
    let (mut done, mut refused) = (0, 0);
    for step in 0..150 {
        let batch = random_batch(&mut random, &model).await;
        let when = format!("seed {seed}, step {step}, after {batch:?}");
        let wanted = model.commit(batch.clone()).await;
        assert_eq!(store.commit(batch).await, wanted, "{when}");
        *(if wanted.is_ok() { &mut done } else { &mut refused }) += 1;
        if random.below(50) == 0 {
            drop(store);
            store = RedbStore::open(path, RedbOptions::default()).unwrap();
        }
        assert_same(&store, &model, &when).await;
    }
    assert!(done > 20 && refused > 20, "seed {seed} tells little: {done} done, {refused} refused");
}

#[tokio::test]
async fn random_batches_do_what_they_do_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    for seed in 0..4 {
        run(&dir.path().join(seed.to_string()), seed).await;
    }
}
