//! `cargo xtask bench hsm`: wraps through the bridge (the plugin `softhsm` in its sandbox) and over HTTP, beside a bare loop of
//! C_Encrypt (CKM_AES_GCM, plaintexts of the same size) on the same token with as many sessions.
//!
//! SoftHSM computes on the processors that the sandboxes need too, and a real HSM does not: so the same again with each function
//! that a device carries out made slower by what a network HSM takes, in `keygate-pkcs11-faults`; the bare loop waits in one
//! of them, and what it took in truth is printed. The contenders take turns, so that a noisy machine is noisy to all; the
//! ratios are of medians.

mod bare;

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate::app::App;
use keygate::config::{Environment, Flags, load as load_config};
use keygate::dev::{Dev, Keep, find_module};
use keygate::system::SystemClock;
use keygate_core::backend::{Algorithm, BackendKey, Call, CryptoBackend, KeyIdentity, KeySpec};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::secret::SecretBytes;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use self::bare::Bare;
use crate::load::{Figures, Target, run};

/// Where the parts of a run are: set by [`prepare`], for the process that it starts.
const PLACE: &str = "KEYGATE_BENCH_HSM";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Callers that wrap one after the other; several settings, with commas.
    #[arg(long, default_value = "1,4,16", value_delimiter = ',')]
    callers: Vec<usize>,
    /// Sessions of the token, for the bridge and for the bare loop.
    #[arg(long, default_value_t = 4)]
    sessions: usize,
    /// By how much each function of the device is slower, in milliseconds; 0 is SoftHSM as it is.
    #[arg(long, default_value = "0,0.5,1", value_delimiter = ',')]
    delays: Vec<f64>,
    /// How keys are kept.
    #[arg(long, default_value = "token,wrapped", value_delimiter = ',')]
    keep: Vec<Keep>,
    /// How often each contender gets its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn is, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    turn: u64,
    /// The plaintext, in bytes.
    #[arg(long, default_value_t = 32)]
    bytes: usize,
    /// Fails where the gateway reaches less than this share of the token's throughput over HTTP, with a delay and as many
    /// callers as keep it busy: more than there are sessions.
    #[arg(long)]
    require: Option<f64>,
    /// Print one JSON object a line and nothing else.
    #[arg(long)]
    json: bool,
    /// SoftHSM's module, if it is not in one of the usual places.
    #[arg(long)]
    module: Option<PathBuf>,
    /// The module that is slow. It is built beside this program by default.
    #[arg(long)]
    slow_module: Option<PathBuf>,
}

/// SoftHSM has its directory from the environment: runs this program again with it, for each way of keeping keys and each delay,
/// and says that all is done. Not in the program that was run so.
pub(crate) fn prepare(arguments: &Arguments) -> bool {
    if std::env::var_os(PLACE).is_some() {
        return false;
    }
    if !arguments.json {
        println!(
            "wrap of {} bytes, {} sessions, medians of {} turns of {} ms",
            arguments.bytes, arguments.sessions, arguments.rounds, arguments.turn
        );
        println!(
            "{:<8} {:>8} {:>8}  {:<6} {:>10} {:>9} {:>9} {:>8}",
            "keep", "delay ms", "callers", "way", "wraps/s", "p50 ms", "p99 ms", "ratio"
        );
    }
    for keep in &arguments.keep {
        for delay in &arguments.delays {
            let place = tempfile::tempdir().expect("a temporary directory");
            let name = keep_name(*keep);
            let again = Command::new(std::env::current_exe().expect("this program"))
                .args(std::env::args_os().skip(1))
                .env(PLACE, format!("{name} {delay} {}", place.path().display()))
                .env("SOFTHSM2_CONF", place.path().join("data/softhsm2.conf"))
                .env("KEYGATE_FAULTS_MODULE", softhsm(arguments))
                .env("KEYGATE_FAULTS_DELAY", delay.to_string())
                .status();
            assert!(again.expect("this program runs").success(), "keep {name}, delay {delay}");
        }
    }
    true
}

const fn keep_name(keep: Keep) -> &'static str {
    match keep {
        Keep::Token => "token",
        Keep::Wrapped => "wrapped",
    }
}

fn softhsm(arguments: &Arguments) -> PathBuf {
    find_module(arguments.module.as_deref()).unwrap_or_else(|problem| panic!("{problem}"))
}

/// What is measured in this process.
struct Run {
    keep: Keep,
    delay: f64,
    place: PathBuf,
    module: PathBuf,
}

impl Run {
    fn new(arguments: &Arguments) -> Self {
        let text = std::env::var(PLACE).expect("what to measure");
        let mut words = text.splitn(3, ' ');
        let mut word = || words.next().expect("three words");
        let keep = if word() == "token" { Keep::Token } else { Keep::Wrapped };
        let delay: f64 = word().parse().expect("a delay");
        let place = PathBuf::from(word());
        let beside = || {
            let program = std::env::current_exe().expect("this program");
            let name = "libkeygate_pkcs11_faults.so";
            [name, "deps/libkeygate_pkcs11_faults.so"]
                .map(|name| program.with_file_name(name))
                .into_iter()
                .find(|f| f.exists())
        };
        let module = if delay > 0.0 {
            let slow = arguments.slow_module.clone().or_else(beside);
            slow.expect("the slow module is built: `cargo build -p keygate-pkcs11-faults`, or name it in --slow-module")
        } else {
            softhsm(arguments)
        };
        Self { keep, delay, place, module }
    }
}

/// Measures what [`prepare`] says.
pub(crate) async fn bench(arguments: &Arguments) {
    let this = Run::new(arguments);
    let data = this.place.join("data");
    let plugins = crate::plugins();
    let dev = Dev::open(&data, &plugins).expect("a dev directory");
    dev.make_token(&softhsm(arguments)).unwrap_or_else(|problem| panic!("{problem}"));
    let dev = dev.with_token(&this.module, &plugins, this.keep, true);
    let loaded = load_config(&dev.source(), &Environment::new(), &Flags::default());
    let mut config = loaded.config.expect("a configuration");
    config.plugins.require_digest = false;
    config.tokens[0].sessions = arguments.sessions;
    let app = match App::build(&config, Arc::new(SystemClock)).await {
        Ok(app) => Arc::new(app),
        Err(problems) => panic!("{problems}"),
    };
    let backend = app.gateway.backends.backend("dev-token").expect("the backend");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let hsm = Arc::clone(&app.hsm);
    tokio::spawn(keygate::http::serve(app, listener, std::future::pending()));
    let (_, manager) = dev.keys().iter().find(|(name, _)| *name == "manager").expect("a manager");
    let instance = dev.instances()[0].to_string();
    let target = Target::prepare(address, manager.text().expose(), &instance, arguments.bytes).await;
    let bridge = Bridge::new(backend, arguments.bytes).await;
    let pin = fs::read_to_string(data.join("token-pin")).expect("the PIN");
    let bare = Arc::new(Bare::new(&this.module, "keygate-dev", pin.trim(), arguments.bytes));
    measure(arguments, &this, &bare, &bridge, &Arc::new(target)).await;
    hsm.stop();
}

async fn measure(arguments: &Arguments, this: &Run, bare: &Arc<Bare>, bridge: &Bridge, target: &Arc<Target>) {
    let turn = Duration::from_millis(arguments.turn);
    for &callers in &arguments.callers {
        let threads = callers.min(arguments.sessions);
        let alone = async |turn| {
            let bare = Arc::clone(bare);
            tokio::task::spawn_blocking(move || bare.run(threads, turn)).await.expect("a thread")
        };
        alone(turn / 4).await;
        bridge.run(callers, turn / 4).await;
        run(target, callers, turn / 4).await;
        let (mut of_token, mut of_bridge, mut of_http) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            of_token.push(alone(turn).await);
            of_bridge.push(bridge.run(callers, turn).await);
            of_http.push(run(target, callers, turn).await);
        }
        let [token, bridge, http] = [of_token, of_bridge, of_http].map(Figures::median);
        let ratio = http.requests_per_second / token.requests_per_second;
        print(arguments, this, callers, [("token", token), ("bridge", bridge), ("http", http)]);
        let matters = this.delay > 0.0 && callers > arguments.sessions;
        assert!(
            !matters || arguments.require.is_none_or(|least| ratio >= least),
            "the gateway reached {ratio:.2} only"
        );
    }
}

fn print(arguments: &Arguments, this: &Run, callers: usize, figures: [(&str, Figures); 3]) {
    let token = figures[0].1.requests_per_second;
    let (keep, delay) = (keep_name(this.keep), this.delay);
    if arguments.json {
        let ways = figures.map(|(name, figures)| (name.to_owned(), serde_json::json!(figures)));
        let ratio = |n: usize| figures[n].1.requests_per_second / token;
        let row = serde_json::json!({
            "case": "hsm", "bytes": arguments.bytes, "sessions": arguments.sessions, "rounds": arguments.rounds, "keep": keep,
            "delay_ms": delay, "callers": callers, "ways": serde_json::Map::from_iter(ways),
            "bridge_ratio": ratio(1), "http_ratio": ratio(2),
        });
        println!("{row}");
        return;
    }
    for (name, figures) in figures {
        println!(
            "{keep:<8} {delay:>8} {callers:>8}  {name:<6} {:>10.0} {:>9.3} {:>9.3} {:>8.2}",
            figures.requests_per_second,
            figures.p50_ms,
            figures.p99_ms,
            figures.requests_per_second / token
        );
    }
}

/// The backend as the gateway's domain has it: the plugin in a sandbox of its own for each call.
struct Bridge {
    backend: Arc<dyn CryptoBackend>,
    identity: KeyIdentity,
    reference: Arc<Vec<u8>>,
    bytes: usize,
}

impl Bridge {
    async fn new(backend: Arc<dyn CryptoBackend>, bytes: usize) -> Self {
        let identity = KeyIdentity {
            instance: InstanceId::from_bytes([0xBE; 16]),
            key: KeyId::from_bytes([1; 16]),
            version: VersionId::from_bytes([1; 16]),
        };
        let spec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };
        let reference = backend.generate_key(CALL, identity, spec).await.expect("a key");
        Self { backend, identity, reference: Arc::new(reference), bytes }
    }

    async fn run(&self, callers: usize, turn: Duration) -> Figures {
        let begin = Instant::now();
        let mut work = JoinSet::new();
        for _ in 0..callers {
            let (backend, reference) = (Arc::clone(&self.backend), Arc::clone(&self.reference));
            let (identity, plaintext) = (self.identity, SecretBytes::new(vec![0x5A; self.bytes]));
            work.spawn(async move {
                let mut took = Vec::new();
                while begin.elapsed() < turn {
                    let start = Instant::now();
                    let key = BackendKey { identity, reference: &reference };
                    backend.wrap(CALL, key, &plaintext, &[0xAD; 160]).await.expect("wraps");
                    took.push(start.elapsed());
                }
                took
            });
        }
        Figures::of(work.join_all().await.concat(), begin.elapsed())
    }
}

const CALL: Call<'static> = Call { request_id: "bench", timeout: None };
