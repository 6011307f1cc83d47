//! The engine for one gateway: a file on a local disk, kept by redb.

mod error;
mod live;
mod open;
mod owner;
mod read;
mod stage;
mod upgrade;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::thread::{self, JoinHandle};

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
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

pub use error::OpenError;
pub use owner::Holder;

use error::Trouble;
use live::{Bounds, Live};
use open::{Connect, Opener};
use read::View;
use writer::{Answer, Job, Writer};

/// How many jobs can wait for the writer. Callers beyond wait for a place.
const QUEUE: usize = 1024;

/// How to keep a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedbOptions {
    /// Memory for pages of the file, in bytes. 128 MiB.
    pub cache_bytes: usize,
    /// The most batches that share a commit, 1 or more. 512.
    pub max_group: usize,
    /// What this program is called in the note beside the file, for whoever finds the file locked.
    pub program: String,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 128 * 1024 * 1024,
            max_group: 512,
            program: concat!("keygate ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// What a store has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Durable commits.
    pub commits: u64,
    /// Batches that were acknowledged.
    pub batches: u64,
    /// Commits that failed.
    pub failures: u64,
}

#[derive(Debug, Default)]
struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
    failures: AtomicU64,
}

/// The database, or why there is none now.
enum Slot {
    Open(Box<Live>),
    Closed(String),
}

/// What the store and its writer share.
struct Shared {
    slot: RwLock<Slot>,
    stats: Counters,
}

impl Shared {
    /// The database. Only the writer ever waits to replace it, so this waits only then.
    fn slot(&self) -> RwLockReadGuard<'_, Slot> {
        self.slot.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the database, once nobody reads from it, and gives the old one back.
    fn replace(&self, slot: Slot) -> Slot {
        std::mem::replace(&mut *self.slot.write().unwrap_or_else(PoisonError::into_inner), slot)
    }

    fn read<T>(&self, read: impl FnOnce(&Live) -> Result<T, Trouble>) -> StoreResult<T> {
        match &*self.slot() {
            Slot::Open(live) => Ok(read(live)?),
            Slot::Closed(why) => Err(StoreError::Unavailable(why.clone())),
        }
    }
}

/// A [`KeyStore`] in one file.
///
/// Reads are done where they are awaited and are short: microseconds for a key, and for a list one pass over what is kept
/// in memory of the keys of the instance, about 250 bytes a key. Lists that take longer are read on a thread apart.
/// Commits are done by a thread of the store's own, many at a time.
///
/// A [`check`](KeyStore::check) writes for real: it costs a durable commit, that is a sync of the disk, shared with the
/// batches that wait at the same time. Whoever is asked for checks by others does well to keep an answer for a second or
/// so, so that they cannot keep the disk busy.
///
/// Dropping the store does what is in the queue, ends the thread and closes the file.
pub struct RedbStore {
    shared: Arc<Shared>,
    path: PathBuf,
    /// Taken when the store is dropped, which is how the writer learns of it.
    queue: Option<mpsc::Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl RedbStore {
    /// Opens the store in this file. A missing file is made with mode 0600, a missing directory with mode 0700.
    ///
    /// # Errors
    /// When the file cannot be had, is in use, is not a store, is damaged, or was written by a newer Keygate; see
    /// [`OpenError`].
    pub fn open(path: &Path, options: RedbOptions) -> Result<Self, OpenError> {
        Self::open_with(path, options, Arc::new(|builder, file| builder.create_with_backend(file)))
    }

    fn open_with(path: &Path, options: RedbOptions, connect: Connect) -> Result<Self, OpenError> {
        let RedbOptions { cache_bytes, max_group, program } = options;
        let opener = Opener { path: path.to_owned(), cache_bytes, program, connect };
        let (live, file) = opener.open_or_create()?;
        if let Err(error) = owner::write_note(path, &opener.program) {
            tracing::warn!(path = %path.display(), %error, "cannot leave a note of who has the store open");
        }
        let shared = Arc::new(Shared { slot: RwLock::new(Slot::Open(Box::new(live))), stats: Counters::default() });
        let (sender, receiver) = mpsc::channel(QUEUE);
        let writer = Writer { shared: Arc::clone(&shared), opener, file, queue: receiver, max_group: max_group.max(1) };
        let thread = thread::Builder::new().name("keygate-store".to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(OpenError::Thread)?;
        Ok(Self { shared, path: path.to_owned(), queue: Some(sender), writer: Some(writer) })
    }

    /// What the store has done so far.
    pub fn stats(&self) -> StoreStats {
        let Counters { commits, batches, failures } = &self.shared.stats;
        StoreStats { commits: commits.load(Relaxed), batches: batches.load(Relaxed), failures: failures.load(Relaxed) }
    }

    /// Reads where it is awaited.
    fn read<T>(&self, read: impl FnOnce(&Live) -> Result<T, Trouble>) -> StoreResult<T> {
        self.told(self.shared.read(read))
    }

    /// Reads records where it is awaited.
    fn view<T>(&self, read: impl FnOnce(&View) -> Result<T, Trouble>) -> StoreResult<T> {
        self.read(|live| read(&live.view()))
    }

    /// Reads on a thread where nobody else waits, if the caller's runtime has such.
    async fn read_apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Live) -> Result<T, Trouble> + Send + 'static,
    ) -> StoreResult<T> {
        let shared = Arc::clone(&self.shared);
        let outcome = match Handle::try_current() {
            Ok(runtime) => match runtime.spawn_blocking(move || shared.read(read)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(StoreError::Unavailable("a long read did not end; the log says why".to_owned())),
            },
            Err(_) => shared.read(read),
        };
        self.told(outcome)
    }

    /// Has the writer look at a database that a read found unavailable.
    fn told<T>(&self, outcome: StoreResult<T>) -> StoreResult<T> {
        if let (Err(StoreError::Unavailable(_)), Some(queue)) = (&outcome, &self.queue) {
            // A full queue has somebody in it who will make the writer look.
            drop(queue.try_send(Job::Mend));
        }
        outcome
    }

    async fn ask(&self, job: impl FnOnce(Answer) -> Job) -> StoreResult<()> {
        let gone = || StoreError::Unavailable("the store's writer has ended; start Keygate again".to_owned());
        let (answer, outcome) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        queue.send(job(answer)).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?
    }
}

impl Drop for RedbStore {
    fn drop(&mut self) {
        self.queue = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!(path = %self.path.display(), "the store's writer had panicked");
        }
        // A long read that nobody waits for any more is waited for here: the file is closed when this returns. The note
        // goes while the lock is still held, so that it is not the next holder's.
        let slot = self.shared.replace(Slot::Closed("the store is closed".to_owned()));
        if matches!(slot, Slot::Open(_)) {
            drop(owner::remove_note(&self.path));
        }
    }
}

impl KeyStore for RedbStore {
    fn key(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Key>>> {
        Box::pin(async move { self.view(|view| view.key(instance, key)) })
    }

    fn key_by_alias<'a>(&'a self, instance: InstanceId, alias: &'a Alias) -> BoxFuture<'a, StoreResult<Option<Key>>> {
        Box::pin(async move { self.view(|view| view.key_by_alias(instance, alias)) })
    }

    fn version(
        &self,
        instance: InstanceId,
        key: KeyId,
        version: VersionId,
    ) -> BoxFuture<'_, StoreResult<Option<KeyVersion>>> {
        Box::pin(async move { self.view(|view| view.version(instance, key, version)) })
    }

    fn versions(
        &self,
        instance: InstanceId,
        key: KeyId,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<KeyVersion>>> {
        Box::pin(async move { self.view(|view| view.versions(instance, key, page)) })
    }

    fn keys<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a KeyFilter,
        sort: &'a Sort,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Vec<Key>>> {
        Box::pin(async move {
            if let Some(keys) = self.read(|live| live.keys(instance, filter, sort, page, &Bounds::HERE))? {
                return Ok(keys);
            }
            let (filter, sort) = (filter.clone(), sort.clone());
            let all = move |live: &Live| live.keys(instance, &filter, &sort, page, &Bounds::NONE);
            Ok(self.read_apart(all).await?.unwrap_or_default())
        })
    }

    fn count<'a>(&'a self, instance: InstanceId, filter: &'a KeyFilter) -> BoxFuture<'a, StoreResult<usize>> {
        Box::pin(async move {
            if let Some(count) = self.read(|live| live.count(instance, filter, &Bounds::HERE))? {
                return Ok(count);
            }
            let filter = filter.clone();
            let all = move |live: &Live| live.count(instance, &filter, &Bounds::NONE);
            Ok(self.read_apart(all).await?.unwrap_or_default())
        })
    }

    fn due(
        &self,
        kind: DueKind,
        until: Timestamp,
        after: Option<Due>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<Due>>> {
        Box::pin(async move { self.read(|live| live.due(kind, until, after, limit)) })
    }

    fn ring<'a>(&'a self, instance: InstanceId, ring: &'a KeyRingId) -> BoxFuture<'a, StoreResult<Option<KeyRing>>> {
        Box::pin(async move { self.view(|view| view.ring(instance, ring)) })
    }

    fn rings(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Vec<KeyRing>>> {
        Box::pin(async move { self.view(|view| view.rings(instance)) })
    }

    fn policies(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Arc<InstancePolicies>>> {
        Box::pin(async move { self.read(|live| live.policies(instance)) })
    }

    fn import_token(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<ImportToken>>> {
        Box::pin(async move { self.view(|view| view.import_token(instance)) })
    }

    fn registration<'a>(
        &'a self,
        instance: InstanceId,
        key: KeyId,
        crn: &'a ResourceCrn,
    ) -> BoxFuture<'a, StoreResult<Option<Registration>>> {
        Box::pin(async move { self.view(|view| view.registration(instance, key, crn)) })
    }

    fn registrations<'a>(
        &'a self,
        instance: InstanceId,
        filter: &'a RegistrationFilter,
        page: PageRequest,
    ) -> BoxFuture<'a, StoreResult<Page<Registration>>> {
        Box::pin(async move {
            // The total takes a pass over all of them, and of all keys there may be many.
            if filter.key.is_some() {
                return self.read(|live| live.registrations(instance, filter, page));
            }
            let filter = filter.clone();
            self.read_apart(move |live| live.registrations(instance, &filter, page)).await
        })
    }

    fn event(&self, instance: InstanceId, event: EventId) -> BoxFuture<'_, StoreResult<Option<LifecycleEvent>>> {
        Box::pin(async move { self.view(|view| view.event(instance, event)) })
    }

    fn events(
        &self,
        instance: InstanceId,
        key: Option<KeyId>,
        page: PageRequest,
    ) -> BoxFuture<'_, StoreResult<Page<LifecycleEvent>>> {
        // The total takes a pass over all of them, and nothing makes adopters acknowledge any.
        Box::pin(self.read_apart(move |live| live.view().events(instance, key, page)))
    }

    fn key_ids(
        &self,
        instance: InstanceId,
        after: Option<KeyId>,
        limit: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<KeyId>>> {
        Box::pin(async move { self.read(|live| live.key_ids(instance, after, limit)) })
    }

    fn migration(&self, instance: InstanceId) -> BoxFuture<'_, StoreResult<Option<Migration>>> {
        Box::pin(async move { self.view(|view| view.migration(instance)) })
    }

    fn stays(&self, instance: InstanceId, page: PageRequest) -> BoxFuture<'_, StoreResult<Page<Stay>>> {
        // The total takes a pass over all of them.
        Box::pin(self.read_apart(move |live| live.view().stays(instance, page)))
    }

    fn stay(&self, instance: InstanceId, key: KeyId) -> BoxFuture<'_, StoreResult<Option<Stay>>> {
        Box::pin(async move { self.view(|view| view.stay(instance, key)) })
    }

    fn instances(&self) -> BoxFuture<'_, StoreResult<Records>> {
        Box::pin(async move { self.view(View::tenants) })
    }

    fn commit(&self, batch: Batch) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(self.ask(|answer| Job::Commit(batch, answer)))
    }

    fn check(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            self.view(View::check)?;
            self.ask(Job::Check).await
        })
    }
}

#[cfg(test)]
mod tests;
