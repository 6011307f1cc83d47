//! From an entry in `plugins.toml` to a plugin that can be called, a step at a time: read, digest, compile, imports,
//! version, configure, describe, probe. What goes wrong names the plugin, the step and the mend.

pub(crate) mod component;
pub(crate) mod file;
mod proof;
mod settings;
mod trust;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keygate_core::backend::{BackendDescription, BackendError, Call, CryptoBackend};
use keygate_core::error::{Fault, FaultKind};
use tokio::runtime::Handle;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::backend::WasmBackend;
use crate::cache::{CodeCache, CodeId};
use crate::contract::{BackendContract, Contract, RuleContract, RuleDescription, SettingsRefused};
use crate::engine::EngineRoom;
use crate::faults::CallError;
use crate::host::{self, HostServices};
use crate::load_error::{LoadError, LoadStep};
use crate::manifest::{PluginManifest, World, scope};
use crate::sandbox::{Facts, LOADING, Plugin, Start, State};
use crate::snapshot;
use proof::Unproven;
pub(crate) use trust::Trust;

/// The circumstances of what the host does of its own accord.
const CALL: Call<'static> = Call { request_id: LOADING, timeout: None };

/// The mend of a fault.
fn fault_mend(fault: &Fault) -> &'static str {
    match fault.kind {
        FaultKind::Deadline => "raise its `limits.deadline`, or get a version that is faster",
        FaultKind::Memory => "raise its `limits.memory`, or get a version that takes less",
        FaultKind::Output => {
            "get a version that keeps to the contract, or, if it is merely too much, raise `limits.output`"
        }
        _ => "see its log lines, and get a version without this fault",
    }
}

/// Settings as JSON text, or what is wrong with their files.
type Settings = Result<String, Vec<LoadError>>;

/// A plugin that has passed every step.
pub(crate) enum Loaded {
    Backend(Arc<Plugin<BackendContract>>, BackendDescription),
    Rule(Arc<Plugin<RuleContract>>, RuleDescription),
}

impl Loaded {
    /// The plugin's own version, and whether it starts from a snapshot.
    pub(crate) fn version(&self) -> (&str, bool) {
        match self {
            Self::Backend(plugin, description) => (&description.version, plugin.starts_configured()),
            Self::Rule(plugin, description) => (&description.version, plugin.starts_configured()),
        }
    }

    pub(crate) fn facts(&self) -> &Facts {
        match self {
            Self::Backend(plugin, _) => &plugin.facts,
            Self::Rule(plugin, _) => &plugin.facts,
        }
    }
}

/// What loading needs.
pub(crate) struct Loader<'a> {
    pub(crate) room: &'a Arc<EngineRoom>,
    pub(crate) cache: Option<&'a Arc<CodeCache>>,
    pub(crate) services: &'a HostServices,
    /// What is believed of components.
    pub(crate) trust: &'a Trust,
    /// Whether snapshots are taken, where they can be.
    pub(crate) snapshots: bool,
}

impl Loader<'_> {
    /// Loads a plugin.
    pub(crate) async fn load(&self, manifest: &PluginManifest) -> Result<Loaded, Vec<LoadError>> {
        let mut problems = self.check(manifest);
        let read = self.read(manifest).await;
        match read {
            Ok((file, Ok(settings))) if problems.is_empty() => {
                let facts = self.facts(manifest, file.hex(), settings);
                self.checked(manifest, facts, file).await
            }
            Ok((_, settings)) => {
                problems.extend(settings.err().into_iter().flatten());
                Err(problems)
            }
            Err(unread) => {
                problems.push(unread);
                Err(problems)
            }
        }
    }

    async fn checked(
        &self,
        manifest: &PluginManifest,
        facts: Arc<Facts>,
        component: file::ComponentFile,
    ) -> Result<Loaded, Vec<LoadError>> {
        match manifest.world {
            World::SoftwareBackend | World::HsmBackend => {
                let (plugin, description) = self.plugin::<BackendContract>(facts, component).await?;
                check_name(manifest, &description.name)?;
                self.probe(&plugin, &description).await?;
                Ok(Loaded::Backend(plugin, description))
            }
            World::PolicyRule => {
                let (plugin, description) = self.plugin::<RuleContract>(facts, component).await?;
                check_name(manifest, &description.name)?;
                scope::check_described(&description.actions)
                    .map_err(|e| vec![load_error(&plugin.facts, LoadStep::Describe, e.problem, &e.mend)])?;
                Ok(Loaded::Rule(plugin, description))
            }
        }
    }

    /// The component's bytes, read, hashed and verified, and the settings with their files, off the async workers.
    async fn read(&self, manifest: &PluginManifest) -> Result<(file::ComponentFile, Settings), LoadError> {
        let (entry, trust) = (manifest.clone(), self.trust.clone());
        let read = blocking(move || Ok((file::read(&entry, &trust)?, settings::read(&entry))));
        read.await.unwrap_or_else(|why| {
            Err(LoadError::new(&manifest.name, LoadStep::Read, why, "try again; if it stays so, report it"))
        })
    }

    /// What is wrong with an entry on this machine.
    fn check(&self, manifest: &PluginManifest) -> Vec<LoadError> {
        let error = |problem: String, mend: &str| LoadError::new(&manifest.name, LoadStep::Manifest, problem, mend);
        let mut problems = Vec::new();
        let (memory, most) = (manifest.limits.memory, self.room.max_memory);
        if memory > most {
            problems.push(error(
                format!("`limits.memory` is {memory} bytes and a sandbox has at most {most}"),
                "lower it, or raise the gateway's limit of memory a sandbox",
            ));
        }
        for name in manifest.grants.secrets.iter().filter(|name| !self.services.secrets.exists(name)) {
            problems.push(error(
                format!("it is granted the secret `{name}`, and there is none of this name"),
                "name one of the configured secrets, or configure this one",
            ));
        }
        for name in manifest.grants.pkcs11.iter().filter(|name| self.services.tokens.token(name).is_none()) {
            problems.push(error(
                format!("it is granted the token `{name}`, and there is none of this name"),
                "name one of the configured tokens, or configure this one under `[[tokens]]`",
            ));
        }
        problems
    }

    fn facts(&self, manifest: &PluginManifest, digest: String, settings: String) -> Arc<Facts> {
        Arc::new(Facts {
            name: manifest.name.clone(),
            digest,
            world: manifest.world,
            grants: manifest.grants.clone(),
            limits: manifest.limits,
            settings,
            services: self.services.clone(),
            loading: self.room.share_of_its_own(manifest.limits.concurrency),
            live: OnceLock::new(),
        })
    }

    async fn plugin<C: Contract>(
        &self,
        facts: Arc<Facts>,
        file: file::ComponentFile,
    ) -> Result<(Arc<Plugin<C>>, C::Description), Vec<LoadError>> {
        let (component, start) = self.code::<C>(&facts, file).await?;
        let linked = link::<C>(self.room, &facts, &component)?;
        let ready = ready::<C>(&facts, linked)?;
        let plugin = Arc::new(Plugin::<C>::new(Arc::clone(&facts), Arc::clone(self.room), ready, start));
        if start == Start::Raw {
            // Nobody has yet given it its settings.
            match plugin.try_settings(CALL).await {
                Ok(Ok(())) => {}
                Ok(Err(refused)) => return Err(vec![settings_error(&facts, &refused)]),
                Err(error) => return Err(vec![call_error(&facts, LoadStep::Configure, error)]),
            }
        }
        let described = match plugin.enter("describe", CALL).await {
            Ok(mut sandbox) => sandbox.describe().await,
            Err(error) => Err(error),
        };
        let description = described.map_err(|e| vec![call_error(&facts, LoadStep::Describe, e)])?;
        Ok((plugin, description))
    }

    /// The compiled component, from the cache where it is there.
    async fn code<C: Contract>(
        &self,
        facts: &Arc<Facts>,
        file: file::ComponentFile,
    ) -> Result<(Component, Start), Vec<LoadError>> {
        let snapshot_id = CodeId::snapshot(&file.digest, C::EXPORT, &facts.settings);
        let plain_id = CodeId::plain(&file.digest);
        if self.snapshots
            && let Some(component) = self.cached(snapshot_id).await
        {
            return Ok((component, Start::Configured));
        }
        if let Some(component) = self.cached(plain_id).await {
            return Ok((component, Start::Raw));
        }
        let bytes = Arc::<[u8]>::from(file.bytes);
        let (id, component, start) = match self.attempt::<C>(facts, &bytes).await? {
            Attempt::Taken(component) => (snapshot_id, component, Start::Configured),
            Attempt::Impossible(why) => (plain_id, self.plain(facts, bytes, &why).await?, Start::Raw),
        };
        if let Some(cache) = self.cache.map(Arc::clone) {
            let code = component.clone();
            if let Err(why) = blocking(move || cache.put(id, &code)).await {
                tracing::warn!(plugin = %facts.name, %why, "compiled code was not kept");
            }
        }
        Ok((component, start))
    }

    async fn cached(&self, id: CodeId) -> Option<Component> {
        let (cache, engine) = (Arc::clone(self.cache?), self.room.engine.clone());
        blocking(move || cache.get(&engine, id)).await.ok()?
    }

    /// Tries to take a snapshot.
    ///
    /// Off the async workers, because looking a component through and writing it anew takes a while; and should that
    /// panic, it is no more than a snapshot not taken.
    async fn attempt<C: Contract>(&self, facts: &Arc<Facts>, bytes: &Arc<[u8]>) -> Result<Attempt, Vec<LoadError>> {
        if !self.snapshots {
            return Ok(Attempt::Impossible("snapshots are turned off".to_owned()));
        }
        let attempt = snapshot_of::<C>(Arc::clone(self.room), Arc::clone(facts), Arc::clone(bytes));
        let here = Handle::current();
        blocking(move || here.block_on(attempt)).await.unwrap_or_else(|panic| Ok(Attempt::Impossible(panic)))
    }

    /// The component as it is, because no snapshot could be taken.
    async fn plain(&self, facts: &Facts, bytes: Arc<[u8]>, why: &str) -> Result<Component, Vec<LoadError>> {
        let component = compile(self.room, bytes).await.map_err(|e| vec![component::uncompiled(facts, &e)])?;
        tracing::info!(plugin = %facts.name, why, "no snapshot of this plugin; it is configured anew for every call");
        Ok(component)
    }

    /// Asks a backend to show that it works.
    async fn probe(
        &self,
        plugin: &Arc<Plugin<BackendContract>>,
        description: &BackendDescription,
    ) -> Result<(), Vec<LoadError>> {
        let backend = WasmBackend {
            name: plugin.facts.name.clone(),
            plugin: Arc::clone(plugin),
            description: description.clone(),
        };
        // A token or a secret that is slow to come has as long as the plugin gives it.
        let probed = match backend.probe(CALL).await {
            Ok(()) => proof::prove(&backend, &*self.services.entropy, CALL).await,
            Err(error) => Err(error.into()),
        };
        probed.map_err(|e| {
            let mend = match &e {
                Unproven::Wrong(_) => "do not use it; tell its author",
                Unproven::NoEntropy(_) => "see that the system's generator works",
                Unproven::Failed(BackendError::Unavailable { .. } | BackendError::Busy(_)) => {
                    "see that what it needs is there"
                }
                Unproven::Failed(BackendError::Fault(fault)) => fault_mend(fault),
                Unproven::Failed(_) => "see its log lines, its settings and its secrets",
            };
            let error = load_error(&plugin.facts, LoadStep::Probe, e.to_string(), mend);
            let is_passing = matches!(e, Unproven::Failed(BackendError::Unavailable { .. } | BackendError::Busy(_)));
            vec![if is_passing { error.passing() } else { error }]
        })
    }
}

/// Whether a plugin is the one that its entry says it is, where that says so.
fn check_name(manifest: &PluginManifest, name: &str) -> Result<(), Vec<LoadError>> {
    match &manifest.described_as {
        Some(expected) if expected != name => {
            let problem = format!("it says that it is `{name}`, and its entry takes `{expected}` (`described_as`)");
            let mend = "find out how another plugin's component came to be in this place; if it is right, correct \
                        `described_as`";
            Err(vec![LoadError::new(&manifest.name, LoadStep::Describe, problem, mend)])
        }
        _ => Ok(()),
    }
}

/// How an attempt at a snapshot ended.
enum Attempt {
    Taken(Component),
    Impossible(String),
}

async fn snapshot_of<C: Contract>(
    room: Arc<EngineRoom>,
    facts: Arc<Facts>,
    bytes: Arc<[u8]>,
) -> Result<Attempt, Vec<LoadError>> {
    let mut instrumented = match snapshot::instrument(&bytes) {
        Ok(instrumented) => instrumented,
        Err(why) => return Ok(Attempt::Impossible(why)),
    };
    let component = match compile(&room, std::mem::take(&mut instrumented.bytes).into()).await {
        Ok(component) => component,
        Err(why) => return Ok(Attempt::Impossible(why)),
    };
    let linked = link::<C>(&room, &facts, &component)?;
    ready::<C>(&facts, linked.clone())?;
    if facts.world.is_backend() && host::wasi::wants_random(&room.engine, &component) {
        // The generator of the language's own would go on from the same state in every sandbox, and make the same keys.
        return Ok(Attempt::Impossible("it has randomness of `wasi-minimal`, which no snapshot may keep".to_owned()));
    }
    match snapshot::take::<C>(&room, &facts, &instrumented, &linked).await {
        snapshot::Outcome::Snapshot(bytes) => Ok(match compile(&room, bytes.into()).await {
            Ok(component) => Attempt::Taken(component),
            Err(why) => Attempt::Impossible(why),
        }),
        snapshot::Outcome::Impossible(why) => Ok(Attempt::Impossible(why)),
        snapshot::Outcome::Refused(refused) => Err(vec![settings_error(&facts, &refused)]),
        snapshot::Outcome::Failed(error) => Err(vec![call_error(&facts, LoadStep::Configure, error)]),
    }
}

/// Compiles off the async workers: it takes seconds.
async fn compile(room: &EngineRoom, bytes: Arc<[u8]>) -> Result<Component, String> {
    let engine = room.engine.clone();
    blocking(move || Component::new(&engine, &bytes)).await?.map_err(|e| format!("{e:#}"))
}

/// Does what takes long, or waits for a disk, where nobody else is kept waiting. Fails when it panics.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| e.to_string())
}

/// Links a component with what its entry grants, once it is known that it wants no more.
fn link<C: Contract>(
    room: &EngineRoom,
    facts: &Facts,
    component: &Component,
) -> Result<InstancePre<State>, Vec<LoadError>> {
    component::check::<C>(&room.engine, facts, component)?;
    let mut linker = Linker::new(&room.engine);
    host::link(&mut linker, &facts.grants, component)
        .and_then(|()| linker.instantiate_pre(component))
        .map_err(|e| vec![load_error(facts, LoadStep::Imports, format!("{e:#}"), component::REBUILD)])
}

/// Looks a linked component through for every function of its contract: an interface can lack one and have the right
/// version.
fn ready<C: Contract>(facts: &Facts, linked: InstancePre<State>) -> Result<C::Ready, Vec<LoadError>> {
    C::ready(linked).map_err(|e| vec![load_error(facts, LoadStep::Version, format!("{e:#}"), component::REBUILD)])
}

fn load_error(facts: &Facts, step: LoadStep, problem: impl Into<String>, mend: &str) -> LoadError {
    LoadError::new(&facts.name, step, problem, mend)
}

fn settings_error(facts: &Facts, refused: &SettingsRefused) -> LoadError {
    let SettingsRefused { path, message } = refused;
    let at = if path.is_empty() { "`settings`".to_owned() } else { format!("`settings`, at `{path}`") };
    load_error(facts, LoadStep::Configure, format!("it does not take {at}: {message}"), "mend the settings")
}

fn call_error(facts: &Facts, step: LoadStep, error: CallError) -> LoadError {
    match error {
        CallError::Busy => {
            load_error(facts, step, "no sandbox came free in time", "try again when there is less to do").passing()
        }
        CallError::Fault(fault) => {
            let problem = format!("it failed ({}): {}", fault.kind.as_str(), fault.message);
            load_error(facts, step, problem, fault_mend(&fault))
        }
    }
}

/// How long a probe of a live backend may take, beyond which its plugin's own deadline does not count.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
