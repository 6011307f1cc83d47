//! Random batches, done by the redb store and by the store in memory: both must say the same and hold the same, also
//! after the file was closed and opened again.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use keygate_core::clock::Timestamp;
use keygate_core::fakes::store::MemoryStore;
use keygate_core::ids::VersionId;
use keygate_core::key::{KeyKind, KeyState};
use keygate_core::store::{Batch, Change, KeyFilter, KeyStore, PageRequest};
use keygate_store::conformance::samples::{EVERYTHING, alias, insert, instance, key, key_id, next, ring, version};
use keygate_store::{RedbOptions, RedbStore};

const INSTANCES: u64 = 2;
const KEYS: u64 = 5;
const ALIASES: u64 = 12;
const VERSIONS: u64 = 12;

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

async fn random_batch(random: &mut Random, model: &MemoryStore) -> Batch {
    let mut batch = Vec::new();
    for _ in 0..1 + random.below(3) {
        let at = instance(1 + random.number(INSTANCES) as u8);
        let number = random.number(KEYS);
        let now = model.key(at, key_id(number)).await.unwrap();
        let names: Vec<String> = (0..random.below(3)).map(|_| format!("alias-{}", random.below(ALIASES))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        // Now and then what is no longer so, or never was.
        let off_by = if random.below(6) == 0 { random.below(3) } else { 1 };
        // Mostly what fits: insertions where there is nothing, and the rest where there is something.
        let fits = random.below(8) != 0;
        let kind = if fits && now.is_none() { 0 } else { random.below(10) };
        batch.push(match kind {
            0 => insert(at, number, &names).unwrap().1.remove(0),
            1..=4 => {
                let now = now.unwrap_or_else(|| key(at, number, KeyKind::Root).0);
                let state = KeyState::ALL[random.below(5) as usize];
                let ring = ring(["default", "other"][random.below(2) as usize]).unwrap();
                let expires_at = [None, Some(Timestamp::from_unix_ms(1 + random.below(4)))][random.below(2) as usize];
                Change::UpdateKey {
                    key: next(&now, |key| {
                        key.revision = now.revision + off_by;
                        key.aliases = names.iter().map(|name| alias(name).unwrap()).collect();
                        (key.state, key.ring, key.expires_at) = (state, ring, expires_at);
                    }),
                }
            }
            5..=8 => {
                let mut version = version(number, 1 + random.number(VERSIONS));
                if random.below(5) == 0 {
                    version.id = VersionId::from_bytes([random.below(VERSIONS) as u8; 16]);
                }
                Change::InsertVersion { instance: at, key: key_id(number), version }
            }
            _ => Change::RemoveKey {
                instance: at,
                key: key_id(number),
                revision: now.map_or(1, |key| key.revision) + off_by - 1,
            },
        });
    }
    batch
}

async fn assert_same(store: &RedbStore, model: &MemoryStore, when: &str) {
    let everything = KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() };
    let suspended =
        KeyFilter { states: vec![KeyState::Suspended], ring: Some(ring("other").unwrap()), ..KeyFilter::default() };
    let at = Timestamp::from_unix_ms(2);
    let active = KeyFilter { states: vec![KeyState::Active], at, ..KeyFilter::default() };
    let deactivated = KeyFilter { states: vec![KeyState::Deactivated], at, ..KeyFilter::default() };
    for number in 1..=INSTANCES as u8 {
        let at = instance(number);
        for filter in [&everything, &suspended, &active, &deactivated] {
            let page = PageRequest { offset: 1, limit: 2 };
            for page in [EVERYTHING, page] {
                let (found, wanted) = (store.keys(at, filter, page).await, model.keys(at, filter, page).await);
                assert_eq!(found, wanted, "{when}: keys");
            }
            assert_eq!(store.count(at, filter).await, model.count(at, filter).await, "{when}: count");
        }
        for name in 0..ALIASES {
            let name = alias(&format!("alias-{name}")).unwrap();
            assert_eq!(store.key_by_alias(at, &name).await, model.key_by_alias(at, &name).await, "{when}: {name}");
        }
        for number in 0..KEYS as u32 {
            let id = key_id(number);
            let wanted = model.versions(at, id, EVERYTHING).await.unwrap();
            assert_eq!(store.versions(at, id, EVERYTHING).await.as_ref(), Ok(&wanted), "{when}: versions");
            for version in wanted.items {
                assert_eq!(store.version(at, id, version.id).await, Ok(Some(version)), "{when}: a version");
            }
        }
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
