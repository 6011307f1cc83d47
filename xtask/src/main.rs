//! Everything that is done to this repository: `cargo xtask COMMAND`.

mod bench;
mod clients;
mod languages;
mod packages;
mod plugins;
mod project;
mod reference;
mod serve;
mod test;

use std::ffi::OsString;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Everything that is done to this repository.")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything and serve in dev mode. What follows goes to `keygate serve`.
    Serve {
        /// Such as `--listen 127.0.0.1:9000`, `--data DIR`, `--backend softhsm`, `--json`, or `--config FILE` instead of dev mode.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Install what the tests need and run all of them.
    Test {
        /// For the test runner, such as a part of a test's name.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build for release and print what the sandbox costs.
    Bench {
        /// For the benchmark; `--help` names them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Build the plugins as components into target/plugins.
    Plugins {
        /// Which: the built-in plugins, the guests of the tests, or all of them and the examples.
        #[arg(value_enum, default_value_t)]
        which: plugins::Which,
    },
    /// Write docs/wit-reference.md anew from the WIT files.
    Reference,
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().command {
        Command::Serve { arguments } => serve::serve(&arguments),
        Command::Test { arguments } => test::test(&arguments),
        Command::Bench { arguments } => bench::bench(&arguments),
        Command::Plugins { which } => plugins::build(which),
        Command::Reference => reference::write(),
    }
}
