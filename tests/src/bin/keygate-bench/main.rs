//! `cargo xtask bench`: what the sandbox costs a wrap over loopback; `cargo xtask bench lists`: what a hundred thousand
//! keys in an instance cost; `cargo xtask bench rules`: what each rule of the chain costs;
//! `cargo xtask bench hsm`: how much of a token's throughput is left through the bridge.
//!
//! For the first, two gateways in one process, alike in everything (access tokens checked, the policy chain in its sandbox, every
//! request audited) but for the primitive: a fresh sandbox a call, or the same plugin's code called natively. They take
//! turns, so that a noisy machine is noisy to both; the ratio is of the medians.

mod hsm;
mod lists;
mod load;
mod native;
mod rules;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use keygate::app::{App, with_backends};
use keygate::config::{Environment, Flags, load as load_config};
use keygate::dev::Dev;
use keygate::system::SystemClock;
use tokio::net::TcpListener;

use self::load::{Figures, Target, run};
use self::native::NativeBackends;

#[derive(Parser)]
#[command(about = "What the sandbox costs a wrap over loopback.", args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Connections that send one request after the other; several settings, with commas.
    #[arg(long, default_value = "1,64", value_delimiter = ',')]
    connections: Vec<usize>,
    /// How often each contender gets its turn.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a turn is, in milliseconds.
    #[arg(long, default_value_t = 2000)]
    turn: u64,
    /// The plaintext, in bytes.
    #[arg(long, default_value_t = 32)]
    bytes: usize,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// What many keys in an instance cost lists, searches, creations and wraps.
    Lists(lists::Arguments),
    /// What each rule adds to a decision, beside an empty chain.
    Rules(rules::Arguments),
    /// How much of what a token can do is left through the bridge, and over HTTP.
    Hsm(hsm::Arguments),
}

fn main() {
    let arguments = Arguments::parse();
    if let Some(Command::Hsm(arguments)) = &arguments.command
        && hsm::prepare(arguments)
    {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a tokio runtime");
    match &arguments.command {
        None => runtime.block_on(bench(&arguments)),
        Some(Command::Lists(arguments)) => runtime.block_on(lists::bench(arguments)),
        Some(Command::Rules(arguments)) => runtime.block_on(rules::bench(arguments)),
        Some(Command::Hsm(arguments)) => runtime.block_on(hsm::bench(arguments)),
    }
}

async fn bench(arguments: &Arguments) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let sandboxed = Arc::new(start(&directory.path().join("sandboxed"), false, arguments.bytes).await);
    let native = Arc::new(start(&directory.path().join("native"), true, arguments.bytes).await);
    let turn = Duration::from_millis(arguments.turn);
    let mut rows = Vec::new();
    for &connections in &arguments.connections {
        for target in [&sandboxed, &native] {
            run(target, connections, turn / 4).await;
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..arguments.rounds {
            ours.push(run(&sandboxed, connections, turn).await);
            theirs.push(run(&native, connections, turn).await);
        }
        rows.push((connections, Figures::median(ours), Figures::median(theirs)));
    }
    if arguments.json { print_json(arguments, &rows) } else { print_table(arguments, &rows) }
}

/// A gateway on loopback with a key in it, and the request that wraps under that key.
async fn start(data: &std::path::Path, native: bool, bytes: usize) -> Target {
    let served = serve(data, native).await;
    Target::prepare(served.address, &served.api_key, &served.instance, bytes).await
}

/// A gateway that serves.
struct Served {
    address: SocketAddr,
    /// A manager's.
    api_key: String,
    instance: String,
}

async fn serve(data: &std::path::Path, native: bool) -> Served {
    let dev = Dev::open(data, &plugins()).expect("a dev directory");
    let loaded = load_config(&dev.source(), &Environment::new(), &Flags::default());
    let mut config = loaded.config.expect("a configuration");
    config.plugins.require_digest = false;
    let mut app = match App::build(&config, Arc::new(SystemClock)).await {
        Ok(app) => app,
        Err(problems) => panic!("{problems}"),
    };
    if native {
        let backends = NativeBackends::new(&app.gateway.backends.names());
        app.gateway = Arc::new(with_backends(&app.gateway, Arc::new(backends)));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(keygate::http::serve(Arc::new(app), listener, std::future::pending()));
    let (_, manager) = dev.keys().iter().find(|(name, _)| *name == "manager").expect("a manager");
    Served { address, api_key: manager.text().expose().to_owned(), instance: dev.instances()[0].to_string() }
}

/// Where `cargo xtask plugins` puts them.
fn plugins() -> PathBuf {
    let directory = std::env::var_os("KEYGATE_PLUGIN_DIR").map(PathBuf::from);
    directory.expect("KEYGATE_PLUGIN_DIR is not set: run `cargo xtask bench`")
}

fn print_table(arguments: &Arguments, rows: &[(usize, Figures, Figures)]) {
    println!(
        "wrap of {} bytes over loopback, medians of {} turns of {} ms",
        arguments.bytes, arguments.rounds, arguments.turn
    );
    println!(
        "{:>11}  {:<9} {:>10} {:>9} {:>9} {:>8}",
        "connections", "primitive", "requests/s", "p50 ms", "p99 ms", "ratio"
    );
    for (connections, ours, theirs) in rows {
        let ratio = ours.requests_per_second / theirs.requests_per_second;
        let line = |name: &str, figures: &Figures, ratio: String| {
            println!(
                "{connections:>11}  {name:<9} {:>10.0} {:>9.3} {:>9.3} {ratio:>8}",
                figures.requests_per_second, figures.p50_ms, figures.p99_ms
            );
        };
        line("sandbox", ours, format!("{ratio:.2}"));
        line("native", theirs, "1.00".to_owned());
    }
}

fn print_json(arguments: &Arguments, rows: &[(usize, Figures, Figures)]) {
    let rows: Vec<_> = rows
        .iter()
        .map(|(connections, ours, theirs)| {
            serde_json::json!({
                "connections": connections,
                "sandbox": ours,
                "native": theirs,
                "ratio": ours.requests_per_second / theirs.requests_per_second,
            })
        })
        .collect();
    println!(
        "{}",
        serde_json::json!({"case": "wrap", "bytes": arguments.bytes, "rounds": arguments.rounds, "rows": rows})
    );
}
