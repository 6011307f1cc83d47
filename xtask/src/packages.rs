//! Packages of the operating system that the tests need: PKCS#11 modules, and tools that look at tokens from outside.

use std::process::Command;

use anyhow::{Result, bail};

use crate::project::{run, say};

/// A program of each package.
const NEEDED: [(&str, &str); 3] =
    [("softhsm2-util", "softhsm2"), ("pkcs11-tool", "opensc"), ("certutil", "libnss3-tools")];

/// Installs what is missing, by apt, as root or by sudo that asks for nothing.
///
/// # Errors
/// There is no such way here: with what to install.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<&str> =
        NEEDED.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    say(&format!("installing {packages}"));
    let told = format!("the tests need these packages: apt-get install {packages}");
    let Some(apt) = apt() else { bail!(told) };
    // Lists that are out of date are mended by the second; whether that was enough, the third says.
    let _ = command(&apt, &["update", "-qq"]).status();
    run(command(&apt, &["install", "-y", "-qq"]).args(&missing).env("DEBIAN_FRONTEND", "noninteractive"), &told)
}

fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

/// How apt is called here, where it can be.
fn apt() -> Option<Vec<&'static str>> {
    if !is_there("apt-get") {
        return None;
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    if root {
        return Some(vec!["apt-get"]);
    }
    let sudo =
        is_there("sudo") && Command::new("sudo").args(["-n", "true"]).status().is_ok_and(|status| status.success());
    sudo.then(|| vec!["sudo", "-n", "apt-get"])
}

fn command(apt: &[&str], arguments: &[&str]) -> Command {
    let mut command = Command::new(apt.first().unwrap_or(&"apt-get"));
    command.args(apt.iter().skip(1)).args(arguments).stdout(std::io::stderr());
    command
}
