//! What is made of the records in a file: of an older format, damaged, or very many.

use std::sync::mpsc;

use keygate_core::key::{KeyState, Stamp};
use keygate_core::store::{PageRequest, RegistrationFilter};

use super::*;
use crate::codec::tests::{BARE_KEY_1, FULL_KEY_1, unhex};
use crate::conformance::samples::{self, EVERYTHING, all_keys, in_order, key_ring, ring};
use crate::schema::{self, Table};

fn open_store(path: &Path) -> RedbStore {
    RedbStore::open(path, RedbOptions::default()).unwrap()
}

/// A store as Keygate left it when its format was 1: three keys, two of them in a ring that nobody had made.
fn store_of_format_1(path: &Path) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    let tables = ["keys", "summaries", "versions", "version-ids", "aliases", "meta"];
    for name in tables {
        transaction.open_table(open::Bytes::new(name)).unwrap();
    }
    let put = |name: &'static str, row: &[u8], value: &[u8]| {
        transaction.open_table(open::Bytes::new(name)).unwrap().insert(row, value).unwrap();
    };
    put("meta", b"format", &[0, 0, 0, 1]);
    // The aliases `first-6` and `second-6` instead of those with a 7.
    let six = FULL_KEY_1.replace("742d37", "742d36").replace("642d37", "642d36");
    for (number, record) in [(6, six.as_str()), (7, FULL_KEY_1), (8, BARE_KEY_1)] {
        let row = schema::key_row(instance(1), key_id(number));
        put("keys", &row, &unhex(record));
        put("summaries", &row, &unhex("01 01 00 ffffffffffffffff 64656661756c74"));
    }
    let alias = schema::alias_row(instance(1), &samples::alias("first-7").unwrap());
    put("aliases", &alias, &[&[1], key_id(7).as_bytes().as_slice()].concat());
    transaction.commit().unwrap();
}

#[test]
fn a_store_of_format_1_with_a_key_that_cannot_be_read_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    store_of_format_1(&path);
    edit(&path, open::table(Table::Keys), &schema::key_row(instance(1), key_id(9)), &[9, 9]);
    for _ in 0..2 {
        let error = RedbStore::open(&path, RedbOptions::default()).err().expect("not upgraded").to_string();
        assert!(error.contains("not upgraded") && error.contains(&key_id(9).to_string()), "{error}");
    }
    let row = schema::key_row(instance(1), key_id(9));
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(transaction.delete_table(open::Bytes::new("summaries")).unwrap(), "nothing of it was committed");
    drop(transaction.open_table(open::table(Table::Keys)).unwrap().remove(row.as_slice()).unwrap());
    transaction.commit().unwrap();
    drop(database);
    drop(open_store(&path));
}

#[tokio::test]
async fn a_store_of_format_1_is_upgraded_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    store_of_format_1(&path);
    let copy = dir.path().join("keys.redb.format-1");
    assert!(!copy.exists());
    for _ in 0..2 {
        let store = open_store(&path);
        let alias = samples::alias("first-7").unwrap();
        let full = store.key_by_alias(instance(1), &alias).await.unwrap().unwrap();
        let given = Stamp { at: full.created_at, by: full.created_by.clone() };
        assert_eq!((full.id, full.aliases[0].given.clone()), (key_id(7), given.clone()));
        // The ring is there, made by whoever made the first key in it.
        let mut made = key_ring(instance(1), "other-ring").unwrap();
        made.created = given;
        assert_eq!(store.rings(instance(1)).await, Ok(vec![made]));
    }
    let names = |path: &Path| {
        let database = Database::create(path).unwrap();
        let transaction = ::redb::ReadableDatabase::begin_read(&database).unwrap();
        let tables = transaction.list_tables().unwrap();
        let mut names: Vec<String> = tables.map(|table| ::redb::TableHandle::name(&table).to_owned()).collect();
        names.sort();
        names
    };
    let mut wanted = [&Table::ALL.map(Table::name)[..], &["meta"]].concat();
    wanted.sort_unstable();
    assert_eq!(names(&path), wanted);
    let before = ["aliases", "keys", "meta", "summaries", "version-ids", "versions"];
    assert_eq!(names(&copy), before, "as it was before the upgrade, and not once more");

    // It counts the keys of the ring rightly, and a key that is changed is of the new format.
    let store = open_store(&path);
    let in_use = Err(StoreError::RingInUse(ring("other-ring").unwrap()));
    let remove_ring = || vec![Change::RemoveRing { instance: instance(1), ring: ring("other-ring").unwrap() }];
    assert_eq!(store.commit(remove_ring()).await, in_use);
    let six = store.key(instance(1), key_id(6)).await.unwrap().unwrap();
    let moved = next(&six, |key| key.ring = ring("default").unwrap());
    store.commit(vec![Change::UpdateKey { key: moved }]).await.unwrap();
    assert_eq!(store.commit(remove_ring()).await, in_use);
    let remove = Change::RemoveKey { instance: instance(1), key: key_id(7), revision: 1 };
    store.commit([vec![remove], remove_ring()].concat()).await.unwrap();
    assert_eq!(store.rings(instance(1)).await, Ok(vec![]));
}

#[tokio::test]
async fn a_key_that_cannot_be_read_is_never_left_out_in_silence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let store = open_store(&path);
    store.commit((1..=5).flat_map(insertion).collect()).await.unwrap();
    store.commit(insert(instance(2), 4, &[]).unwrap().1).await.unwrap();
    let resource = samples::crn("storage", "a").unwrap();
    let registration = samples::registration(instance(1), 4, resource);
    store.commit(vec![Change::PutRegistration { registration }]).await.unwrap();
    drop(store);
    edit(&path, open::table(Table::Keys), &schema::key_row(instance(1), key_id(4)), &[2, 0xff]);

    let store = open_store(&path);
    let damaged = |outcome: StoreResult<()>| {
        let Err(StoreError::Corrupt(detail)) = outcome else { panic!("{outcome:?}") };
        assert!(detail.contains(&key_id(4).to_string()) && detail.contains("from a backup"), "{detail}");
    };
    let (any, by_id) = (KeyFilter::default(), Sort::default());
    let by_date = Sort::parse("-creationDate").unwrap();
    damaged(store.keys(instance(1), &any, &by_id, EVERYTHING).await.map(drop));
    damaged(store.keys(instance(1), &any, &by_date, PageRequest { offset: 0, limit: 1 }).await.map(drop));
    damaged(store.count(instance(1), &KeyFilter { states: vec![KeyState::Suspended], ..any.clone() }).await.map(drop));
    let in_ring = RegistrationFilter { ring: Some(ring("default").unwrap()), ..RegistrationFilter::default() };
    damaged(store.registrations(instance(1), &in_ring, EVERYTHING).await.map(drop));
    // What does not touch it works.
    let before = store.keys(instance(1), &any, &by_id, PageRequest { offset: 0, limit: 3 }).await.unwrap();
    assert_eq!(before.iter().map(|key| key.id).collect::<Vec<_>>(), [1, 2, 3].map(key_id));
    assert_eq!(store.count(instance(2), &any).await, Ok(1));
    assert!(store.key(instance(1), key_id(5)).await.unwrap().is_some());
    store.commit(insertion(6)).await.unwrap();
    damaged(store.count(instance(1), &any).await.map(drop));
}

#[tokio::test]
async fn policies_that_cannot_be_read_let_no_request_of_their_instance_through() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let store = open_store(&path);
    for at in [1, 2].map(instance) {
        store.commit(vec![Change::PutPolicies { instance: at, policies: samples::policies(1) }]).await.unwrap();
    }
    drop(store);
    edit(&path, open::table(Table::Policies), &schema::instance_row(instance(1)), &[1, 0xff]);
    let store = open_store(&path);
    let outcome = store.policies(instance(1)).await;
    assert!(matches!(&outcome, Err(StoreError::Corrupt(why)) if why.contains(&instance(1).to_string())), "{outcome:?}");
    assert_eq!(*store.policies(instance(2)).await.unwrap(), samples::policies(1));
    let put = vec![Change::PutPolicies { instance: instance(1), policies: samples::policies(1) }];
    assert!(matches!(store.commit(put).await, Err(StoreError::Corrupt(_))), "written over");
}

#[tokio::test]
async fn what_is_in_memory_is_there_again_when_a_store_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let mut store: Arc<dyn KeyStore> = Arc::new(open_store(&path));
    store.commit(samples::insert_rings(instance(1), &["other-ring"]).unwrap()).await.unwrap();
    for number in 0..20 {
        let (mut key, version) = samples::full_key(instance(1), number).unwrap();
        key.state = KeyState::ALL[number as usize % 5];
        store.commit(vec![Change::InsertKey { key, version }]).await.unwrap();
    }
    store.commit(vec![Change::PutPolicies { instance: instance(1), policies: samples::policies(1) }]).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut due = Vec::new();
        for kind in DueKind::ALL {
            due.extend(store.due(kind, Timestamp::from_unix_ms(u64::MAX), None, usize::MAX).await.unwrap());
        }
        assert!(due.len() > 40, "{due:?}");
        seen.push((all_keys(&store, instance(1)).await.unwrap(), due, store.policies(instance(1)).await.unwrap()));
        drop(store);
        store = Arc::new(open_store(&path));
    }
    assert_eq!(seen[0], seen[1]);
}

/// More keys than are looked at where all callers are served.
#[tokio::test]
async fn long_lists_are_read_apart_and_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(&dir.path().join("keys.redb"));
    let count = Bounds::HERE.looked_at as u32 + 100;
    let (mut all, mut batch) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (mut key, version) = samples::key(instance(1), number, keygate_core::key::KeyKind::Root);
        key.created_at = Timestamp::from_unix_ms(u64::from(number.reverse_bits()));
        key.state = KeyState::ALL[number as usize % 4];
        all.push(key.clone());
        batch.push(Change::InsertKey { key, version });
    }
    store.commit(batch).await.unwrap();
    let active = KeyFilter { states: vec![KeyState::Active], ..KeyFilter::default() };
    assert_eq!(store.count(instance(1), &active).await, Ok(all.len() / 4));
    let sort = Sort::parse("-creationDate").unwrap();
    for (sort, page) in [
        (&sort, PageRequest { offset: 3000, limit: 40 }),
        (&Sort::default(), PageRequest { offset: all.len() / 4 - 5, limit: 40 }),
        (&sort, PageRequest { offset: 0, limit: Bounds::HERE.read + 1 }),
    ] {
        let wanted: Vec<&Key> = in_order(&all, &active, sort).into_iter().skip(page.offset).take(page.limit).collect();
        let found = store.keys(instance(1), &active, sort, page).await.unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), wanted, "{sort:?} {page:?}");
    }
}

/// A caller can go away while its long list is still being read on a thread apart.
#[test]
fn the_file_is_closed_when_the_store_is_gone_whoever_was_still_reading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let store = open_store(&path);
    let (started, has_started) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (gone, is_gone) = mpsc::channel();
    let shared = Arc::clone(&store.shared);
    let reader = std::thread::spawn(move || {
        shared.read(|_| {
            started.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        })
    });
    has_started.recv().unwrap();
    let dropper = std::thread::spawn(move || {
        drop(store);
        gone.send(()).unwrap();
    });
    assert_eq!(is_gone.recv_timeout(Duration::from_millis(200)), Err(mpsc::RecvTimeoutError::Timeout));
    release.send(()).unwrap();
    is_gone.recv_timeout(Duration::from_secs(30)).unwrap();
    drop(open_store(&path));
    reader.join().unwrap().unwrap();
    dropper.join().unwrap();
}
