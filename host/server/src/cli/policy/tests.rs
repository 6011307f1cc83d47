use std::time::Duration;

use keygate_core::access::{Answer, Denial, DenialKind, Obligation, RuleAnswer, Verdict};
use keygate_runtime::manifest::Mode;
use keygate_runtime::{Explained, Explanation, Weight};
use serde_json::{Value, json};

use super::*;

fn asked(id: &str) -> Value {
    json!({
        "correlationId": id,
        "action": "kms.secrets.create",
        "outcome": "failure",
        "decision": {
            "verdict": "deny", "reasonCode": "NO_ERR", "at": "2026-11-22T10:00:00.000Z", "generation": 4,
            "rules": [
                {"rule": "access", "digest": "aa".repeat(32), "mode": "enforce", "answer": "allow", "reason": null,
                 "tookMicros": 10},
                {"rule": "no", "digest": "bb".repeat(32), "mode": "enforce", "answer": "deny", "reason": "NO_ERR",
                 "tookMicros": 10},
            ],
            "notes": [],
            "input": {"request_id": id, "action": "kms.secrets.create", "now": "2026-11-22T10:00:00.000Z"},
        },
    })
}

fn picked(text: &str, which: Which<'_>) -> anyhow::Result<Picked> {
    event::pick(text.as_bytes(), which)
}

fn refused(text: &str, which: Which<'_>) -> String {
    format!("{:#}", picked(text, which).unwrap_err())
}

#[test]
fn an_event_is_found_by_its_correlation_id_by_its_line_or_as_the_last() {
    let text = format!("{}\nnot json\n{}\n\n{}\n{}\n", asked("a"), asked("b"), asked("b"), asked("c"));
    let line = |which| picked(&text, which).unwrap().line;
    assert_eq!(line(Which::CorrelationId("a")), 1);
    assert_eq!(line(Which::CorrelationId("b")), 5, "the last of two");
    assert_eq!(picked(&text, Which::CorrelationId("b")).unwrap().of, 2);
    assert_eq!(line(Which::Line(3)), 3);
    assert_eq!(line(Which::Last), 6);
    let found = picked(&text, Which::Line(1)).unwrap();
    assert_eq!((found.event.correlation_id.as_str(), found.recorded.generation), ("a", Some(4)));
    assert_eq!(found.question().unwrap().action, "kms.secrets.create");

    let pretty = serde_json::to_string_pretty(&asked("a")).unwrap();
    assert_eq!(picked(&pretty, Which::Last).unwrap().question().unwrap().request_id, "a", "one event, over many lines");
}

#[test]
fn the_last_is_the_last_with_a_decision() {
    let (mut listed, torn) = (asked("listed"), asked("torn").to_string());
    listed.as_object_mut().unwrap().remove("decision");
    let text = format!("{}\n{}\n{listed}\n{}", asked("a"), asked("b"), &torn[..torn.len() / 2]);
    assert_eq!(
        picked(&text, Which::Last).unwrap().event.correlation_id,
        "b",
        "a line that is half written is passed over"
    );
    assert!(refused(&text, Which::Line(4)).starts_with("line 4 is not an audit event"), "who asks for it hears of it");
}

#[test]
fn a_question_that_did_not_fit_into_its_event_is_not_asked_in_part() {
    let mut event = asked("a");
    event["decision"]["input"]["target"] =
        json!({"instance_policies": [{"kind": "metrics"}, {"kind": "allowedIP", "count": 1_000, "sha256": "ab"}]});
    let told = picked(&event.to_string(), Which::Last).unwrap().question().unwrap_err().to_string();
    assert!(told.contains("`allowedIP`") && told.contains("1000") && told.contains("--question"), "{told}");
    event["decision"]["input"] = json!({"cut": {"bytes": 40_000, "sha256": "ab"}});
    let told = picked(&event.to_string(), Which::Last).unwrap().question().unwrap_err().to_string();
    assert!(told.contains("40000 bytes") && told.contains("--question"), "{told}");
}

#[test]
fn what_cannot_be_explained_is_told_with_its_line() {
    let text = format!("{}\nnot json\n", asked("a"));
    assert!(refused("not json\n", Which::Last).starts_with("line 1 is not an audit event"));
    assert!(refused(&text, Which::Line(2)).starts_with("line 2 is not an audit event"));
    assert_eq!(refused(&text, Which::Line(9)), "there is no event in line 9; 2 lines were read");
    assert_eq!(refused(&text, Which::CorrelationId("z")), "no event has the correlation id `z`");
    assert_eq!(refused("\n", Which::Last), "there is no event");

    let mut event = asked("a");
    event["decision"].as_object_mut().unwrap().remove("input");
    let found = picked(&event.to_string(), Which::Last).unwrap();
    let told = found.question().unwrap_err().to_string();
    assert!(told.starts_with("line 1: the event has no `decision.input`, so `audit.record_input` was off"), "{told}");

    event["decision"] = json!([{"rule": "access"}]);
    assert!(refused(&event.to_string(), Which::Last).contains("did not record what the rules were asked"));
    event["decision"] = Value::Null;
    assert!(refused(&event.to_string(), Which::Last).contains("no rule was asked about `kms.secrets.create`"));

    let mut event = asked("a");
    event["decision"]["input"]["tarjet"] = json!({});
    let told = format!("{:#}", picked(&event.to_string(), Which::Last).unwrap().question().unwrap_err());
    assert!(told.contains("`decision.input`") && told.contains("unknown field `tarjet`"), "{told}");
}

#[test]
fn a_question_must_name_one_action() {
    assert_eq!(action("kms.secrets.unwrap").unwrap(), Action::Unwrap);
    for (name, told) in [
        ("kms.secrets.unwarp", "`action`: there is no action `kms.secrets.unwarp`; did you mean `kms.secrets.unwrap`?"),
        ("kms.secrets.*", "`action`: `kms.secrets.*` stands for several; name one, such as `kms.secrets.unwrap`"),
    ] {
        assert_eq!(action(name).unwrap_err().to_string(), told);
    }
}

fn answered(rule: &str, weight: Weight, answer: Answer, obligations: Vec<Obligation>) -> Explained {
    let code = match &answer {
        Answer::Deny(code) => Some(code.clone()),
        _ => None,
    };
    let digest = "aa".repeat(32);
    Explained {
        rule: rule.to_owned(),
        digest: digest.clone(),
        mode: if weight == Weight::Noted { Mode::Monitor } else { Mode::Enforce },
        weight,
        denial: code.map(|code| denial(&code)),
        answer: Some(RuleAnswer {
            rule: rule.to_owned(),
            digest,
            enforced: weight != Weight::Noted,
            answer,
            obligations,
            took: Duration::from_micros(12),
        }),
    }
}

fn denial(code: &str) -> Denial {
    Denial { kind: DenialKind::Forbidden, code: code.to_owned(), message: "Not\u{202e} today.".to_owned() }
}

fn obligation(name: &str, value: &str) -> Obligation {
    Obligation { rule: "access".to_owned(), name: name.to_owned(), value: value.to_owned() }
}

/// The report on what is recorded and this, as text and as JSON, and whether the verdict is the same.
fn report(event: &Value, explained: &Explanation) -> (String, Value, bool) {
    let picked = picked(&event.to_string(), Which::Last).unwrap();
    let question = picked.question().unwrap();
    let report = Report::new(&question, action(&question.action).unwrap(), Some(&picked), explained);
    (report.to_string(), report.json(), report.same().unwrap())
}

#[test]
fn a_report_shows_then_and_now_rule_by_rule() {
    let explained = Explanation {
        verdict: Verdict::Deny(denial("NO_ERR")),
        rules: vec![
            answered("access", Weight::Counts, Answer::Allow, vec![]),
            answered("no", Weight::OutOfScope, Answer::Abstain, vec![]),
            answered("no", Weight::Counts, Answer::Deny("NO_ERR".to_owned()), vec![]),
            answered("watch", Weight::Noted, Answer::Fault("it trapped".to_owned()), vec![]),
        ],
    };
    let (text, json, same) = report(&asked("a"), &explained);
    assert!(same);
    let expected = "\
action     kms.secrets.create
principal  none
instance   none
key ring   not known
key        none
time       2026-11-22T10:00:00Z
event      line 1, correlation id a, decided by generation 4

RULE    DIGEST        MODE     RECORDED     NOW          TIME
access  aaaaaaaaaaaa  enforce  allow        allow        12.0µs
no      aaaaaaaaaaaa  enforce  not asked    (abstain)    12.0µs
    not asked: out of scope
no      aaaaaaaaaaaa  enforce  deny NO_ERR  deny NO_ERR  12.0µs
    the digest differs from the recorded one, bbbbbbbbbbbb
    now: Not\u{fffd} today.
watch   aaaaaaaaaaaa  monitor  not asked    fault        12.0µs
    now: it trapped

recorded   deny NO_ERR
now        deny NO_ERR
           Not\u{fffd} today.
The verdict is the same.
";
    assert_eq!(text, expected);
    assert_eq!(json["verdict"]["same"], true);
    assert_eq!(json["rules"][2]["recorded"]["digest"], "bb".repeat(32));
    assert_eq!(json["rules"][2]["now"]["reason"], "NO_ERR");
    assert_eq!(json["rules"][1]["now"]["notAsked"], "out of scope");
    assert_eq!(json["rules"][3]["now"]["counts"], false);
}

#[test]
fn rules_that_are_gone_and_verdicts_that_differ_are_told() {
    let allowed = Explanation {
        verdict: Verdict::Allow(Vec::new()),
        rules: vec![answered("access", Weight::Counts, Answer::Allow, vec![])],
    };
    let (text, json, same) = report(&asked("a"), &allowed);
    assert!(!same);
    assert!(text.contains("no      bbbbbbbbbbbb  enforce  deny NO_ERR  not in the chain\n"), "{text}");
    assert!(text.ends_with("recorded   deny NO_ERR\nnow        allow\nThe verdict is another one.\n"), "{text}");
    assert_eq!(json["verdict"]["now"]["verdict"], "allow");

    let other = Explanation { verdict: Verdict::Deny(denial("OTHER_ERR")), rules: Vec::new() };
    assert!(!report(&asked("a"), &other).2, "denied, and for another reason");
}

/// An event with these obligations of its first rule.
fn obliged(verdict: &str, code: Option<&str>, obligations: &Value) -> Value {
    let mut event = asked("a");
    event["decision"]["verdict"] = json!(verdict);
    event["decision"]["reasonCode"] = json!(code);
    event["decision"]["rules"][0]["obligations"] = obligations.clone();
    event["decision"]["rules"].as_array_mut().unwrap().truncate(1);
    event
}

#[test]
fn obligations_are_part_of_the_verdict() {
    let allow = |obligations: Vec<Obligation>| Explanation {
        verdict: Verdict::Allow(obligations.clone()),
        rules: vec![answered("access", Weight::Counts, Answer::Allow, obligations)],
    };
    let note = json!([{"name": "audit-note", "value": "seen"}]);
    let noted = allow(vec![obligation("audit-note", "seen")]);
    let (text, _, same) = report(&obliged("allow", None, &note), &noted);
    assert!(same, "{text}");
    assert!(text.contains("now        allow with audit-note seen\n"), "{text}");
    assert!(!report(&obliged("allow", None, &json!([])), &noted).2);
    assert!(!report(&obliged("allow", None, &note), &allow(Vec::new())).2);

    // One that the host does not know is a denial, as it is when the gateway decides.
    let strange = allow(vec![obligation("sing", "")]);
    let recorded = obliged("deny", Some("UNKNOWN_OBLIGATION_ERR"), &json!([{"name": "sing", "value": ""}]));
    let (text, ..) = report(&recorded, &strange);
    assert!(text.contains("deny ") && text.contains("`sing`"), "{text}");
}

#[test]
fn data_that_was_too_large_is_too_large_for_the_same_bound_again() {
    let bounded = |bytes: &str| {
        let obligations = vec![obligation("max-data-bytes", bytes)];
        Explanation {
            verdict: Verdict::Allow(obligations.clone()),
            rules: vec![answered("access", Weight::Counts, Answer::Allow, obligations)],
        }
    };
    let recorded = obliged("deny", Some("DATA_TOO_LARGE_ERR"), &json!([{"name": "max-data-bytes", "value": "100"}]));
    for (bytes, same) in [("100", true), ("99", true), ("101", false)] {
        assert_eq!(report(&recorded, &bounded(bytes)).2, same, "{bytes}");
    }
    // Where the question knows the size, it says.
    let mut told = recorded.clone();
    told["decision"]["input"]["attributes"] = json!({"plaintext-bytes": "5000"});
    for (bytes, same) in [("4999", true), ("5000", false)] {
        assert_eq!(report(&told, &bounded(bytes)).2, same, "{bytes}");
    }
}

#[test]
fn backends_are_left_out_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"
[[plugins]]
name = "one"
world = "software-backend"
[[plugins]]
name = "two"
world = "policy-rule"
[[plugins]]
name = "three"
[[backends]]
name = "software"
plugin = "one"
[policy]
chain = ["two"]
"#;
    let file = dir.path().join("plugins.toml");
    std::fs::write(&file, text).unwrap();
    let config = load(&Source::File(file), &Environment::new(), &Flags::default()).config.unwrap();
    let left = without_backends(config).plugins;
    let names: Vec<_> = left.plugins.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["two", "three"], "what is no backend for sure is looked at, and complained of");
    assert!(left.backends.is_empty());
}
