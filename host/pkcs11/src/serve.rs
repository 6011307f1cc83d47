//! How a worker serves a call: with a link, one retry after something was rebuilt, and an account of how it went.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::health::LastError;
use crate::link::{self, Link};
use crate::module::describe;
use crate::pending::lock;
use crate::pool::{Inner, Job, Running, Seat};
use crate::rv::{self, Means, Rebuild};
use cryptoki::session::Session;

/// How often a call is attempted. Three, because one loss may show in two steps: a handle is invalid, and looking the key
/// up tells that somebody logged out.
const ATTEMPTS: u32 = 3;

impl Inner {
    /// Works on a call.
    pub(crate) fn serve(&self, seat: &mut Seat, job: &mut dyn Job) -> Result<(), Failure> {
        let makes = job.how().makes;
        let races = |failure: &Failure| makes && matches!(failure, Failure::Rv { rv, .. } if rv::may_be_a_race(*rv));
        let mut raced = false;
        for _ in 1..ATTEMPTS {
            match self.attempt(seat, job) {
                Err((failure, rebuilt)) if !seat.is_lost() && (rebuilt || races(&failure)) => {
                    tracing::debug!(token = %self.config.name, "one more attempt after: {}", describe(&failure));
                    self.counters.retried.fetch_add(1, Ordering::Relaxed);
                    raced |= !rebuilt;
                }
                done => {
                    if raced && done.is_ok() {
                        self.take_turns();
                    }
                    return done.map_err(|(failure, _)| failure);
                }
            }
        }
        self.attempt(seat, job).map_err(|(failure, _)| failure)
    }

    /// A making failed and went well the next time: from now on nobody looks while another makes.
    fn take_turns(&self) {
        let link = self.lock().link.clone();
        if link.is_some_and(|link| link.turns.begin()) {
            tracing::warn!(
                token = %self.config.name,
                "a key was made at the second attempt; from now on objects of the token are made and destroyed one at a time"
            );
        }
    }

    /// One attempt. A failure comes with whether something was given up after it that the next attempt makes anew.
    fn attempt(&self, seat: &mut Seat, job: &mut dyn Job) -> Result<(), (Failure, bool)> {
        let link = self.linked(seat).map_err(|failure| (failure, false))?;
        let inside = self.module.enter((self.number, seat.id));
        if link.generation != self.module.generation() {
            drop(inside);
            self.give_up(&link);
            let rv = rv::CRYPTOKI_NOT_INITIALIZED;
            return Err((Failure::Rv { function: "C_GetSessionInfo".into(), rv }, true));
        }
        let had = match seat.session.take() {
            Some((of, session)) if Arc::ptr_eq(&of, &link) => Some(session),
            Some((of, session)) => {
                of.close(&self.module, session.handle());
                None
            }
            None => None,
        };
        let session = match had {
            Some(session) => session,
            None => match link.session(&self.module) {
                Ok(session) => session,
                // Sessions that nobody can use take the place of ours. They are closed with the link.
                Err(Failure::NoSession) if link.leaked.load(Ordering::Relaxed) > 0 => {
                    drop(inside);
                    self.give_up(&link);
                    return Err((Failure::NoSession, true));
                }
                Err(failure) => {
                    let rebuilt = self.rebuild(&link, None, &failure);
                    return Err((failure, rebuilt));
                }
            },
        };
        if let Some(running) = self.lock().running.get_mut(&seat.id) {
            running.session = Some((link.epoch, session.handle()));
        }
        let lost = seat.lost.clone();
        let conn = Conn::new(self, &link, &session, (seat.id, &lost), job.answer());
        let done = if job.trial().is_some() { conn.lives() } else { Ok(()) };
        let done = done.and_then(|()| link.bury(&conn)).and_then(|()| job.run(&conn));
        let (keep, out) = match done {
            Ok(()) => (true, Ok(())),
            Err(failure) => {
                let rebuilt = self.rebuild(&link, Some(&conn), &failure);
                let level = level_of(&failure);
                (level != Rebuild::Session, Err((failure, rebuilt)))
            }
        };
        drop(conn);
        // A session with an open operation is kept open, unused, until the link is given up: see `link`.
        if keep || seat.is_lost() {
            seat.session = Some((link, session));
        } else {
            link.leaked.fetch_add(1, Ordering::Relaxed);
        }
        out
    }

    /// Closes a session of a link that was given up.
    pub(crate) fn let_go(&self, link: &Arc<Link>, session: &Session, seat: u64) {
        let _inside = self.module.enter((self.number, seat));
        link.close(&self.module, session.handle());
    }

    /// Gives up what must be made anew after a failure, and says whether the call is worth a second attempt.
    fn rebuild(&self, link: &Arc<Link>, conn: Option<&Conn<'_>>, failure: &Failure) -> bool {
        match level_of(failure) {
            Rebuild::Nothing => false,
            Rebuild::Doubt => {
                let lives = conn.is_some_and(|conn| conn.lives().is_ok()) && link.is_there(&self.module).is_ok();
                if !lives {
                    self.give_up(link);
                }
                !lives
            }
            Rebuild::Handles => {
                if let Some(conn) = conn {
                    link.forget(&conn.used.borrow());
                }
                true
            }
            Rebuild::Session => true,
            Rebuild::Link | Rebuild::Module => {
                self.give_up(link);
                true
            }
        }
    }

    fn give_up(&self, link: &Arc<Link>) {
        let mut state = self.lock();
        if state.link.as_ref().is_some_and(|current| Arc::ptr_eq(current, link)) {
            let gone = state.link.take();
            state.given_up.extend(gone);
        }
    }

    /// The link, made anew if need be.
    fn linked(&self, seat: &mut Seat) -> Result<Arc<Link>, Failure> {
        let current = self.lock().link.clone();
        if let Some(link) = current {
            if link.generation == self.module.generation() {
                return Ok(link);
            }
            self.give_up(&link);
        }
        self.alone(seat)?;
        let current = self.lock().link.clone();
        let made = match current {
            // Somebody else was faster.
            Some(link) => Ok(link),
            None => self.relink(seat),
        };
        self.together(seat);
        made
    }

    fn relink(&self, seat: &mut Seat) -> Result<Arc<Link>, Failure> {
        seat.session = None;
        let who = (self.number, seat.id);
        self.module.set_linked(self.number, false);
        self.close_given_up(who);
        let says = |failure: Failure| Failure::NoLink(describe(&failure));
        // Shorter than what the warden takes for hung, so that who waits here is not written off.
        let patience = self.config.hang / 2;
        let first = self.module.generation() == 0;
        if self.module.revive(who, patience).map_err(says)? && !first {
            self.counters.restarts.fetch_add(1, Ordering::Relaxed);
        }
        let epoch = {
            let mut state = self.lock();
            state.epoch += 1;
            state.epoch
        };
        let connect = || {
            let _inside = self.module.enter(who);
            link::connect(self, epoch)
        };
        // Whoever was written off meanwhile has a successor, whose link must not be disturbed.
        still(seat)?;
        let mut found = connect();
        self.still_or_drop(seat, &mut found)?;
        // A module may look for its tokens only when it is initialised.
        if !matches!(found, Ok(Some(_)))
            && may_help(&found)
            && self.module.restart(who, true, patience).unwrap_or(false)
            && !seat.is_lost()
        {
            self.counters.restarts.fetch_add(1, Ordering::Relaxed);
            found = connect();
        }
        self.still_or_drop(seat, &mut found)?;
        let link = found.map_err(says)?.ok_or_else(|| {
            Failure::NoLink(format!(
                "its module shows no token with {}; connect the token, or correct its label or serial number",
                self.config.find
            ))
        })?;
        let link = Arc::new(link);
        self.lock().link = Some(link.clone());
        self.module.set_linked(self.number, true);
        self.counters.links.fetch_add(1, Ordering::Relaxed);
        tracing::info!(token = %self.config.name, serial = %link.serial, epoch, "the PKCS#11 token is linked");
        Ok(link)
    }

    /// Whoever was written off while it connected has made a link that nobody uses: its session is closed with the next.
    fn still_or_drop(&self, seat: &Seat, found: &mut Result<Option<Link>, Failure>) -> Result<(), Failure> {
        let still = still(seat);
        if still.is_err()
            && let Ok(Some(link)) = std::mem::replace(found, Ok(None))
        {
            self.lock().given_up.push(Arc::new(link));
        }
        still
    }

    /// Closes the sessions of links that were given up, but for those that somebody is in: a slow call, or one that hangs.
    /// These are closed by who comes back from them, or next time. Nobody begins to use the others: we are alone.
    pub(crate) fn close_given_up(&self, who: (u64, u64)) {
        let (links, busy) = {
            let mut state = self.lock();
            let mut busy = state.lost_sessions.clone();
            busy.extend(
                state.running.iter().filter(|(id, _)| **id != who.1).filter_map(|(_, running)| running.session),
            );
            (std::mem::take(&mut state.given_up), busy)
        };
        let _inside = self.module.enter(who);
        for link in links {
            let sessions = lock(&link.sessions).clone();
            let (left, idle): (Vec<_>, Vec<_>) = sessions.into_iter().partition(|it| busy.contains(&(link.epoch, *it)));
            for session in idle {
                link.close(&self.module, session);
            }
            if !left.is_empty() {
                self.lock().given_up.push(link);
            }
        }
    }

    /// Counts a call that is over, for the breaker and for the metrics.
    pub(crate) fn account(&self, running: &Running, outcome: &Result<(), Failure>) {
        let took = u64::try_from(running.since.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.counters.calls.fetch_add(1, Ordering::Relaxed);
        if !running.how.slow {
            let average = self.counters.average_us.load(Ordering::Relaxed);
            self.counters.average_us.store((average * 7 + took) / 8, Ordering::Relaxed);
        }
        let (counts, what) = match outcome {
            Err(failure @ Failure::Rv { rv, .. }) => (rv::row_of(*rv).counts, Some(describe(failure))),
            Err(failure @ (Failure::NoLink(_) | Failure::NoSession)) => (true, Some(describe(failure))),
            _ => (false, None),
        };
        if let Some(what) = what {
            self.counters.failures.fetch_add(1, Ordering::Relaxed);
            self.note(what);
        }
        if counts && !running.counted {
            self.failed(running.trial);
        } else if !counts && !running.counted {
            lock(&self.breaker).success(running.trial, self.now());
        }
    }

    /// Remembers an error for the operator.
    pub(crate) fn note(&self, what: String) {
        *lock(&self.last_error) = Some(LastError { at: self.now(), what });
    }

    /// What the caller is told.
    pub(crate) fn tell(&self, failure: Failure) -> Error {
        match failure {
            Failure::Rv { function, rv } => match rv::error_of(&function, rv) {
                Error::Busy { .. } => Error::Busy { retry_after: Some(Duration::from_secs(1)) },
                error => error,
            },
            Failure::Is(error) => error,
            Failure::NoLink(detail) => Error::Unavailable { detail, retry_after: Some(self.config.breaker.open_for) },
            Failure::NoSession => Error::Busy { retry_after: Some(Duration::from_secs(1)) },
            Failure::WrittenOff => crate::pending::late(true),
        }
    }
}

fn still(seat: &Seat) -> Result<(), Failure> {
    if seat.is_lost() { Err(Failure::WrittenOff) } else { Ok(()) }
}

fn level_of(failure: &Failure) -> Rebuild {
    match failure {
        Failure::Rv { rv, .. } => rv::row_of(*rv).rebuild,
        // The token is not where it was.
        Failure::NoLink(_) => Rebuild::Link,
        Failure::Is(_) | Failure::NoSession | Failure::WrittenOff => Rebuild::Nothing,
    }
}

/// Whether a failed link may come of a module that has not looked: not when the PIN was refused.
fn may_help(found: &Result<Option<Link>, Failure>) -> bool {
    match found {
        Err(Failure::Rv { function, rv }) => function != "C_Login" && rv::row_of(*rv).means != Means::Busy,
        Err(Failure::NoLink(_)) => false,
        _ => true,
    }
}
