//! Turns at a token's store of objects: who changes it is alone, who searches it is not.
//!
//! By the standard a module sees to this itself. SoftHSM 2 does not: an object that is being made is a file that is being
//! written, and a search by another thread, which looks at all objects, reads it half and drops what it has of it; the making
//! then fails with CKR_TEMPLATE_INCONSISTENT or CKR_GENERAL_ERROR and leaves an object without a name. So turns are taken on
//! SoftHSM from the start, and on any other token from when a making failed in such a way and went well the next time. On all
//! others objects are made at the same time.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::module::Who;
use crate::pending::lock;

/// What is done at the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Objects are searched.
    Looking,
    /// A token object is made or destroyed.
    Changing,
}

#[derive(Default)]
struct State {
    looking: HashSet<Who>,
    changing: HashSet<Who>,
    /// Who wait to change: nobody begins to look before them.
    wanting: HashSet<Who>,
}

impl State {
    fn has_room(&self, who: Who, at: At) -> bool {
        let others = |set: &HashSet<Who>| set.iter().any(|other| *other != who);
        match at {
            At::Looking => !others(&self.changing) && !others(&self.wanting),
            At::Changing => !others(&self.changing) && !others(&self.looking),
        }
    }
}

/// The turns at the store of one token, for all who work with it.
#[derive(Default)]
pub(crate) struct Turns {
    taken: AtomicBool,
    state: Mutex<State>,
    over: Condvar,
}

impl Turns {
    /// From now on turns are taken. Says whether that is new.
    pub(crate) fn begin(&self) -> bool {
        !self.taken.swap(true, Ordering::AcqRel)
    }

    /// Begins, if there is room or no turns are taken.
    pub(crate) fn try_take(self: &Arc<Self>, who: Who, at: At) -> Option<Turn> {
        let mut state = lock(&self.state);
        if self.taken.load(Ordering::Acquire) && !state.has_room(who, at) {
            if at == At::Changing {
                state.wanting.insert(who);
            }
            return None;
        }
        Some(self.enter(&mut state, who, at))
    }

    /// Waits so long for room. Call it again until it gives a turn, or [`Turns::forget`] the wish.
    pub(crate) fn wait(self: &Arc<Self>, who: Who, at: At, patience: Duration) -> Option<Turn> {
        let mut state = lock(&self.state);
        if !state.has_room(who, at) {
            state = self.over.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.has_room(who, at).then(|| self.enter(&mut state, who, at))
    }

    /// Begins, whoever is there: somebody is there for too long.
    pub(crate) fn take(self: &Arc<Self>, who: Who, at: At) -> Turn {
        self.enter(&mut lock(&self.state), who, at)
    }

    fn enter(self: &Arc<Self>, state: &mut State, who: Who, at: At) -> Turn {
        state.wanting.remove(&who);
        match at {
            At::Looking => state.looking.insert(who),
            At::Changing => state.changing.insert(who),
        };
        Turn(self.clone(), who)
    }

    /// Who ended, gave up or hangs is waited for no more.
    pub(crate) fn forget(&self, who: Who) {
        let mut state = lock(&self.state);
        state.looking.remove(&who);
        state.changing.remove(&who);
        state.wanting.remove(&who);
        drop(state);
        if self.taken.load(Ordering::Acquire) {
            self.over.notify_all();
        }
    }
}

/// A turn, until it is dropped. A worker has one at a time.
pub(crate) struct Turn(Arc<Turns>, Who);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken() -> Arc<Turns> {
        let turns = Arc::new(Turns::default());
        assert!(turns.begin() && !turns.begin());
        turns
    }

    #[test]
    fn who_changes_is_alone_and_who_looks_is_not() {
        let turns = taken();
        let looks = [(0, 1), (0, 2)].map(|who| turns.try_take(who, At::Looking).unwrap());
        assert!(turns.try_take((0, 3), At::Changing).is_none());
        assert!(turns.try_take((0, 4), At::Looking).is_none(), "who wants to change goes first");
        drop(looks);
        let changes = turns.wait((0, 3), At::Changing, Duration::ZERO).unwrap();
        assert!(turns.try_take((0, 4), At::Looking).is_none() && turns.try_take((0, 5), At::Changing).is_none());
        drop(changes);
        turns.forget((0, 5));
        turns.try_take((0, 4), At::Looking).unwrap();
    }

    #[test]
    fn who_hangs_is_waited_for_no_more() {
        let turns = taken();
        let hangs = turns.try_take((0, 1), At::Changing).unwrap();
        assert!(turns.try_take((0, 2), At::Looking).is_none());
        turns.forget((0, 1));
        let looks = turns.try_take((0, 2), At::Looking).unwrap();
        drop(hangs);
        assert!(turns.try_take((0, 3), At::Changing).is_none(), "its end is nobody else's");
        drop(looks);
        drop(turns.wait((0, 3), At::Changing, Duration::ZERO).unwrap());
    }

    #[test]
    fn nobody_waits_where_no_turns_are_taken() {
        let turns = Arc::new(Turns::default());
        let _all = [At::Changing, At::Looking, At::Changing].map(|at| turns.try_take((0, at as u64), at).unwrap());
    }
}
