//! A store in memory. It passes the same suite as the engines that keep things, and it shows in few lines what they all
//! must do: it keeps each thing once, and looks through all of them for every question.

mod state;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::crn::ResourceCrn;
use crate::ids::{Alias, EventId, InstanceId, KeyId, KeyRingId, VersionId};
use crate::import_token::ImportToken;
use crate::instance::Records;
use crate::key::{DueKind, Key, KeyVersion};
use crate::migration::{Migration, Stay};
use crate::policy::InstancePolicies;
use crate::ports::BoxFuture;
use crate::query::Listed;
use crate::registration::{LifecycleEvent, Registration};
use crate::ring::KeyRing;
use crate::store::{
    Batch, Change, Due, KeyFilter, KeyStore, Page, PageRequest, RegistrationFilter, Sort, StoreError, StoreResult,
};

use state::State;

/// A [`KeyStore`] that forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>, Mutex<Option<(u64, bool)>>, Mutex<BTreeSet<KeyId>>);

impl MemoryStore {
    /// The `nth` commit from now fails, 1 is the next one: as when the store is away where nothing is `done` of it, and as
    /// when its answer is lost where it is.
    pub fn fail_commit(&self, nth: u64, done: bool) {
        if let Ok(mut fails) = self.1.lock() {
            *fails = Some((nth, done));
        }
    }

    /// What is known of why this key stayed behind cannot be read until it is written anew.
    pub fn damage_stay(&self, key: KeyId) {
        if let Ok(mut damaged) = self.2.lock() {
            damaged.insert(key);
        }
    }

    /// Whether a commit that was to fail has not come yet.
    pub fn will_fail(&self) -> bool {
        self.1.lock().is_ok_and(|fails| fails.is_some())
    }

    fn commit_now(&self, batch: Batch) -> StoreResult<()> {
        for change in &batch {
            if let (Change::PutStay { stay, .. }, Ok(mut damaged)) = (change, self.2.lock()) {
                damaged.remove(&stay.key);
            }
        }
        let away = || Err(StoreError::Unavailable("away".to_owned()));
        let fate = self.1.lock().ok().and_then(|mut fails| {
            let (nth, done) = (*fails)?;
            *fails = Some((nth - 1, done)).filter(|(nth, _)| *nth > 0);
            (nth == 1).then_some(done)
        });
        match fate {
            Some(false) => away(),
            Some(true) => self.state().commit(batch).and_then(|()| away()),
            None => self.state().commit(batch),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked while it held the lock left whole entries behind; the next may go on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn page_of<T>(all: Vec<T>, page: PageRequest) -> Page<T> {
    let total = all.len();
    Page { items: all.into_iter().skip(page.offset).take(page.limit).collect(), total }
}

// Every call does its work when it is awaited and not before, as any other store.
impl KeyStore for MemoryStore {
    fn key(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Key>>> {
        Box::pin(async move { Ok(self.state().key(instance, key).cloned()) })
    }

    fn key_by_alias<'a>(&'a self, instance: InstanceId, alias: &'a Alias) -> BoxFuture<'a, StoreResult<Option<Key>>> {
        Box::pin(async move { Ok(self.state().key_by_alias(instance, alias).cloned()) })
    }

    fn version(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> BoxFuture<'_, StoreResult<Option<KeyVersion>>> {
        Box::pin(async move { Ok(self.state().versions(instance, key).find(|found| found.id == version).cloned()) })
    }

    fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<KeyVersion>>> {
        Box::pin(async move { Ok(page_of(self.state().versions(instance, key).rev().cloned().collect(), page)) })
    }

    fn keys<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a KeyFilter,
        sort: &'a Sort,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Vec<Key>>> {
        Box::pin(async move {
            let state = self.state();
            let mut wanted = state.listed(instance, filter);
            wanted.sort_by(|(one, a), (other, b)| {
                sort.compare(&Listed::of(one, a, filter.at), &Listed::of(other, b, filter.at))
            });
            Ok(page_of(wanted.into_iter().map(|(key, _)| key.clone()).collect(), page).items)
        })
    }

    fn count<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> BoxFuture<'a, StoreResult<usize>> {
        Box::pin(async move { Ok(self.state().listed(instance, filter).len()) })
    }

    fn due(
        &self,
        kind: DueKind,
        until: Timestamp,
        after: Option<Due>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Due>>> {
        Box::pin(async move {
            let after = after.map(|due| Due { kind, ..due });
            let mut due = self.state().due(kind);
            due.retain(|due| due.at <= until && after.is_none_or(|after| *due > after));
            due.sort();
            due.truncate(limit);
            Ok(due)
        })
    }

    fn ring<'a>(&'a self, instance: InstanceId, ring: &'a KeyRingId) -> BoxFuture<'a, StoreResult<Option<KeyRing>>> {
        Box::pin(async move { Ok(self.state().rings(instance).find(|found| found.id == *ring).cloned()) })
    }

    fn rings(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Vec<KeyRing>>> {
        Box::pin(async move { Ok(self.state().rings(instance).cloned().collect()) })
    }

    fn policies(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Arc<InstancePolicies>>> {
        Box::pin(async move { Ok(self.state().policies(instance)) })
    }

    fn import_token(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<ImportToken>>> {
        Box::pin(async move { Ok(self.state().import_token(instance).cloned()) })
    }

    fn registration<'a>(
        &'a self,
        instance: InstanceId,
        key: KeyId,
        crn: &'a ResourceCrn,
    ) -> BoxFuture<'a, StoreResult<Option<Registration>>> {
        Box::pin(async move { Ok(self.state().registration(instance, key, crn).cloned()) })
    }

    fn registrations<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a RegistrationFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Page<Registration>>> {
        Box::pin(async move { Ok(page_of(self.state().registrations(instance, filter), page)) })
    }

    fn event(&self, instance: InstanceId, event: EventId) -> BoxFuture<'_, StoreResult<Option<LifecycleEvent>>> {
        Box::pin(async move { Ok(self.state().events(instance).into_iter().find(|found| found.id == event)) })
    }

    fn events(
        &self,
        instance: InstanceId,
        key: Option<KeyId>,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<LifecycleEvent>>> {
        Box::pin(async move {
            let mut events = self.state().events(instance);
            events.retain(|event| key.is_none_or(|key| event.key == key));
            Ok(page_of(events, page))
        })
    }

    fn key_ids(
        &self,
        instance: InstanceId,
        after: Option<KeyId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<KeyId>>> {
        Box::pin(async move { Ok(self.state().key_ids(instance, after).take(limit).collect()) })
    }

    fn migration(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<Migration>>> {
        Box::pin(async move { Ok(self.state().migration(instance).cloned()) })
    }

    fn stays(&self, instance: InstanceId, page: PageRequest) -> BoxFuture<'_, StoreResult<Page<Stay>>> {
        Box::pin(async move { Ok(page_of(self.state().stays(instance).cloned().collect(), page)) })
    }

    fn stay(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Stay>>> {
        Box::pin(async move {
            if self.2.lock().is_ok_and(|damaged| damaged.contains(&key)) {
                return Err(StoreError::Corrupt(format!("what stayed behind of {key}: damaged by a test")));
            }
            Ok(self.state().stays(instance).find(|stay| stay.key == key).cloned())
        })
    }

    fn instances(&self) -> BoxFuture<'_, StoreResult<Records>> {
        Box::pin(async move { Ok(self.state().instances()) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move { self.commit_now(batch) })
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async { Ok::<_, StoreError>(()) })
    }
}
