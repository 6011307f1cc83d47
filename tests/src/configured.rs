//! A gateway as an operator sets one up: a directory with a `plugins.toml`, a KEK, and an identity with an API key.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::gateway::program;

/// The instance in the configuration.
pub const INSTANCE: &str = "6d1f0d9c-6b0c-4f0e-9d55-2a6f3f1f7a01";

/// Such a directory.
pub struct Place {
    directory: tempfile::TempDir,
    /// The API key of `IBMid-ann`, a Manager.
    pub api_key: String,
    hash: String,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// Makes one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let kek = directory.path().join("kek-1");
        fs::write(&kek, keygate_core::encoding::encode(&[0x4B; 32])).expect("the KEK can be written");
        fs::set_permissions(&kek, fs::Permissions::from_mode(0o600)).expect("and made private");
        let (api_key, hash) = new_api_key();
        Self { directory, api_key, hash }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes `plugins.toml`: what every such gateway has, these plugin entries, and this chain.
    pub fn write(&self, plugins: &str, chain: &str) -> PathBuf {
        let hash = &self.hash;
        let text = format!(
            r#"
[server]
listen = "127.0.0.1:0"

[store]
path = "keygate.redb"

[audit]
file = "audit.jsonl"

[iam]
account = "acme"

[[iam.identities]]
id = "IBMid-ann"
api_key_hashes = ["{hash}"]
roles = [{{ roles = ["Manager"], instance = "{INSTANCE}" }}]

[[instances]]
id = "{INSTANCE}"
name = "first"
region = "us-south"
account = "acme"
backend = "software"

[[secrets]]
name = "kek"
[[secrets.versions]]
version = 1
file = "kek-1"

[[backends]]
name = "software"
plugin = "aes-gcm"

[policy]
chain = {chain}

{plugins}
"#
        );
        let file = self.path().join("plugins.toml");
        fs::write(&file, text).expect("the configuration can be written");
        file
    }

    /// Runs `keygate check` on it.
    pub fn check(&self, arguments: &[&str]) -> Output {
        let file = self.path().join("plugins.toml");
        Command::new(program()).arg("check").arg("--config").arg(file).args(arguments).output().expect("keygate runs")
    }
}

/// An API key, and the hash of it that a configuration has.
pub fn new_api_key() -> (String, String) {
    let made = Command::new(program()).args(["iam", "new-key", "--json"]).output().expect("keygate runs");
    let made: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("api_key"), text("hash"))
}

/// The entry of a built-in plugin.
pub fn builtin(name: &str) -> String {
    let (world, grants) = match name {
        "aes-gcm" => ("software-backend", r#"{ log = true, random = true, secrets = ["kek"] }"#),
        _ => ("policy-rule", "{ log = true }"),
    };
    entry(name, &component(&format!("{name}.wasm")), world, grants)
}

/// A plugin's entry, with the digest that is beside the component.
pub fn entry(name: &str, file: &Path, world: &str, grants: &str) -> String {
    let file = file.display();
    format!(
        "[[plugins]]\nname = \"{name}\"\nfile = \"{file}\"\nsha256_file = \"{file}.sha256\"\nworld = \"{world}\"\n\
         grants = {grants}\n"
    )
}

/// A component that `cargo xtask plugins` built, by its path below `target/plugins`.
pub fn component(name: &str) -> PathBuf {
    let plugins = match std::env::var_os("KEYGATE_PLUGIN_DIR") {
        Some(plugins) => PathBuf::from(plugins),
        None => program().ancestors().nth(2).expect("a target directory").join("plugins"),
    };
    let file = plugins.join(name);
    assert!(file.exists(), "{} is not there: run `cargo xtask plugins`", file.display());
    file
}
