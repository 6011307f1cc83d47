//! Builds the examples in Python and JavaScript, as their authors would: with `keygate plugin build`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::clients;
use crate::project::{Project, run, say};

/// The examples by their directories.
const EXAMPLES: [&str; 2] = ["two-managers", "pci-network"];

/// Builds the examples into `target/plugins/examples`. One whose sources, toolchain and contract are what they were is left
/// as it is: each takes half a minute.
///
/// # Errors
/// A toolchain that cannot be had, or sources that do not build.
pub(crate) fn build(project: &Project) -> Result<()> {
    let toolchains = clients::toolchains(project)?;
    say("building the gateway, which builds the examples");
    run(project.cargo().args(["build", "--locked", "--package", "keygate"]), "its messages are above")?;
    let plugins = project.target.join("plugins").join("examples");
    for name in EXAMPLES {
        let source = project.root.join("examples").join(name);
        let inputs = digest(&[&source, &project.root.join("tests").join("authors"), &project.root.join("wit")])?;
        let (output, built_from) =
            (plugins.join(name).with_extension("wasm"), plugins.join(name).with_extension("inputs"));
        if output.is_file() && fs::read_to_string(&built_from).is_ok_and(|known| known == inputs) {
            continue;
        }
        say(&format!("building the example {name}"));
        // Below the toolchains, where their packages are found.
        let place = toolchains.join("examples").join(name);
        copy(&source, &place)?;
        let mut keygate = Command::new(project.program("debug", "keygate"));
        keygate.args(["plugin", "build"]).arg(&place).arg("--out").arg(&output);
        keygate.env("VIRTUAL_ENV", toolchains.join("python")).stdout(std::io::stderr());
        run(&mut keygate, "its messages are above")?;
        fs::write(&built_from, inputs).with_context(|| built_from.display().to_string())?;
    }
    Ok(())
}

/// The files of a directory and of those below it, in the order of their paths. What toolchains leave behind is not counted.
fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || name == "node_modules" || name == "__pycache__" || name.contains(".wasm") {
            continue;
        }
        if path.is_dir() { found.extend(files(&path)?) } else { found.push(path) }
    }
    found.sort();
    Ok(found)
}

/// A digest of all that is in these directories.
fn digest(directories: &[&Path]) -> Result<String> {
    let mut hash = Sha256::new();
    for directory in directories {
        for file in files(directory)? {
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            let name = file.strip_prefix(directory).unwrap_or(&file).display().to_string();
            hash.update(format!("{name}\n{}\n", bytes.len()));
            hash.update(bytes);
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Copies the files of a directory. Whatever was in the place before is gone.
fn copy(source: &Path, place: &Path) -> Result<()> {
    if place.exists() {
        fs::remove_dir_all(place).with_context(|| place.display().to_string())?;
    }
    for file in files(source)? {
        let to = place.join(file.strip_prefix(source).unwrap_or(&file));
        fs::create_dir_all(to.parent().unwrap_or(place)).with_context(|| to.display().to_string())?;
        fs::copy(&file, &to).with_context(|| to.display().to_string())?;
    }
    Ok(())
}
