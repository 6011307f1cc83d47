//! The one thread that writes. It takes whatever waits in the queue, does all of it in one transaction, makes that
//! durable with one commit, shows it to readers, and only then answers: many callers share the cost of one sync of the disk, and a caller
//! who is alone waits for nobody.
//!
//! When a commit fails nobody can tell what of it is on the disk, so all of the group hear that the store is
//! unavailable, refused batches too, since they may have been refused for what has not come to be. redb takes no more
//! writes after that: the database is closed and opened again, which settles it from what the disk holds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use keygate_core::store::{Batch, StoreError, StoreResult};
use redb::{Database, Durability, WriteTransaction};
use tokio::sync::{mpsc, oneshot};

use super::error::Trouble;
use super::open::{FileId, META_TABLE, Opener};
use super::owner;
use super::stage::{Stage, Tables};
use super::{Shared, Slot};
use crate::schema::META_CHECK;

/// Where a caller waits.
pub(super) type Answer = oneshot::Sender<StoreResult<()>>;

/// What the writer is asked to do.
pub(super) enum Job {
    /// A batch.
    Commit(Batch, Answer),
    /// A durable write that changes nothing anybody sees.
    Check(Answer),
    /// To look whether the database must be opened again. Nobody waits.
    Mend,
}

/// The writer.
pub(super) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) opener: Opener,
    pub(super) file: FileId,
    pub(super) queue: mpsc::Receiver<Job>,
    pub(super) max_group: usize,
}

/// The jobs that share a commit.
#[derive(Default)]
struct Group {
    batches: Vec<Batch>,
    answers: Vec<Answer>,
    checks: Vec<Answer>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let mut jobs = Vec::new();
        while self.queue.blocking_recv_many(&mut jobs, self.max_group) > 0 {
            let mut group = Group::default();
            for job in jobs.drain(..) {
                match job {
                    Job::Commit(batch, answer) => {
                        group.batches.push(batch);
                        group.answers.push(answer);
                    }
                    Job::Check(answer) => group.checks.push(answer),
                    Job::Mend => {}
                }
            }
            if group.batches.is_empty() && group.checks.is_empty() {
                self.mend();
            } else {
                self.serve(group);
            }
        }
    }

    /// Opens the database again if it takes no more writes.
    fn mend(&self) {
        drop(catch_unwind(AssertUnwindSafe(|| drop(self.begin()))));
    }

    fn serve(&self, group: Group) {
        // A panic in the engine must neither end this thread nor leave anybody without an answer.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.commit(&group)))
            .unwrap_or_else(|_| Err("the store's writer panicked; its log says where".to_owned()));
        let stats = &self.shared.stats;
        match outcome {
            Ok(outcomes) => {
                stats.batches.fetch_add(outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64, Relaxed);
                // Whoever does not wait any more does not mind.
                for (answer, outcome) in group.answers.into_iter().zip(outcomes) {
                    drop(answer.send(outcome));
                }
                for answer in group.checks {
                    drop(answer.send(Ok(())));
                }
            }
            Err(detail) => {
                stats.failures.fetch_add(1, Relaxed);
                tracing::error!(
                    path = %self.opener.path.display(),
                    batches = group.batches.len(),
                    error = detail,
                    "a commit failed; none of its batches was acknowledged"
                );
                for answer in group.answers.into_iter().chain(group.checks) {
                    drop(answer.send(Err(StoreError::Unavailable(detail.clone()))));
                }
                // Closed already means that it could not be opened again just now.
                if matches!(*self.shared.slot(), Slot::Open(_)) {
                    self.open_again();
                }
            }
        }
    }

    /// Does a group. Any error means that none of it may be acknowledged.
    fn commit(&self, group: &Group) -> Result<Vec<StoreResult<()>>, String> {
        let transaction = self.begin()?;
        let said = |trouble: Trouble| StoreError::from(trouble).to_string();
        let mut outcomes = Vec::with_capacity(group.batches.len());
        let mut all_effects = Vec::new();
        let mut changed = false;
        {
            let mut tables = Tables::open(&transaction).map_err(said)?;
            for batch in &group.batches {
                match Stage::work_out(&tables, batch) {
                    Ok((changes, effects)) => {
                        changed |= !changes.is_empty();
                        tables.write(changes).map_err(said)?;
                        all_effects.extend(effects);
                        outcomes.push(Ok(()));
                    }
                    Err(Trouble::Refused(error)) => outcomes.push(Err(error)),
                    Err(trouble) => return Err(said(trouble)),
                }
            }
        }
        if !group.checks.is_empty() {
            changed = true;
            transaction
                .open_table(META_TABLE)
                .map_err(|error| said(error.into()))?
                .insert(META_CHECK, [].as_slice())
                .map_err(|error| said(error.into()))?;
        }
        if changed {
            transaction.commit().map_err(|error| said(error.into()))?;
            match &*self.shared.slot() {
                Slot::Open(live) => live.publish(all_effects).map_err(said)?,
                Slot::Closed(why) => return Err(why.clone()),
            }
            self.shared.stats.commits.fetch_add(1, Relaxed);
        } else {
            transaction.abort().map_err(|error| said(error.into()))?;
        }
        Ok(outcomes)
    }

    /// Begins a transaction. Nothing has been done yet, so a database that takes no more writes is opened again first.
    fn begin(&self) -> Result<WriteTransaction, String> {
        if let Ok(transaction) = self.try_begin() {
            return Ok(transaction);
        }
        self.open_again();
        self.try_begin()
    }

    fn try_begin(&self) -> Result<WriteTransaction, String> {
        match &*self.shared.slot() {
            Slot::Open(live) => begin(live.database()).map_err(|trouble| StoreError::from(trouble).to_string()),
            Slot::Closed(why) => Err(why.clone()),
        }
    }

    /// Closes the database and opens it again. Reads meanwhile find the store unavailable.
    fn open_again(&self) {
        let closed = self.shared.replace(Slot::Closed("the store is being opened again after a failure".to_owned()));
        let before = match &closed {
            Slot::Open(_) => None,
            Slot::Closed(why) => Some(why.clone()),
        };
        drop(catch_unwind(AssertUnwindSafe(|| drop(closed))));
        let slot = match self.opener.open_again(self.file) {
            Ok(live) => {
                // Somebody else may have had the store in between, and have taken their note away.
                drop(owner::write_note(&self.opener.path, &self.opener.program));
                tracing::info!(path = %self.opener.path.display(), "the store is open again");
                Slot::Open(Box::new(live))
            }
            Err(error) => {
                let why = error.to_string();
                // Once is enough: every call that finds it closed has this tried.
                if before.as_ref() != Some(&why) {
                    tracing::error!(error = why, "the store cannot be opened again");
                }
                Slot::Closed(why)
            }
        };
        self.shared.replace(slot);
    }
}

/// Begins a transaction whose commit survives the loss of power. Quick repair makes the start after a crash fast,
/// whatever the size of the file, and brings the commit in two phases that keeps somebody who chooses what is written
/// from forging a half-done commit.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, Trouble> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    Ok(transaction)
}
