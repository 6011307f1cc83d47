//! The port to the store: keys, their versions and aliases, changed in batches that happen whole or not at all.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::crn::{CrnQuery, ResourceCrn};
use crate::future::BoxFuture;
use crate::ids::{Alias, EventId, InstanceId, KeyId, KeyRingId, VersionId};
use crate::import_token::ImportToken;
use crate::instance::{Authorization, ProvisionedInstance, Records};
use crate::key::{DueKind, Key, KeyVersion};
use crate::migration::{Migration, Stay};
use crate::policy::InstancePolicies;
use crate::registration::{LifecycleEvent, Registration};
use crate::ring::KeyRing;

pub use crate::query::{KeyFilter, Sort};

/// Why the store did not do it. After any but `Unavailable`, nothing of the batch was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What the batch builds on is not so any more: the key has another revision, exists already, or is gone.
    #[error("another change came first")]
    Conflict,
    /// Another key of the instance has this alias.
    #[error("the alias `{0}` is taken")]
    AliasTaken(Alias),
    /// A key was to be in a ring that is not there.
    #[error("there is no key ring `{0}`")]
    RingMissing(KeyRingId),
    /// A ring was to go that has keys in it.
    #[error("the key ring `{0}` has keys in it")]
    RingInUse(KeyRingId),
    /// There are as many rings as there may be.
    #[error("there are {0} key rings already")]
    RingQuota(usize),
    /// An instance was to go that has keys in it, in whatever state.
    #[error("there are {0} keys in the instance")]
    InstanceInUse(usize),
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
        /// The key. Its aliases are taken, and those it has no longer are freed. Its ring must be there.
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
    /// A version of a key whose material is elsewhere now. `Conflict` when the stored one is not `before`, and when the purge of
    /// its key has begun: whoever purges has read where the material is. The key's own record and revision stay as they
    /// are, so nothing that is done to the key meanwhile is in the way, and nobody who reads the key sees it.
    UpdateVersion {
        /// Whose instance.
        instance: InstanceId,
        /// Whose.
        key: KeyId,
        /// The version as it is stored.
        before: KeyVersion,
        /// As it is to be: of the same id and sequence.
        after: KeyVersion,
    },
    /// The migration of an instance as it is now to be. The stored one must have the revision before; none is 0. What
    /// stayed behind in a migration of another id is forgotten.
    PutMigration {
        /// The migration.
        migration: Migration,
    },
    /// What stayed behind of a key, in place of what was said of that key before.
    PutStay {
        /// Whose instance.
        instance: InstanceId,
        /// What.
        stay: Stay,
    },
    /// A key with its versions, aliases, registrations and pending events, gone for good.
    RemoveKey {
        /// Whose instance.
        instance: InstanceId,
        /// Which.
        key: KeyId,
        /// The revision that it must have.
        revision: u64,
    },
    /// A new key ring. `Conflict` when there is one of this id.
    InsertRing {
        /// The ring.
        ring: KeyRing,
        /// How many there may be in the instance afterwards, `default` not counted.
        at_most: usize,
    },
    /// A key ring, gone. `Conflict` when there is none, `RingInUse` when a key is in it, in whatever state.
    RemoveRing {
        /// Whose instance.
        instance: InstanceId,
        /// Which.
        ring: KeyRingId,
    },
    /// The policies of an instance as they are now to be. The stored ones must have the revision before.
    PutPolicies {
        /// Whose.
        instance: InstanceId,
        /// All of them.
        policies: InstancePolicies,
    },
    /// The import token of an instance as it is now to be. The stored one must have the revision before; none is 0.
    PutImportToken {
        /// The token.
        token: ImportToken,
    },
    /// A registration as it is now to be. The stored one must have the revision before, none is 0; its key must be there.
    PutRegistration {
        /// The registration.
        registration: Registration,
    },
    /// A registration, gone.
    RemoveRegistration {
        /// Whose instance.
        instance: InstanceId,
        /// Of which key.
        key: KeyId,
        /// Of which resource.
        crn: ResourceCrn,
        /// The revision that it must have.
        revision: u64,
    },
    /// A new event for an adopter. Its key must be there.
    InsertEvent {
        /// The event.
        event: LifecycleEvent,
    },
    /// An event that was acknowledged, gone. `Conflict` when there is none.
    RemoveEvent {
        /// Whose instance.
        instance: InstanceId,
        /// Which.
        event: EventId,
    },
    /// A provisioned instance as it is now to be. The stored one must have the revision before; none is 0.
    PutInstance {
        /// The instance.
        instance: ProvisionedInstance,
    },
    /// Nothing, where there is a provisioned instance of this id: what else is in the batch builds on it. `Conflict`
    /// where there is none.
    RequireInstance {
        /// Which.
        instance: InstanceId,
    },
    /// A provisioned instance, gone, with its rings, policies, import token and the authorizations that it has.
    /// `InstanceInUse` when a key is in it, in whatever state.
    RemoveInstance {
        /// Which.
        instance: InstanceId,
        /// The revision that it must have.
        revision: u64,
    },
    /// A new authorization. `Conflict` when there is one of this source and target.
    InsertAuthorization {
        /// The authorization.
        authorization: Authorization,
    },
    /// An authorization, gone. `Conflict` when there is none.
    RemoveAuthorization {
        /// Who may.
        source: InstanceId,
        /// Use what.
        target: InstanceId,
    },
}

/// Changes that belong together: all of them, or none. They happen in their order: an alias that one change frees, a
/// later one can take.
pub type Batch = Vec<Change>;

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

/// Something that comes to a key by itself: see [`Key::due`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Due {
    /// What.
    pub kind: DueKind,
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub instance: InstanceId,
    /// To which key.
    pub key: KeyId,
}

/// Which registrations.
#[derive(Clone, Debug, Default)]
pub struct RegistrationFilter {
    /// Of this key; `None` is any.
    pub key: Option<KeyId>,
    /// Of keys in this ring; `None` is any.
    pub ring: Option<KeyRingId>,
    /// Of these resources; `None` is any.
    pub resources: Option<CrnQuery>,
    /// Those that keep their key from being deleted, or those that do not; `None` is any.
    pub prevent_key_deletion: Option<bool>,
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

    /// A part of the keys of an instance that a filter lets through, in this order. Fast at a hundred thousand keys: the
    /// engine keeps what filters and orders look at ([`crate::query::Listed`]) where it need not read the keys for it.
    fn keys<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a KeyFilter,
        sort: &'a Sort,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Vec<Key>>>;

    /// How many keys of an instance a filter lets through.
    fn count<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> BoxFuture<'a, StoreResult<usize>>;

    /// What was due by an instant, `until` included: in the order of time, then of instance and key; after `after`, where
    /// given; at most `limit`.
    fn due(
        &self,
        kind: DueKind,
        until: Timestamp,
        after: Option<Due>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Due>>>;

    /// A key ring, other than `default`.
    fn ring<'a>(&'a self, instance: InstanceId, ring: &'a KeyRingId) -> BoxFuture<'a, StoreResult<Option<KeyRing>>>;

    /// The key rings of an instance, without `default`, by id.
    fn rings(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Vec<KeyRing>>>;

    /// The policies of an instance; none at all before the first is written. Asked on every request, so it is in memory.
    fn policies(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Arc<InstancePolicies>>>;

    /// The import token of an instance, whether or not it still holds.
    fn import_token(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<ImportToken>>>;

    /// A registration.
    fn registration<'a>(
        &'a self,
        instance: InstanceId,
        key: KeyId,
        crn: &'a ResourceCrn,
    ) -> BoxFuture<'a, StoreResult<Option<Registration>>>;

    /// A part of the registrations that a filter lets through, by key and resource.
    fn registrations<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a RegistrationFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Page<Registration>>>;

    /// An event that no adopter has acknowledged yet.
    fn event(&self, instance: InstanceId, event: EventId) -> BoxFuture<'_, StoreResult<Option<LifecycleEvent>>>;

    /// A part of the events of an instance that nobody has acknowledged yet, oldest first; of one key, where given.
    fn events(
        &self,
        instance: InstanceId,
        key: Option<KeyId>,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<LifecycleEvent>>>;

    /// The ids of an instance's keys, in their order, after this one; deleted keys and those whose record cannot be read too;
    /// at most `limit`.
    fn key_ids(
        &self,
        instance: InstanceId,
        after: Option<KeyId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<KeyId>>>;

    /// The last migration of an instance, whatever became of it.
    fn migration(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<Migration>>>;

    /// A part of what stayed behind in the last migration of an instance, by key.
    fn stays(&self, instance: InstanceId, page: PageRequest) -> BoxFuture<'_, StoreResult<Page<Stay>>>;

    /// What stayed behind of one key in the last migration of its instance.
    fn stay(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Stay>>>;

    /// The provisioned instances and the authorizations there are, all read at one moment. For the start and after changes:
    /// what requests need is in [`crate::instance::Instances`].
    fn instances(&self) -> BoxFuture<'_, StoreResult<Records>>;

    /// Does a batch, and returns when it is durable.
    fn commit(&self, batch: Batch) -> BoxFuture<'_, StoreResult<()>>;

    /// Shows that reads and writes would work now.
    fn check(&self) -> BoxFuture<'_, StoreResult<()>>;
}
