//! `cargo xtask bench rules`: what each rule adds to a decision, beside an empty chain; and how much memory its sandboxes
//! need. A rule may say what it likes, as long as it says something.
//!
//! All runtimes are in one process and take turns, a call after the other on one thread, so that a noisy machine is noisy to
//! all. Every call has a fresh sandbox, as in the gateway. The figures are medians of the rounds.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use keygate::system::SystemClock;
use keygate_core::access::question::Question;
use keygate_core::access::{
    AccessRequest, Action, Answer, Decision, Endpoint, Network, Principal, PrincipalKind, RoleAssignment, Verdict,
};
use keygate_core::clock::Timestamp;
use keygate_core::entropy::{Entropy, EntropyError};
use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_core::key::{Key, KeyKind};
use keygate_core::policy::InstancePolicies;
use keygate_runtime::manifest::{ChainEntry, Manifest, PluginManifest};
use keygate_runtime::{HostServices, NoTokens, Runtime, RuntimeConfig, Secret, SecretError, SecretSource};
use serde_json::{Value, json};

use crate::plugins;

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How often each rule gets its turn.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Decisions in a turn.
    #[arg(long, default_value_t = 2000)]
    calls: usize,
    /// Declarative rules in the generated set.
    #[arg(long, default_value_t = 200)]
    policies: usize,
    /// Another rule, by the file of its component; after a colon, its settings as JSON, or the file that they are in. Can be
    /// given several times.
    #[arg(long = "rule", value_name = "FILE[:SETTINGS]")]
    rules: Vec<String>,
    /// Its grants: `wasi-minimal` for all that are given by `--rule`.
    #[arg(long)]
    wasi_minimal: bool,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// A chain to measure.
struct Contender {
    name: String,
    /// What it should add at most, in microseconds, where that was promised.
    target: Option<f64>,
    runtime: Option<Runtime>,
    /// The smallest memory limit under which it works, in bytes.
    memory: usize,
    /// Bytes of memory that a call wrote to.
    written: usize,
    /// Nanoseconds a call, one figure for each round.
    rounds: Vec<f64>,
}

impl Contender {
    fn median(&self) -> f64 {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2] / 1_000.0
    }
}

/// Runs the benchmark.
pub(crate) async fn bench(arguments: &Arguments) {
    let cache = tempfile::tempdir().expect("a temporary directory");
    std::fs::set_permissions(cache.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("its mode");
    let mut contenders = vec![Contender::empty(cache.path()).await];
    for rule in entries(arguments) {
        contenders.push(Contender::new(&rule, cache.path()).await);
    }
    let question = question();
    for contender in &mut contenders {
        contender.turn(&question, arguments.calls / 4).await;
        contender.rounds.clear();
        contender.written = written();
    }
    for _ in 0..arguments.rounds {
        for contender in &mut contenders {
            contender.turn(&question, arguments.calls).await;
        }
    }
    if arguments.json { print_json(&contenders) } else { print_table(arguments, &contenders) }
}

/// What the built-in rule may add, and the declarative one with this many rules. In microseconds.
const ACCESS: f64 = 15.0;
const DECLARATIVE: (usize, f64) = (200, 40.0);

/// A rule to measure.
struct Subject {
    name: String,
    /// Its entry in `plugins.toml`.
    entry: Value,
    target: Option<f64>,
}

/// The rules to measure.
fn entries(arguments: &Arguments) -> Vec<Subject> {
    let built = |name: &str| {
        let file = plugins().join(format!("{name}.wasm"));
        assert!(file.is_file(), "{} is not there: run `cargo xtask plugins`", file.display());
        file
    };
    let access = entry("access", &built("access"), json!({}), false);
    let settings = json!({ "policies": policies(arguments.policies) });
    let mut entries = vec![
        Subject { name: "access".to_owned(), entry: access, target: Some(ACCESS) },
        Subject {
            name: format!("policy-rules ({} policies)", arguments.policies),
            entry: entry("policy-rules", &built("policy-rules"), settings, false),
            target: (arguments.policies == DECLARATIVE.0).then_some(DECLARATIVE.1),
        },
    ];
    for rule in &arguments.rules {
        let (file, settings) = rule.split_once(':').unwrap_or((rule, "{}"));
        let settings = std::fs::read_to_string(settings).unwrap_or_else(|_| settings.to_owned());
        let settings = serde_json::from_str(&settings).unwrap_or_else(|error| panic!("settings of {file}: {error}"));
        let file = PathBuf::from(file).canonicalize().unwrap_or_else(|error| panic!("{file}: {error}"));
        let name = file.file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        let entry = entry(&name, &file, settings, arguments.wasi_minimal);
        entries.push(Subject { name, entry, target: None });
    }
    entries
}

fn entry(name: &str, file: &Path, settings: Value, wasi: bool) -> Value {
    let mut grants = json!({ "log": true });
    if wasi {
        grants["wasi-minimal"] = true.into();
    }
    json!({
        "name": name, "file": file, "world": "policy-rule", "grants": grants, "settings": settings,
        "limits": { "deadline": "60s", "memory": "64MiB" },
    })
}

/// A set of policies as a gateway with many teams would have: each for its own ring, role or key, and five of them for the
/// request that is measured.
fn policies(count: usize) -> String {
    let mut text = String::from(
        r#"
@id("office hours") @reason("OFFICE_HOURS_ERR") @message("Nobody unwraps outside office hours")
forbid (principal, action == Action::"kms.secrets.unwrap", resource in Ring::"prod")
when { context.time.hour < 0 || context.time.weekday > 7 };

@id("pci network") @reason("PCI_NETWORK_ERR")
forbid (principal, action in Action::"use", resource)
when { resource.tags.contains("pci") && !context.address.isInRange(ip("10.0.0.0/8")) };

@id("contractors") @reason("NO_CONTRACTORS_ERR")
forbid (principal, action in Action::"use", resource in Ring::"prod")
when { principal.roles.contains("Contractor") };

@id("old keys") @reason("KEY_TOO_OLD_ERR") @kind("conflict")
forbid (principal, action == Action::"kms.secrets.unwrap", resource in Ring::"prod")
when { resource.materialAgeDays > 3650 };

@id("writers")
permit (principal in Role::"Writer", action in Action::"use", resource in Ring::"prod")
when { resource.state == "active" };
"#,
    );
    for number in 5..count {
        let _ = match number % 4 {
            0 => write!(
                text,
                "@id(\"ring {number}\") forbid (principal, action in Action::\"use\", resource in Ring::\"ring-{number}\")
                 when {{ resource.tags.contains(\"tag-{number}\") && context.endpoint == \"public\" }};"
            ),
            1 => write!(
                text,
                "@id(\"team {number}\") permit (principal in Role::\"Team{number}\", action in Action::\"use\", resource)
                 when {{ resource.ring == \"team-{number}\" && resource.state == \"active\" }};"
            ),
            2 => write!(
                text,
                "@id(\"network {number}\") forbid (principal, action in Action::\"use\", resource == Key::\"key-{number}\")
                 unless {{ context.address.isInRange(ip(\"10.{}.0.0/16\")) }};",
                number % 256
            ),
            _ => write!(
                text,
                "@id(\"caps {number}\") @obligation(\"max-data-bytes={number}\")
                 permit (principal == User::\"IBMid-{number}\", action in [Action::\"kms.secrets.create\", Action::\"kms.secrets.wrap\"], \
                 resource);"
            ),
        };
        text.push('\n');
    }
    text
}

impl Contender {
    async fn empty(cache: &Path) -> Self {
        let runtime = runtime(cache);
        runtime.activate(runtime.load(&Manifest::default()).await.unwrap_or_else(|errors| panic!("{errors:?}")));
        let name = "(empty chain)".to_owned();
        Self { name, target: None, runtime: Some(runtime), memory: 0, written: 0, rounds: Vec::new() }
    }

    async fn new(Subject { name, entry, target }: &Subject, cache: &Path) -> Self {
        let live = load(entry, cache).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        let memory = least_memory(entry, cache).await;
        Self { name: name.clone(), target: *target, runtime: Some(live), memory, written: 0, rounds: Vec::new() }
    }

    /// Asks so many times, and notes how long one took.
    async fn turn(&mut self, question: &Question, calls: usize) {
        let Some(runtime) = &self.runtime else { return };
        let gate = runtime.gate();
        let started = Instant::now();
        for _ in 0..calls {
            let decision = gate.decide(question, None).await;
            assert!(is_sound(&decision), "{}: {decision:?}", self.name);
        }
        self.rounds.push(started.elapsed().as_nanos() as f64 / calls.max(1) as f64);
    }
}

/// Whether every rule that was asked said something: no matter what, for some only ever forbid.
fn is_sound(decision: &Decision) -> bool {
    !matches!(decision.verdict, Verdict::Busy)
        && !decision.trail.iter().any(|answer| matches!(answer.answer, Answer::Fault(_)))
}

fn runtime(cache: &Path) -> Runtime {
    let config = RuntimeConfig { cache_dir: Some(cache.to_owned()), max_sandboxes: 4, ..RuntimeConfig::default() };
    Runtime::new(
        config,
        HostServices {
            secrets: Arc::new(Nothing),
            tokens: Arc::new(NoTokens),
            entropy: Arc::new(Nothing),
            clock: Arc::new(SystemClock),
        },
    )
    .expect("a runtime")
}

/// A runtime with this one rule.
async fn load(entry: &Value, cache: &Path) -> Result<Runtime, String> {
    let plugin = PluginManifest::parse(entry, Path::new("/")).map_err(|error| format!("{error:?}"))?;
    let mut manifest = Manifest::default();
    manifest.policy.chain.push(ChainEntry::everywhere(&plugin.name));
    manifest.plugins = vec![plugin];
    let runtime = runtime(cache);
    let generation = runtime.load(&manifest).await.map_err(|errors| format!("{errors:?}"))?;
    runtime.activate(generation);
    Ok(runtime)
}

/// The least memory limit, in steps of a page, under which the rule answers: what its sandboxes take after their settings
/// were read once (compiled code and snapshot are in the cache by then).
async fn least_memory(entry: &Value, cache: &Path) -> usize {
    let question = question();
    let (mut low, mut high) = (0_usize, 1_024_usize);
    while low + 1 < high {
        let pages = low.midpoint(high);
        let mut entry = entry.clone();
        entry["limits"]["memory"] = format!("{}KiB", pages * 64).into();
        let answers = match load(&entry, cache).await {
            Ok(runtime) => is_sound(&runtime.gate().decide(&question, None).await),
            Err(_) => false,
        };
        if answers { high = pages } else { low = pages }
    }
    high * 65_536
}

/// Bytes of sandboxes' memory that this process has copies of its own of, because they were written to.
fn written() -> usize {
    let maps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    let mut ours = false;
    let mut kib = 0;
    for line in maps.lines() {
        if line.split(' ').next().is_some_and(|range| range.contains('-')) {
            ours = line.contains("wasm");
        } else if ours && let Some(anonymous) = line.strip_prefix("Anonymous:") {
            kib += anonymous.trim().trim_end_matches(" kB").parse::<usize>().unwrap_or(0);
        }
    }
    kib << 10
}

/// Services that no rule can use.
struct Nothing;

impl SecretSource for Nothing {
    fn current(&self, _: &str) -> Result<Secret, SecretError> {
        Err(SecretError::NotFound)
    }

    fn version(&self, _: &str, _: u32) -> Result<Secret, SecretError> {
        Err(SecretError::NotFound)
    }

    fn exists(&self, _: &str) -> bool {
        false
    }
}

impl Entropy for Nothing {
    fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
        Err(EntropyError("a rule has none".to_owned()))
    }
}

/// An active root key in this ring.
fn key(ring: &KeyRingId) -> Key {
    let made = Timestamp::from_unix_ms(NOON.unix_ms() - 400 * 86_400_000);
    Key {
        name: "payments-master".to_owned(),
        tags: vec!["pci".to_owned(), "payments".to_owned()],
        ring: ring.clone(),
        created_at: made,
        created_by: "IBMid-550000ABCD".to_owned(),
        updated_at: made,
        current_version_created_at: made,
        ..Key::sample(KeyKind::Root)
    }
}

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);
/// 2026-11-23T12:00:00Z, a Monday.
const NOON: Timestamp = Timestamp::from_unix_ms(1_795_435_200_000);

/// An unwrap with a key of the ring `prod`, by a Writer, at noon, from inside.
fn question() -> Question {
    let ring = KeyRingId::parse("prod").expect("a ring");
    let assignment = |role: &str| RoleAssignment { roles: vec![role.to_owned()], ..RoleAssignment::default() };
    let principal = Principal {
        id: "IBMid-550000ABCD".to_owned(),
        name: None,
        kind: PrincipalKind::User,
        account: "0".repeat(32),
        assignments: vec![assignment("Reader"), assignment("Writer")],
        attributes: vec![("department".to_owned(), "payments".to_owned())],
    };
    let address = Some(std::net::IpAddr::from([10, 1, 2, 3]));
    Question::from(&AccessRequest {
        request_id: "0f2b5f5e-0000-4000-8000-000000000000",
        action: Action::Unwrap,
        principal: &principal,
        instance: INSTANCE,
        key_ring: Some(&ring),
        key: Some(&key(&ring)),
        policies: &InstancePolicies::default(),
        key_name: Some("payments-master"),
        network: &Network { address, endpoint: Endpoint::Private },
        now: NOON,
        attributes: &[],
    })
}

fn print_table(arguments: &Arguments, contenders: &[Contender]) {
    let empty = contenders.first().map_or(0.0, Contender::median);
    println!("a decision on an unwrap, medians of {} turns of {} calls, one thread", arguments.rounds, arguments.calls);
    println!(
        "{:<30} {:>10} {:>10} {:>10} {:>12} {:>12}",
        "chain", "us a call", "added us", "target us", "memory KiB", "written KiB"
    );
    for one in contenders {
        let median = one.median();
        println!(
            "{:<30} {median:>10.2} {:>10.2} {:>10} {:>12} {:>12}",
            one.name,
            median - empty,
            one.target.map_or_else(|| "-".to_owned(), |target| format!("{target:.2}")),
            one.memory >> 10,
            one.written >> 10
        );
    }
}

fn print_json(contenders: &[Contender]) {
    let empty = contenders.first().map_or(0.0, Contender::median);
    let rows: Vec<Value> = contenders
        .iter()
        .map(|one| {
            json!({
                "chain": one.name, "microseconds": one.median(), "added": one.median() - empty, "target": one.target,
                "memory": one.memory,
            })
        })
        .collect();
    println!("{}", json!({ "case": "rules", "rows": rows }));
}
