//! Official SDKs and other clients against a gateway that the test started.

use std::process::Command;

use keygate_tests::clients::{expect_parts, node_modules, python, run, script};
use keygate_tests::{Gateway, Keeping};

/// Runs a Python script on a new gateway, in which so many parts must go well.
async fn by_python(name: &str, parts: usize) {
    let gateway = Gateway::start().await;
    expect_parts(&run(&gateway, Command::new(python()).arg(script(name))), parts);
}

#[tokio::test]
async fn the_python_sdk_makes_the_whole_journey() {
    by_python("journey.py", 4).await;
}

/// The same journey, whatever keeps the keys.
async fn journey_on(keeping: Keeping) {
    let gateway = Gateway::start_on(keeping, &[]).await;
    expect_parts(&run(&gateway, Command::new(python()).arg(script("journey.py"))), 4);
}

#[tokio::test]
async fn the_python_sdk_makes_the_whole_journey_with_keys_in_a_token() {
    journey_on(Keeping::Token).await;
}

#[tokio::test]
async fn the_python_sdk_makes_the_whole_journey_with_keys_wrapped_by_a_token() {
    journey_on(Keeping::Wrapped).await;
}

#[tokio::test]
async fn the_python_sdk_makes_the_whole_journey_on_another_module() {
    journey_on(Keeping::OtherModule).await;
}

#[tokio::test]
async fn the_python_sdk_has_every_method_answered() {
    by_python("surface.py", 33).await;
}

#[tokio::test]
async fn the_python_sdk_passes_its_own_integration_tests() {
    by_python("official.py", 1).await;
}

#[tokio::test]
async fn keys_are_imported_under_a_token_as_documented() {
    by_python("import_token.py", 6).await;
}

#[tokio::test]
async fn the_habits_of_the_go_client_are_served() {
    by_python("go_style.py", 9).await;
}

#[tokio::test]
async fn the_node_sdk_has_every_method_answered() {
    let gateway = Gateway::start().await;
    let mut node = Command::new("node");
    node.arg(script("node/surface.mjs")).env("KEYGATE_TEST_NODE_MODULES", node_modules());
    expect_parts(&run(&gateway, &mut node), 9);
}
