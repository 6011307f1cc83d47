//! Who uses which key of a link, so that a key is destroyed under nobody, and nothing else waits for that.

use std::collections::{HashMap, HashSet};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, Failure};
use crate::handles::Identity;
use crate::pending::lock;

#[derive(Default)]
struct State {
    users: HashMap<Identity, usize>,
    ending: HashSet<Identity>,
}

#[derive(Default)]
pub(crate) struct Uses {
    state: Mutex<State>,
    over: Condvar,
}

/// How soon to ask again for a key that is being destroyed.
const SOON: Duration = Duration::from_millis(100);

fn busy() -> Failure {
    Error::Busy { retry_after: Some(SOON) }.into()
}

impl Uses {
    pub(crate) fn begin(&self, identity: &Identity) -> Result<(), Failure> {
        let mut state = lock(&self.state);
        if !state.ending.is_empty() && state.ending.contains(identity) {
            return Err(busy());
        }
        *state.users.entry(identity.clone()).or_insert(0) += 1;
        Ok(())
    }

    pub(crate) fn over(&self, used: &[Identity]) {
        if used.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for identity in used {
            if let Some(users) = state.users.get_mut(identity) {
                *users -= 1;
                if *users == 0 {
                    state.users.remove(identity);
                }
            }
        }
        let wake = !state.ending.is_empty();
        drop(state);
        if wake {
            self.over.notify_all();
        }
    }

    pub(crate) fn end(&self, identity: &Identity) -> Result<Ending<'_>, Failure> {
        if lock(&self.state).ending.insert(identity.clone()) { Ok(Ending(self, identity.clone())) } else { Err(busy()) }
    }
}

/// A key that nobody begins to use.
pub(crate) struct Ending<'a>(&'a Uses, Identity);

impl Ending<'_> {
    /// Whether nobody uses it any more; waits so long for it.
    pub(crate) fn is_alone(&self, patience: Duration) -> bool {
        let state = lock(&self.0.state);
        if !state.users.contains_key(&self.1) {
            return true;
        }
        if patience.is_zero() {
            return false;
        }
        let state = self.0.over.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        !state.users.contains_key(&self.1)
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).ending.remove(&self.1);
    }
}
