//! A gateway from a configuration, with a rule of the operator's own: the example in `examples/freeze`.

use std::fs;
use std::process::Command;

use keygate_tests::Gateway;
use keygate_tests::clients::python;
use keygate_tests::configured::{Place, builtin, component, entry};
use keygate_tests::gateway::{create_body, program};
use serde_json::{Value, json};

fn freeze(mode: &str) -> String {
    let entry = entry("freeze", &component("examples/freeze.wasm"), "policy-rule", "{ log = true }");
    format!("{entry}mode = \"{mode}\"\nsettings = {{ reason = \"Nothing changes until Monday.\" }}\n")
}

#[tokio::test]
async fn a_rule_of_the_operators_is_asked_after_the_built_in_one() {
    let place = Place::new();
    let plugins = [builtin("aes-gcm"), builtin("access"), freeze("monitor")].concat();
    let gateway = Gateway::start_configured(&place.write(&plugins, r#"["access", "freeze"]"#)).await;
    let id = gateway.client_with(&place.api_key, 0).await.create_root_key("before the freeze").await;
    assert_eq!(gateway.stop().await, Some(0));

    let plugins = plugins.replace("mode = \"monitor\"", "mode = \"enforce\"");
    let gateway = Gateway::start_configured(&place.write(&plugins, r#"["access", "freeze"]"#)).await;
    let ann = gateway.client_with(&place.api_key, 0).await;
    let refused = ann.send("POST", "/keys", Some(create_body("x", false))).await;
    assert_eq!((refused.status, refused.code()), (409, "CHANGE_FREEZE_ERR"));
    assert_eq!(refused.resource()["reasons"][0]["message"], "Nothing changes until Monday.");
    let wrapped = ann.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({}))).await;
    assert_eq!(wrapped.status, 200, "using keys goes on: {wrapped:?}");
    let missing = ann.send("DELETE", "/keys/00000000-0000-4000-8000-000000000000", None).await;
    assert_eq!(missing.status, 409, "a rule is asked before the key is looked for: {missing:?}");

    let audit = fs::read_to_string(place.path().join("audit.jsonl")).unwrap();
    let events: Vec<Value> = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let creates: Vec<&Value> = events.iter().filter(|event| event["action"] == "kms.secrets.create").collect();
    assert_eq!(creates.len(), 2);
    for (event, outcome) in creates.iter().zip(["success", "failure"]) {
        assert_eq!(event["outcome"], outcome);
        let rules: Vec<&Value> =
            event["decision"]["rules"].as_array().unwrap().iter().map(|rule| &rule["rule"]).collect();
        assert_eq!(rules, ["access", "freeze"], "both answers are kept, monitored or not: {event}");
        let verdict = if outcome == "success" { "allow" } else { "deny" };
        assert_eq!(event["decision"]["verdict"], verdict, "{event}");
        assert_eq!(event["decision"]["generation"], 1, "{event}");
        assert_eq!(event["decision"]["input"]["action"], "kms.secrets.create", "what was asked is kept: {event}");
    }
}

#[tokio::test]
async fn without_its_kek_or_with_another_a_gateway_does_not_start_and_nothing_is_lost() {
    let place = Place::new();
    let plugins = [builtin("aes-gcm"), builtin("access")].concat();
    let config = place.write(&plugins, r#"["access"]"#);
    let gateway = Gateway::start_configured(&config).await;
    let id = gateway.client_with(&place.api_key, 0).await.create_root_key("k").await;
    gateway.stop().await;

    let kek = place.path().join("kek-1");
    let right = fs::read(&kek).unwrap();
    fs::remove_file(&kek).unwrap();
    let output = Command::new(program()).arg("serve").arg("--config").arg(&config).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("kek-1"));

    fs::write(&kek, keygate_core::encoding::encode(&[0x4C; 32])).unwrap();
    Command::new("chmod").arg("600").arg(&kek).status().unwrap();
    let output = Command::new(program()).arg("serve").arg("--config").arg(&config).output().unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && told.contains(&id) && told.contains("KEK"), "{told}");

    fs::write(&kek, right).unwrap();
    let gateway = Gateway::start_configured(&config).await;
    let ann = gateway.client_with(&place.api_key, 0).await;
    let wrapped = ann.send("POST", &format!("/keys/{id}/actions/wrap"), Some(json!({}))).await;
    assert_eq!(wrapped.status, 200, "nothing was lost: {wrapped:?}");
}

#[tokio::test]
async fn the_python_example_does_what_it_says() {
    let gateway = Gateway::start().await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/first_key.py");
    let output = Command::new(python())
        .arg(script)
        .args(["--url", &gateway.ready.url, "--instance", &gateway.ready.instances[0]])
        .args(["--api-key", &gateway.ready.api_keys["manager"]])
        .env("NO_PROXY", "*")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("the same 32 bytes"), "{stdout}");
}
