//! `keygate plugin bench`: what a call takes, beside what it may take.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use keygate_core::access::question::Question;
use keygate_runtime::manifest::PluginManifest;
use keygate_runtime::measure::{Bench, Count, Measured, Work};
use serde_json::{Value, json};

use super::super::terminal::plain;
use super::BenchArgs;
use super::cases::{self, RuleCases};
use super::subject::{MadeUp, Subject, load_problems, manifest, services};
use super::test::time;
use crate::config::Environment;

/// What a backend is measured with.
const WORKS: [Work; 3] = [Work::Wrap(32), Work::Unwrap(32), Work::Wrap(4_096)];
/// Instructions do not vary: a few calls tell.
const COUNTED: usize = 5;

/// What is measured.
enum What {
    Rule(Box<Question>),
    Backend,
}

/// Measures and tells.
pub(super) async fn bench(args: &BenchArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let subject = Subject::find(&args.subject, environment)?;
    let plain = subject.entry(None)?;
    let (entry, what) = if plain.world.is_backend() {
        (plain, What::Backend)
    } else {
        let (question, settings) = question(args, &subject)?;
        (subject.entry(settings.as_ref())?, What::Rule(Box::new(question)))
    };
    let runs = usize::try_from(args.runs)?;
    let warm = runs / 10;
    let started = Instant::now();
    let timer = ready(&subject, &entry, Count::Time).await?;
    let load = started.elapsed();
    let timed = measure(&timer, &entry, &what, warm + runs).await?;
    // One engine at a time: each reserves address space for its sandboxes.
    drop(timer);
    let counter = ready(&subject, &entry, Count::Instructions).await?;
    let counted = measure(&counter, &entry, &what, COUNTED).await?;
    let calls: Vec<Call> = timed.iter().zip(&counted).map(|(timed, counted)| Call::new(timed, warm, counted)).collect();
    let bytes = fs::metadata(&subject.component).map(|file| file.len()).unwrap_or_default();
    let out = &mut io::stdout().lock();
    if args.json {
        let calls: Vec<Value> = calls.iter().map(Call::json).collect();
        let load_ms = load.as_secs_f64() * 1e3;
        writeln!(out, "{}", json!({"plugin": entry.name, "bytes": bytes, "load_ms": load_ms, "calls": calls}))?;
    } else {
        writeln!(out, "{}: {bytes} bytes, loaded in {}", entry.name, time(load))?;
        for call in &calls {
            call.tell(out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The request that a rule is asked, and the settings of its cases.
fn question(args: &BenchArgs, subject: &Subject) -> anyhow::Result<(Question, Option<serde_json::Map<String, Value>>)> {
    let file = args.cases.as_deref().or(subject.project.cases.as_deref());
    let file = file.context("a rule is asked the request of a case: name a file with --cases")?;
    let cases: RuleCases = cases::read(file)?;
    let mut found = cases.cases.iter();
    let case = match &args.case {
        Some(name) => found.find(|case| case.name == *name).with_context(|| format!("there is no case \"{name}\""))?,
        None => found.next().with_context(|| format!("{} has no [[case]]", file.display()))?,
    };
    let question = cases.question(case).with_context(|| format!("case \"{}\"", case.name))?;
    Ok((question, cases.settings))
}

async fn ready(subject: &Subject, entry: &PluginManifest, count: Count) -> anyhow::Result<Bench> {
    let secrets = Arc::new(MadeUp::default());
    let bench = Bench::new(subject.runtime_config(), services(&secrets), count)?;
    bench.load(&manifest(entry)).await.map_err(load_problems)?;
    Ok(bench)
}

async fn measure(bench: &Bench, entry: &PluginManifest, what: &What, runs: usize) -> anyhow::Result<Vec<Measured>> {
    let mut measured = Vec::new();
    match what {
        What::Rule(question) => measured.push(bench.rule(&entry.name, question, runs).await?),
        What::Backend => {
            for work in WORKS {
                measured.push(bench.backend(&entry.name, work, runs).await?);
            }
        }
    }
    Ok(measured)
}

/// What the calls of a function took.
struct Call {
    function: String,
    runs: usize,
    p50: Duration,
    p99: Duration,
    max: Duration,
    deadline: Duration,
    memory: usize,
    memory_limit: usize,
    instructions: Option<u64>,
    snapshot: bool,
    answer: String,
}

impl Call {
    fn new(timed: &Measured, warm: usize, counted: &Measured) -> Self {
        let runs = timed.runs.get(warm..).unwrap_or_default();
        let mut times: Vec<Duration> = runs.iter().map(|run| run.took).collect();
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        Self {
            function: timed.function.to_owned(),
            runs: runs.len(),
            p50: at(50),
            p99: at(99),
            max: at(100),
            deadline: timed.deadline,
            memory: timed.runs.iter().map(|run| run.memory).max().unwrap_or_default(),
            memory_limit: timed.memory_limit,
            instructions: counted.runs.iter().filter_map(|run| run.instructions).max(),
            snapshot: timed.snapshot,
            answer: timed.answer.clone(),
        }
    }

    fn json(&self) -> Value {
        let micros = |duration: Duration| duration.as_secs_f64() * 1e6;
        json!({
            "function": self.function, "runs": self.runs,
            "micros": {"p50": micros(self.p50), "p99": micros(self.p99), "max": micros(self.max)},
            "deadline_micros": micros(self.deadline),
            "memory_bytes": self.memory, "memory_limit_bytes": self.memory_limit,
            "instructions": self.instructions, "snapshot": self.snapshot,
        })
    }

    fn tell(&self, out: &mut dyn Write) -> io::Result<()> {
        let Self { function, runs, p50, p99, max, deadline, memory, memory_limit, .. } = self;
        let start = if self.snapshot { "starts configured, from a snapshot" } else { "is configured in every call" };
        writeln!(
            out,
            "  {function}: {runs} calls, each in a fresh sandbox that {start}; answer: {}",
            plain(&self.answer)
        )?;
        let share = p99.as_secs_f64() / deadline.as_secs_f64() * 100.0;
        writeln!(out, "    time          p50 {}  p99 {}  max {}", time(*p50), time(*p99), time(*max))?;
        writeln!(out, "                  p99 is {share:.2} % of the deadline of {}", time(*deadline))?;
        writeln!(out, "    memory        {} KiB of {} KiB", memory / 1_024, memory_limit / 1_024)?;
        if let Some(instructions) = self.instructions {
            writeln!(out, "    instructions  {instructions}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use keygate_runtime::measure::Run;

    use super::*;

    fn measured(micros: impl Iterator<Item = u64>, instructions: Option<u64>) -> Measured {
        let run = |micros| Run { took: Duration::from_micros(micros), memory: 65_536, instructions };
        Measured {
            plugin: "x".to_owned(),
            function: "evaluate",
            runs: micros.map(run).collect(),
            deadline: Duration::from_secs(1),
            memory_limit: 1 << 20,
            snapshot: true,
            answer: "Abstain".to_owned(),
        }
    }

    #[test]
    fn percentiles_leave_the_first_calls_out() {
        let slow_start = std::iter::repeat_n(9_000, 10);
        let call = Call::new(&measured(slow_start.chain(1..=100), None), 10, &measured(0..1, Some(42)));
        let micros = |duration: Duration| duration.as_micros();
        assert_eq!((call.runs, micros(call.p50), micros(call.p99), micros(call.max)), (100, 50, 99, 100));
        assert_eq!(call.instructions, Some(42));
        let mut out = Vec::new();
        call.tell(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("p99 99.0 us") && text.contains("0.01 % of the deadline of 1.00 s"), "{text}");
        assert!(text.contains("64 KiB of 1024 KiB") && text.contains("instructions  42"), "{text}");
    }
}
