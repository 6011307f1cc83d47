//! What authors' tools are made of: looking into a component, and measuring it.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::Path;

use keygate_core::access::question::Question;
use keygate_runtime::RuntimeConfig;
use keygate_runtime::inspect::{InspectError, inspect, inspect_bytes};
use keygate_runtime::measure::{Bench, Count, MeasureError, Work};
use serde_json::{Value, json};
use support::{aes_gcm, built, component, manifest, services};

#[test]
fn a_rule_is_looked_into_and_nothing_is_wrong_with_it() {
    let seen = inspect(&built("test/wasi-rule")).unwrap();
    assert_eq!((seen.world, seen.contract.as_deref()), (Some("policy-rule"), Some("keygate:policy/rule@0.1.0")));
    assert_eq!((seen.missing.len(), seen.problems.len()), (0, 0), "{seen:#?}");
    assert!(seen.core_modules >= 1 && seen.initial_memory() >= 65_536, "{seen:#?}");
    assert_eq!(seen.size, std::fs::metadata(built("test/wasi-rule")).unwrap().len());
    let grants = |name: &str| seen.imports.iter().find(|import| import.name == name).unwrap().grant;
    assert_eq!(grants("keygate:host/log@0.1.0"), Some("log"));
    assert_eq!(grants("wasi:random/random@0.2.3"), Some("wasi-minimal"));
    assert!(seen.producers.iter().any(|it| it.name == "Rust" && it.field == "language"), "{:?}", seen.producers);
    assert!(seen.imports.iter().all(|import| import.offered));

    // What it would need is what it is loaded with.
    let entry = seen.entry("wasi", &built("test/wasi-rule"));
    assert!(entry.contains("grants = { log = true, wasi-minimal = true }\n"), "{entry}");
    assert!(entry.contains(&format!("sha256 = \"{}\"\nworld = \"policy-rule\"\n", seen.sha256)), "{entry}");
    assert!(!entry.contains("limits"), "the default leaves room: {entry}");
}

#[test]
fn what_is_wrong_with_a_component_is_told_without_running_it() {
    let dir = tempfile::tempdir().unwrap();
    let text = "package t:t;
        package keygate:policy@0.1.0 { interface rule { describe: func() -> string; configure: func(); } }
        package keygate:host@0.1.0 { interface secrets { get: func(); } }
        package keygate:host@0.9.0 { interface log { emit: func(line: string); } }
        world guest {
            import keygate:host/secrets@0.1.0; import keygate:host/log@0.9.0; export keygate:policy/rule@0.1.0;
        }";
    let seen = inspect(&support::component_of_its_own(dir.path(), text)).unwrap();
    assert_eq!(seen.missing, ["evaluate"]);
    for expected in [
        "its `keygate:policy/rule` lacks `evaluate`",
        "a plugin of world `policy-rule` cannot be granted it",
        "it imports `keygate:host/log` in version 0.9.0; this gateway has version 0.1.0",
    ] {
        assert!(seen.problems.iter().any(|problem| problem.contains(expected)), "{expected}: {:#?}", seen.problems);
    }
    let text = "package t:t; interface other { f: func(); } world guest { export other; }";
    let seen = inspect(&component(dir.path(), text)).unwrap();
    assert_eq!(seen.world, None);
    assert!(seen.problems[0].contains("so it is no plugin"), "{:?}", seen.problems);

    assert!(matches!(inspect_bytes(b"\0asm\x01\0\0\0"), Err(InspectError::NoComponent(..))));
    assert!(matches!(inspect_bytes(b"\0asm\x0d\0\x01\0garbage"), Err(InspectError::Invalid(_))));
    assert!(matches!(inspect(Path::new("/no/such/file")), Err(InspectError::Unreadable { .. })));
}

#[test]
fn backends_are_looked_into() {
    let seen = inspect(&built("aes-gcm")).unwrap();
    assert_eq!(seen.world, Some("software-backend"));
    assert_eq!(seen.problems, Vec::<String>::new());
    let entry = seen.entry("aes", Path::new("aes-gcm.wasm"));
    assert!(entry.contains("random = true, secrets = [\"NAME\"]"), "{entry}");
}

fn bench(count: Count) -> Bench {
    Bench::new(RuntimeConfig { max_sandboxes: 4, ..RuntimeConfig::default() }, services(), count).unwrap()
}

fn entries() -> [Value; 2] {
    let rule = json!({
        "name": "rule", "file": built("test/hostile-rule"), "world": "policy-rule", "grants": { "log": true },
        "limits": { "deadline": "300ms" },
    });
    [rule, aes_gcm()]
}

#[tokio::test]
async fn rules_and_backends_are_measured_in_time_memory_and_instructions() {
    let time = bench(Count::Time);
    time.load(&manifest(&entries())).await.unwrap();
    let measured = time.rule("rule", &Question::default(), 5).await.unwrap();
    assert_eq!((measured.runs.len(), measured.function), (5, "evaluate"));
    assert_eq!((measured.deadline.as_millis(), measured.memory_limit), (300, 16 << 20));
    for run in &measured.runs {
        assert!(!run.took.is_zero() && run.took < measured.deadline, "{run:?}");
        assert!((65_536..measured.memory_limit).contains(&run.memory), "{run:?}");
        assert_eq!(run.instructions, None);
    }
    assert!(measured.answer.starts_with("Allow"), "{}", measured.answer);

    let instructions = bench(Count::Instructions);
    instructions.load(&manifest(&entries())).await.unwrap();
    let rule = instructions.rule("rule", &Question::default(), 3).await.unwrap();
    let counts: Vec<u64> = rule.runs.iter().map(|run| run.instructions.unwrap()).collect();
    assert!(counts[0] > 100 && counts.iter().all(|count| *count == counts[0]), "{counts:?}");
    let count = async |work| {
        let measured = instructions.backend("aes-gcm", work, 1).await.unwrap();
        measured.runs[0].instructions.unwrap()
    };
    let (short, long) = (count(Work::Wrap(16)).await, count(Work::Wrap(16_384)).await);
    assert!(long > 2 * short, "{short} {long}");
    assert!(count(Work::Unwrap(16)).await > 100 && count(Work::GenerateKey).await > 100);

    let none = instructions.rule("absent", &Question::default(), 1).await;
    assert_eq!(none, Err(MeasureError::NoPlugin("rule", "absent".to_owned())));
}

#[tokio::test]
async fn a_plugin_that_fails_is_not_measured() {
    let mut entries = entries();
    entries[0]["settings"] = json!({ "in": "evaluate", "do": "trap" });
    let time = bench(Count::Time);
    time.load(&manifest(&entries)).await.unwrap();
    let failed = time.rule("rule", &Question::default(), 3).await.unwrap_err();
    assert!(failed.to_string().contains("its last words: hostile panic"), "{failed}");
}
