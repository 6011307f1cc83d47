//! The built-in rule for rules without code, in its sandbox: that it knows what it is asked, that what it takes for policies
//! fits its stack, and what it says of mistakes. What policies mean is for its own tests.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use keygate_core::access::question::Question;
use keygate_core::access::{Action, Answer, Verdict};
use keygate_runtime::{Runtime, RuntimeConfig};
use serde_json::{Value, json};
use support::{built, load, manifest, refused, runtime_with};

/// A runtime that keeps what it has compiled: the component is large.
fn runtime(cache: &Path) -> Runtime {
    std::fs::set_permissions(cache, Permissions::from_mode(0o700)).unwrap();
    runtime_with(RuntimeConfig { max_sandboxes: 4, cache_dir: Some(cache.to_owned()), ..RuntimeConfig::default() })
}

fn entry(policies: &str) -> Value {
    json!({
        "name": "policy-rules", "file": built("policy-rules"), "world": "policy-rule", "grants": { "log": true },
        // A thousand policies take a while in a build that is not optimised.
        "limits": { "deadline": "60s" },
        "settings": { "policies": [{ "file": "rules/a.cedar", "text": policies }] },
    })
}

/// A question about this action, and a key where the action is about one.
fn question(action: Action, about_key: bool) -> Question {
    let mut question = json!({
        "request_id": "r", "action": action.iam(), "now": "2026-11-23T11:00:00Z",
        "principal": { "id": "ann", "kind": "user", "account": "a", "assignments": [{ "roles": ["Writer"] }] },
        "target": { "instance_id": "6d1f0d9c-6b0c-4f0e-9d55-2a6f3f1f7a01", "key_ring": "prod" },
        "network": { "address": "10.1.2.3", "endpoint": "private" },
    });
    if about_key {
        question["target"]["key_name"] = "k".into();
        question["target"]["key"] = json!({
            "id": "02fd6835-6001-4482-a892-13bd2085f75d", "name": "k", "kind": "root", "state": "active",
            "created": "2026-01-01T00:00:00Z",
        });
    }
    serde_json::from_value(question).unwrap()
}

/// What the rule answers to a question about a key.
async fn asked(runtime: &Runtime) -> Answer {
    runtime.gate().decide(&question(Action::Unwrap, true), None).await.trail.remove(0).answer
}

include!("../../../plugins/policy-rules/src/tests/shapes.rs");

fn policy(condition: &str) -> String {
    format!("permit (principal, action, resource) when {{ {condition} }};\n")
}

#[tokio::test]
async fn everything_that_is_asked_is_known_and_whatever_is_taken_fits_the_stack() {
    let cache = tempfile::tempdir().unwrap();
    let runtime = runtime(cache.path());
    load(&runtime, &[entry("permit (principal, action, resource);")]).await;
    for &action in Action::ALL {
        // What the gateway does by itself it asks nobody about.
        if !action.is_asked_for() {
            continue;
        }
        for about_key in [false, true] {
            let decision = runtime.gate().decide(&question(action, about_key), None).await;
            match &decision.trail[0].answer {
                Answer::Allow => {}
                Answer::Fault(why) if !about_key && why.contains("must name a key") => {}
                other => panic!("{} {about_key}: {other:?}", action.iam()),
            }
        }
    }

    let deepest: String = SHAPES.iter().map(|(_, deepest, shape)| policy(&shape(*deepest))).collect();
    load(&runtime, &[entry(&deepest)]).await;
    assert_eq!(asked(&runtime).await, Answer::Allow);
}

#[tokio::test]
async fn mistakes_come_with_file_line_and_column_and_a_large_set_is_taken() {
    let cache = tempfile::tempdir().unwrap();
    let runtime = runtime(cache.path());
    let text = "permit (principal, action, resource)\nwhen { context.time.our > 3 };";
    let told = refused(&runtime, &manifest(&[entry(text)])).await;
    for part in ["policy-rules", "rules/a.cedar:2:8", "hour"] {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }

    let mut many = String::new();
    for n in 0..1_000 {
        writeln!(
            many,
            "@id(\"p{n}\") forbid (principal, action in Action::\"use\", resource in Ring::\"ring-{n}\")\n\
             when {{ resource.tags.contains(\"tag-{n}\") && !context.address.isInRange(ip(\"10.{}.0.0/16\")) }};",
            n % 256
        )
        .unwrap();
    }
    many.push_str("permit (principal in Role::\"Writer\", action in Action::\"use\", resource);");
    load(&runtime, &[entry(&many)]).await;
    let decision = runtime.gate().decide(&question(Action::Unwrap, true), None).await;
    assert_eq!(decision.verdict, Verdict::Allow(Vec::new()), "{:?}", decision.trail);
}
