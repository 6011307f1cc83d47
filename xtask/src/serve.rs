//! `cargo xtask serve`: from sources to a gateway that is ready for use.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::plugins::{self, Which};
use crate::project::{Project, run, say};

/// Builds the plugins and the host, and becomes the gateway: in dev mode, unless the arguments name a configuration.
/// Arguments are passed on as they are.
///
/// # Errors
/// When something does not build, or the gateway cannot be started.
pub(crate) fn serve(arguments: &[OsString]) -> Result<()> {
    plugins::build(Which::Builtin)?;
    let project = Project::find()?;
    say("building the gateway (the first time takes some minutes)");
    // The whole workspace's features, so that the tests do not build the heavy crates again with others.
    run(project.cargo().args(["build", "--locked", "--workspace", "--bin", "keygate"]), "its messages are above")?;
    let configured = arguments.iter().any(|argument| {
        let text = argument.to_string_lossy();
        text == "--dev" || text == "--config" || text.starts_with("--config=")
    });
    let mut gateway = Command::new(project.program("debug", "keygate"));
    gateway.arg("serve");
    if !configured {
        gateway.arg("--dev");
    }
    become_program(gateway.args(arguments))
}

/// Replaces this process, so that signals reach the gateway and its exit code is ours.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    Err(command.exec()).context("cannot run the gateway")
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<()> {
    let status = command.status().context("cannot run the gateway")?;
    std::process::exit(status.code().unwrap_or(1))
}
