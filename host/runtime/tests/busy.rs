//! What a gateway does that has much to do: rules that only watch, plugins that are loaded meanwhile, shares that hold.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keygate_core::access::question::Question;
use keygate_core::access::{Answer, Decision, Verdict};
use keygate_runtime::{Runtime, RuntimeConfig};
use serde_json::{Value, json};
use support::{built, load, manifest, runtime, runtime_with};
use tokio::task::JoinHandle;

fn rule(name: &str, deed: Option<&str>, deadline: &str) -> Value {
    json!({
        "name": name, "file": built("test/hostile-rule"), "world": "policy-rule", "grants": { "log": true },
        "settings": deed.map_or(json!({}), |deed| json!({ "in": "evaluate", "do": deed })),
        "limits": { "deadline": deadline },
    })
}

async fn ask(runtime: &Runtime) -> Decision {
    runtime.gate().decide(&Question::default(), None).await
}

/// Asks, and comes back once that is in work.
async fn asked(runtime: &Arc<Runtime>) -> JoinHandle<Decision> {
    let runtime = Arc::clone(runtime);
    let decision = tokio::spawn(async move { ask(&runtime).await });
    tokio::task::yield_now().await;
    decision
}

#[tokio::test]
async fn rules_in_monitor_mode_do_not_keep_the_answer_for_long() {
    let mut entries = vec![rule("allows", None, "10s")];
    for name in ["one", "two", "three"] {
        let mut entry = rule(name, Some("loop"), "60s");
        entry["mode"] = json!("monitor");
        entries.push(entry);
    }
    let runtime = runtime();
    load(&runtime, &entries).await;
    let started = Instant::now();
    let decision = ask(&runtime).await;
    assert!(started.elapsed() < Duration::from_secs(20), "it took {:?}", started.elapsed());
    assert_eq!(decision.verdict, Verdict::Allow(Vec::new()));
    assert_eq!(decision.trail.len(), 4);
    for watching in &decision.trail[1..] {
        let Answer::Fault(told) = &watching.answer else { panic!("{watching:?}") };
        assert!(told.starts_with("it was not waited for: it is monitored, and took more than "), "{told}");
        assert!(!watching.enforced && watching.took >= Duration::from_millis(100), "{watching:?}");
    }
    // What was given up is gone: there is room for all of them again.
    assert_eq!(ask(&runtime).await.verdict, Verdict::Allow(Vec::new()));
}

#[tokio::test]
async fn plugins_are_loaded_also_when_there_is_no_room_for_a_while() {
    let config =
        RuntimeConfig { max_sandboxes: 1, admission_wait: Duration::from_millis(1), ..RuntimeConfig::default() };
    let runtime = Arc::new(runtime_with(config));
    load(&runtime, &[rule("slow", Some("loop"), "4s")]).await;
    let slow = asked(&runtime).await;
    assert_eq!(ask(&runtime).await.verdict, Verdict::Busy, "requests do not wait for so long");
    load(&runtime, &[rule("quick", None, "10s")]).await;
    assert_eq!(ask(&runtime).await.verdict, Verdict::Allow(Vec::new()));
    assert!(matches!(slow.await.unwrap().trail[0].answer, Answer::Fault(_)));
}

#[tokio::test]
async fn a_plugin_that_is_loaded_anew_has_no_more_calls_at_a_time_than_before() {
    let entry = |deed| {
        let mut entry = rule("modest", deed, "2s");
        entry["limits"]["concurrency"] = json!(1);
        entry
    };
    let config =
        RuntimeConfig { max_sandboxes: 16, admission_wait: Duration::from_millis(1), ..RuntimeConfig::default() };
    let runtime = Arc::new(runtime_with(config));
    load(&runtime, &[entry(Some("loop"))]).await;
    let next = runtime.load(&manifest(&[entry(None)])).await.unwrap();
    let slow = asked(&runtime).await;
    runtime.activate(next);
    assert_eq!(ask(&runtime).await.verdict, Verdict::Busy, "beside the call that is in work on the old set");
    slow.await.unwrap();
    assert_eq!(ask(&runtime).await.verdict, Verdict::Allow(Vec::new()));
}
