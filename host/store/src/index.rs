//! What lists, counts and timers look at, in memory: derived from the records of the keys when a store is opened, and
//! changed after each commit. It answers with ids; records are read for what is shown and for nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::ids::{Alias, InstanceId, KeyId, KeyRingId};
use keygate_core::key::{DueKind, Key, KeyKind, KeyState};
use keygate_core::query::{self, Listed};
use keygate_core::store::{Due, KeyFilter, PageRequest, Sort};

/// A date that may be missing, in 8 bytes. No date goes so far ([`Timestamp::from_unix_ms`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Date(u64);

impl Date {
    const NONE: Self = Self(u64::MAX);

    fn new(at: Option<Timestamp>) -> Self {
        at.map_or(Self::NONE, |at| Self(at.unix_ms()))
    }

    fn get(self) -> Option<Timestamp> {
        (self != Self::NONE).then(|| Timestamp::from_unix_ms(self.0))
    }
}

/// What is kept of a key: [`Listed`], in about 120 bytes and its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    state: KeyState,
    kind: KeyKind,
    imported: bool,
    ring: Arc<str>,
    created: Timestamp,
    updated: Timestamp,
    rotated: Date,
    deleted: Date,
    expires: Date,
    names: Box<str>,
    /// What comes to it by itself; for most nothing.
    due: Box<[(DueKind, Timestamp)]>,
}

impl Entry {
    /// What is kept of this key.
    pub(crate) fn of(key: &Key) -> Self {
        Self {
            state: key.state,
            kind: key.kind,
            imported: key.imported,
            ring: key.ring.as_str().into(),
            created: key.created_at,
            updated: key.updated_at,
            rotated: Date::new(key.rotated_at),
            deleted: Date::new(key.deletion.as_ref().map(|deletion| deletion.at)),
            expires: Date::new(key.expires_at),
            names: query::search_text(&key.name, key.alias_names().map(Alias::as_str)).into(),
            due: key.due().into(),
        }
    }

    fn listed(&self, id: KeyId, at: Timestamp) -> Listed<'_> {
        let expires = self.expires.get();
        Listed {
            id,
            state: query::settled(self.state, expires, at),
            kind: self.kind,
            imported: self.imported,
            ring: &self.ring,
            created: self.created,
            updated: self.updated,
            rotated: self.rotated.get(),
            deleted: self.deleted.get(),
            expires,
            names: &self.names,
        }
    }
}

/// Why a pass gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// It met a key whose record could not be read: nobody can say whether it belongs to the answer.
    Damaged(KeyId),
    /// It looked at as many keys as it was allowed to.
    Budget,
}

/// The keys of an instance, by id. `None` is one whose record could not be read.
#[derive(Debug, Default)]
struct Keys {
    entries: BTreeMap<KeyId, Option<Entry>>,
    /// One copy of each ring's name.
    rings: BTreeSet<Arc<str>>,
}

impl Keys {
    fn put(&mut self, key: KeyId, mut entry: Option<Entry>) -> Option<Entry> {
        if let Some(entry) = &mut entry {
            self.share_ring_of(entry);
        }
        let before = self.entries.insert(key, entry).flatten();
        self.forget_ring_of(before)
    }

    fn remove(&mut self, key: KeyId) -> Option<Entry> {
        let before = self.entries.remove(&key).flatten();
        self.forget_ring_of(before)
    }

    fn share_ring_of(&mut self, entry: &mut Entry) {
        match self.rings.get(&entry.ring) {
            Some(ring) => entry.ring = Arc::clone(ring),
            None => drop(self.rings.insert(Arc::clone(&entry.ring))),
        }
    }

    /// Forgets a ring's name with the last key in it: this entry's copy and the set's own are all there are.
    fn forget_ring_of(&mut self, before: Option<Entry>) -> Option<Entry> {
        if let Some(entry) = before.as_ref().filter(|entry| Arc::strong_count(&entry.ring) == 2) {
            self.rings.remove(&entry.ring);
        }
        before
    }

    /// Shows the keys that a filter lets through, by id, until `show` says that it has enough.
    fn pass<'a>(
        &'a self,
        filter: &KeyFilter,
        budget: usize,
        mut show: impl FnMut(Listed<'a>) -> bool,
    ) -> Result<(), Stop> {
        for (seen, (id, entry)) in self.entries.iter().enumerate() {
            if seen >= budget {
                return Err(Stop::Budget);
            }
            let entry = match entry {
                Some(entry) => entry,
                None if filter.except == Some(*id) => continue,
                None => return Err(Stop::Damaged(*id)),
            };
            let listed = entry.listed(*id, filter.at);
            if filter.matches(&listed) && !show(listed) {
                break;
            }
        }
        Ok(())
    }
}

/// The first so many of the keys that are offered, in an order. Most keys are compared once, with the last of those that
/// are in so far.
struct First<'a, 's> {
    sort: &'s Sort,
    count: usize,
    /// Those that may be among them, and up to as many again.
    kept: Vec<Listed<'a>>,
    /// As many as are wanted come before this one or are it.
    last: Option<Listed<'a>>,
}

impl<'a, 's> First<'a, 's> {
    /// At least this many are kept before any are thrown away.
    const ROOM: usize = 256;

    /// The first `count`, 1 or more.
    const fn new(sort: &'s Sort, count: usize) -> Self {
        Self { sort, count, kept: Vec::new(), last: None }
    }

    fn offer(&mut self, key: Listed<'a>) {
        if self.last.is_some_and(|last| self.sort.compare(&key, &last).is_gt()) {
            return;
        }
        self.kept.push(key);
        if self.kept.len() >= self.count.saturating_mul(2).max(Self::ROOM) {
            self.kept.select_nth_unstable_by(self.count - 1, |a, b| self.sort.compare(a, b));
            self.kept.truncate(self.count);
            self.last = self.kept.last().copied();
        }
    }

    fn sorted(mut self) -> Vec<Listed<'a>> {
        self.kept.sort_unstable_by(|a, b| self.sort.compare(a, b));
        self.kept.truncate(self.count);
        self.kept
    }
}

/// Which keys are in a ring.
#[derive(Debug, Default)]
pub(crate) struct InRing {
    keys: HashSet<KeyId>,
    /// Those of which nobody can say.
    damaged: HashSet<KeyId>,
}

impl InRing {
    /// Whether a key is; one that is not there is in none.
    pub(crate) fn has(&self, key: KeyId) -> Result<bool, Stop> {
        if self.damaged.contains(&key) { Err(Stop::Damaged(key)) } else { Ok(self.keys.contains(&key)) }
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Index {
    instances: HashMap<InstanceId, Keys>,
    due: BTreeSet<Due>,
}

impl Index {
    /// The index of all these keys; `None` is one whose record cannot be read. What is built at once lies closer together
    /// than what comes one by one, and passes are faster for it.
    pub(crate) fn of(keys: impl IntoIterator<Item = (InstanceId, KeyId, Option<Entry>)>) -> Self {
        let mut index = Self::default();
        let mut listed: HashMap<InstanceId, Vec<(KeyId, Option<Entry>)>> = HashMap::new();
        let mut all_due = Vec::new();
        for (instance, key, mut entry) in keys {
            if let Some(entry) = &mut entry {
                index.instances.entry(instance).or_default().share_ring_of(entry);
                all_due.extend(entry.due.iter().map(|(kind, at)| Due { kind: *kind, at: *at, instance, key }));
            }
            listed.entry(instance).or_default().push((key, entry));
        }
        for (instance, entries) in listed {
            index.instances.entry(instance).or_default().entries = entries.into_iter().collect();
        }
        index.due = all_due.into_iter().collect();
        index
    }

    /// Puts a key into its place.
    pub(crate) fn put(&mut self, instance: InstanceId, key: KeyId, entry: Entry) {
        let due = entry.due.clone();
        let before = self.instances.entry(instance).or_default().put(key, Some(entry));
        self.forget_due(instance, key, before);
        self.due.extend(due.into_iter().map(|(kind, at)| Due { kind, at, instance, key }));
    }

    /// Takes a key out.
    pub(crate) fn remove(&mut self, instance: InstanceId, key: KeyId) {
        let Some(keys) = self.instances.get_mut(&instance) else { return };
        let before = keys.remove(key);
        if keys.entries.is_empty() {
            self.instances.remove(&instance);
        }
        self.forget_due(instance, key, before);
    }

    fn forget_due(&mut self, instance: InstanceId, key: KeyId, before: Option<Entry>) {
        for (kind, at) in before.into_iter().flat_map(|entry| entry.due) {
            self.due.remove(&Due { kind, at, instance, key });
        }
    }

    /// The ids of a part of the keys that a filter lets through, in this order. It looks at `budget` keys at most.
    pub(crate) fn select(
        &self,
        instance: InstanceId,
        filter: &KeyFilter,
        sort: &Sort,
        page: PageRequest,
        budget: usize,
    ) -> Result<Vec<KeyId>, Stop> {
        let Some(keys) = self.instances.get(&instance) else { return Ok(Vec::new()) };
        if page.limit == 0 {
            return Ok(Vec::new());
        }
        let PageRequest { offset, limit } = page;
        if sort.is_by_id() {
            let (mut ids, mut position) = (Vec::new(), 0);
            keys.pass(filter, budget, |key| {
                if position >= offset {
                    ids.push(key.id);
                }
                position += 1;
                ids.len() < limit
            })?;
            return Ok(ids);
        }
        if keys.entries.len() > budget {
            return Err(Stop::Budget);
        }
        let mut first = First::new(sort, offset.saturating_add(limit));
        keys.pass(filter, budget, |key| {
            first.offer(key);
            true
        })?;
        Ok(first.sorted().into_iter().skip(offset).map(|key| key.id).collect())
    }

    /// How many keys a filter lets through. It looks at `budget` keys at most.
    pub(crate) fn count(&self, instance: InstanceId, filter: &KeyFilter, budget: usize) -> Result<usize, Stop> {
        let Some(keys) = self.instances.get(&instance) else { return Ok(0) };
        if keys.entries.len() > budget {
            return Err(Stop::Budget);
        }
        let mut count = 0;
        keys.pass(filter, budget, |_| {
            count += 1;
            true
        })?;
        Ok(count)
    }

    /// The ids of keys in their order, after this one, whatever is known of them.
    pub(crate) fn ids(&self, instance: InstanceId, after: Option<KeyId>, limit: usize) -> Vec<KeyId> {
        let Some(keys) = self.instances.get(&instance) else { return Vec::new() };
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        keys.entries.range((first, Bound::Unbounded)).take(limit).map(|(id, _)| *id).collect()
    }

    /// What was due of a kind by an instant, after something else: see [`keygate_core::store::KeyStore::due`].
    pub(crate) fn due(&self, kind: DueKind, until: Timestamp, after: Option<Due>, limit: usize) -> Vec<Due> {
        let edge = |at, byte| Due {
            kind,
            at,
            instance: InstanceId::from_bytes([byte; 16]),
            key: KeyId::from_bytes([byte; 16]),
        };
        let first = match after {
            Some(after) => Bound::Excluded(Due { kind, ..after }),
            None => Bound::Included(edge(Timestamp::default(), 0)),
        };
        let last = edge(until, 0xff);
        // A range that ends before it begins is no range to the map.
        match first {
            Bound::Excluded(first) if first >= last => Vec::new(),
            _ => self.due.range((first, Bound::Included(last))).take(limit).copied().collect(),
        }
    }

    /// The keys in this ring; where only one key matters, that one if it is in it. Otherwise it passes over all keys of the
    /// instance, and looks at nothing but the names of their rings.
    pub(crate) fn in_ring(&self, instance: InstanceId, ring: &KeyRingId, only: Option<KeyId>) -> InRing {
        let mut found = InRing::default();
        let Some(keys) = self.instances.get(&instance) else { return found };
        let mut look = |key: KeyId, entry: &Option<Entry>| match entry {
            Some(entry) if *entry.ring == *ring.as_str() => drop(found.keys.insert(key)),
            Some(_) => {}
            None => drop(found.damaged.insert(key)),
        };
        match only {
            Some(key) => keys.entries.get(&key).into_iter().for_each(|entry| look(key, entry)),
            None => keys.entries.iter().for_each(|(key, entry)| look(*key, entry)),
        }
        found
    }

    /// How many keys it knows of.
    pub(crate) fn len(&self) -> usize {
        self.instances.values().map(|keys| keys.entries.len()).sum()
    }
}

#[cfg(test)]
mod tests;
