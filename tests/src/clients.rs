//! Clients that others wrote, in processes of their own, against a gateway that the test started.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Gateway;

/// The Python that has the SDK and what else the scripts import, as `cargo xtask test` made it.
pub fn python() -> OsString {
    made_by_xtask("KEYGATE_TEST_PYTHON")
}

/// The `node_modules` that have the SDK, as `cargo xtask test` made it.
pub fn node_modules() -> OsString {
    made_by_xtask("KEYGATE_TEST_NODE_MODULES")
}

/// The toolchains that plugins in Python and JavaScript are built with, as `cargo xtask test` made them.
pub fn toolchains() -> PathBuf {
    made_by_xtask("KEYGATE_TEST_AUTHORS").into()
}

fn made_by_xtask(variable: &str) -> OsString {
    std::env::var_os(variable).unwrap_or_else(|| panic!("{variable} is not set: run `cargo xtask test`"))
}

/// Where the scripts are.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
}

/// Runs a client against a gateway and returns what it printed.
///
/// # Panics
/// When it fails, with all that it printed.
pub fn run(gateway: &Gateway, client: &mut Command) -> String {
    let ready = serde_json::json!({
        "url": gateway.ready.url,
        "private_url": gateway.ready.private_url,
        "iam_url": gateway.ready.iam_url,
        "instances": gateway.ready.instances,
        "api_keys": gateway.ready.api_keys,
    });
    client.env("KEYGATE_READY", ready.to_string()).env("PYTHONDONTWRITEBYTECODE", "1").env("NO_PROXY", "*");
    // It must talk to nobody but the gateway.
    for proxy in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy"] {
        client.env_remove(proxy);
    }
    let output = client.output().expect("the client can be started");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Insists that so many parts of a script said that they went well.
///
/// # Panics
/// When they are others.
pub fn expect_parts(output: &str, parts: usize) {
    let said = output.lines().filter(|line| line.ends_with(": ok")).count();
    assert_eq!(said, parts, "{output}");
}
