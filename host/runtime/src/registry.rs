//! Generations: sets of plugins that were loaded together and are replaced together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use keygate_core::access::Decision;
use keygate_core::access::question::Question;
use keygate_core::backend::CryptoBackend;
use keygate_core::ports::{Backends, BoxFuture, PolicyGate};

use crate::backend::WasmBackend;
use crate::chain::{self, Rule};
use crate::engine::EngineRoom;
use crate::manifest::World;
use crate::sandbox::Facts;

/// A loaded plugin, for logs and for `keygate check`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// Its name in `plugins.toml`.
    pub name: String,
    /// SHA-256 of its file, in hexadecimal.
    pub digest: String,
    /// Its own version, as it says.
    pub version: String,
    /// What kind of plugin it is.
    pub world: World,
    /// Whether its sandboxes start from a snapshot taken after `configure`.
    pub snapshot: bool,
}

/// A set of plugins, loaded and bound. Nobody uses it until it is made live.
pub struct Generation {
    pub(crate) plugins: Vec<PluginInfo>,
    pub(crate) backends: BTreeMap<String, Arc<WasmBackend>>,
    pub(crate) chain: Vec<Rule>,
}

impl Generation {
    /// The plugins, in the manifest's order.
    pub fn describe(&self) -> &[PluginInfo] {
        &self.plugins
    }

    /// Its backends, to look at what they do before it is live.
    pub fn backends(&self) -> Arc<dyn Backends> {
        Arc::new(Bound(self.backends.clone()))
    }

    /// What its plugins, and all their sandboxes, hold.
    fn facts(&self) -> impl Iterator<Item = &Arc<Facts>> {
        let backends = self.backends.values().map(|backend| &backend.plugin.facts);
        backends.chain(self.chain.iter().map(|rule| &rule.plugin.facts))
    }

    /// What there is before anything was loaded: no backends, and a chain that refuses everything.
    fn empty() -> Self {
        Self { plugins: Vec::new(), backends: BTreeMap::new(), chain: Vec::new() }
    }
}

/// The backends of a generation, whether it is live or not.
struct Bound(BTreeMap<String, Arc<WasmBackend>>);

impl Backends for Bound {
    fn backend(&self, name: &str) -> Option<Arc<dyn CryptoBackend>> {
        Some(Arc::<WasmBackend>::clone(self.0.get(name)?))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// A generation that another has taken the place of. Calls that were in work then finish on it.
pub struct Retired {
    number: u64,
    parts: Vec<Weak<Facts>>,
}

impl Retired {
    /// Its number; 0 for what there was before the first.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing of it is left: its last call is through, and its code, settings and secrets are gone from memory.
    pub fn is_gone(&self) -> bool {
        self.parts.iter().all(|part| part.strong_count() == 0)
    }
}

/// A generation and its number.
pub(crate) struct Numbered {
    pub(crate) number: u64,
    pub(crate) generation: Generation,
}

/// The generation that is live. A call takes hold of it once, when it begins, and keeps it to its end.
pub(crate) struct Registry {
    live: ArcSwap<Numbered>,
    /// Held while a generation is made live, so that each gets a number of its own.
    turn: Mutex<()>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            live: ArcSwap::from_pointee(Numbered { number: 0, generation: Generation::empty() }),
            turn: Mutex::new(()),
        }
    }

    pub(crate) fn live(&self) -> Arc<Numbered> {
        self.live.load_full()
    }

    /// Makes a generation live under a number one more than the one before, which it returns.
    pub(crate) fn activate(&self, generation: Generation, room: &EngineRoom) -> Retired {
        // Nothing can panic while the lock is held, so there is nothing that a poisoned lock could tell.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.live.load_full();
        generation.facts().for_each(|facts| facts.go_live(room));
        self.live.store(Arc::new(Numbered { number: before.number + 1, generation }));
        Retired { number: before.number, parts: before.generation.facts().map(Arc::downgrade).collect() }
    }
}

impl PolicyGate for Registry {
    fn decide<'a>(&'a self, question: &'a Question, timeout: Option<Duration>) -> BoxFuture<'a, Decision> {
        Box::pin(async move {
            let live = self.live();
            chain::decide(&live.generation.chain, live.number, question, timeout).await
        })
    }
}

impl Backends for Registry {
    fn backend(&self, name: &str) -> Option<Arc<dyn CryptoBackend>> {
        let live = self.live.load();
        let backend = Arc::clone(live.generation.backends.get(name)?);
        Some(backend)
    }

    fn names(&self) -> Vec<String> {
        self.live.load().generation.backends.keys().cloned().collect()
    }
}
