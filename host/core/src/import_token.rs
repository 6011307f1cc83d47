//! Import tokens: a public key to send material under, and a nonce to show that the sender had the material
//! (`api-contract`, g). One an instance; the private key stays with the backend.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::ids::{InstanceId, KeyId};
use crate::key::{KeyRef, Stamp};

/// An instance's import token. `Debug` shows neither nonce nor keys.
#[derive(Clone, PartialEq, Eq)]
pub struct ImportToken {
    /// Whose.
    pub instance: InstanceId,
    /// Made when and by whom.
    pub created: Stamp,
    /// From this instant on nothing is imported under it.
    pub expires_at: Timestamp,
    /// How often it may be fetched, 1 to 500.
    pub max_retrievals: u16,
    /// How often it may still be fetched. Imports go on when it is 0 (`api-contract`, m-6).
    pub remaining_retrievals: u16,
    /// 12 bytes.
    pub nonce: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
    /// The identity under which the backend made the pair: instance and key of it. Pairs are made ahead, before anybody
    /// knows for which instance.
    pub pair: (InstanceId, KeyId),
    /// The private half, as the backend keeps it.
    pub private_key: KeyRef,
    /// 1 for the first token of an instance, one more with each change and each new token: the store's compare-and-set
    /// is on it.
    pub revision: u64,
}

impl fmt::Debug for ImportToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportToken")
            .field("instance", &self.instance)
            .field("created", &self.created)
            .field("expires_at", &self.expires_at)
            .field("max_retrievals", &self.max_retrievals)
            .field("remaining_retrievals", &self.remaining_retrievals)
            .field("pair", &self.pair)
            .field("backend", &self.private_key.backend)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}

/// A key pair that no import token has yet. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadyPair {
    /// The identity under which the backend made it.
    pub pair: (InstanceId, KeyId),
    /// The private half, as the backend keeps it.
    pub private_key: KeyRef,
    /// SubjectPublicKeyInfo, DER.
    pub public_key: Vec<u8>,
}

impl fmt::Debug for ReadyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyPair")
            .field("pair", &self.pair)
            .field("backend", &self.private_key.backend)
            .finish_non_exhaustive()
    }
}

/// Key pairs made ahead: making one takes a backend seconds. In memory, because losing one loses nothing.
#[derive(Debug, Default)]
pub struct ReadyPairs(Mutex<Shelves>);

#[derive(Debug, Default)]
struct Shelves {
    /// How often they were cleared.
    number: u64,
    /// By backend.
    pairs: BTreeMap<String, VecDeque<ReadyPair>>,
    /// The backends that are making one.
    making: BTreeSet<String>,
}

/// Leave to make a pair on a backend, which nobody else has until this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Making<'a> {
    pairs: &'a ReadyPairs,
    backend: String,
    /// Of the shelves when it was given.
    number: u64,
}

impl Making<'_> {
    /// Puts a pair by, unless all were thrown away since this leave was given: whoever made it may be another one now.
    /// Returns whether it did.
    pub fn put(&self, pair: ReadyPair) -> bool {
        let mut shelves = self.pairs.shelves();
        let is_current = shelves.number == self.number;
        if is_current {
            shelves.pairs.entry(self.backend.clone()).or_default().push_back(pair);
        }
        is_current
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        self.pairs.shelves().making.remove(&self.backend);
    }
}

impl ReadyPairs {
    /// The instance in the identities of pairs made ahead.
    pub const INSTANCE: InstanceId = InstanceId::from_bytes([0; 16]);

    fn shelves(&self) -> MutexGuard<'_, Shelves> {
        // Whole pairs go in and out, so one that panicked with the lock left nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many are ready on this backend.
    pub fn count(&self, backend: &str) -> usize {
        self.shelves().pairs.get(backend).map_or(0, VecDeque::len)
    }

    /// Whether one is being made on this backend.
    pub fn is_making(&self, backend: &str) -> bool {
        self.shelves().making.contains(backend)
    }

    /// Takes one for good.
    pub fn take(&self, backend: &str) -> Option<ReadyPair> {
        self.shelves().pairs.get_mut(backend)?.pop_front()
    }

    /// Throws all away, and those that are being made: backends are others now, or have other secrets, and may not open them.
    pub fn clear(&self) {
        let mut shelves = self.shelves();
        shelves.pairs.clear();
        shelves.number += 1;
    }

    /// Leave to make one on this backend; `None` while somebody else is at it. Each takes seconds of a processor, and a few
    /// callers at once would take them all. To be had before the backend is, so that it is known since when that was the one.
    pub fn make(&self, backend: &str) -> Option<Making<'_>> {
        let mut shelves = self.shelves();
        let is_first = shelves.making.insert(backend.to_owned());
        is_first.then(|| Making { pairs: self, backend: backend.to_owned(), number: shelves.number })
    }
}
