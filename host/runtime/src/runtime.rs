//! The runtime: an engine, the host's services, and the generation that is live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use keygate_core::access::question::Question;
use keygate_core::backend::{BackendError, Call, CryptoBackend};
use keygate_core::ports::{Backends, PolicyGate};

use crate::backend::WasmBackend;
use crate::cache::CodeCache;
use crate::chain::Rule;
use crate::chain::explain::{self, Explanation};
use crate::engine::{EngineError, EngineRoom, RuntimeConfig};
use crate::host::HostServices;
use crate::load_error::{LoadError, LoadStep, nearest};
use crate::loader::{Loaded, Loader, PROBE_TIMEOUT, Trust};
use crate::manifest::scope::is_ever_asked;
use crate::manifest::{ChainEntry, Manifest, PluginManifest};
use crate::measure::Meter;
use crate::registry::{Generation, Numbered, PluginInfo, Registry, Retired};

/// Runs plugins. One a process: it reserves address space for every sandbox there can be.
pub struct Runtime {
    room: Arc<EngineRoom>,
    cache: Option<Arc<CodeCache>>,
    snapshots: bool,
    services: HostServices,
    registry: Arc<Registry>,
}

impl Runtime {
    /// Makes the engine with its pool of sandboxes and its ticker. Nothing is loaded: the policy gate refuses everything
    /// and there are no backends.
    ///
    /// A cache directory that cannot be trusted or used is warned of in the log and done without.
    ///
    /// # Errors
    /// When this machine cannot give what the pool needs.
    pub fn new(config: RuntimeConfig, services: HostServices) -> Result<Self, EngineError> {
        Self::in_room(EngineRoom::new(&config)?, &config, services)
    }

    /// A runtime whose sandboxes are measured.
    pub(crate) fn metered(
        config: RuntimeConfig,
        services: HostServices,
        meter: Arc<Meter>,
    ) -> Result<Self, EngineError> {
        Self::in_room(EngineRoom::metered(&config, Some(meter))?, &config, services)
    }

    fn in_room(room: EngineRoom, config: &RuntimeConfig, services: HostServices) -> Result<Self, EngineError> {
        let room = Arc::new(room);
        let cache = config.cache_dir.as_deref().and_then(|dir| {
            CodeCache::open(dir, &room.engine, &*services.entropy)
                .map_err(|why| tracing::warn!(dir = %dir.display(), %why, "the code cache is not used"))
                .ok()
                .map(Arc::new)
        });
        Ok(Self { room, cache, snapshots: true, services, registry: Arc::new(Registry::new()) })
    }

    /// Takes no snapshots: plugins are given their settings in each sandbox, as one that no snapshot can be taken of. To
    /// look for a fault in snapshots, and to test the other way.
    #[doc(hidden)]
    #[must_use]
    pub fn without_snapshots(mut self) -> Self {
        self.snapshots = false;
        self
    }

    /// Loads and checks a set of plugins, without making it live. Must be called on a tokio runtime with its timers on.
    ///
    /// # Errors
    /// Everything that is wrong: one plugin's failure does not hide another's.
    pub async fn load(&self, manifest: &Manifest) -> Result<Generation, Vec<LoadError>> {
        self.load_with(manifest, &self.services).await
    }

    /// The same, for a generation that is granted other services: other secrets than those that this was made with.
    ///
    /// # Errors
    /// As [`Runtime::load`].
    pub async fn load_with(&self, manifest: &Manifest, services: &HostServices) -> Result<Generation, Vec<LoadError>> {
        let mut errors = duplicates(manifest);
        let (trust, untrusted) = Trust::read(manifest);
        errors.extend(untrusted);
        let loader =
            Loader { room: &self.room, cache: self.cache.as_ref(), services, trust: &trust, snapshots: self.snapshots };
        let mut loaded = BTreeMap::new();
        for entry in &manifest.plugins {
            match loader.load(entry).await {
                Ok(plugin) => drop(loaded.insert(entry.name.as_str(), plugin)),
                Err(found) => errors.extend(found),
            }
        }
        errors.extend(unused(manifest));
        let generation = bind(manifest, &loaded, &mut errors);
        if errors.is_empty() { Ok(generation) } else { Err(errors) }
    }

    /// Makes a generation live. Calls in flight finish on the one before, which it returns.
    pub fn activate(&self, generation: Generation) -> Retired {
        let retired = self.registry.activate(generation, &self.room);
        let live = self.registry.live();
        let number = live.number;
        for plugin in live.generation.describe() {
            let PluginInfo { name, digest, version, world, snapshot } = plugin;
            tracing::info!(number, plugin = %name, %digest, %version, world = world.as_str(), snapshot, "plugin is live");
        }
        retired
    }

    /// The policy chain of whichever generation is live when it is asked.
    ///
    /// Its denials for reasons of its own: `UNAUTHORIZED_ERR` (401) when no rule allowed the request, `POLICY_FAULT_ERR`
    /// (403) when a rule failed. Without a sandbox to ask a rule in it is busy, which allows nothing either.
    pub fn gate(&self) -> Arc<dyn PolicyGate> {
        Arc::clone(&self.registry) as _
    }

    /// The backends of whichever generation is live when they are asked for.
    pub fn backends(&self) -> Arc<dyn Backends> {
        Arc::clone(&self.registry) as _
    }

    /// Asks every backend of the live generation to show that it works.
    pub async fn probe(&self) -> Vec<(String, Result<(), BackendError>)> {
        let live = self.registry.live();
        let call = Call { request_id: "probe", timeout: Some(PROBE_TIMEOUT) };
        let mut answers = Vec::new();
        for (name, backend) in &live.generation.backends {
            answers.push((name.clone(), backend.probe(call).await));
        }
        answers
    }

    /// Asks the chain of the live generation a question in order to show what each of its rules says to it, those that
    /// the gateway would not have asked too.
    pub async fn explain(&self, question: &Question) -> Explanation {
        let live = self.registry.live();
        explain::explain(&live.generation.chain, live.number, question).await
    }

    /// The live generation.
    pub(crate) fn live(&self) -> Arc<Numbered> {
        self.registry.live()
    }

    /// The number of the live generation; 0 before there is one.
    pub fn generation(&self) -> u64 {
        self.registry.live().number
    }

    /// The plugins of the live generation.
    pub fn describe(&self) -> Vec<PluginInfo> {
        self.registry.live().generation.describe().to_vec()
    }
}

/// Names that stand twice.
fn duplicates(manifest: &Manifest) -> Vec<LoadError> {
    let mut errors = Vec::new();
    let mut twice = |kind: &str, names: &mut dyn Iterator<Item = &str>| {
        let mut seen = BTreeSet::new();
        for name in names.filter(|name| !seen.insert(*name)) {
            let problem = format!("there is more than one {kind} of this name");
            errors.push(LoadError::new(name, LoadStep::Bind, problem, "give each a name of its own"));
        }
    };
    twice("plugin", &mut manifest.plugins.iter().map(|p| p.name.as_str()));
    twice("backend", &mut manifest.backends.iter().map(|b| b.name.as_str()));
    let chain = &manifest.policy.chain;
    for (i, place) in chain.iter().enumerate() {
        let again = |earlier: &ChainEntry| earlier.rule == place.rule && earlier.scope.is_same(&place.scope);
        if chain[..i].iter().any(again) {
            let problem = "it stands twice in the policy chain, to be asked about the same";
            let mend = "remove one, or give each a scope of its own";
            errors.push(LoadError::new(&place.rule, LoadStep::Bind, problem, mend));
        }
    }
    errors
}

/// Plugins that would be loaded for nobody. A rule that is not in the chain protects nothing, and nobody would notice.
fn unused(manifest: &Manifest) -> impl Iterator<Item = LoadError> {
    let asked = |entry: &&PluginManifest| {
        manifest.policy.chain.iter().any(|place| place.rule == entry.name)
            || manifest.backends.iter().any(|b| b.plugin == entry.name)
    };
    manifest.plugins.iter().filter(move |entry| !asked(entry)).map(|entry| {
        let place = if entry.world.is_backend() { "a `[[backends]]` entry" } else { "`chain` in `[policy]`" };
        let mend = format!("add it to {place}, or remove its entry");
        LoadError::new(&entry.name, LoadStep::Bind, "it is loaded and never asked", mend)
    })
}

/// Gives each loaded plugin its place.
fn bind(manifest: &Manifest, loaded: &BTreeMap<&str, Loaded>, errors: &mut Vec<LoadError>) -> Generation {
    let names: Vec<&str> = manifest.plugins.iter().map(|p| p.name.as_str()).collect();
    let entry = |name: &str| manifest.plugins.iter().find(|p| p.name == name);
    let mut backends = BTreeMap::new();
    for place in &manifest.backends {
        if let Some(error) = misplaced(entry(&place.plugin), &place.name, &place.plugin, true, &names) {
            errors.push(error);
        } else if let Some(Loaded::Backend(plugin, description)) = loaded.get(place.plugin.as_str()) {
            let (plugin, description) = (Arc::clone(plugin), description.clone());
            let backend = WasmBackend { name: place.name.clone(), plugin, description };
            backends.insert(place.name.clone(), Arc::new(backend));
        }
    }
    let chain = chain(manifest, loaded, errors);
    let plugins = names.iter().filter_map(|name| loaded.get(name)).map(info).collect();
    Generation { plugins, backends, chain }
}

/// Gives each rule its place in the chain.
fn chain(manifest: &Manifest, loaded: &BTreeMap<&str, Loaded>, errors: &mut Vec<LoadError>) -> Vec<Rule> {
    let names: Vec<&str> = manifest.plugins.iter().map(|p| p.name.as_str()).collect();
    let places = &manifest.policy.chain;
    let mut chain = Vec::new();
    for (i, ChainEntry { rule, scope }) in places.iter().enumerate() {
        let entry = manifest.plugins.iter().find(|p| p.name == *rule);
        if let Some(error) = misplaced(entry, rule, rule, false, &names) {
            errors.push(error);
        } else if let (Some(Loaded::Rule(plugin, description)), Some(entry)) = (loaded.get(rule.as_str()), entry) {
            let (plugin, description) = (Arc::clone(plugin), description.clone());
            if !is_ever_asked(scope, &description.actions) {
                let (described, place) = (description.actions.join(", "), i + 1);
                tracing::warn!(
                    %rule,
                    place,
                    described,
                    "this rule is never asked at this place of the chain: its scope has none of the actions that it has \
                     something to say to; unless you want that, widen `actions` of its entry in `policy.chain`"
                );
            }
            let before = places[..i].iter().filter(|place| place.rule == *rule).map(|place| place.scope.clone());
            chain.push(Rule { plugin, description, mode: entry.mode, scope: scope.clone(), before: before.collect() });
        }
    }
    chain
}

/// Why a plugin cannot have the place that it is given.
fn misplaced(
    entry: Option<&PluginManifest>,
    place: &str,
    plugin: &str,
    backend: bool,
    known: &[&str],
) -> Option<LoadError> {
    let what = if backend { "a backend" } else { "a rule of the policy chain" };
    let Some(entry) = entry else {
        let problem = format!("{what} is to be the plugin `{plugin}`, and there is none of this name");
        return Some(LoadError::new(place, LoadStep::Bind, problem, nearest(plugin, known)));
    };
    if entry.world.is_backend() == backend {
        return None;
    }
    let problem = format!("{what} is to be the plugin `{plugin}`, whose world is `{}`", entry.world.as_str());
    Some(LoadError::new(place, LoadStep::Bind, problem, "name a plugin of the right world"))
}

fn info(loaded: &Loaded) -> PluginInfo {
    let (version, snapshot) = loaded.version();
    let facts = loaded.facts();
    PluginInfo {
        name: facts.name.clone(),
        digest: facts.digest.clone(),
        version: version.to_owned(),
        world: facts.world,
        snapshot,
    }
}
