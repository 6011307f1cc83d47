//! The chain with two real rules in it, `access` and `examples/freeze`: who is asked about what, and how a decision is
//! explained.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use keygate_core::access::question::{AssignmentFacts, Question};
use keygate_core::access::{Answer, Decision, Verdict};
use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_runtime::manifest::{ActionPattern, ChainEntry, Manifest, Scope};
use keygate_runtime::{Explained, Runtime, Weight};
use serde_json::{Value, json};
use support::{built, manifest, refused, runtime};

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);
const ELSEWHERE: InstanceId = InstanceId::from_bytes([2; 16]);

fn access(mode: &str) -> Value {
    json!({ "name": "access", "file": built("access"), "world": "policy-rule", "mode": mode,
            "grants": { "log": true } })
}

fn freeze(mode: &str) -> Value {
    json!({ "name": "freeze", "file": built("examples/freeze"), "world": "policy-rule", "mode": mode,
            "grants": { "log": true }, "settings": { "reason": "Not before Monday." } })
}

fn place(rule: &str, scope: Scope) -> ChainEntry {
    ChainEntry { rule: rule.to_owned(), scope }
}

fn rings(rings: &[&str]) -> Scope {
    Scope { rings: rings.iter().map(|ring| KeyRingId::parse(ring).unwrap()).collect(), ..Scope::default() }
}

fn actions(actions: &[&str]) -> Scope {
    Scope { actions: actions.iter().map(|a| ActionPattern::parse(a).unwrap()).collect(), ..Scope::default() }
}

fn chained(entries: &[Value], chain: Vec<ChainEntry>) -> Manifest {
    let mut manifest = manifest(entries);
    manifest.policy.chain = chain;
    manifest
}

/// `access`, and `freeze` at these places behind it.
async fn with(places: Vec<Scope>) -> Runtime {
    let mut chain = vec![ChainEntry::everywhere("access")];
    chain.extend(places.into_iter().map(|scope| place("freeze", scope)));
    let runtime = runtime();
    let loaded = runtime.load(&chained(&[access("enforce"), freeze("enforce")], chain)).await;
    runtime.activate(loaded.unwrap());
    runtime
}

/// A Manager asks.
fn question(action: &str, ring: Option<&str>) -> Question {
    let mut question = Question { action: action.to_owned(), ..Question::default() };
    question.principal.id = "IBMid-test".to_owned();
    question.principal.assignments =
        vec![AssignmentFacts { roles: vec!["Manager".to_owned()], ..AssignmentFacts::default() }];
    question.target.instance_id = INSTANCE.to_string();
    question.target.key_ring = ring.map(str::to_owned);
    question
}

fn moved(ring: &str, to: &str) -> Question {
    let mut question = question("kms.secrets.patch", Some(ring));
    question.attributes.insert("new-ring".to_owned(), to.to_owned());
    question
}

async fn decide(runtime: &Runtime, question: &Question) -> Decision {
    runtime.gate().decide(question, None).await
}

/// Who was asked, and whether the request is allowed or with which code it is refused.
fn told(decision: &Decision) -> (Vec<&str>, &str) {
    let asked = decision.trail.iter().map(|answer| answer.rule.as_str()).collect();
    let verdict = match &decision.verdict {
        Verdict::Allow(_) => "allowed",
        Verdict::Deny(denial) => &denial.code,
        Verdict::Busy => "busy",
    };
    (asked, verdict)
}

#[tokio::test]
async fn a_rule_is_asked_in_its_scope_only_and_leaves_no_trace_outside() {
    let both = (vec!["access", "freeze"], "CHANGE_FREEZE_ERR");
    let one = (vec!["access"], "allowed");
    let runtime = with(vec![rings(&["prod"])]).await;
    for (question, expected) in [
        (question("kms.secrets.create", Some("prod")), &both),
        (question("kms.secrets.create", Some("staging")), &one),
        (question("kms.secrets.create", Some("Prod")), &one),
        // Nobody knows the ring: of a key that is not there, of a list across rings.
        (question("kms.secrets.delete", None), &both),
        (moved("staging", "prod"), &both),
        (moved("prod", "staging"), &both),
        (moved("staging", "default"), &one),
        // In the ring, but the rule has nothing to say to it.
        (question("kms.secrets.wrap", Some("prod")), &one),
    ] {
        let decision = decide(&runtime, &question).await;
        assert_eq!(&told(&decision), expected, "{question:?}");
    }

    let runtime = with(vec![Scope { instances: vec![ELSEWHERE], ..actions(&["kms.secrets.set*"]) }]).await;
    let mut elsewhere = question("kms.secrets.setkeyfordeletion", Some("prod"));
    assert_eq!(told(&decide(&runtime, &elsewhere).await), one);
    elsewhere.target.instance_id = ELSEWHERE.to_string();
    assert_eq!(told(&decide(&runtime, &elsewhere).await), both);
    elsewhere.action = "kms.secrets.delete".to_owned();
    assert_eq!(told(&decide(&runtime, &elsewhere).await), one);
}

#[tokio::test]
async fn when_no_rule_is_concerned_nothing_is_allowed() {
    let runtime = runtime();
    let chain = vec![place("access", rings(&["prod"]))];
    runtime.activate(runtime.load(&chained(&[access("enforce")], chain)).await.unwrap());
    let decision = decide(&runtime, &question("kms.secrets.wrap", Some("staging"))).await;
    assert_eq!(told(&decision), (vec![], "UNAUTHORIZED_ERR"));
    assert_eq!(decision.generation, 1);
}

#[tokio::test]
async fn a_rule_at_two_places_is_asked_once() {
    let runtime = with(vec![rings(&["prod"]), actions(&["kms.secrets.delete"])]).await;
    let refused = (vec!["access", "freeze"], "CHANGE_FREEZE_ERR");
    for (action, ring) in
        [("kms.secrets.delete", "prod"), ("kms.secrets.delete", "staging"), ("kms.secrets.create", "prod")]
    {
        assert_eq!(told(&decide(&runtime, &question(action, Some(ring))).await), refused, "{action} {ring}");
    }
    let create = decide(&runtime, &question("kms.secrets.create", Some("staging"))).await;
    assert_eq!(told(&create), (vec!["access"], "allowed"));

    // It denies at the first of its places, so only one that watches shows that it is not asked again.
    let entries = [access("enforce"), freeze("monitor")];
    let places = [Scope::default(), rings(&["prod"]), actions(&["kms.secrets.delete"])];
    let chain = [vec![ChainEntry::everywhere("access")], places.map(|scope| place("freeze", scope)).to_vec()].concat();
    runtime.activate(runtime.load(&chained(&entries, chain)).await.unwrap());
    let watched = decide(&runtime, &question("kms.secrets.delete", Some("prod"))).await;
    assert_eq!(told(&watched), (vec!["access", "freeze"], "allowed"));
}

#[tokio::test]
async fn the_same_place_twice_is_refused() {
    let twice = [rings(&["prod", "default"]), rings(&["default", "prod"])];
    let chain = twice.map(|scope| place("access", scope)).to_vec();
    let told = refused(&runtime(), &chained(&[access("enforce")], chain)).await;
    assert_eq!(
        told,
        "plugin `access`: bind: it stands twice in the policy chain, to be asked about the same; remove one, or give \
         each a scope of its own\n"
    );
}

fn weights(rules: &[Explained]) -> Vec<(&str, Weight, Option<&Answer>)> {
    rules.iter().map(|r| (r.rule.as_str(), r.weight, r.answer.as_ref().map(|answer| &answer.answer))).collect()
}

#[tokio::test]
async fn an_explanation_has_the_verdict_of_the_gate_and_every_rules_answer() {
    let frozen = Answer::Deny("CHANGE_FREEZE_ERR".to_owned());
    let denied = Answer::Deny("UNAUTHORIZED_ERR".to_owned());
    let runtime = with(vec![rings(&["prod"]), actions(&["kms.secrets.delete"])]).await;

    let asked = question("kms.secrets.delete", Some("prod"));
    let explained = runtime.explain(&asked).await;
    assert_eq!(explained.verdict, decide(&runtime, &asked).await.verdict);
    assert_eq!(
        weights(&explained.rules),
        [
            ("access", Weight::Counts, Some(&Answer::Allow)),
            ("freeze", Weight::Counts, Some(&frozen)),
            ("freeze", Weight::AskedBefore, None),
        ]
    );
    assert_eq!(explained.rules[1].denial.as_ref().unwrap().message, "Not before Monday.");
    assert_eq!(explained.rules[1].digest.len(), 64);

    // Somebody without a role: `access` has the last word, and `freeze` is asked all the same.
    let mut nobody = asked.clone();
    nobody.principal.assignments.clear();
    let explained = runtime.explain(&nobody).await;
    assert_eq!(explained.verdict, decide(&runtime, &nobody).await.verdict);
    assert_eq!(weights(&explained.rules)[0], ("access", Weight::Counts, Some(&denied)));
    assert_eq!(weights(&explained.rules)[1], ("freeze", Weight::Late, Some(&frozen)));

    // Out of its scope its answer is shown and does not count.
    let staging = question("kms.secrets.create", Some("staging"));
    let explained = runtime.explain(&staging).await;
    assert_eq!(explained.verdict, Verdict::Allow(Vec::new()));
    assert_eq!(weights(&explained.rules)[1], ("freeze", Weight::OutOfScope, Some(&frozen)));

    // What it did not name it is not asked about.
    let explained = runtime.explain(&question("kms.secrets.wrap", Some("prod"))).await;
    assert_eq!(weights(&explained.rules)[1], ("freeze", Weight::NotItsAction, None));
}

#[tokio::test]
async fn an_explanation_notes_what_a_monitored_rule_says() {
    let runtime = runtime();
    let chain = vec![ChainEntry::everywhere("freeze"), ChainEntry::everywhere("access")];
    let loaded = runtime.load(&chained(&[freeze("monitor"), access("enforce")], chain)).await;
    runtime.activate(loaded.unwrap());
    let explained = runtime.explain(&question("kms.secrets.create", None)).await;
    assert_eq!(explained.verdict, Verdict::Allow(Vec::new()));
    assert_eq!(weights(&explained.rules)[0].1, Weight::Noted);
    assert!(matches!(explained.rules[0].answer.as_ref().unwrap().answer, Answer::Deny(_)));
}
