//! The worked set, against its case file.

use std::fs;
use std::path::Path;

use keygate_plugin_sdk::rule::{Decision, DenialKind, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use super::question::Question;
use crate::PolicyRules;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    settings: Value,
    #[serde(default)]
    request: Value,
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default)]
    request: Value,
    expect: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    decision: String,
    kind: Option<String>,
    code: Option<String>,
    message: Option<String>,
    obligations: Option<Vec<Value>>,
}

/// Lays one value over another: tables deeply, all else instead.
fn over(base: &Value, top: &Value) -> Value {
    match (base, top) {
        (Value::Object(base), Value::Object(top)) => {
            let mut both = base.clone();
            for (name, value) in top {
                let below = base.get(name).cloned().unwrap_or(Value::Null);
                both.insert(name.clone(), over(&below, value));
            }
            Value::Object(both)
        }
        _ => top.clone(),
    }
}

#[test]
fn the_worked_set_answers_as_its_case_file_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policy-rules");
    let file: File = toml::from_str(&fs::read_to_string(directory.join("cases.toml")).unwrap()).unwrap();
    let mut names: Vec<_> = fs::read_dir(directory.join("rules"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let texts: Vec<Value> = names
        .iter()
        .map(|name| json!({ "file": format!("rules/{name}"), "text": fs::read_to_string(directory.join("rules").join(name)).unwrap() }))
        .collect();
    let settings = over(&json!({ "policies": texts }), &file.settings);
    let rule = PolicyRules::configure(&settings.to_string()).unwrap_or_else(|e| panic!("{}: {}", e.path, e.message));
    let mut answers = std::collections::BTreeSet::new();
    for case in &file.case {
        let question: Question = serde_json::from_value(over(&file.request, &case.request)).unwrap();
        let request = question.into_request();
        let actions = rule.describe().actions;
        assert!(!actions.is_empty());
        let (decision, kind, code, message, obligations) = match rule.evaluate(&request).map(|verdict| verdict.decision)
        {
            Err(fault) => ("fault", None, None, Some(fault), Vec::new()),
            Ok(Decision::Abstain) => ("abstain", None, None, None, Vec::new()),
            Ok(Decision::Allow(obligations)) => ("allow", None, None, None, obligations),
            Ok(Decision::Deny(denial)) => {
                assert!(actions.contains(&request.action), "{}: the host would not even ask", case.name);
                let kind = match denial.kind {
                    DenialKind::Forbidden => "forbidden",
                    DenialKind::Conflict => "conflict",
                    DenialKind::Unauthorized => "unauthorized",
                };
                ("deny", Some(kind.to_owned()), Some(denial.code), Some(denial.message), Vec::new())
            }
        };
        assert_eq!(decision, case.expect.decision, "{}: {message:?}", case.name);
        assert!(case.expect.kind.is_none() || case.expect.kind == kind, "{}", case.name);
        assert!(case.expect.code.is_none() || case.expect.code == code, "{}: {code:?}", case.name);
        if let Some(part) = &case.expect.message {
            assert!(message.unwrap_or_default().contains(part), "{}", case.name);
        }
        if let Some(expected) = &case.expect.obligations {
            let found: Vec<_> = obligations.iter().map(|one| json!({ "name": one.name, "value": one.value })).collect();
            assert_eq!(*expected, found, "{}", case.name);
        }
        answers.extend(code);
        answers.extend(obligations.into_iter().map(|one| one.name));
    }
    // Each policy of the set has a case in which it speaks.
    let every = [
        "CHANGE_FREEZE_ERR",
        "KEYS_STAY_ERR",
        "KEY_TOO_OLD_ERR",
        "NO_EXPORT_ERR",
        "OFFICE_HOURS_ERR",
        "PCI_NETWORK_ERR",
        "audit-note",
        "max-data-bytes",
        "require-dual-authorization",
    ];
    assert_eq!(answers.iter().map(String::as_str).collect::<Vec<_>>(), every);
}
