//! What an operation works with: a session of the token, for one attempt.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cryptoki::session::{Session, SessionState};

use crate::error::{Error, Failure};
use crate::handles::Identity;
use crate::link::Link;
use crate::pending::Answerable;
use crate::pool::{Inner, TICK};
use crate::raw::Raw;
use crate::rv;
use crate::turns::{At, Turn};
use crate::uses::Ending;

pub(crate) struct Conn<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) link: &'a Arc<Link>,
    session: &'a Session,
    /// Its worker, and who waits for its answer.
    seat: (u64, &'a AtomicBool),
    answer: Arc<dyn Answerable>,
    pub(crate) used: RefCell<Vec<Identity>>,
}

impl<'a> Conn<'a> {
    pub(crate) fn new(
        inner: &'a Inner,
        link: &'a Arc<Link>,
        session: &'a Session,
        seat: (u64, &'a AtomicBool),
        answer: Arc<dyn Answerable>,
    ) -> Self {
        Self { inner, link, session, seat, answer, used: RefCell::default() }
    }

    /// Notes that this call uses a key, until it is over. A key that is being destroyed is used by nobody.
    pub(crate) fn begin(&self, identity: &Identity) -> Result<(), Failure> {
        let mut used = self.used.borrow_mut();
        if !used.contains(identity) {
            self.link.uses.begin(identity)?;
            used.push(identity.clone());
        }
        Ok(())
    }

    /// Waits until nobody uses a key, and keeps it so until what comes back is dropped. A call that has looked the handle up
    /// must not meet another object under its number.
    pub(crate) fn end(&self, identity: &Identity) -> Result<Ending<'a>, Failure> {
        let ending = self.link.uses.end(identity)?;
        if !ending.is_alone(Duration::ZERO) {
            let until = Instant::now() + self.inner.config.hang / 2;
            self.inner.park(self.seat.0, true);
            while !ending.is_alone(TICK) {
                if self.answer.is_over() || Instant::now() >= until || self.seat.1.load(Ordering::Acquire) {
                    return Err(Error::Busy { retry_after: Some(TICK * 5) }.into());
                }
            }
            self.inner.park(self.seat.0, false);
        }
        Ok(ending)
    }

    /// A turn at the store of the token's objects, for one call of the module. Who is there for long is not waited for: a pair
    /// that is being made on a slow token must not keep everybody from looking.
    pub(crate) fn turn(&self, at: At) -> Result<Turn, Failure> {
        let (turns, who) = (&self.link.turns, (self.inner.number, self.seat.0));
        if let Some(turn) = turns.try_take(who, at) {
            return Ok(turn);
        }
        let until = Instant::now() + self.inner.config.hang / 2;
        self.inner.park(self.seat.0, true);
        let turn = loop {
            if let Some(turn) = turns.wait(who, at, TICK) {
                break Ok(turn);
            }
            if self.seat.1.load(Ordering::Acquire) {
                break Err(Failure::WrittenOff);
            }
            if self.answer.is_over() {
                break Err(Error::Busy { retry_after: Some(TICK * 5) }.into());
            }
            if Instant::now() >= until {
                break Ok(turns.take(who, at));
            }
        };
        self.inner.park(self.seat.0, false);
        if turn.is_err() {
            turns.forget(who);
        }
        turn
    }

    /// The session, for one call. A worker that was written off while it hung in the call before makes no further one: the
    /// link may be another's by now.
    pub(crate) fn session(&self) -> Result<&'a Session, Failure> {
        if self.seat.1.load(Ordering::Acquire) { Err(Failure::WrittenOff) } else { Ok(self.session) }
    }

    /// The functions beside the binding's, and the session for them.
    pub(crate) fn raw(&self) -> Result<(&'a Raw, &'a Session), Failure> {
        Ok((&self.inner.module.raw, self.session()?))
    }

    /// Whether the session is the user's: somebody else in the process may have logged us out.
    pub(crate) fn is_logged_in(&self) -> Result<(), Failure> {
        let state = self.session()?.get_session_info()?.session_state();
        if state == SessionState::RwUser || !self.link.login_required {
            return Ok(());
        }
        Err(Failure::Rv { function: "C_GetSessionInfo".into(), rv: rv::USER_NOT_LOGGED_IN })
    }

    /// Whether the session lives.
    pub(crate) fn lives(&self) -> Result<(), Failure> {
        self.session()?.get_session_info().map(|_| ()).map_err(Failure::from)
    }
}

impl Drop for Conn<'_> {
    fn drop(&mut self) {
        self.link.uses.over(&self.used.borrow());
    }
}
