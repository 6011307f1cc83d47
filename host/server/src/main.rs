//! The program.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::Parser;
use keygate::cli::{Cli, run};
use tracing_subscriber::EnvFilter;

/// The variable that says how much is logged, such as `debug` or `info,keygate_runtime=debug`.
const LOG: &str = "KEYGATE_LOG";

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Names and values that are not Unicode cannot be ours.
    let environment: keygate::config::Environment =
        std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
    let filter = EnvFilter::new(environment.get(LOG).map_or(cli.default_log(), String::as_str));
    // To stderr, always: stdout is for what a command was asked to print.
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads to run on");
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(run(cli, environment));
    // Whatever still blocks is not waited for: all that had to be finished is.
    runtime.shutdown_background();
    code
}
