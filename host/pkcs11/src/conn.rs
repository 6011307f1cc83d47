//! What an operation works with: a session of the token, for one attempt.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cryptoki::session::{Session, SessionState};

use crate::error::Failure;
use crate::handles::Identity;
use crate::link::Link;
use crate::pool::Inner;
use crate::raw::Raw;
use crate::rv;

pub(crate) struct Conn<'a> {
    pub(crate) inner: &'a Inner,
    pub(crate) link: &'a Arc<Link>,
    session: &'a Session,
    lost: &'a AtomicBool,
    pub(crate) used: RefCell<Vec<Identity>>,
}

impl<'a> Conn<'a> {
    pub(crate) fn new(inner: &'a Inner, link: &'a Arc<Link>, session: &'a Session, lost: &'a AtomicBool) -> Self {
        Self { inner, link, session, lost, used: RefCell::default() }
    }

    /// The session, for one call. A worker that was written off while it hung in the call before makes no further one: the
    /// link may be another's by now.
    pub(crate) fn session(&self) -> Result<&'a Session, Failure> {
        if self.lost.load(Ordering::Acquire) { Err(Failure::WrittenOff) } else { Ok(self.session) }
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
