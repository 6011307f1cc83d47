//! `keygate plugin test`: runs a plugin's cases in the gateway's own engine, with its own limits and grants.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use keygate_runtime::Runtime;
use keygate_runtime::manifest::PluginManifest;
use serde_json::{Value, json};

use super::super::terminal::plain;
use super::TestArgs;
use super::cases::{self, Got, RuleCases};
use super::round_trip::{self, BackendCases};
use super::subject::{MadeUp, Subject, load_problems, manifest, services};
use crate::config::Environment;

/// What came of a case.
pub(super) struct Outcome {
    pub(super) name: String,
    /// In one line.
    pub(super) got: String,
    /// The same for machines.
    pub(super) detail: Value,
    /// Why it failed, if it did.
    pub(super) problem: Option<String>,
    pub(super) took: Duration,
}

/// Runs the cases and tells.
pub(super) async fn test(args: &TestArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let subject = Subject::find(&args.subject, environment)?;
    let file = args.cases.as_deref().or(subject.project.cases.as_deref());
    let plain = subject.entry(None)?;
    let (plugin, digest, outcomes) = if plain.world.is_backend() {
        let cases: BackendCases = file.map(cases::read).transpose()?.unwrap_or_default();
        let entry = subject.entry(cases.settings.as_ref())?;
        let secrets = Arc::new(MadeUp::default());
        let loading = Instant::now();
        let (runtime, digest) = live(&subject, &entry, &secrets).await?;
        (entry.name.clone(), digest, round_trip::run(&runtime, &entry.name, &cases, &secrets, loading).await?)
    } else {
        let file = file.context("a rule is tested with cases: name a file with --cases, or in keygate-plugin.toml")?;
        let cases: RuleCases = cases::read(file)?;
        ensure!(!cases.cases.is_empty(), "{} has no [[case]]", file.display());
        let entry = subject.entry(cases.settings.as_ref())?;
        let (runtime, digest) = live(&subject, &entry, &Arc::default()).await?;
        (entry.name.clone(), digest, ask(&runtime, &cases, file).await?)
    };
    let out = &mut io::stdout().lock();
    if args.json {
        tell_json(&plugin, &digest, &outcomes, out)
    } else {
        tell(&plugin, &subject.component, &outcomes, out)
    }?;
    let ok = outcomes.iter().all(|outcome| outcome.problem.is_none());
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Loads the plugin: of a backend, that includes its probe and the proof that the gateway wants of it. Returns its digest.
async fn live(subject: &Subject, entry: &PluginManifest, secrets: &Arc<MadeUp>) -> anyhow::Result<(Runtime, String)> {
    let runtime = Runtime::new(subject.runtime_config(), services(secrets))?;
    let generation = runtime.load(&manifest(entry)).await.map_err(load_problems)?;
    runtime.activate(generation);
    let digest = runtime.describe().into_iter().next().map(|plugin| plugin.digest).unwrap_or_default();
    Ok((runtime, digest))
}

async fn ask(runtime: &Runtime, cases: &RuleCases, file: &Path) -> anyhow::Result<Vec<Outcome>> {
    let mut outcomes = Vec::new();
    for case in &cases.cases {
        let question = cases.question(case).with_context(|| format!("{}, case \"{}\"", file.display(), case.name))?;
        let started = Instant::now();
        let explanation = runtime.explain(&question).await;
        let asked = explanation.rules.first().context("the rule is not in its own chain")?;
        let took = asked.answer.as_ref().map_or_else(|| started.elapsed(), |answer| answer.took);
        let got = Got::read(asked);
        outcomes.push(Outcome {
            name: case.name.clone(),
            got: got.line(),
            problem: case.expect.differs(&got),
            detail: serde_json::to_value(&got)?,
            took,
        });
    }
    Ok(outcomes)
}

fn tell(plugin: &str, file: &Path, outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{plugin}: {}", file.display())?;
    let width = outcomes.iter().map(|outcome| outcome.name.chars().count()).max().unwrap_or_default();
    for Outcome { name, got, problem, took, .. } in outcomes {
        let (name, got) = (plain(name), plain(got));
        match problem {
            None => writeln!(out, "  ok    {name:width$}  {got}  ({})", time(*took))?,
            Some(problem) => writeln!(out, "  FAIL  {name}\n        {}", plain(problem))?,
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.problem.is_some()).count();
    match failed {
        0 => writeln!(out, "{} cases passed", outcomes.len()),
        n => writeln!(out, "{n} of {} cases failed", outcomes.len()),
    }
}

fn tell_json(plugin: &str, digest: &str, outcomes: &[Outcome], out: &mut dyn Write) -> io::Result<()> {
    let cases: Vec<Value> = outcomes
        .iter()
        .map(|Outcome { name, detail, problem, took, .. }| {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            json!({"name": name, "ok": problem.is_none(), "got": detail, "problem": problem, "micros": micros})
        })
        .collect();
    let ok = outcomes.iter().all(|outcome| outcome.problem.is_none());
    writeln!(out, "{}", json!({"ok": ok, "plugin": plugin, "sha256": digest, "cases": cases}))
}

/// A duration for people.
pub(super) fn time(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    if micros < 1_000.0 {
        format!("{micros:.1} us")
    } else if micros < 1_000_000.0 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.2} s", micros / 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(problem: Option<&str>) -> Outcome {
        let problem = problem.map(str::to_owned);
        let (name, got, detail) = ("a case".to_owned(), "abstain".to_owned(), json!({"decision": "abstain"}));
        Outcome { name, got, detail, problem, took: Duration::from_micros(1_500) }
    }

    #[test]
    fn people_and_machines_are_told_which_cases_failed_and_why() {
        let outcomes = [outcome(None), outcome(Some("expected allow, got abstain"))];
        let mut out = Vec::new();
        tell("x", Path::new("x.wasm"), &outcomes, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "x: x.wasm\n  ok    a case  abstain  (1.50 ms)\n  FAIL  a case\n        expected allow, got abstain\n\
             1 of 2 cases failed\n"
        );
        let mut out = Vec::new();
        tell_json("x", "ab", &outcomes, &mut out).unwrap();
        let value: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((value["ok"].as_bool(), value["cases"][0]["micros"].as_u64()), (Some(false), Some(1_500)));
        assert_eq!(value["cases"][1]["problem"], "expected allow, got abstain");
    }

    #[test]
    fn times_have_the_unit_that_fits() {
        for (micros, text) in [(7, "7.0 us"), (1_234, "1.23 ms"), (2_500_000, "2.50 s")] {
            assert_eq!(time(Duration::from_micros(micros)), text);
        }
    }
}
