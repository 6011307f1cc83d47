//! Where the rooms are put together: from a configuration to a gateway that can be served.

use std::net::SocketAddr;
use std::sync::Arc;

use keygate_core::import_token::ReadyPairs;
use keygate_core::instance::Instances;
use keygate_core::limits::Limits;
use keygate_core::ops::life::Tender;
use keygate_core::pipeline::Gateway;
use keygate_core::policy::{InstancePolicyKind, PolicyAttributes};
use keygate_core::ports::{Backends, Clock, Entropy};
use keygate_runtime::manifest::{BackendManifest, Manifest, PluginManifest, PolicyManifest};
use keygate_runtime::{EngineError, HostServices, LoadError, Runtime, RuntimeConfig};
use keygate_store::{OpenError, RedbOptions, RedbStore};
use tokio::sync::Mutex;

use crate::audit::{AuditFileError, FileAudit};
use crate::background;
use crate::config::{Config, PluginParams, RuntimeParams, ServerParams};
use crate::gaps;
use crate::hsm::HsmTokens;
use crate::http::admission::Admission;
use crate::http::ratelimit::RateLimit;
use crate::iam::{SigningKey, TokenService};
use crate::opens::keys_open;
use crate::problem::{Problem, Problems};
use crate::readiness::{Readiness, Ready};
use crate::reload::{Origin, Reloader, Report, shared_ids};
use crate::secrets::Secrets;
use crate::status::status;
use crate::system::{DevClock, OsEntropy, SystemClock};

/// Everything that serving needs. Dropping the last reference closes the store.
pub struct App {
    /// The domain.
    pub gateway: Arc<Gateway>,
    /// Access tokens.
    pub tokens: Arc<TokenService>,
    /// Plugins.
    pub runtime: Arc<Runtime>,
    /// PKCS#11 tokens. To be stopped before the process ends.
    pub hsm: Arc<HsmTokens>,
    /// How the gateway listens and how much it takes on.
    pub server: ServerParams,
    /// The door to the work.
    pub admission: Admission,
    /// How many requests an instance may make.
    pub(crate) rate_limit: RateLimit,
    /// Whether there is a private endpoint.
    pub has_private: bool,
    /// The private endpoint's port, as clients see it; the public endpoint's where there is no private one.
    pub private_port: u16,
    /// The clock, where it is one that can be moved (dev mode).
    pub(crate) dev_clock: Option<Arc<DevClock>>,
    /// Who takes plugins anew.
    pub(crate) reloader: Reloader,
    readiness: Readiness,
    tender: Mutex<Tender>,
}

impl App {
    /// Puts a gateway together that goes by this clock. Opens the store and the audit file, gets the secrets, loads and
    /// probes every plugin.
    ///
    /// # Errors
    /// Everything that stands in the way.
    pub async fn build(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Problems> {
        let entropy: Arc<dyn Entropy> = Arc::new(OsEntropy);
        let mut problems = Vec::new();

        let instances = Instances::default();
        instances.configure(config.instances.iter().cloned(), config.crypto_instances.clone());
        let (hsm, found) = hsm_tokens(config, &clock, &entropy).await;
        problems.extend(found);
        let runtime = live_runtime(config, &clock, &entropy, &hsm).await.map_err(|found| problems.extend(found)).ok();
        let tokens = token_service(config, &entropy).map_err(|problem| problems.push(problem)).ok();
        let audit = FileAudit::open(&config.audit.file, instances.clone(), status)
            .map(|audit| audit.recording_input(config.audit.record_input).with_requests(config.server.max_in_flight))
            .map_err(|error| problems.push(audit_problem(config, &error)))
            .ok();
        let store = RedbStore::open(&config.store.path, RedbOptions::default())
            .map_err(|error| problems.push(store_problem(&error)))
            .ok();

        let (Some((runtime, secrets)), Some(tokens), Some(audit), Some(store)) = (runtime, tokens, audit, store) else {
            return Err(Problems(problems));
        };
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        let gateway = Gateway {
            store: Arc::new(store),
            backends: runtime.backends(),
            gate: runtime.gate(),
            audit: Arc::new(audit),
            clock,
            entropy,
            instances,
            limits: Limits {
                // A call that began before a key was moved may still be at work where it was.
                migration_grace: config.limits.migration_grace.max(config.server.request_deadline),
                ..config.limits.clone()
            },
            import_keys: ReadyPairs::default(),
        };
        provisioned(&gateway).await.map_err(Problems)?;
        keys_open(&gateway, None).await.map_err(Problems)?;
        if config.server.private_listen.is_none() {
            warn_of_shut_instances(&gateway).await;
        }
        let reloader = Reloader::new(config, secrets, runtime.generation(), gateway.clock.now());
        Ok(Self {
            reloader,
            gateway: Arc::new(gateway),
            tokens: Arc::new(tokens),
            runtime: Arc::new(runtime),
            hsm,
            readiness: Readiness::default(),
            admission: Admission::new(
                config.server.max_in_flight,
                config.limits.max_body,
                config.server.admission_wait,
            ),
            rate_limit: RateLimit::new(config.rate_limit),
            has_private: config.server.private_listen.is_some(),
            private_port: private_port(&config.server, config.server.listen, config.server.private_listen),
            dev_clock: None,
            tender: Mutex::default(),
            server: config.server.clone(),
        })
    }

    /// The same, where the clock that it was built with is one that clients can move: dev mode, and nothing else.
    #[must_use]
    pub fn with_dev_clock(mut self, clock: Arc<DevClock>) -> Self {
        self.dev_clock = Some(clock);
        self
    }

    /// The same, that reloads from there.
    #[must_use]
    pub fn reloading_from(mut self, origin: Arc<Origin>) -> Self {
        self.reloader = self.reloader.from(origin);
        self
    }

    /// Notes the addresses that it listens on. The operating system may have chosen the ports.
    #[must_use]
    pub fn listening_on(mut self, public: SocketAddr, private: Option<SocketAddr>) -> Self {
        self.has_private = private.is_some();
        self.private_port = private_port(&self.server, public, private);
        self
    }
}

fn private_port(server: &ServerParams, public: SocketAddr, private: Option<SocketAddr>) -> u16 {
    server.private_port.unwrap_or(private.unwrap_or(public).port())
}

impl App {
    /// Whether it can do its work now, or could a moment ago.
    pub async fn ready(&self) -> Ready {
        self.readiness.look(self).await
    }

    /// Which plugins are live, and whether others were refused.
    pub fn reload_report(&self) -> Report {
        self.reloader.report()
    }

    /// Does what has come due by now: expirations, lapses, rotations and purges. One pass at a time.
    pub async fn tend(&self) {
        let tended = self.tender.lock().await.tend(&self.gateway).await;
        background::report(&tended);
    }

    /// Does what has come due, after the clock of dev mode was moved. The answer to who moved the clock waits for this, so
    /// that a test sees the world as it is then.
    pub async fn after_travel(&self) {
        self.tend().await;
    }
}

/// The same gateway with other backends, which nobody has asked for anything yet.
pub fn with_backends(gateway: &Gateway, backends: Arc<dyn Backends>) -> Gateway {
    Gateway {
        store: Arc::clone(&gateway.store),
        backends,
        gate: Arc::clone(&gateway.gate),
        audit: Arc::clone(&gateway.audit),
        clock: Arc::clone(&gateway.clock),
        entropy: Arc::clone(&gateway.entropy),
        instances: gateway.instances.clone(),
        limits: gateway.limits.clone(),
        import_keys: ReadyPairs::default(),
    }
}

/// Reads the instances that the store has, and says in the log what is wrong with them.
async fn provisioned(gateway: &Gateway) -> Result<(), Vec<Problem>> {
    if let Err(error) = gateway.read_instances().await {
        let mend = "look at the store's file, or restore it from a backup";
        return Err(vec![Problem::at("store.path", error.to_string(), mend).in_step("store")]);
    }
    for id in gateway.instances.hidden() {
        tracing::warn!(
            instance = %id,
            "the store has a provisioned instance of this id, and so has the configuration; the configuration's counts"
        );
    }
    let problems = shared_ids(&gateway.instances);
    if !problems.is_empty() {
        return Err(problems);
    }
    let backends = gateway.backends.names();
    for instance in gateway.instances.iter().filter(|instance| !backends.contains(&instance.backend)) {
        let (backend, crypto_instance) = (&instance.backend, instance.crypto_instance.map(|id| id.to_string()));
        tracing::error!(
            instance = %instance.id,
            backend,
            crypto_instance,
            "this instance is bound to what is not configured; nobody can make or use keys in it until that is back, or \
             it is bound anew (keygate instance bind)"
        );
    }
    Ok(())
}

/// Says in the log which instances answer nobody: their policy wants a private endpoint, and there is none. That is no
/// reason not to start: what the policy is there for is kept.
async fn warn_of_shut_instances(gateway: &Gateway) {
    for instance in gateway.instances.iter() {
        let policies = match gateway.store.policies(instance.id).await {
            Ok(policies) => policies,
            Err(error) => {
                tracing::warn!(instance = %instance.id, %error, "the instance's policies cannot be read");
                continue;
            }
        };
        let network = policies.enabled().find(|policy| policy.kind == InstancePolicyKind::AllowedNetwork);
        if let Some(PolicyAttributes::AllowedNetwork { private_only: true }) = network.map(|policy| &policy.attributes)
        {
            tracing::warn!(
                instance = %instance.id,
                name = instance.name,
                "this instance answers nobody: its policy `allowedNetwork` lets requests in by the private endpoint only, \
                 and there is none; set `server.private_listen`"
            );
        }
    }
}

/// The tokens, started where it keeps nobody waiting: modules are loaded, and may take their time.
pub(crate) async fn hsm_tokens(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
) -> (Arc<HsmTokens>, Vec<Problem>) {
    if config.tokens.is_empty() {
        return Default::default();
    }
    let (config, clock, entropy) = (config.clone(), Arc::clone(clock), Arc::clone(entropy));
    match tokio::task::spawn_blocking(move || HsmTokens::start(&config, clock, entropy)).await {
        Ok((tokens, problems)) => (Arc::new(tokens), problems),
        Err(error) => {
            let mend = "try again; if it stays so, report it as a defect of Keygate";
            (Arc::default(), vec![Problem::new("tokens", error.to_string(), mend)])
        }
    }
}

/// The runtime, with the secrets and tokens in it, and nothing loaded yet.
pub(crate) fn runtime(config: &Config, hsm: &Arc<HsmTokens>, problems: &mut Vec<Problem>) -> Option<Runtime> {
    let (secrets, mut found) = Secrets::load(&config.secrets, &config.environment);
    problems.append(&mut found);
    let services = HostServices {
        secrets: Arc::new(secrets),
        tokens: Arc::<HsmTokens>::clone(hsm),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    };
    new_runtime(config, services, problems)
}

fn new_runtime(config: &Config, services: HostServices, problems: &mut Vec<Problem>) -> Option<Runtime> {
    Runtime::new(runtime_config(&config.runtime), services).map_err(|error| problems.push(engine_problem(&error))).ok()
}

async fn live_runtime(
    config: &Config,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    hsm: &Arc<HsmTokens>,
) -> Result<(Runtime, Arc<Secrets>), Vec<Problem>> {
    let (secrets, mut problems) = Secrets::load(&config.secrets, &config.environment);
    let secrets = Arc::new(secrets);
    let services = HostServices {
        secrets: Arc::<Secrets>::clone(&secrets),
        tokens: Arc::<HsmTokens>::clone(hsm),
        entropy: Arc::clone(entropy),
        clock: Arc::clone(clock),
    };
    // The runtime itself has none of them: each generation has its own, and they go with it.
    let without = HostServices { secrets: Arc::new(Secrets::default()), ..services.clone() };
    let runtime = new_runtime(config, without, &mut problems);
    let (manifest, mut found) = manifest(config);
    problems.append(&mut found);
    let Some(runtime) = runtime else { return Err(problems) };
    match runtime.load_with(&manifest, &services).await {
        Ok(generation) if problems.is_empty() => {
            gaps::warn(&manifest, &config.instances);
            runtime.activate(generation);
            Ok((runtime, secrets))
        }
        Ok(_) => Err(problems),
        Err(errors) => {
            problems.extend(errors.into_iter().map(Problem::from));
            Err(problems)
        }
    }
}

fn runtime_config(params: &RuntimeParams) -> RuntimeConfig {
    let default = RuntimeConfig::default();
    RuntimeConfig {
        cache_dir: params.cache_dir.clone(),
        max_sandboxes: params.max_sandboxes.unwrap_or(default.max_sandboxes),
        max_memory: params.max_memory.unwrap_or(default.max_memory),
        admission_wait: params.admission_wait.unwrap_or(default.admission_wait),
        tick: default.tick,
    }
}

/// What the runtime is to load, and what is wrong with the entries. A backend or rule whose plugin's entry is not sound
/// is left out: what is wrong with it is said once.
pub(crate) fn manifest(config: &Config) -> (Manifest, Vec<Problem>) {
    let PluginParams { plugins, backends, chain, require_digest } = &config.plugins;
    let mut problems = Vec::new();
    let mut sound = Vec::new();
    for entry in plugins {
        match PluginManifest::parse(entry, &config.base) {
            Ok(plugin) => sound.push(plugin),
            Err(errors) => problems.extend(errors.into_iter().map(Problem::from)),
        }
    }
    let is_sound = |name: &String| sound.iter().any(|plugin| plugin.name == *name);
    let backends = backends
        .iter()
        .filter(|(_, plugin)| is_sound(plugin))
        .map(|(name, plugin)| BackendManifest { name: name.clone(), plugin: plugin.clone() })
        .collect();
    let policy = PolicyManifest { chain: chain.iter().filter(|place| is_sound(&place.rule)).cloned().collect() };
    let manifest = Manifest {
        plugins: sound,
        backends,
        policy,
        require_digest: *require_digest,
        require_signatures: config.runtime.require_signatures,
        trusted_keys: config.trusted_keys.clone(),
    };
    (manifest, problems)
}

fn token_service(config: &Config, entropy: &Arc<dyn Entropy>) -> Result<TokenService, Problem> {
    let iam = &config.iam;
    let key = SigningKey::open_or_create(&iam.signing_key_file).map_err(|error| signing_key_problem(&error))?;
    let identities = iam.identities.iter().collect();
    Ok(TokenService::new(key, iam.issuer.clone(), iam.token_lifetime, identities, Arc::clone(entropy)))
}

impl From<LoadError> for Problem {
    fn from(error: LoadError) -> Self {
        let problem = Self::new(&error.step.to_string(), error.problem, error.mend).of_plugin(error.plugin);
        if error.is_passing { problem.passing() } else { problem }
    }
}

pub(crate) fn signing_key_problem(error: &crate::iam::SigningKeyError) -> Problem {
    Problem::at("iam.signing_key_file", error.to_string(), error.mend()).in_step("iam")
}

pub(crate) fn audit_problem(config: &Config, error: &AuditFileError) -> Problem {
    let file = config.audit.file.display();
    let mend = match error {
        AuditFileError::NotAFile => "name a file, not a directory, a device or a pipe".to_owned(),
        AuditFileError::Io(_) => {
            format!("make the directory of {file}, and let the gateway's user read and write the file")
        }
    };
    Problem::at("audit.file", format!("{file}: {error}"), mend).in_step("audit")
}

/// The store's own messages end with the mend, behind a semicolon.
pub(crate) fn store_problem(error: &OpenError) -> Problem {
    let text = error.to_string();
    let (problem, mend) = text.rsplit_once("; ").unwrap_or((&text, "look at the file and its directory"));
    Problem::at("store.path", problem, mend).in_step("store")
}

fn engine_problem(error: &EngineError) -> Problem {
    let mend = "give the gateway more address space, or lower `runtime.max_sandboxes` and `runtime.max_memory`";
    Problem::new("engine", error.to_string(), mend)
}
