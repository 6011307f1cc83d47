//! What the store in memory holds, and how a batch changes it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::crn::ResourceCrn;
use crate::ids::{Alias, EventId, InstanceId, KeyId, KeyRingId};
use crate::import_token::ImportToken;
use crate::instance::{Authorization, ProvisionedInstance, Records};
use crate::key::{DueKind, Key, KeyVersion};
use crate::migration::{Migration, Stay};
use crate::policy::InstancePolicies;
use crate::query::{self, Listed};
use crate::registration::{LifecycleEvent, Registration};
use crate::ring::KeyRing;
use crate::store::{Batch, Change, Due, KeyFilter, RegistrationFilter, StoreError, StoreResult};

type EntryId = (InstanceId, KeyId);

/// Everything there is.
#[derive(Default)]
pub(super) struct State {
    keys: BTreeMap<EntryId, Key>,
    versions: BTreeMap<(InstanceId, KeyId, u32), KeyVersion>,
    aliases: BTreeMap<(InstanceId, Alias), KeyId>,
    rings: BTreeMap<(InstanceId, KeyRingId), KeyRing>,
    policies: BTreeMap<InstanceId, Arc<InstancePolicies>>,
    import_tokens: BTreeMap<InstanceId, ImportToken>,
    registrations: BTreeMap<(InstanceId, KeyId, String), Registration>,
    events: BTreeMap<(InstanceId, EventId), LifecycleEvent>,
    migrations: BTreeMap<InstanceId, Migration>,
    stays: BTreeMap<EntryId, Stay>,
    instances: BTreeMap<InstanceId, ProvisionedInstance>,
    authorizations: BTreeMap<(InstanceId, InstanceId), Authorization>,
    /// What takes back the batch that is being done, oldest first.
    undo: Vec<Undo>,
}

type Undo = Box<dyn FnOnce(&mut State) + Send>;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

fn names_of(key: &Key) -> String {
    query::search_text(&key.name, key.alias_names().map(Alias::as_str))
}

/// Fails unless what the change builds on is so.
fn require(is_so: bool) -> StoreResult<()> {
    if is_so { Ok(()) } else { Err(StoreError::Conflict) }
}

// Reading.
impl State {
    pub(super) fn key(&self, instance: InstanceId, key: KeyId) -> Option<&Key> {
        self.keys.get(&(instance, key))
    }

    pub(super) fn key_by_alias(&self, instance: InstanceId, alias: &Alias) -> Option<&Key> {
        self.key(instance, *self.aliases.get(&(instance, alias.clone()))?)
    }

    /// By sequence.
    pub(super) fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
    ) -> impl DoubleEndedIterator<Item = &KeyVersion> + use<'_> {
        self.versions.range((instance, key, 0)..=(instance, key, u32::MAX)).map(|(_, version)| version)
    }

    /// The keys that a filter lets through, each with its names.
    pub(super) fn listed(&self, instance: InstanceId, filter: &KeyFilter) -> Vec<(&Key, String)> {
        let keys = self.keys.values().filter(|key| key.instance == instance).map(|key| (key, names_of(key)));
        keys.filter(|(key, names)| filter.matches(&Listed::of(key, names, filter.at))).collect()
    }

    /// By id.
    pub(super) fn key_ids(&self, instance: InstanceId, after: Option<KeyId>) -> impl Iterator<Item = KeyId> {
        let ids = self.keys.keys().filter(move |(of, id)| *of == instance && after.is_none_or(|after| *id > after));
        ids.map(|(_, id)| *id)
    }

    pub(super) fn migration(&self, instance: InstanceId) -> Option<&Migration> {
        self.migrations.get(&instance)
    }

    /// By key.
    pub(super) fn stays(&self, instance: InstanceId) -> impl Iterator<Item = &Stay> {
        self.stays.iter().filter(move |((of, _), _)| *of == instance).map(|(_, stay)| stay)
    }

    pub(super) fn due(&self, wanted: DueKind) -> Vec<Due> {
        let of = |key: &Key| {
            let (instance, id) = (key.instance, key.id);
            key.due().into_iter().map(move |(kind, at)| Due { kind, at, instance, key: id })
        };
        self.keys.values().flat_map(of).filter(|due| due.kind == wanted).collect()
    }

    /// By id.
    pub(super) fn rings(&self, instance: InstanceId) -> impl Iterator<Item = &KeyRing> {
        self.rings.values().filter(move |ring| ring.instance == instance)
    }

    pub(super) fn policies(&self, instance: InstanceId) -> Arc<InstancePolicies> {
        self.policies.get(&instance).cloned().unwrap_or_default()
    }

    pub(super) fn import_token(&self, instance: InstanceId) -> Option<&ImportToken> {
        self.import_tokens.get(&instance)
    }

    pub(super) fn registration(&self, instance: InstanceId, key: KeyId, crn: &ResourceCrn) -> Option<&Registration> {
        self.registrations.get(&(instance, key, crn.as_str().to_owned()))
    }

    /// By key and resource.
    pub(super) fn registrations(&self, instance: InstanceId, filter: &RegistrationFilter) -> Vec<Registration> {
        let RegistrationFilter { key, ring, resources, prevent_key_deletion } = filter;
        let wanted = |registration: &&Registration| {
            let ring_of = || self.key(instance, registration.key).map(|key| &key.ring);
            registration.instance == instance
                && key.is_none_or(|key| key == registration.key)
                && ring.as_ref().is_none_or(|ring| ring_of() == Some(ring))
                && resources.as_ref().is_none_or(|query| query.matches(&registration.crn))
                && prevent_key_deletion.is_none_or(|prevents| prevents == registration.prevent_key_deletion)
        };
        self.registrations.values().filter(wanted).cloned().collect()
    }

    /// Oldest first.
    pub(super) fn events(&self, instance: InstanceId) -> Vec<LifecycleEvent> {
        let mut events: Vec<_> = self.events.values().filter(|event| event.instance == instance).cloned().collect();
        events.sort_by_key(|event| (event.at, event.id));
        events
    }
}

// Instances themselves.
impl State {
    /// By id, and by source and target.
    pub(super) fn instances(&self) -> Records {
        Records {
            instances: self.instances.values().cloned().collect(),
            authorizations: self.authorizations.values().cloned().collect(),
        }
    }

    fn put_instance(&mut self, new: ProvisionedInstance) -> StoreResult<()> {
        let before = self.instances.get(&new.id).map_or(0, |before| before.revision);
        require(before.checked_add(1) == Some(new.revision))?;
        self.set(|state| &mut state.instances, new.id, Some(new));
        Ok(())
    }

    fn remove_instance(&mut self, instance: InstanceId, revision: u64) -> StoreResult<()> {
        require(self.instances.get(&instance).is_some_and(|before| before.revision == revision))?;
        match self.keys.values().filter(|key| key.instance == instance).count() {
            0 => {}
            keys => return Err(StoreError::InstanceInUse(keys)),
        }
        let rings: Vec<_> = self.rings(instance).map(|ring| ring.id.clone()).collect();
        for ring in rings {
            self.set(|state| &mut state.rings, (instance, ring), None);
        }
        let given: Vec<_> = self.authorizations.keys().filter(|(source, _)| *source == instance).copied().collect();
        for authorization in given {
            self.set(|state| &mut state.authorizations, authorization, None);
        }
        let stays: Vec<_> = self.stays(instance).map(|stay| (instance, stay.key)).collect();
        for stay in stays {
            self.set(|state| &mut state.stays, stay, None);
        }
        self.set(|state| &mut state.migrations, instance, None);
        self.set(|state| &mut state.policies, instance, None);
        self.set(|state| &mut state.import_tokens, instance, None);
        self.set(|state| &mut state.instances, instance, None);
        Ok(())
    }
}

// Changing.
impl State {
    pub(super) fn commit(&mut self, batch: Batch) -> StoreResult<()> {
        let outcome = batch.into_iter().try_for_each(|change| self.change(change));
        let undo = std::mem::take(&mut self.undo);
        if outcome.is_err() {
            // Newest first, so that an alias that moved goes back the way it came.
            undo.into_iter().rev().for_each(|undo| undo(self));
        }
        outcome
    }

    /// Puts something into its place, or takes it away, such that it can be taken back.
    fn set<K, V>(&mut self, map: fn(&mut Self) -> &mut BTreeMap<K, V>, key: K, value: Option<V>)
    where
        K: Ord + Clone + Send + 'static,
        V: Send + 'static,
    {
        fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            }
        }
        let before = put(map(self), key.clone(), value);
        self.undo.push(Box::new(move |state| drop(put(map(state), key, before))));
    }

    fn change(&mut self, change: Change) -> StoreResult<()> {
        match change {
            Change::InsertKey { key, version } => {
                require(key.revision == 1 && self.key(key.instance, key.id).is_none())?;
                let (instance, id) = (key.instance, key.id);
                self.put_key(key)?;
                self.set(|state| &mut state.versions, (instance, id, version.sequence), Some(version));
            }
            Change::UpdateKey { key } => {
                let before = self.key(key.instance, key.id).ok_or(StoreError::Conflict)?;
                require(before.revision.checked_add(1) == Some(key.revision))?;
                self.put_key(key)?;
            }
            Change::InsertVersion { instance, key, version } => {
                let there = |other: &KeyVersion| other.id == version.id || other.sequence == version.sequence;
                require(self.key(instance, key).is_some() && !self.versions(instance, key).any(there))?;
                self.set(|state| &mut state.versions, (instance, key, version.sequence), Some(version));
            }
            Change::UpdateVersion { instance, key, before, after } => {
                self.update_version(instance, key, &before, after)?;
            }
            Change::PutMigration { migration } => self.put_migration(migration)?,
            Change::PutStay { instance, stay } => {
                self.set(|state| &mut state.stays, (instance, stay.key), Some(stay));
            }
            Change::RemoveKey { instance, key, revision } => self.remove_key(instance, key, revision)?,
            Change::InsertRing { ring, at_most } => {
                let rings = self.rings(ring.instance).count();
                require(!ring.id.is_default() && self.rings(ring.instance).all(|other| other.id != ring.id))?;
                if rings >= at_most {
                    return Err(StoreError::RingQuota(at_most));
                }
                self.set(|state| &mut state.rings, (ring.instance, ring.id.clone()), Some(ring));
            }
            Change::RemoveRing { instance, ring } => {
                require(self.rings(instance).any(|other| other.id == ring))?;
                if self.keys.values().any(|key| key.instance == instance && key.ring == ring) {
                    return Err(StoreError::RingInUse(ring));
                }
                self.set(|state| &mut state.rings, (instance, ring), None);
            }
            Change::PutPolicies { instance, policies } => {
                require(self.policies(instance).revision.checked_add(1) == Some(policies.revision))?;
                self.set(|state| &mut state.policies, instance, Some(Arc::new(policies)));
            }
            Change::PutImportToken { token } => {
                let before = self.import_token(token.instance).map_or(0, |token| token.revision);
                require(before.checked_add(1) == Some(token.revision))?;
                self.set(|state| &mut state.import_tokens, token.instance, Some(token));
            }
            Change::PutRegistration { registration: new } => {
                let before = self.registration(new.instance, new.key, &new.crn).map_or(0, |before| before.revision);
                let has_key = self.key(new.instance, new.key).is_some();
                require(has_key && before.checked_add(1) == Some(new.revision))?;
                let id = (new.instance, new.key, new.crn.as_str().to_owned());
                self.set(|state| &mut state.registrations, id, Some(new));
            }
            Change::RemoveRegistration { instance, key, crn, revision } => {
                require(self.registration(instance, key, &crn).is_some_and(|before| before.revision == revision))?;
                self.set(|state| &mut state.registrations, (instance, key, crn.as_str().to_owned()), None);
            }
            Change::InsertEvent { event } => {
                let id = (event.instance, event.id);
                require(self.key(event.instance, event.key).is_some() && !self.events.contains_key(&id))?;
                self.set(|state| &mut state.events, id, Some(event));
            }
            Change::RemoveEvent { instance, event } => {
                require(self.events.contains_key(&(instance, event)))?;
                self.set(|state| &mut state.events, (instance, event), None);
            }
            Change::PutInstance { instance } => self.put_instance(instance)?,
            Change::RequireInstance { instance } => require(self.instances.contains_key(&instance))?,
            Change::RemoveInstance { instance, revision } => self.remove_instance(instance, revision)?,
            Change::InsertAuthorization { authorization } => self.insert_authorization(authorization)?,
            Change::RemoveAuthorization { source, target } => {
                require(self.authorizations.contains_key(&(source, target)))?;
                self.set(|state| &mut state.authorizations, (source, target), None);
            }
        }
        Ok(())
    }

    fn update_version(
        &mut self,
        instance: InstanceId,
        key: KeyId,
        before: &KeyVersion,
        after: KeyVersion,
    ) -> StoreResult<()> {
        let owner = self.key(instance, key).ok_or(StoreError::Conflict)?;
        let stored = self.versions(instance, key).find(|version| version.id == before.id);
        let is_same = before.id == after.id && before.sequence == after.sequence;
        require(!owner.purging && is_same && stored == Some(before))?;
        self.set(|state| &mut state.versions, (instance, key, after.sequence), Some(after));
        Ok(())
    }

    /// An insertion that is refused where there is one already.
    fn insert_authorization(&mut self, authorization: Authorization) -> StoreResult<()> {
        let id = (authorization.source, authorization.target);
        require(!self.authorizations.contains_key(&id))?;
        self.set(|state| &mut state.authorizations, id, Some(authorization));
        Ok(())
    }

    fn put_migration(&mut self, migration: Migration) -> StoreResult<()> {
        let instance = migration.instance;
        let before = self.migration(instance);
        require(before.map_or(0, |before| before.revision).checked_add(1) == Some(migration.revision))?;
        if before.is_some_and(|before| before.id != migration.id) {
            let old: Vec<KeyId> = self.stays(instance).map(|stay| stay.key).collect();
            for key in old {
                self.set(|state| &mut state.stays, (instance, key), None);
            }
        }
        self.set(|state| &mut state.migrations, instance, Some(migration));
        Ok(())
    }

    /// Puts a key into its place, if its ring is there and its aliases are to be had. Aliases it had and has no longer
    /// are freed.
    fn put_key(&mut self, key: Key) -> StoreResult<()> {
        let instance = key.instance;
        if !key.ring.is_default() && self.rings(instance).all(|ring| ring.id != key.ring) {
            return Err(StoreError::RingMissing(key.ring));
        }
        let taken = |alias: &&Alias| self.key_by_alias(instance, alias).is_some_and(|owner| owner.id != key.id);
        if let Some(alias) = key.alias_names().find(taken) {
            return Err(StoreError::AliasTaken(alias.clone()));
        }
        self.free_aliases(instance, key.id);
        for alias in key.alias_names() {
            self.set(|state| &mut state.aliases, (instance, alias.clone()), Some(key.id));
        }
        self.set(|state| &mut state.keys, (instance, key.id), Some(key));
        Ok(())
    }

    fn free_aliases(&mut self, instance: InstanceId, key: KeyId) {
        let names: Vec<Alias> = self.key(instance, key).into_iter().flat_map(Key::alias_names).cloned().collect();
        for alias in names {
            self.set(|state| &mut state.aliases, (instance, alias), None);
        }
    }

    fn remove_key(&mut self, instance: InstanceId, key: KeyId, revision: u64) -> StoreResult<()> {
        require(self.key(instance, key).is_some_and(|before| before.revision == revision))?;
        self.free_aliases(instance, key);
        let sequences: Vec<u32> = self.versions(instance, key).map(|version| version.sequence).collect();
        for sequence in sequences {
            self.set(|state| &mut state.versions, (instance, key, sequence), None);
        }
        let of_key = RegistrationFilter { key: Some(key), ..RegistrationFilter::default() };
        for registration in self.registrations(instance, &of_key) {
            let id = (instance, key, registration.crn.as_str().to_owned());
            self.set(|state| &mut state.registrations, id, None);
        }
        for event in self.events(instance).into_iter().filter(|event| event.key == key) {
            self.set(|state| &mut state.events, (instance, event.id), None);
        }
        self.set(|state| &mut state.keys, (instance, key), None);
        Ok(())
    }
}
