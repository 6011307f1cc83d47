//! What a command is about: a project with its component, or a component alone with what flags say of it; and the runtime
//! that it is run in, which is the gateway's.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use keygate_core::ports::Entropy as _;
use keygate_core::secret::SecretBytes;
use keygate_runtime::manifest::{BackendManifest, ChainEntry, Manifest, PluginManifest, PolicyManifest};
use keygate_runtime::{HostServices, LoadError, NoTokens, RuntimeConfig, Secret, SecretError, SecretSource};
use serde_json::{Map, Value};

use super::project::{FILE, Project};
use crate::config::Environment;
use crate::problem::{Problem, Problems};
use crate::system::{OsEntropy, SystemClock};

/// Tests and measurements are one call at a time.
const SANDBOXES: u32 = 4;

#[derive(Debug, Args)]
pub(super) struct SubjectArgs {
    /// A project, or a component.
    #[arg(value_name = "DIR|FILE.wasm", default_value = ".")]
    path: PathBuf,
    /// With a project: its component, if it is not NAME.wasm in there.
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Grant this as well: log, random, clock, wasi-minimal, or secrets=NAME. Secrets are made up.
    #[arg(long = "grant", value_name = "GRANT")]
    grants: Vec<String>,
    /// Set a limit, as in plugins.toml: memory=64MiB, deadline=2s.
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,
    /// The plugin's settings, a JSON object, instead of the project's.
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// Where compiled code is kept from one run to the next. keygate/plugins in the user's cache directory, if not given.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

/// What a command is about.
pub(super) struct Subject {
    pub(super) project: Project,
    /// The component's file.
    pub(super) component: PathBuf,
    /// Of `--settings`.
    settings: Option<Map<String, Value>>,
    cache: Option<PathBuf>,
}

impl Subject {
    /// Finds it.
    ///
    /// # Errors
    /// No project, no component, or flags that make no sense.
    pub(super) fn find(args: &SubjectArgs, environment: &Environment) -> anyhow::Result<Self> {
        let (mut project, component) = if args.path.is_dir() {
            let project = Project::read(&args.path)?;
            let component = args.component.clone().unwrap_or_else(|| project.component());
            (project, component)
        } else {
            ensure!(args.path.exists(), "there is no {}", args.path.display());
            ensure!(args.component.is_none(), "--component goes with a project, and {} is a file", args.path.display());
            (project_of(&args.path)?, args.path.clone())
        };
        ensure!(
            component.exists(),
            "there is no {}; make it with `keygate plugin build {}`",
            component.display(),
            project.dir.display()
        );
        for grant in &args.grants {
            project.grant(grant);
        }
        for limit in &args.limits {
            let (name, value) = limit.split_once('=').with_context(|| format!("--limit {limit}: write NAME=VALUE"))?;
            project.limit(name, value);
        }
        let settings = args.settings.as_deref().map(serde_json::from_str).transpose();
        let settings = settings.context("--settings: expected a JSON object such as '{\"rings\": [\"prod\"]}'")?;
        let cache = args.cache.clone().or_else(|| cache(environment)).filter(|dir| make(dir));
        Ok(Self { project, component, settings, cache })
    }

    /// What would stand in `plugins.toml`. The settings are those of the flag, or of the cases, or the project's own.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn entry(&self, of_cases: Option<&Map<String, Value>>) -> Result<PluginManifest, Problems> {
        self.project.entry(&self.component, self.settings.as_ref().or(of_cases))
    }

    /// The gateway's own, with less room.
    pub(super) fn runtime_config(&self) -> RuntimeConfig {
        RuntimeConfig { cache_dir: self.cache.clone(), max_sandboxes: SANDBOXES, ..RuntimeConfig::default() }
    }
}

/// The project that a component lies in, or one made up for a component alone.
fn project_of(component: &Path) -> anyhow::Result<Project> {
    let dir = component.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if dir.join(FILE).is_file() {
        let project = Project::read(dir)?;
        if project.component().file_name() == component.file_name() {
            return Ok(project);
        }
    }
    let inspection = keygate_runtime::inspect::inspect(component)?;
    let Some(world) = inspection.world else {
        bail!("{} is no plugin: {}", component.display(), inspection.problems.join("; "));
    };
    let name = component.file_stem().and_then(|stem| stem.to_str()).unwrap_or("plugin");
    Ok(Project::alone(dir, name, world))
}

/// Where compiled code is kept: compiling a Python or JavaScript component takes many seconds.
fn cache(environment: &Environment) -> Option<PathBuf> {
    let directory = |name: &str| environment.get(name).filter(|dir| dir.starts_with('/')).map(PathBuf::from);
    let base = directory("XDG_CACHE_HOME").or_else(|| Some(directory("HOME")?.join(".cache")))?;
    Some(base.join("keygate").join("plugins"))
}

/// Makes the directory, if it is not there. Without one there is no cache, and that is all.
fn make(dir: &Path) -> bool {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).is_ok()
}

/// The plugin as the only one there is.
pub(super) fn manifest(entry: &PluginManifest) -> Manifest {
    let name = entry.name.clone();
    let mut manifest = Manifest { plugins: vec![entry.clone()], ..Manifest::default() };
    if entry.world.is_backend() {
        manifest.backends = vec![BackendManifest { name: name.clone(), plugin: name }];
    } else {
        manifest.policy = PolicyManifest { chain: vec![ChainEntry::everywhere(name)] };
    }
    manifest
}

/// What loading says, as the gateway's own commands say it.
pub(super) fn load_problems(errors: Vec<LoadError>) -> anyhow::Error {
    Problems(errors.into_iter().map(Problem::from).collect()).into()
}

/// The host's services: the real clock and generator, and secrets that are made up.
pub(super) fn services(secrets: &Arc<MadeUp>) -> HostServices {
    HostServices {
        secrets: Arc::clone(secrets) as _,
        tokens: Arc::new(NoTokens),
        entropy: Arc::new(OsEntropy),
        clock: Arc::new(SystemClock),
    }
}

/// Secrets made up as they are asked for: 32 random bytes each.
#[derive(Default)]
pub(super) struct MadeUp(Mutex<BTreeMap<String, Vec<[u8; 32]>>>);

impl MadeUp {
    /// Gives every secret that was asked for a new version.
    ///
    /// # Errors
    /// There is no randomness.
    pub(super) fn rotate(&self) -> anyhow::Result<()> {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for versions in secrets.values_mut() {
            versions.push(random()?);
        }
        Ok(())
    }

    fn get(&self, name: &str, version: Option<u32>) -> Result<Secret, SecretError> {
        let mut secrets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = secrets.entry(name.to_owned()).or_default();
        if versions.is_empty() {
            versions.push(random().map_err(|error| SecretError::Unavailable(error.to_string()))?);
        }
        let newest = u32::try_from(versions.len()).map_err(|_| SecretError::NoSuchVersion)?;
        let version = version.unwrap_or(newest);
        let place = version.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        let value = place.and_then(|place| versions.get(place)).ok_or(SecretError::NoSuchVersion)?;
        Ok(Secret { version, value: SecretBytes::new(value.to_vec()) })
    }
}

impl SecretSource for MadeUp {
    fn current(&self, name: &str) -> Result<Secret, SecretError> {
        self.get(name, None)
    }

    fn version(&self, name: &str, version: u32) -> Result<Secret, SecretError> {
        self.get(name, Some(version))
    }

    fn exists(&self, _: &str) -> bool {
        true
    }
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsEntropy.fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_up_once_and_rotate() {
        let secrets = MadeUp::default();
        let first = secrets.current("kek").unwrap();
        assert_eq!(first.value.expose(), secrets.version("kek", 1).unwrap().value.expose());
        secrets.rotate().unwrap();
        let second = secrets.current("kek").unwrap();
        assert_eq!(second.version, 2);
        assert_ne!(first.value.expose(), second.value.expose());
        assert!(matches!(secrets.version("kek", 3), Err(SecretError::NoSuchVersion)));
        assert!(matches!(secrets.version("kek", 0), Err(SecretError::NoSuchVersion)));
        assert_ne!(secrets.current("other").unwrap().value.expose(), second.value.expose());
    }

    #[test]
    fn the_cache_is_where_caches_are() {
        let environment = |pairs: &[(&str, &str)]| -> Environment {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let found = |pairs: &[(&str, &str)]| cache(&environment(pairs));
        assert_eq!(found(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some(PathBuf::from("/c/keygate/plugins")));
        assert_eq!(found(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")]), Some(PathBuf::from("/h/.cache/keygate/plugins")));
        assert_eq!(found(&[]), None);
    }
}
