//! A store that fails when it is told to, for the tests of whoever builds on a store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use keygate_core::clock::Timestamp;
use keygate_core::crn::ResourceCrn;
use keygate_core::ids::{Alias, EventId, InstanceId, KeyId, KeyRingId, VersionId};
use keygate_core::import_token::ImportToken;
use keygate_core::instance::Records;
use keygate_core::key::{DueKind, Key, KeyVersion};
use keygate_core::migration::{Migration, Stay};
use keygate_core::policy::InstancePolicies;
use keygate_core::ports::BoxFuture;
use keygate_core::registration::{LifecycleEvent, Registration};
use keygate_core::ring::KeyRing;
use keygate_core::store::{
    Batch, Due, KeyFilter, KeyStore, Page, PageRequest, RegistrationFilter, Sort, StoreError, StoreResult,
};

/// What happens to a call.
#[derive(Clone, Debug)]
enum Fate {
    /// It fails, and nothing is done.
    Fails(StoreError),
    /// It is done, and fails all the same: the answer was lost on its way.
    LosesItsAnswer(StoreError),
}

/// Calls of one sort: how many there were, and which of them fail.
#[derive(Debug, Default)]
struct Calls {
    seen: u64,
    fates: BTreeMap<u64, Fate>,
}

impl Calls {
    fn next(&mut self) -> Option<Fate> {
        self.seen += 1;
        self.fates.remove(&self.seen)
    }

    fn plan(&mut self, nth: u64, fate: Fate) {
        self.fates.insert(self.seen + nth, fate);
    }
}

/// A [`KeyStore`] around another one, which fails the calls that a test names and passes on the rest. Reads (with
/// [`KeyStore::check`]) and commits are counted apart.
pub struct FaultyStore {
    inner: Arc<dyn KeyStore>,
    reads: Mutex<Calls>,
    commits: Mutex<Calls>,
}

impl FaultyStore {
    /// A store that does not fail yet.
    pub fn new(inner: Arc<dyn KeyStore>) -> Self {
        Self { inner, reads: Mutex::default(), commits: Mutex::default() }
    }

    /// Fails the `nth` read from now; 1 is the next one.
    pub fn fail_read(&self, nth: u64, error: StoreError) {
        locked(&self.reads).plan(nth, Fate::Fails(error));
    }

    /// Fails the `nth` commit from now, and does nothing of it; 1 is the next one.
    pub fn fail_commit(&self, nth: u64, error: StoreError) {
        locked(&self.commits).plan(nth, Fate::Fails(error));
    }

    /// Does the `nth` commit from now and then says that it failed, as a store does whose answer is lost; 1 is the next
    /// one.
    pub fn lose_answer(&self, nth: u64, error: StoreError) {
        locked(&self.commits).plan(nth, Fate::LosesItsAnswer(error));
    }

    /// How many reads there were, failed ones too.
    pub fn reads(&self) -> u64 {
        locked(&self.reads).seen
    }

    /// How many commits there were, failed ones too.
    pub fn commits(&self) -> u64 {
        locked(&self.commits).seen
    }

    async fn read<T>(&self, inner: BoxFuture<'_, StoreResult<T>>) -> StoreResult<T> {
        let fate = locked(&self.reads).next();
        match fate {
            Some(Fate::Fails(error) | Fate::LosesItsAnswer(error)) => Err(error),
            None => inner.await,
        }
    }
}

fn locked(calls: &Mutex<Calls>) -> std::sync::MutexGuard<'_, Calls> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

impl KeyStore for FaultyStore {
    fn key(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Key>>> {
        Box::pin(self.read(self.inner.key(instance, key)))
    }

    fn key_by_alias<'a>(&'a self, instance: InstanceId, alias: &'a Alias) -> BoxFuture<'a, StoreResult<Option<Key>>> {
        Box::pin(self.read(self.inner.key_by_alias(instance, alias)))
    }

    fn version(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> BoxFuture<'_, StoreResult<Option<KeyVersion>>> {
        Box::pin(self.read(self.inner.version(instance, key, version)))
    }

    fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<KeyVersion>>> {
        Box::pin(self.read(self.inner.versions(instance, key, page)))
    }

    fn keys<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a KeyFilter,
        sort: &'a Sort,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Vec<Key>>> {
        Box::pin(self.read(self.inner.keys(instance, filter, sort, page)))
    }

    fn count<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> BoxFuture<'a, StoreResult<usize>> {
        Box::pin(self.read(self.inner.count(instance, filter)))
    }

    fn due(
        &self,
        kind: DueKind,
        until: Timestamp,
        after: Option<Due>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Due>>> {
        Box::pin(self.read(self.inner.due(kind, until, after, limit)))
    }

    fn ring<'a>(&'a self, instance: InstanceId, ring: &'a KeyRingId) -> BoxFuture<'a, StoreResult<Option<KeyRing>>> {
        Box::pin(self.read(self.inner.ring(instance, ring)))
    }

    fn rings(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Vec<KeyRing>>> {
        Box::pin(self.read(self.inner.rings(instance)))
    }

    fn policies(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Arc<InstancePolicies>>> {
        Box::pin(self.read(self.inner.policies(instance)))
    }

    fn import_token(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<ImportToken>>> {
        Box::pin(self.read(self.inner.import_token(instance)))
    }

    fn registration<'a>(
        &'a self,
        instance: InstanceId,
        key: KeyId,
        crn: &'a ResourceCrn,
    ) -> BoxFuture<'a, StoreResult<Option<Registration>>> {
        Box::pin(self.read(self.inner.registration(instance, key, crn)))
    }

    fn registrations<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a RegistrationFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Page<Registration>>> {
        Box::pin(self.read(self.inner.registrations(instance, filter, page)))
    }

    fn event(&self, instance: InstanceId, event: EventId) -> BoxFuture<'_, StoreResult<Option<LifecycleEvent>>> {
        Box::pin(self.read(self.inner.event(instance, event)))
    }

    fn events(
        &self,
        instance: InstanceId,
        key: Option<KeyId>,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<LifecycleEvent>>> {
        Box::pin(self.read(self.inner.events(instance, key, page)))
    }

    fn key_ids(
        &self,
        instance: InstanceId,
        after: Option<KeyId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<KeyId>>> {
        Box::pin(self.read(self.inner.key_ids(instance, after, limit)))
    }

    fn migration(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<Migration>>> {
        Box::pin(self.read(self.inner.migration(instance)))
    }

    fn stays(&self, instance: InstanceId, page: PageRequest) -> BoxFuture<'_, StoreResult<Page<Stay>>> {
        Box::pin(self.read(self.inner.stays(instance, page)))
    }

    fn stay(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Stay>>> {
        Box::pin(self.read(self.inner.stay(instance, key)))
    }

    fn instances(&self) -> BoxFuture<'_, StoreResult<Records>> {
        Box::pin(self.read(self.inner.instances()))
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            let fate = locked(&self.commits).next();
            match fate {
                None => self.inner.commit(batch).await,
                Some(Fate::Fails(error)) => Err(error),
                Some(Fate::LosesItsAnswer(error)) => {
                    self.inner.commit(batch).await?;
                    Err(error)
                }
            }
        })
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.read(self.inner.check()))
    }
}

#[cfg(test)]
mod tests {
    use keygate_core::fakes::store::MemoryStore;
    use keygate_core::key::KeyKind;
    use keygate_core::store::Change;

    use super::*;
    use crate::conformance::samples;

    fn away() -> StoreError {
        StoreError::Unavailable("planned".to_owned())
    }

    #[tokio::test]
    async fn it_fails_the_calls_it_is_told_to_and_no_others() {
        let store = FaultyStore::new(Arc::new(MemoryStore::default()));
        let (key, version) = samples::key(samples::instance(1), 1, KeyKind::Root);
        let insert = vec![Change::InsertKey { key: key.clone(), version }];

        store.fail_commit(1, away());
        store.fail_read(2, away());
        assert_eq!(store.commit(insert.clone()).await, Err(away()));
        assert_eq!(store.key(key.instance, key.id).await, Ok(None));
        assert_eq!(store.check().await, Err(away()));
        assert_eq!(store.commit(insert).await, Ok(()));
        assert_eq!(store.key(key.instance, key.id).await, Ok(Some(key)));
        assert_eq!((store.reads(), store.commits()), (3, 2));
    }

    #[tokio::test]
    async fn a_lost_answer_is_a_commit_that_was_done() {
        let store = FaultyStore::new(Arc::new(MemoryStore::default()));
        let (key, version) = samples::key(samples::instance(1), 1, KeyKind::Root);
        store.lose_answer(1, away());
        assert_eq!(store.commit(vec![Change::InsertKey { key: key.clone(), version }]).await, Err(away()));
        assert_eq!(store.key(key.instance, key.id).await, Ok(Some(key)));
    }
}
