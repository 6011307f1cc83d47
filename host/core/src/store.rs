//! The port to the store: keys, their versions and aliases, changed in batches that happen whole or not at all.

use crate::clock::Timestamp;
use crate::future::BoxFuture;
use crate::ids::{Alias, InstanceId, KeyId, KeyRingId, VersionId};
use crate::key::{Key, KeyKind, KeyState, KeyVersion};

/// Why the store did not do it. After any but `Unavailable`, nothing of the batch was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What the batch builds on is not so any more: the key has another revision, exists already, or is gone.
    #[error("another change came first")]
    Conflict,
    /// Another key of the instance has this alias.
    #[error("the alias `{0}` is taken")]
    AliasTaken(Alias),
    /// The store cannot be reached, or cannot write. Says why, for the operator. Of a commit that fails like this
    /// nobody can say whether it was done: whole or not at all, but which of the two only a look at the store tells.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// A record cannot be read. Says which, for the operator.
    #[error("damaged: {0}")]
    Corrupt(String),
}

/// The outcome of the store's work.
pub type StoreResult<T> = Result<T, StoreError>;

/// One change. See [`Batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new key with its first version. Its `revision` must be 1.
    InsertKey {
        /// The key.
        key: Key,
        /// Its first version.
        version: KeyVersion,
    },
    /// A key as it is now to be. The stored one must have the revision before `key.revision`.
    UpdateKey {
        /// The key. Its aliases are taken, and those it has no longer are freed.
        key: Key,
    },
    /// One more version of a key.
    InsertVersion {
        /// Whose instance.
        instance: InstanceId,
        /// Whose.
        key: KeyId,
        /// The version. Neither its id nor its sequence may be there already.
        version: KeyVersion,
    },
    /// A key with its versions and aliases, gone for good.
    RemoveKey {
        /// Whose instance.
        instance: InstanceId,
        /// Which.
        key: KeyId,
        /// The revision that it must have.
        revision: u64,
    },
}

/// Changes that belong together: all of them, or none. They happen in their order: an alias that one change frees, a
/// later one can take.
pub type Batch = Vec<Change>;

/// Which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFilter {
    /// In one of these states.
    pub states: Vec<KeyState>,
    /// Of this kind; `None` is any.
    pub kind: Option<KeyKind>,
    /// In this ring; `None` is any.
    pub ring: Option<KeyRingId>,
    /// The instant at which `states` are meant: a key whose time has come by then counts as Deactivated.
    pub at: Timestamp,
}

impl Default for KeyFilter {
    /// What a list shows when nothing is asked: all but deleted keys (`api-v2: GET /keys`, `state`).
    fn default() -> Self {
        let states = KeyState::ALL.into_iter().filter(|state| *state != KeyState::Destroyed).collect();
        Self { states, kind: None, ring: None, at: Timestamp::default() }
    }
}

impl KeyFilter {
    /// Whether a key is among them.
    pub fn matches(&self, key: &Key) -> bool {
        self.states.contains(&key.state_at(self.at))
            && self.kind.is_none_or(|kind| kind == key.kind)
            && self.ring.as_ref().is_none_or(|ring| *ring == key.ring)
    }
}

/// A part of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// How many to leave out at the beginning.
    pub offset: usize,
    /// How many at most.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The part asked for.
    pub items: Vec<T>,
    /// How many there are in all.
    pub total: usize,
}

/// A store of keys. Every engine passes the same suite, `keygate_store::conformance`.
///
/// Reads see the last acknowledged commit or a later one, and never a part of a batch. A commit that was acknowledged
/// survives the loss of power; one that was not leaves no trace, or all of it when the answer alone was lost.
pub trait KeyStore: Send + Sync {
    /// A key by id.
    fn key(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Key>>>;

    /// A key by alias.
    fn key_by_alias<'a>(&'a self, instance: InstanceId, alias: &'a Alias) -> BoxFuture<'a, StoreResult<Option<Key>>>;

    /// One version of a key.
    fn version(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> BoxFuture<'_, StoreResult<Option<KeyVersion>>>;

    /// The versions of a key, newest first.
    fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<KeyVersion>>>;

    /// The keys of an instance that a filter lets through, by id ascending.
    fn keys<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a KeyFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Page<Key>>>;

    /// How many those are.
    fn count<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> BoxFuture<'a, StoreResult<usize>>;

    /// Does a batch, and returns when it is durable.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, StoreResult<()>>;

    /// Shows that reads and writes would work now.
    fn check(&self) -> BoxFuture<'_, StoreResult<()>>;
}
