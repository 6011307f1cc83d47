//! A store in memory. It passes the same suite as the engines that keep things, and it shows in few lines what they all
//! must do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ids::{Alias, InstanceId, KeyId, VersionId};
use crate::key::{Key, KeyVersion};
use crate::ports::BoxFuture;
use crate::store::{Batch, Change, KeyFilter, KeyStore, Page, PageRequest, StoreError, StoreResult};

/// A [`KeyStore`] that forgets everything with the process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

/// A key and its versions by sequence.
#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    versions: BTreeMap<u32, KeyVersion>,
}

type EntryId = (InstanceId, KeyId);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<EntryId, Entry>,
    aliases: BTreeMap<(InstanceId, Alias), KeyId>,
}

impl State {
    /// Puts an entry into its place, or takes it away. The aliases follow from the entries.
    fn put(&mut self, id: EntryId, entry: Option<Entry>) {
        if let Some(old) = self.entries.remove(&id) {
            for alias in old.key.aliases {
                self.aliases.remove(&(id.0, alias));
            }
        }
        if let Some(entry) = entry {
            for alias in &entry.key.aliases {
                self.aliases.insert((id.0, alias.clone()), id.1);
            }
            self.entries.insert(id, entry);
        }
    }

    fn wanted<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> impl Iterator<Item = &'a Key> {
        let keys = self.entries.values().map(|entry| &entry.key);
        keys.filter(move |key| key.instance == instance && filter.matches(key))
    }

    fn check_aliases(&self, key: &Key) -> StoreResult<()> {
        let taken =
            |alias: &&Alias| self.aliases.get(&(key.instance, (*alias).clone())).is_some_and(|owner| *owner != key.id);
        match key.aliases.iter().find(taken) {
            Some(alias) => Err(StoreError::AliasTaken(alias.clone())),
            None => Ok(()),
        }
    }

    /// What the entry that a change is about is to be after it.
    fn after(&self, change: Change) -> StoreResult<(EntryId, Option<Entry>)> {
        match change {
            Change::InsertKey { key, version } => {
                let id = (key.instance, key.id);
                if key.revision != 1 || self.entries.contains_key(&id) {
                    return Err(StoreError::Conflict);
                }
                self.check_aliases(&key)?;
                Ok((id, Some(Entry { key, versions: BTreeMap::from([(version.sequence, version)]) })))
            }
            Change::UpdateKey { key } => {
                let id = (key.instance, key.id);
                let old = self.entries.get(&id).ok_or(StoreError::Conflict)?;
                if old.key.revision.checked_add(1) != Some(key.revision) {
                    return Err(StoreError::Conflict);
                }
                self.check_aliases(&key)?;
                Ok((id, Some(Entry { key, versions: old.versions.clone() })))
            }
            Change::InsertVersion { instance, key, version } => {
                let mut entry = self.entries.get(&(instance, key)).ok_or(StoreError::Conflict)?.clone();
                let there = |other: &KeyVersion| other.id == version.id || other.sequence == version.sequence;
                if entry.versions.values().any(there) {
                    return Err(StoreError::Conflict);
                }
                entry.versions.insert(version.sequence, version);
                Ok(((instance, key), Some(entry)))
            }
            Change::RemoveKey { instance, key, revision } => match self.entries.get(&(instance, key)) {
                Some(entry) if entry.key.revision == revision => Ok(((instance, key), None)),
                _ => Err(StoreError::Conflict),
            },
        }
    }

    fn commit(&mut self, batch: Batch) -> StoreResult<()> {
        let mut undo = Vec::new();
        for change in batch {
            match self.after(change) {
                Ok((id, entry)) => {
                    undo.push((id, self.entries.get(&id).cloned()));
                    self.put(id, entry);
                }
                Err(error) => {
                    self.undo(undo);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes changes back, newest first, so that an alias that moved goes back the way it came.
    fn undo(&mut self, changes: Vec<(EntryId, Option<Entry>)>) {
        for (id, before) in changes.into_iter().rev() {
            self.put(id, before);
        }
    }
}

impl MemoryStore {
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
        Box::pin(async move { Ok(self.state().entries.get(&(instance, key)).map(|entry| entry.key.clone())) })
    }

    fn key_by_alias<'a>(&'a self, instance: InstanceId, alias: &'a Alias) -> BoxFuture<'a, StoreResult<Option<Key>>> {
        Box::pin(async move {
            let state = self.state();
            let id = state.aliases.get(&(instance, alias.clone()));
            Ok(id.and_then(|id| state.entries.get(&(instance, *id))).map(|entry| entry.key.clone()))
        })
    }

    fn version(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> BoxFuture<'_, StoreResult<Option<KeyVersion>>> {
        Box::pin(async move {
            let state = self.state();
            let mut all = state.entries.get(&(instance, key)).into_iter().flat_map(|entry| entry.versions.values());
            Ok(all.find(|candidate| candidate.id == version).cloned())
        })
    }

    fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<KeyVersion>>> {
        Box::pin(async move {
            let state = self.state();
            let all = state.entries.get(&(instance, key)).into_iter().flat_map(|entry| entry.versions.values().rev());
            Ok(page_of(all.cloned().collect(), page))
        })
    }

    fn keys<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a KeyFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Page<Key>>> {
        Box::pin(async move { Ok(page_of(self.state().wanted(instance, filter).cloned().collect(), page)) })
    }

    fn count<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> BoxFuture<'a, StoreResult<usize>> {
        Box::pin(async move { Ok(self.state().wanted(instance, filter).count()) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move { self.state().commit(batch) })
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async { Ok(()) })
    }
}
