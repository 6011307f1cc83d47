//! The warden of a token: a thread that watches deadlines, writes off who hangs, and tries a token that is given a rest.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use crate::breaker::{BreakerState, Permit};
use crate::conn::Conn;
use crate::error::Error;
use crate::pending::{Cell, late, lock};
use crate::pool::{Call, How, Inner, State, TICK};

/// How often it looks while the breaker is not closed.
const TRIAL_TICK: Duration = Duration::from_millis(100);

impl Inner {
    /// The warden: answers who waits beyond the deadline, writes off who hangs, and tries a token that is given a rest.
    pub(crate) fn watch(self: &Arc<Self>) {
        let mut state = self.lock();
        loop {
            if state.closing && state.live == 0 {
                return;
            }
            self.look(&mut state);
            let idle = state.queue.is_empty() && state.running.is_empty();
            let closed = lock(&self.breaker).state().0 == BreakerState::Closed;
            state = if idle && closed && !state.closing {
                state.warden_sleeps = true;
                self.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                let tick = if idle { TRIAL_TICK } else { TICK };
                self.wake.wait_timeout(state, tick).unwrap_or_else(PoisonError::into_inner).0
            };
            state.warden_sleeps = false;
            if lock(&self.breaker).is_due(self.now()) && !state.closing {
                drop(state);
                self.try_again();
                state = self.lock();
            }
        }
    }

    /// A trial of the warden's own.
    fn try_again(self: &Arc<Self>) {
        let how = How::by(Instant::now() + self.config.hang);
        let cell = Cell::<()>::new();
        let Permit::Trial(number) = lock(&self.breaker).admit(true, self.now()) else { return };
        let trial = Some(self.trial(number));
        let work = |conn: &Conn<'_>| conn.lives();
        // One that finds no place is no trial.
        let _ = self.enqueue(Box::new(Call { how, cell, work, done: None, trial }));
    }

    fn look(self: &Arc<Self>, state: &mut State) {
        let now = Instant::now();
        state.queue.retain(|job| {
            let over = job.how().deadline <= now;
            if over {
                self.counters.busy.fetch_add(1, Ordering::Relaxed);
                job.answer().refuse(Error::Busy { retry_after: Some(TICK) });
            }
            !over
        });
        let mut hung = Vec::new();
        for (id, running) in &mut state.running {
            let inside = now.saturating_duration_since(running.since);
            if !running.told && running.how.deadline <= now {
                running.told = true;
                running.answer.refuse(late(!running.parked));
                self.counters.late.fetch_add(1, Ordering::Relaxed);
            }
            let hang = if running.how.slow { self.config.hang_generating } else { self.config.hang };
            let is_hung = inside >= hang && !running.parked;
            let slow = running.told && inside >= self.config.breaker.slow && !running.how.slow && !running.parked;
            if (is_hung || slow) && !running.counted {
                running.counted = true;
                self.note("a call did not come back from the module in time".to_owned());
                // The state is locked: not by `failed`. This is the warden, which need not be woken.
                lock(&self.breaker).failure(running.trial, self.now());
            }
            if is_hung {
                hung.push(*id);
            }
        }
        for id in hung {
            self.write_off(state, id);
        }
    }

    fn write_off(self: &Arc<Self>, state: &mut State, id: u64) {
        let Some(running) = state.running.remove(&id) else { return };
        running.lost.store(true, Ordering::Release);
        running.answer.refuse(late(true));
        self.module.forget((self.number, id));
        state.live -= 1;
        state.lost += 1;
        state.lost_sessions.extend(running.session);
        self.counters.written_off.fetch_add(1, Ordering::Relaxed);
        if state.alone == Some(id) {
            state.alone = None;
        }
        tracing::warn!(token = %self.config.name, "a PKCS#11 call hangs inside the module; its worker is written off");
        if state.lost <= self.config.written_off && !state.closing && self.hire(state).is_ok() {
            state.live += 1;
        }
        if state.live == 0 {
            for job in state.queue.drain(..) {
                job.answer().refuse(Error::unavailable("every session hangs inside the module; look at the device"));
            }
        }
        self.left.notify_all();
        self.work.notify_all();
    }
}
