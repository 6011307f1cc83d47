//! Builds the plugins: compiles each for `wasm32-unknown-unknown`, makes a component of it, and writes that with its
//! digest to `target/plugins`.
//!
//! The bytes depend on the sources and the compiler alone: no path of the building machine gets into them.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::languages;
use crate::project::Project;

const TARGET: &str = "wasm32-unknown-unknown";
const PROFILE: &str = "guest";

/// The shadow stack of a guest, in bytes. Stack, static data and heap share the first page of 64 KiB: a larger stack
/// makes every call dearer.
const STACK_BYTES: u32 = 16_384;

/// The same of a guest that computes with RSA: products of numbers of 4096 bits take about 24 KiB of it. With this, all fits
/// into two pages.
const RSA_STACK_BYTES: u32 = 65_536;

/// The same of the guest that reads policies: the parser and the checker of the language go down into an expression with a
/// call for each level, and the guest bounds the depth to what fits here.
const PARSER_STACK_BYTES: u32 = 524_288;

/// What plugins that compute with RSA are built with beyond the target's default. Wide arithmetic (64 by 64 bits to 128)
/// makes RSA three to four times as fast; the host's engine has it switched on. It is not in the compiler's list of stable
/// features yet: the warning that says so is about this line. No other plugin gets it: with it, LLVM gets the overflow of
/// signed products wrong (`i64::checked_mul`, <https://github.com/llvm/llvm-project/issues/199910>), which
/// RSA does not use.
const FEATURES: &str = "+wide-arithmetic";

/// Which plugins to build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Which {
    /// The plugins that are shipped.
    Builtin,
    /// The guests that the tests need.
    Tests,
    /// All of them, and the examples in Rust.
    #[default]
    All,
    /// The examples in Python and JavaScript, with the toolchains they take.
    Languages,
}

/// A plugin to build.
struct Plugin {
    /// The package it is in.
    package: &'static str,
    /// The manifest of the workspace that the package is in, below the project's root, if it is not the project's.
    manifest: Option<&'static str>,
    /// The feature that makes the package this plugin, if it can be several.
    feature: Option<&'static str>,
    /// The name of the file.
    name: &'static str,
    /// Its shadow stack, in bytes.
    stack: u32,
    /// Whether it may use WASI, beside Keygate's interfaces.
    wasi: bool,
    /// Whether it is built with [`FEATURES`].
    wide: bool,
}

impl Plugin {
    const fn new(package: &'static str, name: &'static str) -> Self {
        Self { package, manifest: None, feature: None, name, stack: STACK_BYTES, wasi: false, wide: false }
    }
}

/// The manifest of the plugin that is a workspace of its own, below the project's root.
pub(crate) const POLICY_RULES: &str = "plugins/policy-rules/Cargo.toml";

const BUILTIN: &[Plugin] = &[
    Plugin { stack: RSA_STACK_BYTES, wide: true, ..Plugin::new("keygate-plugin-aes-gcm", "aes-gcm") },
    Plugin { stack: RSA_STACK_BYTES, wide: true, ..Plugin::new("keygate-plugin-softhsm", "softhsm") },
    Plugin::new("keygate-plugin-access", "access"),
    Plugin {
        manifest: Some(POLICY_RULES),
        stack: PARSER_STACK_BYTES,
        ..Plugin::new("keygate-plugin-policy-rules", "policy-rules")
    },
];

const TESTS: &[Plugin] = &[
    Plugin { feature: Some("backend"), ..Plugin::new("keygate-guest-hostile", "hostile-backend") },
    Plugin { feature: Some("rule"), ..Plugin::new("keygate-guest-hostile", "hostile-rule") },
    Plugin { wasi: true, ..Plugin::new("keygate-guest-wasi", "wasi-rule") },
];

const EXAMPLES: &[Plugin] =
    &[Plugin::new("keygate-example-freeze", "freeze"), Plugin::new("keygate-example-office-hours", "office-hours")];

/// Builds plugins into `target/plugins`, guests of the tests into `test` below it, examples into `examples`; each `NAME.wasm` with a
/// `NAME.wasm.sha256` beside it, in the format of `sha256sum`. Says what it did on stderr.
///
/// # Errors
/// A missing target that rustup cannot add, code that does not compile, or a component that would need more than
/// Keygate's own interfaces.
pub(crate) fn build(which: Which) -> Result<()> {
    let project = Project::find()?;
    if which == Which::Languages {
        return languages::build(&project);
    }
    ensure_target(&project)?;
    let plugins = project.target.join("plugins");
    if which != Which::Tests {
        build_all(&project, BUILTIN, &plugins)?;
    }
    if which != Which::Builtin {
        build_all(&project, TESTS, &plugins.join("test"))?;
    }
    if which == Which::All {
        build_all(&project, EXAMPLES, &plugins.join("examples"))?;
    }
    Ok(())
}

fn build_all(project: &Project, plugins: &[Plugin], directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for plugin in plugins {
        let core = project.compile(plugin).with_context(|| format!("cannot compile plugin {}", plugin.name))?;
        let component = componentize(&core, plugin.wasi)
            .with_context(|| format!("cannot make a component of plugin {}", plugin.name))?;
        let digest = install(directory, plugin.name, &component)?;
        let mut stderr = io::stderr().lock();
        writeln!(stderr, "{:<16} {:>8} bytes  sha256 {digest}", plugin.name, component.len())?;
    }
    Ok(())
}

impl Project {
    /// Compiles a plugin and reads the core module.
    fn compile(&self, plugin: &Plugin) -> Result<Vec<u8>> {
        let mut command = self.cargo();
        command
            // `--crate-type`: with an rlib beside it, cargo would leave link-time optimisation out.
            .args(["rustc", "--quiet", "--lib", "--crate-type", "cdylib"])
            .args(["--package", plugin.package, "--target", TARGET, "--profile", PROFILE])
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags(plugin.wide).join("\x1f"))
            // Both would end up in front of our flags, or around them.
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_BUILD_RUSTFLAGS");
        if let Some(manifest) = plugin.manifest {
            // Into the same target directory: what both workspaces need is there already.
            command.args(["--locked", "--manifest-path"]).arg(self.root.join(manifest));
        }
        if let Some(feature) = plugin.feature {
            command.args(["--features", feature]);
        }
        // For the plugin alone: what it shares with others is not built anew because of it.
        command.arg("--").arg(format!("-Clink-arg=-zstack-size={}", plugin.stack));
        let status = command.status().context("cannot run cargo")?;
        ensure!(status.success(), "cargo rustc failed: {status}; its messages are above");
        let file = self.target.join(TARGET).join(PROFILE).join(plugin.package.replace('-', "_")).with_extension("wasm");
        fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
    }

    /// The compiler's flags: the features, and other names for the paths of this machine (the last one that fits counts).
    fn flags(&self, wide: bool) -> Vec<String> {
        let mut remap = vec![(self.cargo_home.clone(), "cargo")];
        if let Ok(sources) = fs::read_dir(self.cargo_home.join("registry").join("src")) {
            remap.extend(sources.flatten().map(|source| (source.path(), "crates")));
        }
        remap.push((self.root.clone(), "keygate"));
        let mut flags: Vec<String> = wide.then(|| format!("-Ctarget-feature={FEATURES}")).into_iter().collect();
        flags.extend(remap.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
        flags
    }
}

/// Adds the compiler's target, where it is not there.
fn ensure_target(project: &Project) -> Result<()> {
    let output = Command::new("rustc")
        .current_dir(&project.root)
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .context("cannot run rustc")?;
    let libraries = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    writeln!(io::stderr(), "adding the compiler's target {TARGET}")?;
    let added =
        Command::new("rustup").current_dir(&project.root).args(["target", "add", TARGET]).stdout(io::stderr()).status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("the compiler's target {TARGET} is missing: run `rustup target add {TARGET}` and try again"),
    }
}

/// Makes a component of a core module, and sees to it that it asks for nothing but Keygate's interfaces, and WASI's where
/// that is meant.
fn componentize(core: &[u8], wasi: bool) -> Result<Vec<u8>> {
    let component = wit_component::ComponentEncoder::default().validate(true).module(core)?.encode()?;
    let decoded = wit_component::decode(&component)?;
    let resolve = decoded.resolve();
    let imports = resolve.worlds.iter().flat_map(|(_, world)| world.imports.keys());
    for name in imports.map(|key| resolve.name_world_key(key)) {
        ensure!(
            name.starts_with("keygate:") || (wasi && name.starts_with("wasi:")),
            "it imports {name}, which no host of Keygate has: a dependency must be expecting another platform"
        );
    }
    Ok(component)
}

/// Writes the component and its digest; returns the digest.
fn install(directory: &Path, name: &str, component: &[u8]) -> Result<String> {
    let file = format!("{name}.wasm");
    let digest = Sha256::digest(component).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    });
    replace(&directory.join(&file), component)?;
    replace(&directory.join(format!("{file}.sha256")), format!("{digest}  {file}\n").as_bytes())?;
    Ok(digest)
}

/// Writes a file so that nobody ever reads half of it: a server that watches it may be running.
fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, bytes)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("cannot write {}", path.display()))
}
