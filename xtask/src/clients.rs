//! What the tests need of Python and Node: the official SDKs for the client tests, and the toolchains that plugins in these
//! languages are built with; in the build directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::project::{Project, answers, run, say};

/// A Python with what the scripts import, in a virtual environment of the build directory.
///
/// # Errors
/// When there is no Python and none can be installed, or its packages cannot be had.
pub(crate) fn python(project: &Project) -> Result<PathBuf> {
    let requirements = project.root.join("tests").join("clients").join("requirements.txt");
    say("installing the SDKs that the client tests drive");
    virtual_environment(&project.target.join("venv"), &requirements)
}

/// The toolchains of the languages that plugins are written in beside Rust: `node_modules` and, in `python`, a virtual
/// environment. Projects in the directories below it find the first by themselves.
///
/// # Errors
/// As [`python`] and [`node_modules`].
pub(crate) fn toolchains(project: &Project) -> Result<PathBuf> {
    let source = project.root.join("tests").join("authors");
    let place = project.target.join("authors");
    say("installing the toolchains that plugins in Python and JavaScript are built with");
    virtual_environment(&place.join("python"), &source.join("requirements.txt"))?;
    // Not `ci`: some of these packages have optional parts for other platforms that are in no registry, which no lock file
    // can name, and `ci` insists. Versions and digests are the lock file's all the same.
    npm(&source, &place, &["install", "--no-save"])?;
    Ok(place)
}

/// A virtual environment with these packages; its Python.
fn virtual_environment(environment: &Path, requirements: &Path) -> Result<PathBuf> {
    let python = environment.join("bin").join("python");
    if !answers(&python, &["-m", "pip", "--version"]) {
        say(&format!("making the virtual environment {}", environment.display()));
        if !answers("python3", &["-c", "import venv, ensurepip"]) {
            install_system_packages(&["python3", "python3-venv"])?;
        }
        let mend = "install Python 3.10 or later with its `venv` module";
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(environment), mend)?;
    }
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(requirements);
    run(pip.stdout(std::io::stderr()), "is the Python package index within reach?")?;
    Ok(python)
}

/// The `node_modules` with the SDK, in the build directory: exactly what the lock file names.
///
/// # Errors
/// When there is no Node and none can be installed, or its packages cannot be had.
pub(crate) fn node_modules(project: &Project) -> Result<PathBuf> {
    npm(&project.root.join("tests").join("clients").join("node"), &project.target.join("node"), &["ci"])
}

/// The `node_modules` of a place, with exactly what the lock file of a source names.
fn npm(source: &Path, place: &Path, install: &[&str]) -> Result<PathBuf> {
    if !answers("node", &["--version"]) || !answers("npm", &["--version"]) {
        install_system_packages(&["nodejs", "npm"])?;
    }
    let (modules, installed) = (place.join("node_modules"), place.join("installed-lock.json"));
    let lock = fs::read(source.join("package-lock.json"))
        .with_context(|| format!("{}/package-lock.json", source.display()))?;
    if modules.is_dir() && fs::read(&installed).is_ok_and(|installed| installed == lock) {
        return Ok(modules);
    }
    say(&format!("installing packages of Node in {}", place.display()));
    fs::create_dir_all(place).with_context(|| place.display().to_string())?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), place.join(file)).with_context(|| file.to_owned())?;
    }
    let mut npm = Command::new("npm");
    // Nothing that came along is run.
    npm.args(install).args(["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(place);
    run(npm.stdout(std::io::stderr()), "is the Node package registry within reach?")?;
    // Only what was installed to the end counts as installed.
    fs::write(&installed, lock).with_context(|| installed.display().to_string())?;
    Ok(modules)
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
