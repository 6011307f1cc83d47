//! `keygate plugin new`

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};

use super::project::Lang;
use super::{NewArgs, templates};

/// Writes a project. What is there already is not touched.
pub(super) fn new(args: &NewArgs) -> anyhow::Result<ExitCode> {
    check_name(&args.name)?;
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let taken = dir.read_dir().is_ok_and(|mut entries| entries.next().is_some());
    ensure!(!taken, "{} is not empty; name another directory with --dir", dir.display());
    for (path, text) in templates::files(args) {
        write(&dir.join(path), &text)?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{} is made. What comes next:", dir.display())?;
    writeln!(out, "  cd {}", dir.display())?;
    match args.lang {
        Lang::Rust => {}
        Lang::Python => writeln!(out, "  python3 -m venv .venv && .venv/bin/pip install -r requirements.txt")?,
        Lang::Javascript => writeln!(out, "  npm install")?,
    }
    writeln!(out, "  keygate plugin build\n  keygate plugin test")?;
    Ok(ExitCode::SUCCESS)
}

/// A name must do for a plugin, a crate, an npm package and a file.
fn check_name(name: &str) -> anyhow::Result<()> {
    let sound = name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    ensure!(
        sound,
        "`{name}` cannot be a plugin's name: use 1 to 64 lower-case letters, digits and `-`, a letter first"
    );
    if ["test", "core", "std", "alloc", "keygate-plugin-sdk"].contains(&name) {
        bail!("`{name}` is a name that the compiler uses itself: choose another");
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_for_everything_that_they_are_used_for() {
        for good in ["a", "office-hours", "r2d2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "Office", "office_hours", "2fast", "-a", "a-", "a/b", "..", "core", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
