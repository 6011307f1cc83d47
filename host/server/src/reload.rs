//! Plugins, backends, the policy chain and secrets are taken anew without a start: a new generation is read, loaded, probed
//! and tried on what the store holds, and then takes the place of the old one in one step. Calls in work finish on the
//! old one. Where anything at all is wrong, nothing changes: the old one goes on.
//!
//! Who asks comes by one of three doors: a request ([`crate::http`]), a signal, or the look at the files ([`watch`]).

mod doors;
mod report;
pub mod watch;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keygate_core::access::Action;
use keygate_core::clock::Timestamp;
use keygate_core::error::Error;
use keygate_core::ids::EventId;
use keygate_core::instance::Instances;
use keygate_core::ops::samples::key_on;
use keygate_core::pipeline::{Administered, Gateway};
use keygate_runtime::{Generation, HostServices, PluginInfo, Retired};

use crate::app::{self, App, with_backends};
use crate::config::{Config, Environment, Flags, RuntimeParams, Source, load};
use crate::gaps;
use crate::hsm::HsmTokens;
use crate::opens::{keys_open, unread};
use crate::problem::{Problem, Problems};
use crate::secrets::{Secrets, Versions};

pub use doors::Doors;
pub use report::{Refusal, Report};

/// Where the configuration comes from, at the start and each time after. `Debug` shows no value of the environment, and
/// nothing of what dev mode made: there may be secrets in both.
pub struct Origin {
    /// The file, or dev mode's own.
    pub source: Source,
    /// The environment as it was at the start.
    pub environment: Environment,
    /// The command line's.
    pub flags: Flags,
    /// Whether plugins must say their digests. Off in dev mode only.
    pub require_digest: bool,
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, environment, flags, require_digest } = self;
        let file = match source {
            Source::File(file) => Some(file),
            Source::Made { .. } => None,
        };
        f.debug_struct("Origin")
            .field("file", &file)
            .field("environment", &environment.keys())
            .field("flags", flags)
            .field("require_digest", require_digest)
            .finish()
    }
}

impl Origin {
    /// Reads the configuration. Waits for the disk.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(&self) -> Result<Config, Problems> {
        let loaded = load(&self.source, &self.environment, &self.flags);
        match loaded.config {
            Some(mut config) if loaded.problems.is_empty() => {
                config.plugins.require_digest = self.require_digest;
                Ok(config)
            }
            _ => Err(Problems(loaded.problems)),
        }
    }
}

/// By which door a reload is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `POST /keygate/v1/reload`
    Request,
    /// SIGHUP
    Signal,
    /// A file is another one.
    Watch,
}

impl Door {
    /// Its name, in the log and in audit events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Signal => "signal",
            Self::Watch => "watch",
        }
    }
}

/// What is live now.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// The generation's number.
    pub generation: u64,
    /// Its plugins, in the order of the configuration.
    pub plugins: Arc<[PluginInfo]>,
}

/// How a reload came out: what is live now, or what is wrong, and then nothing has changed.
pub type Outcome = Result<Reloaded, Arc<[Problem]>>;

/// One reload at a time.
pub(crate) struct Reloader {
    origin: Option<Arc<Origin>>,
    fixed: Fixed,
    /// How many reloads were asked for.
    asked: AtomicU64,
    turn: tokio::sync::Mutex<Turn>,
    report: Mutex<Report>,
}

/// What the one who reloads has in hand.
struct Turn {
    /// The secrets of the live generation.
    secrets: Arc<Secrets>,
    /// Which bytes every version had that was live since the start.
    versions: Versions,
    /// Whether the plugins of the live generation had to be signed.
    require_signatures: bool,
    /// The last reload, and how many askings it answered.
    last: Option<(u64, Outcome)>,
}

impl Reloader {
    /// For a gateway that has just begun with this configuration and these secrets.
    pub(crate) fn new(config: &Config, secrets: Arc<Secrets>, generation: u64, now: Timestamp) -> Self {
        let mut versions = Versions::default();
        versions.note(&secrets);
        let require_signatures = config.runtime.require_signatures;
        Self {
            origin: None,
            fixed: Fixed::of(config),
            asked: AtomicU64::new(0),
            turn: tokio::sync::Mutex::new(Turn { secrets, versions, require_signatures, last: None }),
            report: Mutex::new(Report { generation, at: now, last_refused: None, under_way: None }),
        }
    }

    /// The same, that knows where to read the configuration again. Without that it refuses.
    pub(crate) fn from(self, origin: Arc<Origin>) -> Self {
        Self { origin: Some(origin), ..self }
    }

    /// What there is to tell of it.
    pub(crate) fn report(&self) -> Report {
        self.tell().clone()
    }

    fn tell(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes everything anew. Who asks while a reload is under way waits for its end and then for another, because this
    /// one may have read what has changed since; all who wait share that one.
    async fn reload(&self, app: &App, door: Door) -> Outcome {
        let asked = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let mut turn = self.turn.lock().await;
        if let Some((answered, outcome)) = &turn.last
            && *answered >= asked
        {
            return outcome.clone();
        }
        let answers = self.asked.load(Ordering::Relaxed);
        let under_way = UnderWay::begin(self, app.gateway.clock.now());
        let outcome = self.attempt(app, &mut turn).await.map_err(Arc::from);
        drop(under_way);
        turn.last = Some((answers, outcome.clone()));
        self.note(app, door, &outcome);
        outcome
    }

    fn note(&self, app: &App, door: Door, outcome: &Outcome) {
        let at = app.gateway.clock.now();
        let mut report = self.tell();
        match outcome {
            Ok(Reloaded { generation, .. }) => {
                *report = Report { generation: *generation, at, last_refused: None, under_way: None };
            }
            Err(problems) => {
                let (door, stays) = (door.as_str(), report.generation);
                for Problem { plugin, step, at, problem, mend, .. } in problems.iter() {
                    tracing::error!(
                        plugin,
                        step,
                        at,
                        problem,
                        mend,
                        door,
                        stays,
                        "reload refused; the old plugins go on"
                    );
                }
                report.last_refused = Some(Refusal { at, problems: Arc::clone(problems) });
            }
        }
    }

    /// Reads, loads, tries, and swaps. Until the swap nothing has changed.
    async fn attempt(&self, app: &App, turn: &mut Turn) -> Result<Reloaded, Vec<Problem>> {
        let origin = self.origin.as_ref().map(Arc::clone).ok_or_else(|| {
            vec![Problem::new("config", "this gateway has no configuration that could be read again", "start it anew")]
        })?;
        let (config, secrets, mut problems) = blocking(move || {
            let config = origin.read().map_err(|problems| problems.0)?;
            let (secrets, problems) = Secrets::load(&config.secrets, &config.environment);
            Ok::<_, Vec<Problem>>((config, Arc::new(secrets), problems))
        })
        .await??;
        self.fixed.compare(&config);
        problems.extend(turn.versions.changed_in(&secrets));
        let (manifest, found) = app::manifest(&config);
        problems.extend(found);
        let gateway = &app.gateway;
        let services = HostServices {
            secrets: Arc::<Secrets>::clone(&secrets),
            tokens: Arc::<HsmTokens>::clone(&app.hsm),
            entropy: Arc::clone(&gateway.entropy),
            clock: Arc::clone(&gateway.clock),
        };
        let loaded = app.runtime.load_with(&manifest, &services).await;
        let generation = loaded.map_err(|errors| problems.extend(errors.into_iter().map(Problem::from))).ok();
        let Some(generation) = generation.filter(|_| problems.is_empty()) else { return Err(problems) };
        let next = gateway.instances.with(config.instances.iter().cloned(), config.crypto_instances.clone());
        fits(
            &Gateway { instances: next.clone(), ..with_backends(gateway, Arc::clone(&gateway.backends)) },
            &gateway.instances,
            &generation,
        )
        .await?;
        gaps::warn(&manifest, next.iter().collect::<Vec<_>>().iter().map(|instance| &**instance));
        turn.secrets.tell_of_gone(&secrets);
        if turn.require_signatures && !config.runtime.require_signatures {
            tracing::warn!(
                "`runtime.require_signatures` was true and is not any more: from now on plugins are taken that nobody signed"
            );
        }
        turn.versions.note(&secrets);
        turn.require_signatures = config.runtime.require_signatures;
        turn.secrets = secrets;
        tell_of_instances(&gateway.instances, &next);
        let reloaded = swap(app, generation);
        gateway.instances.configure(config.instances, config.crypto_instances);
        Ok(reloaded)
    }
}

/// As long as this is there, a reload is under way.
struct UnderWay<'a>(&'a Reloader);

impl<'a> UnderWay<'a> {
    fn begin(reloader: &'a Reloader, now: Timestamp) -> Self {
        reloader.tell().under_way = Some(now);
        Self(reloader)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.tell().under_way = None;
    }
}

/// Says in the log how the instances differ from those before.
fn tell_of_instances(before: &Instances, next: &Instances) {
    for instance in next.iter() {
        match before.get(instance.id) {
            Some(was) if was == instance => {}
            Some(was) => {
                let (name, backend, was) = (&instance.name, &instance.backend, &was.backend);
                tracing::info!(instance = %instance.id, name, backend, was, "instance changed; new keys are made on this backend");
            }
            None => tracing::info!(instance = %instance.id, name = instance.name, "instance added"),
        }
    }
    for instance in before.iter().filter(|instance| next.get(instance.id).is_none()) {
        tracing::warn!(
            instance = %instance.id,
            name = instance.name,
            "instance taken out of the configuration; its keys stay in the store, and nobody can use them until it is back"
        );
    }
}

/// What the configuration says that cannot be together with the instances that the store has.
fn lost_places(next: &Instances) -> Vec<Problem> {
    let lost = next.iter().filter(|instance| instance.backend.is_empty()).map(|instance| {
        let problem = format!("instance `{}` needs a crypto instance that is gone", instance.name);
        let mend = "bring its [[crypto_instances]] entry back, or bind the instance to something else (`keygate instance bind`)";
        Problem::new("crypto_instances", problem, mend)
    });
    lost.chain(shared_ids(next)).collect()
}

/// A crypto instance must not have the id of an instance, also of one that the store has: roles name either by its id, and those on
/// the one would count on the other.
pub(crate) fn shared_ids(next: &Instances) -> Vec<Problem> {
    let twice = next.crypto_instances().into_iter().filter(|crypto| next.get(crypto.id).is_some()).map(|crypto| {
        let problem = format!("the crypto instance `{}` has the id of an instance", crypto.name);
        Problem::new("crypto_instances", problem, "give it an id of its own, from `uuidgen`")
    });
    twice.collect()
}

/// Whether a generation can do what the store and the instances need.
async fn fits(gateway: &Gateway, before: &Instances, generation: &Generation) -> Result<(), Vec<Problem>> {
    let backends = generation.backends();
    let next: BTreeSet<String> = backends.names().into_iter().collect();
    let gone: BTreeSet<String> = gateway.backends.names().into_iter().filter(|name| !next.contains(name)).collect();
    let mut problems = lost_places(&gateway.instances);
    // An instance that is only now bound to another backend, or taken out, may have a key in the making on the one before.
    let leaving =
        before.iter().filter(|was| gateway.instances.get(was.id).is_none_or(|now| now.backend != was.backend));
    for instance in leaving.filter(|instance| gone.contains(&instance.backend)) {
        let problem =
            format!("instance `{}` makes keys on the backend `{}` until now", instance.name, instance.backend);
        problems.push(Problem::new("keys", problem, "reload with both backends first, then without this one"));
    }
    for instance in gateway.instances.iter().filter(|instance| gone.contains(&instance.backend)) {
        let problem = format!("instance `{}` needs the backend `{}`, which is gone", instance.name, instance.backend);
        let mend = "bring it back, or set another `backend` in its [[instances]] entry (for a provisioned one: `keygate instance bind`)";
        problems.push(Problem::new("keys", problem, mend));
    }
    if problems.is_empty() && !gone.is_empty() {
        let all: BTreeSet<_> = before.iter().chain(gateway.instances.iter()).map(|instance| instance.id).collect();
        let found = key_on(gateway, &all, &gone).await.map_err(|error| vec![unread(&error).passing()])?;
        problems.extend(found.map(|(key, backend)| {
            let problem = format!("the backend `{backend}` is gone, and key {} has material on it", key.id);
            Problem::new("keys", problem, "bring it back; a backend can go when no key is on it any more")
        }));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    keys_open(&with_backends(gateway, backends), Some(gateway)).await
}

fn swap(app: &App, generation: Generation) -> Reloaded {
    let plugins = generation.describe().into();
    let retired = app.runtime.activate(generation);
    // What one backend made ahead, another may not open; nor the same one with other secrets.
    app.gateway.import_keys.clear();
    // Nobody else makes a generation live, so this is it.
    let generation = app.runtime.generation();
    tracing::info!(generation, "reloaded; calls in work finish on the plugins before");
    tokio::spawn(see_out(retired));
    Reloaded { generation, plugins }
}

/// How often it is looked whether an old generation is gone, and after how long that is worth a warning.
const LOOK: Duration = Duration::from_millis(100);
const LONG: Duration = Duration::from_secs(120);

/// Tells when the last call on an old generation is through.
async fn see_out(retired: Retired) {
    let (generation, begun) = (retired.number(), tokio::time::Instant::now());
    let mut is_late = false;
    while !retired.is_gone() {
        tokio::time::sleep(LOOK).await;
        if !is_late && begun.elapsed() >= LONG {
            is_late = true;
            tracing::warn!(generation, "calls on the plugins of this generation are still in work");
        }
    }
    tracing::info!(generation, "the last call is through; the plugins of this generation are gone");
}

/// What a reload leaves as it is. Holds no secret.
struct Fixed(Vec<(&'static str, String)>);

impl Fixed {
    fn of(config: &Config) -> Self {
        let Config { server, store, iam, tokens, limits, rate_limit, runtime, audit, .. } = config;
        // This one is taken.
        let runtime = RuntimeParams { require_signatures: false, ..runtime.clone() };
        Self(vec![
            ("server", print(server)),
            ("store", print(store)),
            ("iam", print(iam)),
            ("tokens", print(tokens)),
            ("limits", print(&(limits, rate_limit))),
            ("runtime", print(&runtime)),
            ("audit", print(audit)),
        ])
    }

    /// Says in the log what is another now and stays as it was.
    fn compare(&self, config: &Config) {
        for ((section, was), (_, is)) in self.0.iter().zip(&Self::of(config).0) {
            if was != is {
                tracing::warn!(
                    section,
                    "this section has changed, and a reload does not take it; start the gateway anew for it"
                );
            }
        }
    }
}

/// What tells two values of a section apart. A hash: the section itself has hashes of API keys.
fn print(value: &impl std::fmt::Debug) -> String {
    blake3::hash(format!("{value:?}").as_bytes()).to_hex().to_string()
}

/// What came of a reload that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// It is done, or refused for as long as nothing is changed.
    Done,
    /// It is refused for what may be gone in a moment.
    Later,
}

impl Came {
    fn refused(report: &Report) -> Self {
        let problems = report.last_refused.as_ref().map(|refusal| &*refusal.problems).unwrap_or_default();
        if !problems.is_empty() && problems.iter().all(|problem| problem.is_passing) { Self::Later } else { Self::Done }
    }
}

/// Does what waits for a disk, or computes for long, where nobody else is kept waiting.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Vec<Problem>> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        vec![Problem::new("config", error.to_string(), "try again; if it stays so, report it as a defect of Keygate")]
    })
}

impl App {
    /// Takes plugins, backends, rules and secrets anew. Its audit event is for the caller to keep: the facts are for that.
    pub(crate) async fn reload(&self, door: Door) -> Administered<Reloaded> {
        let outcome = self.reloader.reload(self, door).await;
        let facts = report::facts(door, self.runtime.generation(), &outcome);
        Administered { outcome: outcome.map_err(|problems| report::refused(&problems)), facts }
    }

    /// The same, because of a signal or of other files.
    ///
    /// # Errors
    /// When it could not be recorded. Nothing was done then.
    pub(crate) async fn reload_by_itself(&self, door: Door) -> Result<Came, Error> {
        let id = EventId::generate(self.gateway.entropy.as_ref())?.to_string();
        tracing::info!(door = door.as_str(), "reload");
        let work = async || self.reload(door).await;
        match self.gateway.administer_itself(Action::ReloadPlugins, &id, work).await {
            Ok(_) => Ok(Came::Done),
            // It is told already.
            Err(Error::Refused(_)) => Ok(Came::refused(&self.reload_report())),
            Err(error) => {
                tracing::error!(%error, door = door.as_str(), "reload");
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_shows_no_value_of_the_environment() {
        let environment = [("KEK".to_owned(), "AQEBAQEB".to_owned())].into();
        let source = Source::File("plugins.toml".into());
        let origin = Origin { source, environment, flags: Flags::default(), require_digest: true };
        let shown = format!("{origin:?}");
        assert!(shown.contains("plugins.toml") && shown.contains("KEK") && !shown.contains("AQEB"), "{shown}");
    }

    #[test]
    fn what_may_be_gone_in_a_moment_is_tried_again_unless_something_else_is_wrong_too() {
        let refused = |problems: Vec<Problem>| {
            let at = Timestamp::default();
            let last_refused = Some(Refusal { at, problems: problems.into() });
            Came::refused(&Report { generation: 1, at, last_refused, under_way: None })
        };
        let (busy, broken) =
            (Problem::new("probe", "busy", "wait").passing(), Problem::new("compile", "broken", "mend"));
        assert_eq!(refused(vec![busy.clone()]), Came::Later);
        assert_eq!(refused(vec![busy, broken]), Came::Done);
        assert_eq!(refused(Vec::new()), Came::Done);
    }
}
