//! Generations: sets of plugins that were loaded together and are replaced together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use keygate_core::access::Decision;
use keygate_core::access::question::Question;
use keygate_core::backend::CryptoBackend;
use keygate_core::ports::{Backends, BoxFuture, PolicyGate};

use crate::backend::WasmBackend;
use crate::chain::{self, Rule};
use crate::manifest::World;

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

    /// What there is before anything was loaded: no backends, and a chain that refuses everything.
    fn empty() -> Self {
        Self { plugins: Vec::new(), backends: BTreeMap::new(), chain: Vec::new() }
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

    /// Makes a generation live and returns its number, one more than the one before.
    pub(crate) fn activate(&self, generation: Generation) -> u64 {
        // Nothing can panic while the lock is held, so there is nothing that a poisoned lock could tell.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.live.load().number + 1;
        self.live.store(Arc::new(Numbered { number, generation }));
        number
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
