//! An answer that is on its way: waited for by a thread until the deadline, or polled as a future of any runtime.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use crate::error::Error;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is under these locks is valid at every step: a thread that panicked leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a call stands.
const QUEUED: u8 = 0;
const RUNNING: u8 = 1;

struct Slot<T> {
    answer: Option<Result<T, Error>>,
    answered: bool,
    abandoned: bool,
    /// Whether a thread waits.
    waited_for: bool,
    waker: Option<Waker>,
}

/// Where the answer is put. The first answer stands; later ones are dropped.
pub(crate) struct Cell<T> {
    slot: Mutex<Slot<T>>,
    there: Condvar,
    stage: AtomicU8,
}

impl<T> Cell<T> {
    pub(crate) fn new() -> Arc<Self> {
        let slot = Slot { answer: None, answered: false, abandoned: false, waited_for: false, waker: None };
        Arc::new(Self { slot: Mutex::new(slot), there: Condvar::new(), stage: AtomicU8::new(QUEUED) })
    }

    /// Puts the answer, and says whether it is the first.
    pub(crate) fn put(&self, answer: Result<T, Error>) -> bool {
        let mut slot = lock(&self.slot);
        if slot.answered {
            return false;
        }
        slot.answered = true;
        slot.answer = Some(answer);
        let waker = slot.waker.take();
        let waited_for = slot.waited_for;
        drop(slot);
        if waited_for {
            self.there.notify_all();
        }
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// What a pool sees of a cell, whatever is in it.
pub(crate) trait Answerable: Send + Sync {
    /// Answers with a failure, unless it is answered.
    fn refuse(&self, error: Error) -> bool;
    /// Whether nobody waits any more: answered, or the caller is gone.
    fn is_over(&self) -> bool;
    /// Notes that the work has begun.
    fn begun(&self);
}

impl<T: Send> Answerable for Cell<T> {
    fn refuse(&self, error: Error) -> bool {
        self.put(Err(error))
    }

    fn is_over(&self) -> bool {
        let slot = lock(&self.slot);
        slot.answered || slot.abandoned
    }

    fn begun(&self) {
        self.stage.store(RUNNING, Ordering::Release);
    }
}

/// An answer on its way.
///
/// It comes by its deadline, also when the module hangs: as a future it is then completed by the token's warden, which looks
/// every 20 milliseconds; a thread that waits wakes by itself. Dropped before its work began, the work is not done; dropped
/// later, the work goes on and its answer is thrown away.
#[must_use = "an answer that nobody waits for is work that may not be done"]
pub struct Pending<T> {
    cell: Arc<Cell<T>>,
    deadline: Instant,
}

impl<T: Send> Pending<T> {
    pub(crate) fn new(cell: Arc<Cell<T>>, deadline: Instant) -> Self {
        Self { cell, deadline }
    }

    /// One that is answered already.
    pub(crate) fn ready(answer: Result<T, Error>) -> Self {
        let cell = Cell::new();
        cell.put(answer);
        Self { cell, deadline: Instant::now() }
    }

    /// Waits, at most until the deadline that the call was made with.
    ///
    /// # Errors
    /// The call's. At the deadline [`Error::Busy`] when no session came free, and [`Error::Unavailable`] when the module had
    /// the call and did not answer: what it was doing may have been done or not.
    pub fn wait(self) -> Result<T, Error> {
        let mut slot = lock(&self.cell.slot);
        loop {
            if let Some(answer) = slot.answer.take() {
                return answer;
            }
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                slot.answered = true;
                return Err(late(self.cell.stage.load(Ordering::Acquire) == RUNNING));
            }
            slot.waited_for = true;
            slot = self.cell.there.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// What is told at the deadline.
pub(crate) fn late(running: bool) -> Error {
    if running {
        Error::unavailable(
            "the module did not answer by the deadline; whether it did what it was asked is not known. See the token's \
             health, and the module's own log",
        )
    } else {
        Error::Busy { retry_after: None }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        lock(&self.cell.slot).abandoned = true;
    }
}

impl<T: Send> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.cell.slot);
        match slot.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_answer_stands() {
        let cell = Cell::new();
        let pending = Pending::new(cell.clone(), Instant::now() + Duration::from_secs(5));
        assert!(cell.put(Ok(1)));
        assert!(!cell.put(Ok(2)));
        assert_eq!(pending.wait(), Ok(1));
    }

    #[test]
    fn a_deadline_is_an_answer_and_says_where_the_call_stood() {
        let queued = Cell::<u8>::new();
        assert_eq!(Pending::new(queued.clone(), Instant::now()).wait(), Err(Error::Busy { retry_after: None }));
        assert!(!queued.put(Ok(1)), "an answer after the deadline goes nowhere");
        let running = Cell::<u8>::new();
        running.begun();
        assert!(matches!(Pending::new(running, Instant::now()).wait(), Err(Error::Unavailable { .. })));
    }

    #[test]
    fn a_future_wakes_its_task_when_the_answer_comes_from_another_thread() {
        let cell = Cell::new();
        let mut pending = Pending::new(cell.clone(), Instant::now() + Duration::from_secs(5));
        struct Unpark(std::thread::Thread);
        impl std::task::Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        assert!(Pin::new(&mut pending).poll(&mut context).is_pending());
        let putting = std::thread::spawn(move || cell.put(Ok(7)));
        let answer = loop {
            std::thread::park();
            if let Poll::Ready(answer) = Pin::new(&mut pending).poll(&mut context) {
                break answer;
            }
        };
        assert_eq!(answer, Ok(7));
        assert!(putting.join().unwrap());
    }

    #[test]
    fn a_call_whose_caller_is_gone_is_over() {
        let cell = Cell::<u8>::new();
        drop(Pending::new(cell.clone(), Instant::now()));
        assert!(cell.is_over());
    }
}
