//! Requests made up from the gateway's own description of its API.

use std::process::Command;

use keygate_tests::Gateway;
use keygate_tests::clients::{expect_parts, python, run, script};

#[tokio::test]
async fn no_request_made_up_from_the_openapi_document_gets_an_undocumented_answer() {
    // Key pairs for import tokens are asked for faster than they are made, and 504 would be a failure.
    let gateway = Gateway::start_with(&[("KEYGATE__SERVER__REQUEST_DEADLINE", "100s")], &[]).await;
    expect_parts(&run(&gateway, Command::new(python()).arg(script("fuzz.py"))), 4);
}
