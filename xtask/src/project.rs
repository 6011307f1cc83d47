//! Where things are, and how commands are run.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// The workspace and its build directory.
pub(crate) struct Project {
    /// The cargo that runs this.
    pub(crate) cargo: OsString,
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// The one build directory.
    pub(crate) target: PathBuf,
    /// Cargo's own directory.
    pub(crate) cargo_home: PathBuf,
}

impl Project {
    /// Finds the project that this program was built in.
    ///
    /// # Errors
    /// When cargo cannot say.
    pub(crate) fn find() -> Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(&cargo)
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        ensure!(output.status.success(), "cargo metadata failed: {}", output.status);
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
        let path = |name: &str| {
            metadata[name].as_str().map(PathBuf::from).with_context(|| format!("cargo metadata has no {name}"))
        };
        let cargo_home = std::env::var_os("CARGO_HOME")
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
            .context("no home directory: set CARGO_HOME")?;
        Ok(Self { cargo, root: path("workspace_root")?, target: path("target_directory")?, cargo_home })
    }

    /// A cargo command in the workspace, with the one build directory. What it prints goes to stderr.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target).stdout(io::stderr());
        command
    }

    /// A program that a profile built.
    pub(crate) fn program(&self, profile: &str, name: &str) -> PathBuf {
        self.target.join(profile).join(name).with_extension(std::env::consts::EXE_EXTENSION)
    }
}

/// Says what is being done, on stderr: stdout belongs to the gateway.
pub(crate) fn say(what: &str) {
    // Nobody to tell is no reason to stop.
    let _ = writeln!(io::stderr(), "xtask: {what}");
}

/// Runs a command and insists on its success.
///
/// # Errors
/// When it cannot be started or fails. `mend` says what to do about it.
pub(crate) fn run(command: &mut Command, mend: &str) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}: {mend}"))?;
    ensure!(status.success(), "{name} failed ({status}): {mend}");
    Ok(())
}

/// Whether a program runs when asked for its version.
pub(crate) fn answers(program: impl AsRef<OsStr>, arguments: &[&str]) -> bool {
    let status =
        Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
