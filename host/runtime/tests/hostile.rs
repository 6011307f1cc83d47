//! Plugins that misbehave: each is contained in its own call, in its time, and what it did has a name.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use keygate_core::access::question::Question;
use keygate_core::access::{AccessRequest, Action, Answer, Decision, Network, Principal, PrincipalKind, Verdict};
use keygate_core::backend::{BackendError, BackendResult, Call, CryptoBackend};
use keygate_core::clock::Timestamp;
use keygate_core::error::{Fault, FaultKind};
use keygate_core::ids::InstanceId;
use keygate_core::policy::InstancePolicies;
use keygate_runtime::manifest::{ChainEntry, Manifest};
use keygate_runtime::{Runtime, RuntimeConfig};
use serde_json::{Value, json};
use support::{
    CALL, ROOT, STANDARD, backend, built, identity, key, load, manifest, refused, runtime, runtime_with, secret,
};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

const DEADLINE: Duration = Duration::from_millis(300);

/// A backend that misbehaves in a function.
fn hostile(name: &str, place: &str, deed: &str) -> Value {
    json!({
        "name": name, "file": built("test/hostile-backend"), "world": "software-backend",
        "grants": { "log": true, "random": true },
        "limits": { "deadline": "300ms", "memory": "16MiB", "output": "1MiB" },
        "settings": { "in": place, "do": deed },
    })
}

/// A rule that misbehaves; without a deed it allows everything.
fn rule(name: &str, mode: &str, deed: Option<&str>) -> Value {
    let settings = deed.map_or_else(|| json!({}), |deed| json!({ "in": "evaluate", "do": deed }));
    json!({
        "name": name, "file": built("test/hostile-rule"), "world": "policy-rule", "grants": { "log": true },
        "limits": { "deadline": "300ms", "memory": "16MiB" }, "mode": mode, "settings": settings,
    })
}

fn fault<T: std::fmt::Debug>(result: BackendResult<T>) -> Fault {
    match result {
        Err(BackendError::Fault(fault)) => fault,
        other => panic!("no fault: {other:?}"),
    }
}

async fn wrap(backend: &dyn CryptoBackend, call: Call<'_>) -> BackendResult<Vec<u8>> {
    let reference = backend.generate_key(call, identity(1), ROOT).await?;
    backend.wrap(call, key(identity(1), &reference), &secret(b"plaintext"), b"aad").await
}

/// The worker has one thread: a guest that held on to it would stop everybody.
#[tokio::test]
async fn every_deed_is_contained_while_other_calls_go_on() {
    let deeds = [
        ("loop", FaultKind::Deadline, "did not finish in time"),
        ("memory", FaultKind::Memory, "`limits.memory` is 16777216"),
        ("trap", FaultKind::Trap, "wasm `unreachable` instruction executed"),
        // Its stack is in linear memory, below everything else: it falls off the end.
        ("stack", FaultKind::Trap, "a stack of its own"),
        ("recursion", FaultKind::Stack, "it used up its stack"),
        ("random-huge", FaultKind::HostCall, "asked for 1073741824 random bytes at once; 4096 is the most"),
        ("random-flood", FaultKind::HostCall, "asked for more than 65536 random bytes in one call"),
        ("output", FaultKind::Output, "its answer was out of bounds"),
        ("bad-output", FaultKind::Output, "the ciphertext has 1034 bytes; 1 to 1033 is right"),
    ];
    let runtime = runtime();
    let mut entries: Vec<Value> = deeds.iter().map(|(deed, ..)| hostile(deed, "wrap", deed)).collect();
    entries.push(hostile("sound", "nowhere", "trap"));
    load(&runtime, &entries).await;

    for (deed, kind, message) in deeds {
        let served = Arc::new(AtomicU32::new(0));
        let others = tokio::spawn({
            let (sound, served) = (backend(&runtime, "sound"), Arc::clone(&served));
            async move {
                loop {
                    wrap(&*sound, CALL).await.unwrap();
                    served.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                }
            }
        });
        while served.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let reference = backend(&runtime, deed).generate_key(CALL, identity(1), ROOT).await.unwrap();
        let before = served.load(Ordering::Relaxed);
        let started = Instant::now();
        let outcome =
            backend(&runtime, deed).wrap(CALL, key(identity(1), &reference), &secret(b"plaintext"), b"aad").await;
        let (fault, took) = (fault(outcome), started.elapsed());
        let meanwhile = served.load(Ordering::Relaxed) - before;
        others.abort();
        assert!(others.await.unwrap_err().is_cancelled(), "a sound call failed while {deed} ran");

        assert_eq!((fault.plugin.as_str(), fault.call, fault.kind), (deed, "wrap", kind), "{fault}");
        assert!(fault.message.contains(message), "{fault}");
        assert!(took < DEADLINE + Duration::from_secs(2), "{deed} took {took:?}");
        // The others end in less than a tick: the guest does not let them go on before its first.
        if deed == "loop" {
            assert!(took >= DEADLINE, "it was stopped before its time: {took:?}");
            assert!(meanwhile > 3, "only {meanwhile} calls were served in the {took:?} that {deed} ran");
        }
    }
    // And the plugins themselves are none the worse for it.
    for (deed, ..) in deeds {
        assert!(backend(&runtime, deed).generate_key(CALL, identity(1), ROOT).await.is_ok());
    }
}

/// Counts the lines of plugins, and the warnings that some were dropped.
#[derive(Clone, Default)]
struct Counter {
    lines: Arc<AtomicU32>,
    warnings: Arc<AtomicU32>,
}

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "keygate::plugin"
    }

    fn event(&self, event: &Event<'_>) {
        let count = if *event.metadata().level() == Level::WARN { &self.warnings } else { &self.lines };
        count.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn of_a_flood_of_log_lines_64_are_kept_and_one_more_says_that_others_were_not() {
    let runtime = runtime();
    load(&runtime, &[hostile("flood", "wrap", "log-flood")]).await;
    let backend = backend(&runtime, "flood");
    let reference = backend.generate_key(CALL, identity(1), ROOT).await.unwrap();
    let counter = Counter::default();
    let counting = tracing::subscriber::set_default(counter.clone());
    // Whether it gets to its end in its time and memory is its own affair.
    let _ = backend.wrap(CALL, key(identity(1), &reference), &secret(b"plaintext"), b"aad").await;
    drop(counting);
    assert_eq!(counter.lines.load(Ordering::Relaxed), 64);
    assert_eq!(counter.warnings.load(Ordering::Relaxed), 1);
    assert_eq!(backend.probe(CALL).await, Ok(()));
}

#[tokio::test]
async fn the_call_has_the_shorter_of_two_deadlines() {
    let runtime = runtime();
    load(&runtime, &[hostile("loop", "random", "loop")]).await;
    let backend = backend(&runtime, "loop");
    let short = Call { request_id: "short", timeout: Some(Duration::from_millis(40)) };
    let started = Instant::now();
    assert_eq!(fault(backend.random(short, 1).await).kind, FaultKind::Deadline);
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    let long = Call { request_id: "long", timeout: Some(Duration::from_secs(60)) };
    let started = Instant::now();
    assert_eq!(fault(backend.random(long, 1).await).kind, FaultKind::Deadline);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

#[tokio::test]
async fn answers_out_of_the_contracts_bounds_are_faults_in_every_function() {
    let functions =
        ["generate-key", "import-key", "export-key", "wrap", "generate-data-key", "unwrap", "rewrap", "random"];
    let runtime = runtime();
    let entries: Vec<Value> = functions.iter().map(|f| hostile(f, f, "bad-output")).collect();
    load(&runtime, &entries).await;
    let reference = backend(&runtime, "random").generate_key(CALL, identity(1), ROOT).await.unwrap();
    let ours = || key(identity(1), &reference);
    for function in functions {
        let backend = backend(&runtime, function);
        let fault = match function {
            "generate-key" => fault(backend.generate_key(CALL, identity(1), ROOT).await),
            "import-key" => fault(backend.import_key(CALL, identity(1), STANDARD, &secret(&[1; 32])).await),
            "export-key" => fault(backend.export_key(CALL, ours()).await),
            "wrap" => fault(backend.wrap(CALL, ours(), &secret(b"x"), b"").await),
            "generate-data-key" => fault(backend.generate_data_key(CALL, ours(), 32, b"").await),
            "unwrap" => fault(backend.unwrap(CALL, ours(), &[0; 64], b"").await),
            "rewrap" => fault(backend.rewrap(CALL, ours(), ours(), &[0; 64], b"", b"").await),
            _ => fault(backend.random(CALL, 32).await),
        };
        assert_eq!((fault.call, fault.kind), (function, FaultKind::Output), "{fault}");
    }
}

#[tokio::test]
async fn nothing_is_remembered_from_one_call_to_the_next() {
    let runtime = runtime_with(RuntimeConfig { max_sandboxes: 1, ..RuntimeConfig::default() });
    load(&runtime, &[hostile("remember", "random", "remember"), rule("rule", "enforce", Some("remember"))]).await;
    let backend = backend(&runtime, "remember");
    for _ in 0..10 {
        // There is one place for a sandbox, so the same memory is used again and again.
        assert_eq!(backend.random(CALL, 4).await.unwrap().expose(), 1_u32.to_be_bytes());
        let Verdict::Deny(denial) = decide(&runtime).await.verdict else { panic!("allowed") };
        assert_eq!(denial.message, "calls: 1");
    }
}

#[tokio::test]
async fn a_forged_key_ref_is_told_from_a_fault() {
    let runtime = runtime();
    load(&runtime, &[hostile("toy", "nowhere", "trap")]).await;
    let backend = backend(&runtime, "toy");
    for forged in [&[][..], &[1; 40], &[0xFF; 16_384]] {
        let refused = backend.wrap(CALL, key(identity(1), forged), &secret(b"x"), b"").await;
        assert_eq!(refused.unwrap_err(), BackendError::InvalidKeyRef { backend: "toy".to_owned() });
    }
}

#[tokio::test]
async fn without_a_free_sandbox_a_call_is_refused_as_busy() {
    let config =
        RuntimeConfig { max_sandboxes: 1, admission_wait: Duration::from_millis(20), ..RuntimeConfig::default() };
    let runtime = runtime_with(config);
    let entries = [
        hostile("loop", "random", "loop"),
        rule("watches", "monitor", None),
        rule("allows", "enforce", None),
        rule("watches-too", "monitor", None),
    ];
    load(&runtime, &entries).await;
    let backend = backend(&runtime, "loop");
    let looping = tokio::spawn({
        let backend = Arc::clone(&backend);
        async move { backend.random(CALL, 1).await }
    });
    tokio::task::yield_now().await;
    assert_eq!(backend.probe(CALL).await, Err(BackendError::Busy(None)));
    let decision = decide(&runtime).await;
    assert_eq!(decision.verdict, Verdict::Busy);
    let trail: Vec<_> = decision.trail.iter().map(|answer| (answer.rule.as_str(), &answer.answer)).collect();
    let unasked = Answer::Fault("it was not asked: no sandbox was free".to_owned());
    assert_eq!((trail[0], trail[2]), (("watches", &unasked), ("watches-too", &unasked)));
    assert_eq!(trail[1].0, "allows");
    assert_eq!(fault(looping.await.unwrap()).kind, FaultKind::Deadline);
    assert_eq!(backend.probe(CALL).await, Ok(()));
}

#[tokio::test]
async fn a_plugin_that_uses_up_its_share_takes_nothing_from_the_others() {
    let config =
        RuntimeConfig { max_sandboxes: 4, admission_wait: Duration::from_millis(20), ..RuntimeConfig::default() };
    let runtime = runtime_with(config);
    let mut entries = [
        hostile("greedy", "random", "loop"),
        hostile("modest", "random", "loop"),
        hostile("sound", "nowhere", "trap"),
        rule("allows", "enforce", None),
    ];
    entries[1]["limits"]["concurrency"] = json!(1);
    load(&runtime, &entries).await;
    let (greedy, modest) = (backend(&runtime, "greedy"), backend(&runtime, "modest"));
    // Half of the room where the entry does not say.
    let looping: Vec<_> = [&greedy, &greedy, &modest]
        .into_iter()
        .map(|backend| {
            let backend = Arc::clone(backend);
            tokio::spawn(async move { backend.random(CALL, 1).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let refused = tokio::join!(greedy.probe(CALL), greedy.probe(CALL), modest.probe(CALL));
    assert_eq!(refused, (Err(BackendError::Busy(None)), Err(BackendError::Busy(None)), Err(BackendError::Busy(None))));
    assert_eq!(backend(&runtime, "sound").probe(CALL).await, Ok(()));
    assert!(wrap(&*backend(&runtime, "sound"), CALL).await.is_ok());
    assert_eq!(decide(&runtime).await.verdict, Verdict::Allow(Vec::new()));
    assert!(looping.iter().all(|call| !call.is_finished()), "the greedy ones were done before the others were asked");
    for call in looping {
        assert_eq!(fault(call.await.unwrap()).kind, FaultKind::Deadline);
    }
    assert_eq!(greedy.probe(CALL).await, Ok(()));
}

#[tokio::test]
async fn a_rule_has_the_time_that_the_request_has() {
    let runtime = runtime();
    load(&runtime, &[rule("loop", "enforce", Some("loop"))]).await;
    let started = Instant::now();
    let decision = decide_within(&runtime, Some(Duration::from_millis(40))).await;
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    assert!(matches!(&decision.verdict, Verdict::Deny(d) if d.code == "POLICY_FAULT_ERR"), "{decision:?}");
}

#[tokio::test]
async fn a_plugin_that_misbehaves_while_it_is_loaded_is_not_loaded() {
    let places = [
        ("configure", "loop", "configure: it failed (deadline)"),
        ("configure", "memory", "configure: it failed (memory)"),
        ("configure", "trap", "configure: it failed (trap)"),
        ("configure", "stack", "configure: it failed (trap)"),
        ("configure", "output", "configure: it failed (output)"),
        ("configure", "bad-output", "configure: it does not take `settings`: x"),
        ("configure", "recursion", "configure: it failed (stack)"),
        (
            "configure",
            "random",
            "configure: it failed (host-call): it called `random.bytes` in `configure`, which may call nothing but `log`",
        ),
        ("describe", "loop", "describe: it failed (deadline)"),
        ("describe", "output", "describe: it failed (output)"),
        ("describe", "bad-output", "describe: it failed (output): `name` has 65 bytes; 1 to 64 is right"),
        ("probe", "trap", "probe: plugin `probe-trap` failed in `probe` (trap)"),
        ("probe", "loop", "probe: plugin `probe-loop` failed in `probe` (deadline)"),
    ];
    let entries: Vec<Value> =
        places.iter().map(|(place, deed, _)| hostile(&format!("{place}-{deed}"), place, deed)).collect();
    // Without snapshots `configure` runs in another way and comes out in the same.
    for runtime in [runtime(), runtime().without_snapshots()] {
        let told = refused(&runtime, &manifest(&entries)).await;
        for (place, deed, expected) in places {
            assert!(told.contains(&format!("plugin `{place}-{deed}`: {expected}")), "{expected:?} is not in:\n{told}");
        }
        assert_eq!(told.lines().count(), places.len(), "{told}");
    }
}

#[tokio::test]
async fn random_bytes_are_given_at_work_up_to_a_budget_a_call() {
    let runtime = runtime();
    load(&runtime, &[hostile("some", "random", "random"), hostile("flood", "random", "random-flood")]).await;
    assert_eq!(backend(&runtime, "some").random(CALL, 32).await.unwrap().len(), 32);
    for _ in 0..3 {
        let fault = fault(backend(&runtime, "flood").random(CALL, 32).await);
        assert_eq!(fault.kind, FaultKind::HostCall);
        assert!(fault.message.contains("more than 65536 random bytes"), "{fault}");
        // The budget is a call's: what one used up, the next one has again.
        assert_eq!(backend(&runtime, "some").random(CALL, 4_096).await.unwrap().len(), 4_096);
    }
}

#[tokio::test]
async fn a_backend_that_is_merely_wrong_is_found_out_before_it_is_given_a_key() {
    let places = [
        ("wrap", "echo", "probe: it wraps the same plaintext to the same ciphertext twice"),
        ("unwrap", "echo", "probe: it does not unwrap what it wrapped"),
        ("export-key", "echo", "probe: it gives away the material of a root key"),
        ("generate-key", "echo", "probe: backend `generate-key-echo` does not take this key-ref"),
        ("rewrap", "echo", "probe: it does not unwrap what it rewrapped"),
        ("generate-data-key", "bad-output", "probe: plugin `generate-data-key-bad-output` failed"),
    ];
    let entries: Vec<Value> = places
        .iter()
        .map(|(place, deed, _)| {
            let mut entry = hostile(&format!("{place}-{deed}"), place, deed);
            entry["settings"]["loading"] = Value::Bool(true);
            entry
        })
        .collect();
    let told = refused(&runtime(), &manifest(&entries)).await;
    for (place, deed, expected) in places {
        assert!(told.contains(&format!("plugin `{place}-{deed}`: {expected}")), "{expected:?} is not in:\n{told}");
    }
    assert_eq!(told.lines().count(), places.len(), "{told}");
}

fn principal() -> Principal {
    Principal {
        id: "IBMid-test".to_owned(),
        name: None,
        kind: PrincipalKind::User,
        account: "0".repeat(32),
        assignments: Vec::new(),
        attributes: Vec::new(),
    }
}

async fn decide(runtime: &Runtime) -> Decision {
    decide_within(runtime, None).await
}

async fn decide_within(runtime: &Runtime, timeout: Option<Duration>) -> Decision {
    let (principal, network) = (principal(), Network::default());
    let request = AccessRequest {
        request_id: "test",
        action: Action::Wrap,
        principal: &principal,
        instance: InstanceId::from_bytes([1; 16]),
        key_ring: None,
        key: None,
        key_name: None,
        policies: &InstancePolicies::default(),
        network: &network,
        now: Timestamp::from_unix_ms(1_800_000_000_000),
        attributes: &[],
    };
    runtime.gate().decide(&Question::from(&request), timeout).await
}

#[tokio::test]
async fn a_rule_that_fails_denies_and_one_that_is_only_monitored_does_not() {
    let runtime = runtime();
    let deeds = ["loop", "memory", "trap", "stack", "output", "bad-output"];
    let mut entries: Vec<Value> = deeds.iter().map(|deed| rule(deed, "enforce", Some(deed))).collect();
    entries.push(rule("allows", "enforce", None));
    entries.push(rule("watched", "monitor", Some("trap")));
    entries.push(rule("echo", "enforce", Some("echo")));
    let all = manifest(&entries);
    let with_chain = |chain: &[&str]| {
        let mut manifest: Manifest = all.clone();
        manifest.policy.chain = chain.iter().copied().map(ChainEntry::everywhere).collect();
        manifest.plugins.retain(|plugin| chain.contains(&plugin.name.as_str()));
        manifest
    };
    let live = async |chain: &[&str]| {
        runtime.activate(runtime.load(&with_chain(chain)).await.unwrap());
        decide(&runtime).await
    };
    assert!(matches!(decide(&runtime).await.verdict, Verdict::Deny(d) if d.code == "UNAUTHORIZED_ERR"));
    for deed in deeds {
        let decision = live(&["allows", deed]).await;
        assert!(matches!(&decision.verdict, Verdict::Deny(d) if d.code == "POLICY_FAULT_ERR"), "{decision:?}");
        assert_eq!(decision.trail[0].answer, Answer::Allow);
        assert!(matches!(decision.trail[1].answer, Answer::Fault(_)), "{decision:?}");
        assert_eq!(decision.trail[1].digest.len(), 64);
    }
    let watched = live(&["watched", "allows"]).await;
    assert_eq!(watched.verdict, Verdict::Allow(Vec::new()));
    assert!(matches!(watched.trail[0].answer, Answer::Fault(_)) && !watched.trail[0].enforced);
    let denied = live(&["allows", "echo"]).await;
    assert!(matches!(&denied.verdict, Verdict::Deny(d) if d.code == "ECHO_ERR" && d.message == "kms.secrets.wrap"));
}
