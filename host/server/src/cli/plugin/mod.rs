//! `keygate plugin`: what authors of plugins work with.

mod bench;
mod build;
mod cases;
mod inspect;
mod new;
mod project;
mod round_trip;
mod sign;
mod subject;
mod templates;
mod test;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use self::project::{Lang, Project};
use self::subject::SubjectArgs;
use crate::config::Environment;

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Make a project: a plugin that builds and passes its tests.
    New(NewArgs),
    /// Make a project's component, and its SHA-256 beside it.
    Build(BuildArgs),
    /// Tell what a component is, what it wants, and what its entry in plugins.toml would be. Runs nothing.
    Inspect(InspectArgs),
    /// Run a project's cases as the gateway would run the plugin. Ends with 1 when one fails.
    Test(TestArgs),
    /// Measure what a call takes of time, memory and instructions, beside the limits.
    Bench(BenchArgs),
    /// Make a pair of keys to sign components with.
    Keygen(KeygenArgs),
    /// Sign a component: writes FILE.sig.
    Sign(SignArgs),
    /// Check a component's signature. Ends with 1 when it does not hold.
    Verify(VerifyArgs),
}

/// What kind of plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// A rule of the policy chain.
    Policy,
    /// A backend that keeps keys in software.
    Backend,
}

#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// What kind of plugin.
    #[arg(long, value_enum)]
    pub(super) kind: Kind,
    /// In which language.
    #[arg(long, value_enum)]
    pub(super) lang: Lang,
    /// Its name: lower-case letters, digits and `-`.
    pub(super) name: String,
    /// Where to make it. A new directory of its name, if not given.
    #[arg(long, value_name = "DIR")]
    pub(super) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct BuildArgs {
    /// The project.
    #[arg(value_name = "DIR", default_value = ".")]
    project: PathBuf,
    /// The component. NAME.wasm in the project, if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON object: {"file", "bytes", "sha256"}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The component.
    file: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct TestArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// The cases, instead of the project's own.
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Print one JSON object: {"ok", "plugin", "sha256", "cases": [{"name", "ok", "got", "problem", "micros"}]}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(flatten)]
    subject: SubjectArgs,
    /// How many calls are timed, after a tenth as many to warm up.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    runs: u32,
    /// Of a rule: the case whose request it is asked. The first, if not given.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Of a rule: the cases, instead of the project's own.
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Print one JSON object: {"plugin", "sha256", "bytes", "load_ms", "calls": [...]}.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(super) struct KeygenArgs {
    /// Where the private key goes (PKCS#8, PEM, mode 0600). The public one goes beside it, with `.pub.pem` at its end.
    #[arg(value_name = "KEY.pem")]
    private: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// The component.
    file: PathBuf,
    /// The private key (Ed25519, PKCS#8, PEM).
    #[arg(long, value_name = "KEY.pem")]
    key: PathBuf,
    /// Where the signature goes. FILE.sig, if not given.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The component.
    file: PathBuf,
    /// The public key (Ed25519, SPKI, PEM).
    #[arg(long, value_name = "PUB.pem")]
    key: PathBuf,
    /// The signature. FILE.sig, if not given.
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

/// The rule of a project, as an entry of `[[plugins]]`.
///
/// # Errors
/// There is no project, it is not sound, or it is a backend.
pub(super) fn rule(project: &Path) -> anyhow::Result<Value> {
    Project::read(project)?.rule()
}

/// Does what was asked for.
pub(super) async fn run(command: &PluginCommand, environment: &Environment) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::New(args) => new::new(args),
        PluginCommand::Build(args) => build::build(args, environment),
        PluginCommand::Inspect(args) => inspect::inspect(args),
        PluginCommand::Test(args) => test::test(args, environment).await,
        PluginCommand::Bench(args) => bench::bench(args, environment).await,
        PluginCommand::Keygen(args) => sign::keygen(args),
        PluginCommand::Sign(args) => sign::sign(args),
        PluginCommand::Verify(args) => sign::verify(args),
    }
}

/// Bytes in hexadecimal.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
