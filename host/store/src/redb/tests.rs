//! What needs a look inside: groups, a disk that fails, a writer that panics; what lies in the file.

mod records;

use std::fs::{self, Permissions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use keygate_core::store::Change;
use redb::backends::FileBackend;
use redb::{BackendError, Database, StorageBackend};

use super::*;
use crate::conformance::samples::{insert, instance, key_id, next};

const WORKS: u8 = 0;
const FAILS: u8 = 1;
const PANICS: u8 = 2;
const HANGS: u8 = 3;

/// A disk that can be told how to sync.
#[derive(Debug, Default)]
struct Disk {
    mood: AtomicU8,
    /// Whether a sync hangs now.
    hanging: Mutex<bool>,
    changed: Condvar,
}

impl Disk {
    fn set(&self, mood: u8) {
        self.mood.store(mood, Ordering::SeqCst);
        let _hanging = self.hanging.lock().unwrap();
        self.changed.notify_all();
    }

    fn sync(&self) -> io::Result<()> {
        match self.mood.load(Ordering::SeqCst) {
            FAILS => return Err(io::Error::other("the disk is on fire")),
            PANICS => panic!("planned"),
            _ => {}
        }
        let mut hanging = self.hanging.lock().unwrap();
        while self.mood.load(Ordering::SeqCst) == HANGS {
            *hanging = true;
            self.changed.notify_all();
            hanging = self.changed.wait(hanging).unwrap();
        }
        *hanging = false;
        Ok(())
    }

    fn wait_until_it_hangs(&self) {
        let hanging = self.hanging.lock().unwrap();
        let wait = self.changed.wait_timeout_while(hanging, Duration::from_secs(30), |hanging| !*hanging);
        assert!(!wait.unwrap().1.timed_out(), "the writer never got to the disk");
    }

    fn open(self: &Arc<Self>, path: &Path) -> RedbStore {
        let disk = Arc::clone(self);
        let connect: Connect =
            Arc::new(move |builder, file| builder.create_with_backend(MoodyFile { file, disk: Arc::clone(&disk) }));
        RedbStore::open_with(path, RedbOptions::default(), connect).unwrap()
    }
}

/// A file on such a disk.
#[derive(Debug)]
struct MoodyFile {
    file: FileBackend,
    disk: Arc<Disk>,
}

impl StorageBackend for MoodyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

fn insertion(number: u32) -> Batch {
    insert(instance(1), number, &[&format!("alias-{number}")]).unwrap().1
}

fn waiting(store: &RedbStore) -> usize {
    let queue = store.queue.as_ref().unwrap();
    queue.max_capacity() - queue.capacity()
}

/// Commits from tasks of their own, and returns when all of them are in the queue.
async fn queue_up(store: &Arc<RedbStore>, batches: Vec<Batch>) -> Vec<tokio::task::JoinHandle<StoreResult<()>>> {
    let wanted = waiting(store) + batches.len();
    let commit = |batch| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.commit(batch).await })
    };
    let calls = batches.into_iter().map(commit).collect();
    while waiting(store) < wanted {
        tokio::task::yield_now().await;
    }
    calls
}

/// A store whose writer is busy with the insertion of key 0, and that call.
async fn busy_store(disk: &Arc<Disk>, path: &Path) -> (Arc<RedbStore>, tokio::task::JoinHandle<StoreResult<()>>) {
    let store = Arc::new(disk.open(path));
    disk.set(HANGS);
    let first = Arc::clone(&store);
    let first = tokio::spawn(async move { first.commit(insertion(0)).await });
    // Let the task put its batch into the queue; the writer takes it from there.
    tokio::task::yield_now().await;
    disk.wait_until_it_hangs();
    (store, first)
}

#[tokio::test]
async fn what_waits_while_the_disk_is_busy_shares_one_commit() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let (store, first) = busy_store(&disk, &dir.path().join("keys.redb")).await;
    let calls = queue_up(&store, (1..=200).map(insertion).collect()).await;
    assert_eq!(store.stats(), StoreStats::default(), "acknowledged before the disk was done");
    assert_eq!(store.key(instance(1), key_id(0)).await, Ok(None), "seen before the disk was done");
    disk.set(WORKS);
    assert_eq!(first.await.unwrap(), Ok(()));
    for call in calls {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!(store.stats(), StoreStats { commits: 2, batches: 201, failures: 0 });
}

#[tokio::test]
async fn a_group_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let options = RedbOptions { max_group: 10, ..RedbOptions::default() };
    let disk = Arc::new(Disk::default());
    let connect: Connect = {
        let disk = Arc::clone(&disk);
        Arc::new(move |builder, file| builder.create_with_backend(MoodyFile { file, disk: Arc::clone(&disk) }))
    };
    let store = Arc::new(RedbStore::open_with(&dir.path().join("keys.redb"), options, connect).unwrap());
    disk.set(HANGS);
    let first = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.commit(insertion(0)).await }
    });
    tokio::task::yield_now().await;
    disk.wait_until_it_hangs();
    let calls = queue_up(&store, (1..=25).map(insertion).collect()).await;
    disk.set(WORKS);
    for call in calls.into_iter().chain([first]) {
        assert_eq!(call.await.unwrap(), Ok(()));
    }
    assert_eq!(store.stats(), StoreStats { commits: 4, batches: 26, failures: 0 });
}

#[tokio::test]
async fn batches_of_a_group_build_on_each_other_and_a_refused_one_harms_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(Disk::default());
    let (store, first) = busy_store(&disk, &dir.path().join("keys.redb")).await;
    let (zero, _) = insert(instance(1), 0, &["alias-0"]).unwrap();
    let freed = next(&zero, |key| key.aliases.clear());
    let (taker, takes) = insert(instance(1), 3, &["alias-0"]).unwrap();
    let half_done = [insertion(4), vec![Change::UpdateKey { key: freed.clone() }]].concat();
    let batches = vec![
        insertion(1),
        vec![Change::UpdateKey { key: freed.clone() }],
        insertion(1), // the same key again
        takes,        // the alias that a batch of the same group has freed
        half_done,    // and the update that was done already
        insertion(5),
    ];
    let calls = queue_up(&store, batches).await;
    disk.set(WORKS);
    assert_eq!(first.await.unwrap(), Ok(()));
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    let conflict = Err(StoreError::Conflict);
    assert_eq!(outcomes, [Ok(()), Ok(()), conflict.clone(), Ok(()), conflict, Ok(())]);
    assert_eq!(store.stats(), StoreStats { commits: 2, batches: 5, failures: 0 });
    assert_eq!(store.key(instance(1), key_id(0)).await, Ok(Some(freed)));
    assert_eq!(store.key_by_alias(instance(1), &taker.aliases[0].alias).await, Ok(Some(taker)));
    assert_eq!(store.key(instance(1), key_id(4)).await, Ok(None));
    assert_eq!(store.count(instance(1), &KeyFilter::default()).await, Ok(4));
}

#[tokio::test]
async fn a_group_of_refusals_costs_no_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Disk::default()).open(&dir.path().join("keys.redb"));
    store.commit(insertion(1)).await.unwrap();
    for _ in 0..5 {
        assert_eq!(store.commit(insertion(1)).await, Err(StoreError::Conflict));
    }
    assert_eq!(store.stats(), StoreStats { commits: 1, batches: 1, failures: 0 });
}

#[tokio::test]
async fn a_failed_commit_is_acknowledged_to_nobody_and_the_writer_goes_on() {
    for mood in [FAILS, PANICS] {
        let dir = tempfile::tempdir().unwrap();
        let disk = Arc::new(Disk::default());
        let path = dir.path().join("keys.redb");
        let (store, first) = busy_store(&disk, &path).await;
        // One of them would be refused, but for the key that fails with it.
        let calls = queue_up(&store, vec![insertion(1), insertion(2), insertion(1)]).await;
        disk.set(mood);
        for call in calls.into_iter().chain([first]) {
            let outcome = call.await.unwrap();
            assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
        }
        let outcome = store.commit(insertion(3)).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "while the disk is bad: {outcome:?}");
        let outcome = store.check().await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "a check while the disk is bad: {outcome:?}");

        disk.set(WORKS);
        store.commit(insertion(4)).await.unwrap();
        store.check().await.unwrap();
        assert!(store.key(instance(1), key_id(4)).await.unwrap().is_some());
        // Whatever came of the commits that failed, lists tell of the keys that are there and of no others.
        let mut there = 0;
        for number in 0..5 {
            there += usize::from(store.key(instance(1), key_id(number)).await.unwrap().is_some());
        }
        assert_eq!(store.count(instance(1), &KeyFilter::default()).await, Ok(there), "{mood}");
        let stats = store.stats();
        assert_eq!(stats.batches, 1, "{stats:?}");
        assert!(stats.failures >= 2, "{stats:?}");

        drop(store);
        let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
        assert!(store.key(instance(1), key_id(4)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_store_that_nobody_writes_to_comes_back_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let disk = Arc::new(Disk::default());
    let store = disk.open(&path);
    store.commit(insertion(1)).await.unwrap();
    // While the file is away it cannot be opened again.
    let aside = dir.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    disk.set(FAILS);
    assert!(store.commit(insertion(2)).await.is_err());
    disk.set(WORKS);
    let away = read_until(
        &store,
        |outcome| matches!(outcome, Err(StoreError::Unavailable(why)) if why.contains("cannot open")),
    );
    assert!(away.await, "reads should find the store unavailable");
    // Nor is another file taken for it.
    drop(RedbStore::open(&path, RedbOptions::default()).unwrap());
    let replaced =
        read_until(&store, |outcome| matches!(outcome, Err(StoreError::Unavailable(why)) if why.contains("at first")));
    assert!(replaced.await, "another file was taken for the store");
    fs::rename(&aside, &path).unwrap();
    assert!(read_until(&store, |outcome| matches!(outcome, Ok(Some(_)))).await, "the store should have come back");
}

/// Reads until the outcome is as wanted, or for about ten seconds.
async fn read_until(store: &RedbStore, wanted: impl Fn(&StoreResult<Option<Key>>) -> bool) -> bool {
    for _ in 0..1000 {
        if wanted(&store.key(instance(1), key_id(1)).await) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

#[tokio::test]
async fn dropping_the_store_does_what_is_in_the_queue() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let disk = Arc::new(Disk::default());
    let (store, first) = busy_store(&disk, &path).await;
    let calls = queue_up(&store, (1..=50).map(insertion).collect()).await;
    // Callers that do not wait for their answers leave the store with one holder.
    first.abort();
    for call in &calls {
        call.abort();
    }
    for call in calls.into_iter().chain([first]) {
        assert!(call.await.is_err());
    }
    let releaser = std::thread::spawn(move || disk.set(WORKS));
    drop(Arc::into_inner(store).unwrap());
    releaser.join().unwrap();
    let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
    assert_eq!(store.count(instance(1), &KeyFilter::default()).await, Ok(51));
}

#[tokio::test]
async fn when_the_writer_is_gone_callers_hear_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = RedbStore::open(&dir.path().join("keys.redb"), RedbOptions::default()).unwrap();
    let (sender, receiver) = mpsc::channel(1);
    store.queue = Some(sender);
    drop(receiver);
    let outcome = store.commit(insertion(1)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");

    // One that takes jobs and dies over them.
    let (sender, mut receiver) = mpsc::channel(1);
    store.queue = Some(sender);
    let dies = std::thread::spawn(move || drop(receiver.blocking_recv()));
    let outcome = store.commit(insertion(1)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    dies.join().unwrap();
}

#[tokio::test]
async fn a_record_of_a_newer_format_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
    store.commit([insertion(1), insertion(2)].concat()).await.unwrap();
    drop(store);
    edit(&path, open::table(crate::schema::Table::Keys), &crate::schema::key_row(instance(1), key_id(1)), &[3, 0]);

    let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
    let (key, _) = insert(instance(1), 1, &[]).unwrap();
    let update = vec![Change::UpdateKey { key: next(&key, |_| {}) }];
    for outcome in [store.key(instance(1), key_id(1)).await.map(drop), store.commit(update).await] {
        let Err(StoreError::Corrupt(detail)) = outcome else { panic!("{outcome:?}") };
        assert!(detail.contains(&key_id(1).to_string()) && detail.contains("a newer Keygate wrote it"), "{detail}");
    }
    assert!(store.key(instance(1), key_id(2)).await.unwrap().is_some(), "the rest can be read");
    store.commit(insertion(3)).await.unwrap();
}

#[test]
fn a_store_of_a_newer_format_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.redb");
    drop(RedbStore::open(&path, RedbOptions::default()).unwrap());
    edit(&path, open::META_TABLE, crate::schema::META_FORMAT, &[0, 0, 0, 4]);
    for _ in 0..2 {
        let error = RedbStore::open(&path, RedbOptions::default()).err().unwrap();
        assert!(matches!(error, OpenError::Newer { found: 4, known: 3, .. }), "{error}");
        assert!(error.to_string().contains("a newer Keygate wrote it"), "{error}");
    }
    for (format, wanted) in [(&[0, 0, 0, 0][..], "is damaged"), (&[1], "is damaged")] {
        edit(&path, open::META_TABLE, crate::schema::META_FORMAT, format);
        let error = RedbStore::open(&path, RedbOptions::default()).err().unwrap();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn a_database_of_another_program_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.redb");
    edit(&path, ::redb::TableDefinition::new("theirs"), b"a", b"b");
    let error = RedbStore::open(&path, RedbOptions::default()).err().unwrap();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
}

#[test]
fn what_is_made_belongs_to_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("a/b");
    let path = below.join("keys.redb");
    let store = RedbStore::open(&path, RedbOptions::default()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&below.join("keys.redb.owner")), 0o600);
    assert_eq!(mode(&below), 0o700);
    assert_eq!(mode(below.parent().unwrap()), 0o700);
    drop(store);
    let left: Vec<_> = fs::read_dir(&below).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["keys.redb"], "only the store is left");
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    drop(RedbStore::open(&path, RedbOptions::default()).unwrap());
    assert_eq!(mode(&path), 0o640, "the operator's own mode is not changed");
}

#[test]
fn without_a_rename_that_does_not_replace_a_new_store_replaces_nothing_either() {
    let dir = tempfile::tempdir().unwrap();
    let (draft, path) = (dir.path().join("draft"), dir.path().join("keys.redb"));
    let place = |path: &Path, content: &str| {
        fs::write(&draft, content).unwrap();
        let outcome = open::put_in_place(&draft, path, |_, _| Err(io::ErrorKind::Unsupported.into()));
        assert!(!draft.exists(), "the draft is left");
        outcome
    };
    place(&path, "first").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "first");
    place(&path, "second").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "first", "what was there first stays");
    let error = place(&dir.path().join("nowhere/keys.redb"), "third").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert!(error.to_string().contains("neither be renamed"), "{error}");
}

/// Changes one row behind the store's back.
fn edit(path: &Path, table: open::Bytes, row: &[u8], value: &[u8]) {
    let database = Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(table).unwrap().insert(row, value).unwrap();
    transaction.commit().unwrap();
}
