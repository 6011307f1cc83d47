//! `keygate policy explain`: a decision of a running gateway, made again from its audit event.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use keygate_tests::Gateway;
use keygate_tests::configured::{Place, builtin, component, entry};
use keygate_tests::gateway::{create_body, program};
use serde_json::{Value, json};

/// The chain of these tests: in ring `prod` nothing changes.
const CHAIN: &str = r#"["access", { rule = "freeze", rings = ["prod"] }]"#;

fn plugins(settings: &str) -> String {
    let freeze = entry("freeze", &component("examples/freeze.wasm"), "policy-rule", "{ log = true }");
    format!("{}{}{freeze}settings = {settings}\n", builtin("aes-gcm"), builtin("access"))
}

const FROZEN: &str = r#"{ reason = "Nothing changes until Monday." }"#;

fn explain(config: &Path, arguments: &[&str]) -> Output {
    Command::new(program()).args(["policy", "explain", "--config"]).arg(config).args(arguments).output().unwrap()
}

fn explained(config: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = explain(config, &[arguments, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{stderr}")))
}

#[tokio::test]
async fn a_recorded_decision_is_made_again_and_another_one_is_told() {
    let place = Place::new();
    let config = place.write(&plugins(FROZEN), CHAIN);
    let gateway = Gateway::start_configured(&config).await;
    let ann = gateway.client_with(&place.api_key, 0).await;
    for ring in ["prod", "staging"] {
        assert_eq!(ann.send("POST", &format!("/key_rings/{ring}"), None).await.status, 201);
    }
    let create = |ring: &'static str, id: &'static str| {
        let request = ann.request("POST", "/keys").header("X-Kms-Key-Ring", ring).header("Correlation-Id", id);
        keygate_tests::gateway::reply(request.json(&create_body("x", false)))
    };
    let frozen = create("prod", "11111111-0000-4000-8000-000000000001").await;
    assert_eq!((frozen.status, frozen.code()), (409, "CHANGE_FREEZE_ERR"));
    let made = create("staging", "11111111-0000-4000-8000-000000000002").await;
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.resource()["id"].as_str().unwrap().to_owned();
    // Into the ring, from outside of it.
    let moved = ann.send("PATCH", &format!("/keys/{id}"), Some(json!({"keyRingID": "prod"}))).await;
    assert_eq!((moved.status, moved.code()), (409, "CHANGE_FREEZE_ERR"), "{moved:?}");
    assert_eq!(gateway.stop().await, Some(0));

    let audit = place.path().join("audit.jsonl");
    let file = audit.to_str().unwrap();
    let before = fs::read(&audit).unwrap();
    let events: Vec<Value> = before.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    let of = |id: &str| {
        let event = events.iter().find(|event| event["correlationId"] == id).unwrap();
        let rules = event["decision"]["rules"].as_array().unwrap();
        rules.iter().map(|rule| rule["rule"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(of("11111111-0000-4000-8000-000000000001"), ["access", "freeze"]);
    assert_eq!(of("11111111-0000-4000-8000-000000000002"), ["access"], "out of its scope it leaves no trace");

    // The last event is the PATCH.
    let (code, told) = explained(&config, &["--audit", file]);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["request"]["action"], "kms.secrets.patch");
    assert_eq!(told["verdict"]["same"], true);
    assert_eq!(told["verdict"]["now"]["reasonCode"], "CHANGE_FREEZE_ERR");
    assert_eq!(told["verdict"]["now"]["message"], "Nothing changes until Monday.");

    let staging = ["--audit", file, "--correlation-id", "11111111-0000-4000-8000-000000000002"];
    let (code, told) = explained(&config, &staging);
    assert_eq!(code, Some(0), "{told}");
    assert_eq!(told["verdict"]["now"]["verdict"], "allow");
    assert_eq!(told["rules"][1]["recorded"], Value::Null);
    assert_eq!(told["rules"][1]["now"]["notAsked"], "out of scope");

    // Another configuration: Ann is exempt, and outside of `staging` nobody is asked.
    let exempt = r#"{ reason = "Nothing changes until Monday.", exempt = ["IBMid-ann"] }"#;
    let config = place.write(&plugins(exempt), CHAIN);
    let prod = ["--audit", file, "--correlation-id", "11111111-0000-4000-8000-000000000001"];
    let output = explain(&config, &prod);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(3), "{text}");
    assert!(text.contains("recorded   deny CHANGE_FREEZE_ERR\nnow        allow\n"), "{text}");
    assert!(text.contains("deny CHANGE_FREEZE_ERR  abstain"), "{text}");

    let config = place.write(&plugins(FROZEN), r#"["access", { rule = "freeze", rings = ["staging"] }]"#);
    assert_eq!(explained(&config, &staging).0, Some(3), "now it is in scope");
    assert_eq!(explained(&config, &prod).0, Some(3), "and here it is not any more");
    assert_eq!(fs::read(&audit).unwrap(), before, "explaining leaves nothing in the audit log");
}

#[tokio::test]
async fn a_question_of_ones_own_needs_neither_a_gateway_nor_its_secrets() {
    let place = Place::new();
    let config = place.write(&plugins(FROZEN), CHAIN);
    fs::remove_file(place.path().join("kek-1")).unwrap();
    let ask = |question: &Value| {
        let file = place.path().join("question.json");
        fs::write(&file, question.to_string()).unwrap();
        explained(&config, &["--question", file.to_str().unwrap()])
    };
    let mut question = json!({
        "action": "kms.secrets.rotate",
        "principal": { "id": "IBMid-ann", "assignments": [{ "roles": ["Manager"] }] },
        "target": { "instance_id": keygate_tests::configured::INSTANCE, "key_ring": "prod", "key": {} },
    });
    let (code, told) = ask(&question);
    assert_eq!((code, &told["verdict"]["now"]["reasonCode"]), (Some(0), &json!("CHANGE_FREEZE_ERR")), "{told}");
    assert_eq!(told["verdict"]["same"], Value::Null, "there is nothing to compare with");
    question["target"]["key_ring"] = json!("staging");
    assert_eq!(ask(&question).1["verdict"]["now"]["verdict"], "allow");
    question["principal"]["assignments"] = json!([]);
    assert_eq!(ask(&question).1["verdict"]["now"]["verdict"], "deny");

    let mut names: Vec<_> = fs::read_dir(place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["plugins.toml", "question.json"], "explaining makes no file");
}

#[tokio::test]
async fn what_cannot_be_explained_ends_with_one() {
    let place = Place::new();
    let config = place.write(&plugins(FROZEN), CHAIN);
    let events = place.path().join("events.jsonl");
    let event = json!({"correlationId": "x", "action": "kms.secrets.create",
                       "decision": {"verdict": "allow", "generation": 1, "rules": []}});
    fs::write(&events, format!("{event}\n")).unwrap();
    let file = events.to_str().unwrap();
    for (arguments, told) in [
        (vec!["--audit", file], "`audit.record_input` was off"),
        (vec!["--audit", file, "--line", "2"], "there is no event in line 2"),
        (vec!["--audit", file, "--correlation-id", "y"], "no event has the correlation id `y`"),
        (vec!["--audit", "/nowhere/audit.jsonl"], "/nowhere/audit.jsonl cannot be read"),
    ] {
        let output = explain(&config, &arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(told), "{stderr}");
    }
    let wrong = place.write(&plugins("{ raeson = \"x\" }"), CHAIN);
    let question = place.path().join("question.json");
    fs::write(&question, json!({"action": "kms.secrets.create"}).to_string()).unwrap();
    let output = explain(&wrong, &["--question", question.to_str().unwrap()]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("plugin `freeze`, step configure") && stderr.contains("raeson"), "{stderr}");
}
