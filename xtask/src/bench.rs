//! `cargo xtask bench`: the figures, from a release build.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::plugins::{self, Which};
use crate::project::{Project, run, say};

/// Builds for release and runs the benchmark. Arguments are passed on; `--help` names them.
///
/// # Errors
/// When something does not build, or the benchmark fails.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    plugins::build(Which::Builtin)?;
    let project = Project::find()?;
    say("building for release (the first time takes ten minutes and more)");
    let build = ["build", "--locked", "--release", "--package", "keygate-tests", "--bin", "keygate-bench"];
    run(project.cargo().args(build), "its messages are above")?;
    let mut bench = Command::new(project.program("release", "keygate-bench"));
    bench.args(arguments).env("KEYGATE_PLUGIN_DIR", project.target.join("plugins"));
    run(&mut bench, "its messages are above")
}
