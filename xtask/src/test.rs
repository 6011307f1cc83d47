//! `cargo xtask test`: installs what the tests need, and runs all of them.

use std::ffi::OsString;

use anyhow::Result;

use crate::clients;
use crate::packages;
use crate::plugins::{self, Which};
use crate::project::{Project, answers, run, say};

/// Prepares and runs every test. `arguments` go to the test runner: a part of a name picks tests.
///
/// # Errors
/// When something the tests need cannot be had, and with the way to get it; when a test fails.
pub(crate) fn test(arguments: &[OsString]) -> Result<()> {
    let project = Project::find()?;
    packages::install()?;
    let python = clients::python(&project)?;
    let node_modules = clients::node_modules(&project)?;
    plugins::build(Which::All)?;
    say("building the gateway and the tests");
    run(project.cargo().args(["build", "--locked", "--workspace"]), "its messages are above")?;
    plugins::build(Which::Languages)?;
    say("testing the plugin in a workspace of its own");
    let mut own = project.cargo();
    own.args(["test", "--quiet", "--locked", "--manifest-path", plugins::POLICY_RULES]).args(arguments);
    run(&mut own, "the failures are above")?;
    say("running the tests");
    let nextest = answers(&project.cargo, &["nextest", "--version"]);
    let mut tests = project.cargo();
    if nextest {
        tests.args(["nextest", "run", "--locked", "--workspace", "--no-fail-fast"]);
    } else {
        // The same tests, a little slower: each file's in one process.
        tests.args(["test", "--locked", "--workspace", "--no-fail-fast", "--"]);
    }
    tests
        .args(arguments)
        .env("KEYGATE_BIN", project.program("debug", "keygate"))
        .env("KEYGATE_PLUGIN_DIR", project.target.join("plugins"))
        .env("KEYGATE_TEST_PYTHON", python)
        .env("KEYGATE_TEST_NODE_MODULES", node_modules)
        .env("KEYGATE_TEST_AUTHORS", project.target.join("authors"))
        .env("INSTA_UPDATE", "no");
    run(&mut tests, "the failures are above")
}
