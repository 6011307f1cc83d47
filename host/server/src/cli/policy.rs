//! `keygate policy`

mod event;
mod report;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::{ArgGroup, Args, Subcommand};
use keygate_core::access::Action;
use keygate_core::access::question::Question;
use keygate_runtime::manifest::{ActionPattern, World};
use keygate_runtime::{HostServices, NoTokens, Runtime, RuntimeConfig};

use self::event::{Picked, Which};
use self::report::Report;
use crate::app::manifest;
use crate::config::{Config, Environment, Flags, Source, load};
use crate::problem::{Problem, Problems};
use crate::secrets::Secrets;
use crate::system::{OsEntropy, SystemClock};

/// How the program ends when the verdict is another one now. 0 is the same one, and 1 an error.
const ANOTHER_VERDICT: u8 = 3;

/// The rules ask nothing of anybody and there is one question, so few sandboxes do.
const SANDBOXES: u32 = 2;

#[derive(Debug, Subcommand)]
pub(super) enum PolicyCommand {
    /// Ask the rules again about a request in the audit log, and show what each of them says.
    ///
    /// Loads the rules of the configuration and nothing else: no store, no backend, no secret. Ends with 0 when the
    /// verdict is the recorded one, with 3 when it is another, and with 1 when something is wrong.
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["audit", "question"])))]
pub(super) struct ExplainArgs {
    /// Audit events, a line of JSON each, or one event; - is stdin. Of several, the last with a decision, if nothing else is said.
    #[arg(long, value_name = "FILE")]
    audit: Option<PathBuf>,
    /// The last event with this correlation id.
    #[arg(long, value_name = "ID", conflicts_with = "question")]
    correlation_id: Option<String>,
    /// The event in this line; the first is 1.
    #[arg(long, value_name = "N", conflicts_with_all = ["question", "correlation_id"])]
    line: Option<u64>,
    /// A question of your own, as JSON, in the form of an audit event's `decision.input`: what would happen if. - is stdin.
    #[arg(long, value_name = "FILE")]
    question: Option<PathBuf>,
    /// The configuration with the rules.
    #[arg(long, value_name = "FILE", default_value = "plugins.toml")]
    config: PathBuf,
    /// Print one JSON object: {"request", "rules": [...], "verdict": {"recorded", "now", "same"}}.
    #[arg(long)]
    json: bool,
}

/// Explains a decision.
pub(super) async fn explain(args: &ExplainArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let (question, recorded) = match (&args.audit, &args.question) {
        (Some(file), _) => {
            let picked = pick(args, file)?;
            (picked.question()?, Some(picked))
        }
        (None, Some(file)) => (read_question(file)?, None),
        (None, None) => anyhow::bail!("nothing to explain: give --audit or --question"),
    };
    let action = action(&question.action)?;
    let runtime = rules(&args.config, environment).await?;
    let explained = runtime.explain(&question).await;
    let report = Report::new(&question, action, recorded.as_ref(), &explained);
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", report.json())?;
    } else {
        write!(out, "{report}")?;
    }
    let same = report.same().unwrap_or(true);
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::from(ANOTHER_VERDICT) })
}

fn open(file: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
    Ok(Box::new(BufReader::new(opened)))
}

fn pick(args: &ExplainArgs, file: &Path) -> anyhow::Result<Picked> {
    let which = match (&args.correlation_id, args.line) {
        (Some(id), _) => Which::CorrelationId(id),
        (None, Some(line)) => Which::Line(line),
        (None, None) => Which::Last,
    };
    let picked = event::pick(open(file)?, which).with_context(|| file.display().to_string())?;
    if picked.of > 1 {
        tracing::info!(events = picked.of, "several events have this correlation id; this is the last");
    }
    Ok(picked)
}

fn read_question(file: &Path) -> anyhow::Result<Question> {
    let mut text = String::new();
    open(file)?.read_to_string(&mut text).with_context(|| file.display().to_string())?;
    event::question(&text).with_context(|| file.display().to_string())
}

/// The action of this name. Two have the same: they differ in nothing that a rule, or an obligation, goes by.
fn action(name: &str) -> anyhow::Result<Action> {
    if let Some(action) = Action::ALL.iter().find(|action| action.iam() == name) {
        return Ok(*action);
    }
    match ActionPattern::parse(name) {
        Err(error) => anyhow::bail!("`action`: {error}"),
        Ok(_) => anyhow::bail!("`action`: `{name}` stands for several; name one, such as `kms.secrets.unwrap`"),
    }
}

/// The rules of a configuration, loaded, and nobody else: a rule needs neither store nor backend, and cannot have a secret.
async fn rules(file: &Path, environment: &Environment) -> Result<Runtime, Problems> {
    let loaded = load(&Source::File(file.to_owned()), environment, &Flags::default());
    let config = match loaded.config {
        Some(config) if loaded.problems.is_empty() => config,
        _ => return Err(Problems(loaded.problems)),
    };
    let (manifest, problems) = manifest(&without_backends(config.clone()));
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    let services = HostServices {
        secrets: Arc::new(Secrets::default()),
        tokens: Arc::new(NoTokens),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    };
    let default = RuntimeConfig::default();
    // Without the cache: it would be made by whoever asks, and might then not be the gateway's user's.
    let limits = RuntimeConfig {
        max_sandboxes: SANDBOXES,
        max_memory: config.runtime.max_memory.unwrap_or(default.max_memory),
        ..default
    };
    let runtime = Runtime::new(limits, services).map_err(|error| {
        Problem::new("engine", error.to_string(), "give it more address space, or lower `runtime.max_memory`")
    })?;
    match runtime.load(&manifest).await {
        Ok(generation) => drop(runtime.activate(generation)),
        Err(errors) => return Err(Problems(errors.into_iter().map(Problem::from).collect())),
    }
    Ok(runtime)
}

/// A configuration as if it had rules only.
fn without_backends(mut config: Config) -> Config {
    let is_backend = |world: &str| [World::SoftwareBackend, World::HsmBackend].iter().any(|w| w.as_str() == world);
    config.plugins.plugins.retain(|entry| !entry["world"].as_str().is_some_and(is_backend));
    config.plugins.backends.clear();
    config
}

#[cfg(test)]
mod tests;
