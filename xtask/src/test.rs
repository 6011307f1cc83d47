//! `cargo xtask test`: installs what the tests need, and runs all of them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::plugins::{self, Which};
use crate::project::{Project, answers, run, say};

/// Prepares and runs every test. `arguments` go to the test runner: a part of a name picks tests.
///
/// # Errors
/// When something the tests need cannot be had, and with the way to get it; when a test fails.
pub(crate) fn test(arguments: &[OsString]) -> Result<()> {
    let project = Project::find()?;
    let python = python(&project)?;
    plugins::build(Which::All)?;
    say("building the gateway and the tests");
    run(project.cargo().args(["build", "--locked", "--workspace"]), "its messages are above")?;
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
        .env("INSTA_UPDATE", "no");
    run(&mut tests, "the failures are above")
}

/// A Python with the official SDK in it, in a virtual environment of the build directory.
fn python(project: &Project) -> Result<PathBuf> {
    let environment = project.target.join("venv");
    let python = environment.join("bin").join("python");
    let requirements = project.root.join("tests").join("clients").join("requirements.txt");
    if !answers(&python, &["-m", "pip", "--version"]) {
        say("making a virtual environment for the client tests");
        if !answers("python3", &["-c", "import venv, ensurepip"]) {
            install_system_packages(&["python3", "python3-venv"])?;
        }
        let mend = "install Python 3.9 or later with its `venv` module";
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment), mend)?;
    }
    say("installing the SDKs that the client tests drive");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    run(pip.stdout(std::io::stderr()), "is the Python package index within reach?")?;
    Ok(python)
}

/// Installs packages of a Debian system as root, and says what to install anywhere else.
fn install_system_packages(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if !answers("apt-get", &["--version"]) {
        bail!("the tests need these packages, or what your system calls them: {list}");
    }
    say(&format!("installing {list}"));
    let mend = format!("run `apt-get update && apt-get install {list}` as root and try again");
    run(Command::new("apt-get").args(["update", "-qq"]).stdout(std::io::stderr()), &mend)?;
    let mut install = Command::new("apt-get");
    install.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    run(install.env("DEBIAN_FRONTEND", "noninteractive").stdout(std::io::stderr()), &mend)
}
