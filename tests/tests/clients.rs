//! Official SDKs against a gateway that the test started.

use std::path::Path;
use std::process::Command;

use keygate_tests::Gateway;
use keygate_tests::gateway::python;

#[tokio::test]
async fn the_python_sdk_makes_the_whole_journey() {
    let gateway = Gateway::start().await;
    let ready = serde_json::json!({
        "url": gateway.ready.url,
        "iam_url": gateway.ready.iam_url,
        "instances": gateway.ready.instances,
        "api_keys": gateway.ready.api_keys,
    });
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join("journey.py");
    let output = Command::new(python())
        .arg(script)
        .env("KEYGATE_READY", ready.to_string())
        // The SDK must talk to nobody but the gateway.
        .env("NO_PROXY", "*")
        .env_remove("HTTPS_PROXY")
        .env_remove("HTTP_PROXY")
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert_eq!(stdout.lines().count(), 4, "{stdout}");
}
