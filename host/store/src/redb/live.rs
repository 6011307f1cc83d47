//! An open store: the database, the newest view of it that was published, and what is kept of it in memory. The three
//! always tell of the same moment, so that a list shows no part of a commit.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use keygate_core::clock::Timestamp;
use keygate_core::ids::{InstanceId, KeyId};
use keygate_core::key::{DueKind, Key};
use keygate_core::policy::InstancePolicies;
use keygate_core::registration::Registration;
use keygate_core::store::{Due, KeyFilter, Page, PageRequest, RegistrationFilter, Sort, StoreError, StoreResult};
use redb::{Database, ReadableDatabase};

use super::error::Trouble;
use super::read::View;
use super::stage::Effect;
use crate::index::{Entry, Index, Stop};

/// The policies of the instances that have some, or why they cannot be read.
type Policies = HashMap<InstanceId, StoreResult<Arc<InstancePolicies>>>;

/// How large a list may become before it is read apart from the threads that serve everybody.
pub(super) struct Bounds {
    /// Keys looked at in memory.
    pub(super) looked_at: usize,
    /// Records read.
    pub(super) read: usize,
}

impl Bounds {
    /// Where all callers are served: a millisecond or two.
    pub(super) const HERE: Self = Self { looked_at: 20_000, read: 500 };
    /// Where a caller is alone.
    pub(super) const NONE: Self = Self { looked_at: usize::MAX, read: usize::MAX };
}

/// See the module. The order of the fields is the one in which they go: views before the database.
pub(super) struct Live {
    /// Locked for as long as a pass over it takes. Whoever changes `view` or `policies` holds it.
    index: RwLock<Index>,
    policies: RwLock<Policies>,
    none: Arc<InstancePolicies>,
    view: RwLock<Arc<View>>,
    database: Database,
}

impl Live {
    /// Reads what is kept in memory: one pass over the keys.
    pub(super) fn load(database: Database) -> Result<Self, Trouble> {
        let view = View(database.begin_read()?);
        let mut keys = Vec::new();
        view.for_each_key(|instance, id, key| {
            if let Err(error) = &key {
                tracing::error!(%instance, key = %id, %error, "the record of a key cannot be read");
            }
            keys.push((instance, id, key.ok().as_ref().map(Entry::of)));
        })?;
        let index = Index::of(keys);
        let mut policies = Policies::new();
        view.for_each_policies(|instance, found| {
            if let Err(error) = &found {
                tracing::error!(%instance, %error, "the policies of an instance cannot be read; its requests will fail");
            }
            policies.insert(instance, found.map(Arc::new));
        })?;
        tracing::debug!(keys = index.len(), "the store's index is built");
        Ok(Self {
            index: RwLock::new(index),
            policies: RwLock::new(policies),
            none: Arc::default(),
            view: RwLock::new(Arc::new(view)),
            database,
        })
    }

    pub(super) fn database(&self) -> &Database {
        &self.database
    }

    /// Shows everybody what was committed. The only writer calls it, once the commit is durable and before it is
    /// acknowledged. After an error the store must be opened again.
    pub(super) fn publish(&self, effects: Vec<Effect>) -> Result<(), Trouble> {
        let view = Arc::new(View(self.database.begin_read()?));
        let mut index = self.index.write().map_err(|_| half_done())?;
        for effect in effects {
            match effect {
                Effect::Key(instance, key, Some(entry)) => index.put(instance, key, entry),
                Effect::Key(instance, key, None) => index.remove(instance, key),
                Effect::Policies(instance, policies) => {
                    self.policies.write().map_err(|_| half_done())?.insert(instance, Ok(policies));
                }
            }
        }
        // The lock is let go before the old view is dropped, which takes the engine's own.
        let before = std::mem::replace(&mut *self.view.write().map_err(|_| half_done())?, view);
        drop(index);
        drop(before);
        Ok(())
    }

    /// The newest view.
    pub(super) fn view(&self) -> Arc<View> {
        // Whole whatever happened to a thread that had it: it is replaced in one step.
        Arc::clone(&self.view.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn policies(&self, instance: InstanceId) -> Result<Arc<InstancePolicies>, Trouble> {
        let policies = self.policies.read().map_err(|_| half_done())?;
        Ok(policies.get(&instance).cloned().unwrap_or_else(|| Ok(Arc::clone(&self.none)))?)
    }

    /// A part of the keys that a filter lets through; `None` where that goes beyond the bounds.
    pub(super) fn keys(
        &self,
        instance: InstanceId,
        filter: &KeyFilter,
        sort: &Sort,
        page: PageRequest,
        bounds: &Bounds,
    ) -> Result<Option<Vec<Key>>, Trouble> {
        let index = self.index()?;
        let view = self.view();
        let ids = index.select(instance, filter, sort, page, bounds.looked_at);
        drop(index);
        match within(&view, instance, ids)? {
            Some(ids) if ids.len() <= bounds.read => view.keys(instance, &ids).map(Some),
            _ => Ok(None),
        }
    }

    /// How many keys a filter lets through; `None` where that goes beyond the bounds.
    pub(super) fn count(
        &self,
        instance: InstanceId,
        filter: &KeyFilter,
        bounds: &Bounds,
    ) -> Result<Option<usize>, Trouble> {
        let index = self.index()?;
        let view = self.view();
        let count = index.count(instance, filter, bounds.looked_at);
        drop(index);
        within(&view, instance, count)
    }

    /// The ids of the keys of an instance, in their order, after this one.
    pub(super) fn key_ids(
        &self,
        instance: InstanceId,
        after: Option<KeyId>,
        limit: usize,
    ) -> Result<Vec<KeyId>, Trouble> {
        Ok(self.index()?.ids(instance, after, limit))
    }

    pub(super) fn due(
        &self,
        kind: DueKind,
        until: Timestamp,
        after: Option<Due>,
        limit: usize,
    ) -> Result<Vec<Due>, Trouble> {
        Ok(self.index()?.due(kind, until, after, limit))
    }

    pub(super) fn registrations(
        &self,
        instance: InstanceId,
        filter: &RegistrationFilter,
        page: PageRequest,
    ) -> Result<Page<Registration>, Trouble> {
        let RegistrationFilter { key, ring, resources: _, prevent_key_deletion } = filter;
        let Some(ring) = ring else {
            let view = self.view();
            return view.registrations(instance, view.registered(instance, filter)?, *prevent_key_deletion, page);
        };
        let index = self.index()?;
        let view = self.view();
        let in_ring = index.in_ring(instance, ring, *key);
        // What comes now reads the file, and nobody's commit is to wait for that.
        drop(index);
        let mut registered = Vec::new();
        for (key, crn) in view.registered(instance, filter)? {
            if within(&view, instance, in_ring.has(key))? == Some(true) {
                registered.push((key, crn));
            }
        }
        view.registrations(instance, registered, *prevent_key_deletion, page)
    }

    fn index(&self) -> Result<RwLockReadGuard<'_, Index>, Trouble> {
        Ok(self.index.read().map_err(|_| half_done())?)
    }
}

/// What a pass found; `None` when it went beyond its budget. Where it met a record that cannot be read, the error is
/// that record's own.
fn within<T>(view: &View, instance: InstanceId, found: Result<T, Stop>) -> Result<Option<T>, Trouble> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Stop::Budget) => Ok(None),
        Err(Stop::Damaged(key)) => Err(damage(view, instance, key)),
    }
}

fn damage(view: &View, instance: InstanceId, key: KeyId) -> Trouble {
    match view.key(instance, key) {
        Err(trouble) => trouble,
        Ok(_) => {
            let detail = format!("key {key} of instance {instance} could not be read when the store was opened");
            StoreError::Corrupt(detail).into()
        }
    }
}

fn half_done() -> StoreError {
    StoreError::Unavailable("the store's memory may be half changed; it is about to be read again".to_owned())
}
