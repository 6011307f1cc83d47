//! `keygate plugin build`: runs the language's own toolchain and makes a component of what comes out.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail, ensure};
use aws_lc_rs::digest;
use tempfile::TempDir;

use super::project::{Lang, Project};
use super::{BuildArgs, hex, templates};
use crate::config::Environment;

const TARGET: &str = "wasm32-unknown-unknown";

/// A tool that is not there, and how it is had.
const CARGO: &str = "install Rust 1.95 or later (https://rustup.rs), then `rustup target add wasm32-unknown-unknown`";
const COMPONENTIZE_PY: &str = "run `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` in the project, or put componentize-py 0.25 \
     on the path";
const NODE: &str = "install Node.js 20.19 or later (https://nodejs.org)";
const COMPONENTIZE_JS: &str = "run `npm install` in the project";

/// Builds the project's component and writes its digest beside it.
pub(super) fn build(args: &BuildArgs, environment: &Environment) -> anyhow::Result<ExitCode> {
    let project = Project::read(&args.project)?;
    let output = args.out.clone().unwrap_or_else(|| project.component());
    let output = std::path::absolute(&output).with_context(|| output.display().to_string())?;
    let component = component(&project, environment)?;
    let digest = install(&output, &component)?;
    let mut out = io::stdout().lock();
    let shown = args.out.clone().unwrap_or_else(|| project.component());
    if args.json {
        let file = shown.display().to_string();
        writeln!(out, "{}", serde_json::json!({"file": file, "bytes": component.len(), "sha256": digest}))?;
    } else {
        writeln!(out, "{}  {} bytes  sha256 {digest}", shown.display(), component.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn component(project: &Project, environment: &Environment) -> anyhow::Result<Vec<u8>> {
    if project.lang == Lang::Rust {
        return rust(project);
    }
    let place = TempDir::new().context("no temporary directory")?;
    let output = place.path().join("plugin.wasm");
    let wit = contract(project, &place)?;
    match project.lang {
        Lang::Python => python(project, environment, &wit, &output)?,
        _ => javascript(project, &wit, &output)?,
    }
    fs::read(&output).context("the toolchain ended well and left no component")
}

/// The contract: the project's copy, or else this program's.
fn contract(project: &Project, place: &TempDir) -> anyhow::Result<PathBuf> {
    let own = project.dir.join("wit");
    if own.is_dir() {
        return std::path::absolute(&own).context("the project's `wit`");
    }
    let wit = place.path().join("wit");
    for (path, text) in templates::wit(project.world != "policy-rule") {
        let path = wit.join(path);
        fs::create_dir_all(path.parent().unwrap_or(&wit))
            .and_then(|()| fs::write(&path, text))
            .context("the contract")?;
    }
    Ok(wit)
}

fn rust(project: &Project) -> anyhow::Result<Vec<u8>> {
    let mut cargo = Command::new("cargo");
    // `--crate-type`: with an rlib beside it, cargo would leave link-time optimisation out. The messages are for whoever
    // looks; what is made is read from stdout.
    cargo
        .args(["rustc", "--lib", "--crate-type", "cdylib", "--release", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(&project.dir)
        .stderr(Stdio::inherit());
    let output = cargo.output().map_err(|error| missing("cargo", &error, CARGO))?;
    ensure!(
        output.status.success(),
        "cargo failed, its messages are above; if it has no `core` for {TARGET}, run `rustup target add {TARGET}`"
    );
    let module =
        artifact(&output.stdout).context("cargo made no WebAssembly: `[lib]` must have `crate-type = [\"cdylib\"]`")?;
    let module = fs::read(&module).with_context(|| module.display().to_string())?;
    let encoded = wit_component::ComponentEncoder::default().validate(true).module(&module).and_then(|e| e.encode());
    encoded.context(
        "this cannot be made a component; if it imports something from `env` or `__wbindgen_placeholder__`, a dependency \
         expects another platform than Keygate's sandbox",
    )
}

/// The last `.wasm` that cargo says it made.
fn artifact(messages: &[u8]) -> Option<PathBuf> {
    let messages = messages.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let mut files =
        messages.filter(|message: &serde_json::Value| message["reason"] == "compiler-artifact").flat_map(|message| {
            let files = message["filenames"].as_array().cloned().unwrap_or_default();
            files.into_iter().filter_map(|file| file.as_str().map(PathBuf::from))
        });
    files.rfind(|file| file.extension() == Some(OsStr::new("wasm")))
}

fn python(project: &Project, environment: &Environment, wit: &Path, output: &Path) -> anyhow::Result<()> {
    let own = project.dir.join(".venv");
    // The project's own virtual environment, or the one that is switched on, or whatever is on the path.
    let venv = if own.is_dir() { Some(own) } else { environment.get("VIRTUAL_ENV").map(PathBuf::from) };
    let venv = venv.map(|venv| std::path::absolute(&venv)).transpose().context("the virtual environment")?;
    let program =
        venv.as_ref().map_or_else(|| "componentize-py".into(), |venv| venv.join("bin").join("componentize-py"));
    let mut command = Command::new(&program);
    command.arg("--wit-path").arg(wit).args(["--world", &project.world, "componentize"]);
    if let Some(venv) = &venv {
        // This is how it finds the packages.
        command.env("VIRTUAL_ENV", venv);
    }
    if !project.has_wasi() {
        command.arg("--stub-wasi");
    }
    command.arg(project.source()).arg("--output").arg(output).current_dir(&project.dir);
    run(&mut command, "componentize-py", COMPONENTIZE_PY)
}

fn javascript(project: &Project, wit: &Path, output: &Path) -> anyhow::Result<()> {
    let script = project.dir.join("build.mjs");
    ensure!(script.is_file(), "{} is missing: `keygate plugin new --lang javascript` writes one", script.display());
    let mut command = Command::new("node");
    command.args(["build.mjs", project.source()]).arg(wit).arg(&project.world).arg(output);
    if project.has_wasi() {
        command.args(["stdio", "random", "clocks"]);
    }
    command.current_dir(&project.dir);
    run(&mut command, "node", NODE).with_context(|| format!("if a package was not found: {COMPONENTIZE_JS}"))
}

/// Runs a tool; what it prints goes to stderr.
fn run(command: &mut Command, name: &str, mend: &str) -> anyhow::Result<()> {
    let status = command.stdout(io::stderr()).status().map_err(|error| missing(name, &error, mend))?;
    ensure!(status.success(), "{name} failed ({status}); its messages are above");
    Ok(())
}

fn missing(name: &str, error: &io::Error, mend: &str) -> anyhow::Error {
    match error.kind() {
        ErrorKind::NotFound => anyhow::anyhow!("there is no {name}: {mend}"),
        _ => anyhow::anyhow!("{name} cannot be run: {error}"),
    }
}

/// Writes the component and its digest; returns the digest. Nobody ever reads half of either.
fn install(path: &Path, component: &[u8]) -> anyhow::Result<String> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { bail!("{} is no file's name", path.display()) };
    let digest = hex(digest::digest(&digest::SHA256, component).as_ref());
    let parent = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    replace(path, component)?;
    replace(&parent.join(format!("{name}.sha256")), format!("{digest}  {name}\n").as_bytes())?;
    Ok(digest)
}

fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_artifact_is_the_last_module_that_cargo_names() {
        let messages = b"not json\n\
            {\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/libserde.rlib\"]}\n\
            {\"reason\":\"compiler-artifact\",\"filenames\":[\"/t/mine.wasm\"]}\n\
            {\"reason\":\"build-finished\",\"success\":true}\n";
        assert_eq!(artifact(messages), Some(PathBuf::from("/t/mine.wasm")));
        assert_eq!(artifact(b""), None);
    }

    #[test]
    fn what_is_missing_says_how_it_is_had() {
        let error = run(&mut Command::new("/nonexistent/tool"), "tool", "install it").unwrap_err();
        assert_eq!(error.to_string(), "there is no tool: install it");
    }
}
