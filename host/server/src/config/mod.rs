//! The configuration: `plugins.toml`, then `KEYGATE__SECTION__KEY` variables, then flags. It is read once, checked as a
//! whole, and comes out as typed parameters; nothing else in the gateway reads a configuration file or the environment.
//!
//! A section a file. Every key, with its unit, default and risk, is explained in the `plugins.toml` that is shipped.

mod audit;
mod chain;
mod duration;
mod iam;
mod instances;
mod limits;
mod plugins;
mod read;
mod runtime;
mod secrets;
mod server;
mod store;
mod tokens;
mod tree;
mod trusted_keys;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use keygate_core::instance::{CryptoInstance, Instance};
use keygate_core::limits::Limits;
use keygate_pkcs11::{PinSource, TokenConfig};
use keygate_runtime::manifest::TrustedKey;

pub use self::audit::AuditParams;
pub use self::iam::{IamParams, IdentityParams};
pub use self::plugins::PluginParams;
pub use self::runtime::RuntimeParams;
pub use self::secrets::{SecretOrigin, SecretParams, SecretVersionParams};
pub use self::server::ServerParams;
pub use self::store::StoreParams;
use crate::problem::Problem;

/// The environment's variables, as they were when the gateway started.
pub type Environment = BTreeMap<String, String>;

/// Where the configuration comes from before the environment has its say.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file in TOML. Relative paths in it are relative to its directory.
    File(PathBuf),
    /// Made by the gateway itself (dev mode). Relative paths are relative to `base`.
    Made {
        /// The same tree as a file would hold.
        tree: serde_json::Value,
        /// The directory of relative paths.
        base: PathBuf,
    },
}

/// What the command line sets. It beats the environment and the file.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--listen`
    pub listen: Option<SocketAddr>,
}

/// Everything that an operator can choose.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[server]`
    pub server: ServerParams,
    /// `[store]`
    pub store: StoreParams,
    /// `[iam]`
    pub iam: IamParams,
    /// `[[instances]]`
    pub instances: Vec<Instance>,
    /// `[[crypto_instances]]`
    pub crypto_instances: Vec<CryptoInstance>,
    /// `[[secrets]]`
    pub secrets: Vec<SecretParams>,
    /// `[[tokens]]`
    pub tokens: Vec<TokenConfig>,
    /// `[limits]`
    pub limits: Limits,
    /// `limits.rate_limit`: requests that an instance may make in a second. 0 is any number.
    pub rate_limit: u32,
    /// `[runtime]`
    pub runtime: RuntimeParams,
    /// `[audit]`
    pub audit: AuditParams,
    /// `[[plugins]]`, `[[backends]]` and `[policy]`
    pub plugins: PluginParams,
    /// `[[trusted_keys]]`
    pub trusted_keys: Vec<TrustedKey>,
    /// The values of the variables that `[[secrets]]` and `[[tokens]]` name.
    pub environment: SecretEnvironment,
    /// The directory of relative paths.
    pub base: PathBuf,
}

/// The variables that hold secrets, and no others.
#[derive(Clone, Default)]
pub struct SecretEnvironment(BTreeMap<String, zeroize::Zeroizing<String>>);

impl SecretEnvironment {
    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.as_str())
    }

    fn pick(secrets: &[SecretParams], tokens: &[TokenConfig], environment: &Environment) -> Self {
        let names = secrets.iter().flat_map(|s| &s.versions).filter_map(|v| match &v.origin {
            SecretOrigin::Env(name) => Some(name),
            _ => None,
        });
        let pins = tokens.iter().filter_map(|token| match &token.pin {
            PinSource::Environment(name) => Some(name),
            PinSource::File(_) => None,
        });
        let names = names.chain(pins);
        Self(names.filter_map(|n| Some((n.clone(), zeroize::Zeroizing::new(environment.get(n)?.clone())))).collect())
    }
}

impl std::fmt::Debug for SecretEnvironment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A configuration and all that is wrong with it.
#[derive(Debug)]
pub struct Loaded {
    /// As much of it as could be read, with defaults for the rest; none if the file could not be read at all. To be
    /// served only if there are no problems.
    pub config: Option<Config>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Reads the configuration. Finds every problem it can in one go.
pub fn load(source: &Source, environment: &Environment, flags: &Flags) -> Loaded {
    let mut problems = Vec::new();
    let Some(mut tree) = read::read(source, environment, flags, &mut problems) else {
        return Loaded { config: None, problems };
    };
    let base = match source {
        Source::Made { base, .. } => base.clone(),
        Source::File(file) => {
            file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_path_buf()
        }
    };
    let names = Names {
        backends: tree.names("backends"),
        plugins: tree.names("plugins"),
        instances: tree.texts("instances", "id"),
    };
    let server = server::read(&mut tree);
    let secrets = secrets::read(&mut tree, &base);
    let tokens = tokens::read(&mut tree, &base);
    let (limits, rate_limit) = limits::read(&mut tree);
    let (instances, crypto_instances) = instances::read(&mut tree, &names.backends);
    let plugins = plugins::read(&mut tree, &names);
    let crypto_instances = instances::told(crypto_instances, &plugins, &tokens);
    let config = Config {
        server,
        store: store::read(&mut tree, &base),
        iam: iam::read(&mut tree, &base),
        instances,
        crypto_instances,
        limits,
        rate_limit,
        runtime: runtime::read(&mut tree, &base),
        audit: audit::read(&mut tree, &base),
        plugins,
        trusted_keys: trusted_keys::read(&mut tree, &base),
        environment: SecretEnvironment::pick(&secrets, &tokens, environment),
        secrets,
        tokens,
        base,
    };
    problems.append(&mut tree.finish());
    Loaded { config: Some(config), problems }
}

/// The names that entries have, of the entries that cannot be read too: a reference to such an entry is not wrong.
struct Names {
    backends: BTreeSet<String>,
    plugins: BTreeSet<String>,
    /// Ids, in truth.
    instances: BTreeSet<String>,
}

/// A path as the configuration means it.
fn resolve(base: &Path, path: &Path) -> PathBuf {
    base.join(path)
}

#[cfg(test)]
mod tests;
