//! Modules: shared libraries, each loaded once a process, and initialised with the first link.
//!
//! Whoever may be inside a module holds it: a [`Module`] is finalised when the last token on it is gone and the last of its
//! threads has left, so C_Finalize never runs under a call. A thread that hangs in a module for ever therefore keeps it from
//! being finalised, which is the lesser evil. The order at the end of a process: stop the tokens, then [`Modules::end`]. A library stays in memory to the end of the process: its exit handlers would otherwise run in code that
//! is gone.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::Pkcs11;

use crate::error::{Failure, StartError};
use crate::pending::lock;
use crate::raw::Raw;
use crate::rv;
use crate::turns::Turns;

/// The modules of a process. Make one, and hand it to every token.
#[derive(Default)]
pub struct Modules {
    loaded: Mutex<BTreeMap<PathBuf, Weak<Module>>>,
}

impl std::fmt::Debug for Modules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(lock(&self.loaded).keys()).finish()
    }
}

impl Modules {
    /// None loaded.
    pub fn new() -> Self {
        Self::default()
    }

    /// The module of this path: loaded now, or the one that is. It is initialised when a token is linked, on a thread that may
    /// be written off: modules that are clients of a network block there while it is away. Paths that lead to one file are one module.
    pub(crate) fn load(&self, path: &Path, parameters: Option<&str>) -> Result<Arc<Module>, StartError> {
        let fails = |problem: String| StartError::Module { path: path.display().to_string(), problem };
        let real = path.canonicalize().map_err(|e| fails(format!("{e}; correct `module` in the configuration")))?;
        let parameters = parameters.map(CString::new).transpose();
        let parameters = parameters.map_err(|_| fails("`module_parameters` must not hold a zero byte".to_owned()))?;
        let mut loaded = lock(&self.loaded);
        if let Some(module) = loaded.get(&real).and_then(Weak::upgrade) {
            if module.parameters != parameters {
                return Err(fails("two tokens give it different `module_parameters`; give both the same".to_owned()));
            }
            return Ok(module);
        }
        let context = Pkcs11::new(&real).map_err(|e| fails(format!("it is no PKCS#11 module ({e})")))?;
        let raw = Raw::load(&real).map_err(fails)?;
        // Kept for ever: see above.
        std::mem::forget(context.clone());
        let module = Module {
            context,
            raw,
            parameters,
            tokens: AtomicU64::new(0),
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
            sessions: Mutex::default(),
            turns: Mutex::default(),
        };
        let module = Arc::new(module);
        loaded.insert(real, Arc::downgrade(&module));
        Ok(module)
    }
}

impl Modules {
    /// Finalises those that we initialised and that nobody is inside of, at the end of a process whose tokens have stopped: whoever
    /// still holds one would else finalise it under the process's exit handlers, which some modules do not survive.
    pub fn end(&self) {
        let loaded: Vec<_> = lock(&self.loaded).values().filter_map(Weak::upgrade).collect();
        loaded.iter().for_each(|module| module.end());
    }
}

/// A failure as a text for the operator.
pub(crate) fn describe(failure: &Failure) -> String {
    match failure {
        Failure::Rv { function, rv } => {
            let row = rv::row_of(*rv);
            format!("{function} answered {} (0x{rv:X}); {}", row.name, row.mend)
        }
        Failure::Is(error) => error.to_string(),
        Failure::NoLink(detail) => detail.clone(),
        Failure::NoSession => {
            "the token gives no more sessions; lower `sessions` or raise the token's limit".to_owned()
        }
        Failure::WrittenOff => "the module did not come back from a call".to_owned(),
    }
}

/// A thread of a token.
pub(crate) type Who = (u64, u64);

#[derive(Default)]
struct State {
    inside: HashSet<Who>,
    /// Written off while inside.
    lost: HashSet<Who>,
    /// How many wait to be alone in it.
    wanting: usize,
    /// Who initialises it anew.
    exclusive: Option<Who>,
    /// Counts C_Initialize.
    generation: u64,
    /// Whether C_Initialize was ours: then C_Finalize is.
    ours: bool,
    /// How many wait for a change. A signal that nobody waits for would cost a system call all the same.
    waiting: usize,
    /// The tokens with a link.
    linked: HashSet<u64>,
}

pub(crate) struct Module {
    pub(crate) context: Pkcs11,
    pub(crate) raw: Raw,
    parameters: Option<CString>,
    tokens: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    /// Whose a session is, by its number: the token, and the epoch of its link.
    sessions: Mutex<HashMap<u64, (u64, u64)>>,
    /// The turns at the store of each token, by its serial number.
    turns: Mutex<BTreeMap<String, Arc<Turns>>>,
}

/// Being inside a module.
pub(crate) struct Inside<'a>(&'a Module, Who);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.inside.remove(&self.1);
        state.lost.remove(&self.1);
        let wake = state.waiting > 0;
        drop(state);
        if wake {
            self.0.changed.notify_all();
        }
    }
}

impl Module {
    /// A number for a new token on it.
    pub(crate) fn number(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// The turns at the store of the token with this serial number.
    pub(crate) fn turns(&self, serial: &str) -> Arc<Turns> {
        lock(&self.turns).entry(serial.to_owned()).or_default().clone()
    }

    /// A session was opened.
    pub(crate) fn owns(&self, session: u64, owner: (u64, u64)) {
        lock(&self.sessions).insert(session, owner);
    }

    /// Says whether a session is still that owner's, who is done with it.
    pub(crate) fn disown(&self, session: u64, owner: (u64, u64)) -> bool {
        let mut sessions = lock(&self.sessions);
        let is = sessions.get(&session) == Some(&owner);
        if is {
            sessions.remove(&session);
        }
        is
    }

    pub(crate) fn generation(&self) -> u64 {
        lock(&self.state).generation
    }

    fn initialize(&self) -> Result<(), Failure> {
        let ours = match Raw::initialize(&self.context, self.parameters.as_ref()) {
            Ok(()) => true,
            Err(Failure::Rv { rv: rv::CRYPTOKI_ALREADY_INITIALIZED, .. }) => false,
            Err(failure) => return Err(failure),
        };
        let mut state = lock(&self.state);
        state.generation += 1;
        state.ours = ours;
        Ok(())
    }

    /// Goes inside, when nobody initialises it anew just now.
    pub(crate) fn enter(&self, who: Who) -> Inside<'_> {
        let mut state = lock(&self.state);
        while state.exclusive.is_some() || state.wanting > 0 {
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.inside.insert(who);
        Inside(self, who)
    }

    /// Who hangs inside is waited for no more.
    pub(crate) fn forget(&self, who: Who) {
        for turns in lock(&self.turns).values() {
            turns.forget(who);
        }
        let mut state = lock(&self.state);
        if state.inside.remove(&who) {
            state.lost.insert(who);
        }
        if state.exclusive == Some(who) {
            state.exclusive = None;
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(crate) fn set_linked(&self, token: u64, linked: bool) {
        let mut state = lock(&self.state);
        if linked {
            state.linked.insert(token);
        } else {
            state.linked.remove(&token);
        }
    }

    /// NSS softokn answers C_GetInfo before it is initialised: so the first time it is not asked.
    fn is_initialized(&self) -> bool {
        self.generation() > 0 && self.context.get_library_info().is_ok()
    }

    /// Initialises it if it is not. Asking whether it is disturbs nobody; only where it is not, all others are waited for.
    pub(crate) fn revive(&self, who: Who, patience: Duration) -> Result<bool, Failure> {
        let lives = {
            let _inside = self.enter(who);
            self.is_initialized()
        };
        if lives { Ok(false) } else { self.restart(who, false, patience) }
    }

    /// Initialises it if it is not; with `anew`, finalises it before, so that it looks for its tokens again. The latter only
    /// when no other token lives on it, it was we who initialised it, and nobody hangs inside. Says whether it was done.
    pub(crate) fn restart(&self, who: Who, anew: bool, patience: Duration) -> Result<bool, Failure> {
        let until = Instant::now() + patience;
        let mut state = lock(&self.state);
        // Nobody new goes inside meanwhile: they would keep us out for ever.
        state.wanting += 1;
        while state.exclusive.is_some() || !state.inside.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.wanting -= 1;
                drop(state);
                self.changed.notify_all();
                return Err(Failure::NoLink("other tokens of the module do not come to rest".to_owned()));
            }
            state.waiting += 1;
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.waiting -= 1;
        }
        state.wanting -= 1;
        let others = state.linked.iter().any(|token| *token != who.0);
        if anew && (others || !state.ours || !state.lost.is_empty()) {
            drop(state);
            self.changed.notify_all();
            return Ok(false);
        }
        state.exclusive = Some(who);
        drop(state);
        let done = self.restart_now(anew);
        let mut state = lock(&self.state);
        if state.exclusive == Some(who) {
            state.exclusive = None;
        }
        drop(state);
        self.changed.notify_all();
        done
    }

    fn restart_now(&self, anew: bool) -> Result<bool, Failure> {
        if anew {
            // Whatever it answers, it is initialised again.
            let _ = self.raw.finalize();
        } else if self.is_initialized() {
            return Ok(false);
        }
        self.initialize().map(|()| true)
    }
}

impl Module {
    fn end(&self) {
        let mut state = lock(&self.state);
        let quiet = state.inside.is_empty() && state.lost.is_empty() && state.exclusive.is_none();
        if quiet
            && std::mem::take(&mut state.ours)
            && let Err(failure) = self.raw.finalize()
        {
            tracing::debug!("a PKCS#11 module was not finalised: {}", describe(&failure));
        }
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        self.end();
    }
}
