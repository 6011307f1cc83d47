//! `wasi-minimal`: what a component that needs WASI gets, and what it does not.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::PathBuf;

use keygate_core::access::question::Question;
use keygate_core::access::{Answer, Decision, Verdict};
use keygate_core::clock::Timestamp;
use keygate_runtime::Runtime;
use serde_json::{Value, json};
use support::log::Log;
use support::{built, load, manifest, refused, runtime};

fn rule(deed: &str) -> Value {
    json!({
        "name": "wasi", "file": built("test/wasi-rule"), "world": "policy-rule",
        "grants": { "log": true, "wasi-minimal": true }, "settings": { "do": deed },
    })
}

async fn ask(runtime: &Runtime, now: u64) -> Decision {
    let question = Question { request_id: "r".to_owned(), now: Timestamp::from_unix_ms(now), ..Question::default() };
    runtime.gate().decide(&question, None).await
}

/// What the rule says is wrong, or the fault.
async fn told(runtime: &Runtime, now: u64) -> String {
    let decision = ask(runtime, now).await;
    match (&decision.verdict, &decision.trail[0].answer) {
        (Verdict::Deny(_), Answer::Fault(message)) => message.clone(),
        (Verdict::Deny(denial), _) => denial.message.clone(),
        _ => panic!("{decision:?}"),
    }
}

#[tokio::test]
async fn a_rules_clock_stands_at_the_question_and_its_dice_fall_the_same_every_time() {
    let mut seen = Vec::new();
    // With a snapshot after `configure` and without.
    for runtime in [runtime(), runtime().without_snapshots()] {
        load(&runtime, &[rule("tell")]).await;
        assert_eq!(runtime.describe()[0].snapshot, seen.is_empty(), "the first has a snapshot, the second none");
        for _ in 0..2 {
            seen.push(told(&runtime, 1_800_000_000_123).await);
        }
    }
    assert!(seen.iter().all(|told| *told == seen[0]), "{seen:#?}");
    let [configured, asked, rest] = seen[0].split(" / ").collect::<Vec<_>>()[..] else { panic!("{}", seen[0]) };
    assert!(configured.starts_with("0.000 "), "{configured}");
    assert!(asked.starts_with("1800000000.123 "), "{asked}");
    assert_ne!(configured.split(' ').nth(1), asked.split(' ').nth(1), "the stream began anew");
    // No variables, arguments, directories, working directory; standard input has ended; no terminal.
    assert_eq!(rest, "0 0 0 false true false mono=1800000000123000000 seed=true");
}

#[tokio::test]
async fn what_is_written_is_in_the_plugins_log() {
    let runtime = runtime();
    load(&runtime, &[rule("print")]).await;
    let log = Log::default();
    let listening = tracing::subscriber::set_default(log.clone());
    assert_eq!(ask(&runtime, 0).await.verdict, Verdict::Allow(Vec::new()));
    drop(listening);
    let lines = ["INFO wasi r to standard output", "WARN wasi r to standard error", "WARN wasi r and no end"];
    assert_eq!(log.lines(), lines);
}

#[tokio::test]
async fn the_end_of_a_traceback_is_in_the_fault_and_all_of_it_in_the_log() {
    let runtime = runtime();
    load(&runtime, &[rule("fail")]).await;
    let log = Log::default();
    let listening = tracing::subscriber::set_default(log.clone());
    let fault = told(&runtime, 0).await;
    drop(listening);
    assert!(fault.starts_with("plugin `wasi` failed in `evaluate` (trap): "), "{fault}");
    let words = "; its last words: Traceback (most recent call last): | File \"rule.py\", line 7 | KeyError: 'ring'";
    assert!(fault.ends_with(words), "{fault}");
    let log = log.lines();
    assert!(log.contains(&"WARN wasi r KeyError: 'ring'".to_owned()), "{log:#?}");
}

#[tokio::test]
async fn what_is_not_included_traps_and_names_the_function() {
    for (deed, expected) in [
        (
            "network",
            "plugin `wasi` failed in `evaluate` (host-call): it called `instance-network` of \
             `wasi:sockets/instance-network@0.2.99`, which `wasi-minimal` does not include",
        ),
        (
            "sleep",
            "plugin `wasi` failed in `evaluate` (host-call): it waited for time to pass (`wasi:io/poll`), which \
             `wasi-minimal` does not include",
        ),
        (
            "exit",
            "plugin `wasi` failed in `evaluate` (trap): it ended itself before it answered (`wasi:cli/exit`, as a failure)",
        ),
        (
            "random-huge",
            "plugin `wasi` failed in `evaluate` (host-call): it asked for 1073741824 random bytes at once; 4096 is the most",
        ),
    ] {
        let runtime = runtime();
        load(&runtime, &[rule(deed)]).await;
        assert_eq!(told(&runtime, 0).await, expected);
    }
}

#[tokio::test]
async fn without_the_grant_all_of_wasi_is_one_error_with_its_mend() {
    let mut entry = rule("tell");
    entry["grants"] = json!({ "log": true });
    let told = refused(&runtime(), &manifest(&[entry])).await;
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.starts_with("plugin `wasi`: imports: it imports `wasi:"), "{told}");
    assert!(told.contains(" more interfaces of WASI, which its entry does not grant"), "{told}");
    assert!(told.contains("add `wasi-minimal = true` to its grants"), "{told}");
}

/// The example in Python. It has toolchains of its own, so it is not built with the others.
fn python() -> PathBuf {
    let path = built("access").with_file_name("examples").join("two-managers.wasm");
    assert!(path.exists(), "{} is not there: run `cargo xtask plugins languages` first", path.display());
    path
}

#[tokio::test]
async fn a_component_of_an_interpreted_language_loads_and_answers() {
    let runtime = runtime();
    let entry = json!({
        "name": "two-managers", "file": python(), "world": "policy-rule",
        "grants": { "log": true, "wasi-minimal": true }, "limits": { "memory": "128MiB", "deadline": "10s" },
    });
    load(&runtime, &[entry]).await;
    let decision = ask(&runtime, 0).await;
    assert!(!matches!(decision.trail.first().map(|it| &it.answer), Some(Answer::Fault(_))), "{decision:?}");
}
