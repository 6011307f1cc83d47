//! Both stores that there are pass the suite.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use keygate_core::fakes::store::MemoryStore;
use keygate_core::store::KeyStore;
use keygate_store::conformance::run_all;
use keygate_store::{FaultyStore, RedbOptions, RedbStore};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_redb_store_passes() {
    let dir = tempfile::tempdir().unwrap();
    let number = AtomicU32::new(0);
    let make = || {
        let path = dir.path().join(number.fetch_add(1, Ordering::Relaxed).to_string());
        let store: Arc<dyn KeyStore> = Arc::new(RedbStore::open(&path, RedbOptions::default()).unwrap());
        ready(store)
    };
    run_all(make).await.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_passes() {
    let make = || ready(Arc::new(MemoryStore::default()) as Arc<dyn KeyStore>);
    run_all(make).await.unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_faulty_store_that_is_not_told_to_fail_passes() {
    let make = || ready(Arc::new(FaultyStore::new(Arc::new(MemoryStore::default()))) as Arc<dyn KeyStore>);
    run_all(make).await.unwrap_or_else(|failure| panic!("{failure}"));
}
