//! A token's pool: worker threads with a session each, and a bounded queue.
//!
//! A worker serves one call at a time. When a call outstays its deadline its caller is answered; when it stays inside the
//! module for longer than `hang` its worker is written off and replaced, up to a bound. One that comes back after all takes
//! its place again if there is one, or ends.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use cryptoki::session::Session;

use crate::breaker::{Breaker, BreakerState, Permit, Trial};
use crate::config::{Surroundings, TokenConfig};
use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::handles::Identity;
use crate::health::Counters;
use crate::link::{Link, Opening};
use crate::module::Module;
use crate::pending::{Answerable, Cell, Pending, lock};

/// How often the warden looks while there is work.
pub(crate) const TICK: Duration = Duration::from_millis(20);
/// How long a worker that got no session lets the others work.
const REST: Duration = Duration::from_secs(1);

/// How a call is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct How {
    pub(crate) deadline: Instant,
    /// Generates RSA keys: may take long.
    pub(crate) slow: bool,
    /// Looks before it makes, so that it may be tried again after a failure that may be a race inside the module.
    pub(crate) makes: bool,
}

impl How {
    pub(crate) fn by(deadline: Instant) -> Self {
        Self { deadline, slow: false, makes: false }
    }
}

/// A call that waits or is worked on.
pub(crate) trait Job: Send {
    fn how(&self) -> How;
    /// The number of the trial that it is.
    fn trial(&self) -> Option<u64>;
    fn answer(&self) -> Arc<dyn Answerable>;
    /// Works. What comes out is kept until it is delivered.
    fn run(&mut self, conn: &Conn<'_>) -> Result<(), Failure>;
    /// Answers. What the work holds is let go before, so that a caller who has the answer and drops the token is the last
    /// that holds it, and stops it on a thread of its own.
    fn answer_with(self: Box<Self>, outcome: Result<(), Error>);
}

pub(crate) struct Call<T, F> {
    pub(crate) how: How,
    pub(crate) cell: Arc<Cell<T>>,
    pub(crate) work: F,
    pub(crate) done: Option<T>,
    pub(crate) trial: Option<Trial>,
}

impl<T, F> Job for Call<T, F>
where
    T: Send + 'static,
    F: FnMut(&Conn<'_>) -> Result<T, Failure> + Send,
{
    fn how(&self) -> How {
        self.how
    }

    fn trial(&self) -> Option<u64> {
        self.trial.as_ref().map(|trial| trial.number)
    }

    fn answer(&self) -> Arc<dyn Answerable> {
        self.cell.clone()
    }

    fn run(&mut self, conn: &Conn<'_>) -> Result<(), Failure> {
        self.done = Some((self.work)(conn)?);
        Ok(())
    }

    fn answer_with(self: Box<Self>, outcome: Result<(), Error>) {
        let Self { cell, work, done, trial, .. } = *self;
        drop((work, trial));
        match (outcome, done) {
            (Ok(()), Some(done)) => cell.put(Ok(done)),
            (Ok(()), None) => cell.put(Err(Error::unavailable("the call did nothing; report it"))),
            (Err(error), _) => cell.put(Err(error)),
        };
    }
}

/// A call inside the module, as the warden sees it.
pub(crate) struct Running {
    pub(crate) since: Instant,
    pub(crate) how: How,
    pub(crate) trial: Option<u64>,
    pub(crate) answer: Arc<dyn Answerable>,
    pub(crate) lost: Arc<AtomicBool>,
    /// Whether the caller has been told that it is late.
    pub(crate) told: bool,
    /// Whether it has been counted as a failure.
    pub(crate) counted: bool,
    /// Waits for others; is not inside the module.
    pub(crate) parked: bool,
    /// Its session and the epoch of its link, so that it is not closed under it.
    pub(crate) session: Option<(u64, u64)>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) queue: VecDeque<Box<dyn Job>>,
    pub(crate) running: HashMap<u64, Running>,
    pub(crate) live: usize,
    /// Written off and not come back.
    pub(crate) lost: usize,
    /// The sessions of those, with the epochs of their links.
    pub(crate) lost_sessions: HashSet<(u64, u64)>,
    workers: u64,
    /// The worker that is alone.
    pub(crate) alone: Option<u64>,
    /// How many wait to be alone.
    pub(crate) waiting: usize,
    pub(crate) link: Option<Arc<Link>>,
    /// Links that were given up, whose sessions are to be closed.
    pub(crate) given_up: Vec<Arc<Link>>,
    pub(crate) epoch: u64,
    pub(crate) closing: bool,
    /// All threads of the token, to wait for their end.
    pub(crate) joins: Vec<JoinHandle<()>>,
    pub(crate) warden_sleeps: bool,
}

/// What all threads of a token share.
pub(crate) struct Inner {
    pub(crate) config: TokenConfig,
    pub(crate) around: Surroundings,
    pub(crate) module: Arc<Module>,
    /// The token's number on its module.
    pub(crate) number: u64,
    pub(crate) state: Mutex<State>,
    /// There is work, or none will come.
    pub(crate) work: Condvar,
    /// Somebody left the module.
    pub(crate) left: Condvar,
    /// For the warden.
    pub(crate) wake: Condvar,
    /// Our own threads. Not under the state's lock: asked when a call is dropped, wherever that is.
    pub(crate) threads: Mutex<HashSet<ThreadId>>,
    pub(crate) breaker: Arc<Mutex<Breaker>>,
    pub(crate) counters: Counters,
    pub(crate) last_error: Mutex<Option<crate::health::LastError>>,
    pub(crate) pin_key: [u8; 32],
    /// The serial number of the token that was linked first: no other takes its place.
    pub(crate) serial: Mutex<Option<String>>,
    pub(crate) refused_pin: Mutex<Option<blake3::Hash>>,
    /// The ids of keys that are being made.
    pub(crate) making: Mutex<HashSet<Vec<u8>>>,
    /// For session objects.
    pub(crate) numbers: AtomicU64,
}

/// A worker, on its own thread.
pub(crate) struct Seat {
    pub(crate) id: u64,
    pub(crate) lost: Arc<AtomicBool>,
    pub(crate) session: Option<(Arc<Link>, Session)>,
    pub(crate) rests_until: Option<Instant>,
}

impl Seat {
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }
}

impl Inner {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn now(&self) -> keygate_core::clock::Timestamp {
        self.around.clock.now()
    }

    /// Asks for a call, at the end of the queue.
    pub(crate) fn submit<T, F>(self: &Arc<Self>, how: How, work: F) -> Pending<T>
    where
        T: Send + 'static,
        F: FnMut(&Conn<'_>) -> Result<T, Failure> + Send + 'static,
    {
        let permit = lock(&self.breaker).admit(!how.slow && !how.makes, self.now());
        let trial = match permit {
            Permit::Normal => None,
            Permit::Trial(number) => Some(self.trial(number)),
            Permit::Refused(left) => return Pending::ready(Err(self.refused(left))),
        };
        let cell = Cell::new();
        let pending = Pending::new(cell.clone(), how.deadline);
        let job = Box::new(Call { how, cell, work, done: None, trial });
        match self.enqueue(job) {
            Ok(()) => pending,
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// The link, while there is nothing against it.
    fn standing(&self) -> Option<Arc<Link>> {
        if lock(&self.breaker).state().0 != BreakerState::Closed {
            return None;
        }
        let state = self.lock();
        if state.closing || state.live == 0 {
            return None;
        }
        state.link.clone().filter(|link| link.generation == self.module.generation())
    }

    /// What came out of a text that is no secret, if the link remembers that.
    pub(crate) fn opened(&self, text: &Opening) -> Option<Vec<u8>> {
        lock(&self.standing()?.opened).get(text).cloned()
    }

    /// Whether the link knows the object of a key, so that nobody need be asked for it.
    pub(crate) fn knows(&self, identity: &Identity) -> bool {
        let Some(link) = self.standing() else { return false };
        match identity {
            Identity::Token(_) => lock(&link.tokens).get(identity).is_some(),
            Identity::Unwrapped(_) => lock(&link.unwrapped).get(identity).is_some(),
            Identity::Made(..) => false,
        }
    }

    pub(crate) fn trial(&self, number: u64) -> Trial {
        Trial::new(number, &self.breaker, &self.around.clock)
    }

    /// A call has failed, as the breaker counts. The warden is woken when it opens: it makes the trials.
    pub(crate) fn failed(&self, trial: Option<u64>) {
        let mut breaker = lock(&self.breaker);
        breaker.failure(trial, self.now());
        let closed = breaker.state().0 == BreakerState::Closed;
        drop(breaker);
        if !closed {
            // Under the lock, so that it does not fall between the warden's look and its sleep.
            let mut state = self.lock();
            state.warden_sleeps = false;
            self.wake.notify_one();
        }
    }

    fn refused(&self, left: Duration) -> Error {
        self.counters.refused.fetch_add(1, Ordering::Relaxed);
        let last = lock(&self.last_error).as_ref().map_or_else(String::new, |last| format!(": {}", last.what));
        Error::Unavailable {
            detail: format!("the token failed too often in a row and is given a rest{last}"),
            retry_after: Some(left.max(Duration::from_millis(10))),
        }
    }

    pub(crate) fn enqueue(&self, job: Box<dyn Job>) -> Result<(), Error> {
        let mut state = self.lock();
        if state.closing {
            return Err(Error::unavailable("the gateway is stopping"));
        }
        if state.live == 0 {
            let detail = "every session hangs inside the module; look at the device, then restart the gateway";
            return Err(Error::Unavailable { detail: detail.to_owned(), retry_after: Some(self.config.hang) });
        }
        let idle = state.live.saturating_sub(state.running.len());
        if state.queue.len() >= self.config.queue + idle {
            self.counters.busy.fetch_add(1, Ordering::Relaxed);
            return Err(Error::Busy { retry_after: Some(self.wait_of(state.queue.len(), state.live)) });
        }
        state.queue.push_back(job);
        let wake = std::mem::take(&mut state.warden_sleeps);
        drop(state);
        // A worker that is busy looks by itself when it is done; a signal costs a system call.
        if idle > 0 {
            self.work.notify_one();
        }
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// How long a queue of this length takes: 10 milliseconds to 10 seconds.
    fn wait_of(&self, queue: usize, live: usize) -> Duration {
        let each = self.counters.average_us.load(Ordering::Relaxed);
        let turns = (queue / live.max(1) + 1) as u64;
        Duration::from_micros(each.saturating_mul(turns)).clamp(TICK / 2, Duration::from_secs(10))
    }

    /// The next call for a worker. None when it should end.
    fn next(&self, seat: &mut Seat) -> Option<Box<dyn Job>> {
        let mut state = self.lock();
        loop {
            if state.closing {
                return None;
            }
            let rest = seat.rests_until.map(|until| until.saturating_duration_since(Instant::now()));
            let rest = rest.filter(|left| !left.is_zero());
            if rest.is_none() {
                seat.rests_until = None;
            }
            if rest.is_none() && state.alone.is_none() && state.waiting == 0 {
                while let Some(job) = state.queue.pop_front() {
                    if job.answer().is_over() {
                        continue;
                    }
                    let answer = job.answer();
                    answer.begun();
                    let running = Running {
                        since: Instant::now(),
                        how: job.how(),
                        trial: job.trial(),
                        answer,
                        lost: seat.lost.clone(),
                        told: false,
                        counted: false,
                        parked: false,
                        session: seat.session.as_ref().map(|(link, session)| (link.epoch, session.handle())),
                    };
                    state.running.insert(seat.id, running);
                    return Some(job);
                }
            }
            state = match rest {
                Some(left) => self.left.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }

    /// A call is over. Says whether the worker goes on.
    fn finish(&self, seat: &mut Seat, job: Box<dyn Job>, outcome: Result<(), Failure>) -> bool {
        let mut state = self.lock();
        let Some(running) = state.running.remove(&seat.id) else {
            return self.come_back(seat, state);
        };
        if matches!(outcome, Err(Failure::NoSession)) && !state.closing {
            let others = state.link.as_ref().is_some_and(|link| {
                let hung = state.lost_sessions.iter().filter(|(epoch, _)| *epoch == link.epoch).count();
                link.held(hung) > 0
            });
            seat.rests_until = Some(Instant::now() + REST);
            if others {
                state.queue.push_front(job);
                drop(state);
                self.counters.no_session.fetch_add(1, Ordering::Relaxed);
                self.work.notify_one();
                self.left.notify_all();
                return true;
            }
        }
        let wake = state.waiting > 0 || state.closing;
        drop(state);
        if wake {
            self.left.notify_all();
        }
        self.account(&running, &outcome);
        job.answer_with(outcome.map_err(|failure| self.tell(failure)));
        true
    }

    /// A worker that was written off is back. It takes a place that is free, or ends.
    fn come_back<'a>(&'a self, seat: &mut Seat, mut state: MutexGuard<'a, State>) -> bool {
        state.lost = state.lost.saturating_sub(1);
        self.counters.came_back.fetch_add(1, Ordering::Relaxed);
        if let Some((link, session)) = seat.session.take() {
            state.lost_sessions.remove(&(link.epoch, session.handle()));
            let current = state.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, &link));
            if current {
                // The operation that it hung in may be open still: nobody uses the session again while the link lasts.
                link.leaked.fetch_add(1, Ordering::Relaxed);
            } else {
                drop(state);
                self.let_go(&link, &session, seat.id);
                state = self.lock();
            }
        }
        let stays = state.live < self.config.sessions && !state.closing;
        if stays {
            state.live += 1;
            seat.lost = Arc::default();
        }
        drop(state);
        self.left.notify_all();
        stays
    }

    /// Starts a worker. The caller has counted it as live.
    pub(crate) fn hire(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        state.workers += 1;
        let id = state.workers;
        let inner = self.clone();
        let name = format!("pkcs11-{}-{id}", self.config.name.chars().take(32).collect::<String>());
        let join = std::thread::Builder::new().name(name).spawn(move || {
            lock(&inner.threads).insert(std::thread::current().id());
            let mut seat = Seat { id, lost: Arc::default(), session: None, rests_until: None };
            while let Some(mut job) = inner.next(&mut seat) {
                let outcome = inner.serve(&mut seat, &mut *job);
                if !inner.finish(&mut seat, job, outcome) {
                    lock(&inner.threads).remove(&std::thread::current().id());
                    return;
                }
            }
            lock(&inner.threads).remove(&std::thread::current().id());
            inner.lock().live -= 1;
            inner.left.notify_all();
        })?;
        // Of those that have ended nobody need know.
        state.joins.retain(|join| !join.is_finished());
        state.joins.push(join);
        Ok(())
    }

    /// Notes that a call waits for others, or does so no more.
    pub(crate) fn park(&self, id: u64, parked: bool) {
        if let Some(running) = self.lock().running.get_mut(&id) {
            running.parked = parked;
            if !parked {
                running.since = Instant::now();
            }
        }
    }

    /// Waits until no other worker is inside the module, but for those that are slow, and keeps it so until `together` is
    /// called. Not for longer than somebody waits for the answer.
    pub(crate) fn alone(&self, seat: &Seat) -> Result<(), Failure> {
        let mut state = self.lock();
        state.waiting += 1;
        let mut answer = None;
        if let Some(running) = state.running.get_mut(&seat.id) {
            running.parked = true;
            // Of the link that was lost: it is not used again.
            running.session = None;
            answer = Some(running.answer.clone());
        }
        let mut gives_up = false;
        loop {
            let inside = |running: &Running| !running.parked && !running.how.slow;
            let others = state.running.iter().any(|(id, running)| *id != seat.id && inside(running));
            if (state.alone.is_none() && !others) || seat.is_lost() {
                break;
            }
            gives_up = answer.as_ref().is_some_and(|answer| answer.is_over());
            if gives_up {
                break;
            }
            state = self.left.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.waiting -= 1;
        if seat.is_lost() {
            return Err(Failure::WrittenOff);
        }
        if gives_up {
            drop(state);
            self.work.notify_all();
            return Err(Error::Busy { retry_after: None }.into());
        }
        state.alone = Some(seat.id);
        if let Some(running) = state.running.get_mut(&seat.id) {
            running.parked = false;
            running.since = Instant::now();
        }
        Ok(())
    }

    /// Ends what `alone` began.
    pub(crate) fn together(&self, seat: &Seat) {
        let mut state = self.lock();
        if state.alone == Some(seat.id) {
            state.alone = None;
        }
        drop(state);
        self.work.notify_all();
        self.left.notify_all();
    }
}
