//! `[[secrets]]`: what plugins can be granted under a name. Only where the values are; `crate::secrets` gets them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::resolve;
use super::tree::Tree;

/// A secret and its versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretParams {
    /// Its name, which grants use.
    pub name: String,
    /// At least one, no number twice.
    pub versions: Vec<SecretVersionParams>,
}

/// One version of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretVersionParams {
    /// Its number, from 1. The highest is the current one.
    pub version: u32,
    /// Where its value is.
    pub origin: SecretOrigin,
}

/// Where a secret's value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOrigin {
    /// In a file with mode 0600: 32 bytes in base64.
    File(PathBuf),
    /// In a variable of the environment: 32 bytes in base64.
    Env(String),
    /// Derived by Argon2id from a passphrase in a file with mode 0600.
    Passphrase {
        /// The file.
        file: PathBuf,
        /// At least 16 bytes, no secret.
        salt: Vec<u8>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    versions: Vec<VersionEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VersionEntry {
    version: u32,
    #[serde(default)]
    file: Option<PathBuf>,
    #[serde(default)]
    env: Option<String>,
    #[serde(default)]
    passphrase_file: Option<PathBuf>,
    #[serde(default)]
    salt: Option<String>,
}

pub(super) fn read(tree: &mut Tree, base: &Path) -> Vec<SecretParams> {
    let entries = tree.list::<Entry>("secrets");
    let mut names = BTreeSet::new();
    let mut secrets = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let Some(entry) = entry else { continue };
        let path = format!("secrets[{i}]");
        if entry.name.is_empty() || entry.name.len() > 64 {
            tree.problem(format!("{path}.name"), "a name has 1 to 64 bytes", "choose another");
        }
        if !names.insert(entry.name.clone()) {
            tree.problem(
                format!("{path}.name"),
                format!("another secret is named `{}`", entry.name),
                "put its versions together under one [[secrets]] entry",
            );
            continue;
        }
        if entry.versions.is_empty() {
            tree.problem(format!("{path}.versions"), "there is none", "add a [[secrets.versions]] entry");
        }
        let mut numbers = BTreeSet::new();
        let mut versions = Vec::new();
        for (j, version) in entry.versions.into_iter().enumerate() {
            let path = format!("{path}.versions[{j}]");
            let number = version.version;
            if number == 0 || !numbers.insert(number) {
                let mend = "number them 1, 2, 3, ... and never use a number again";
                tree.problem(format!("{path}.version"), format!("{number} is zero or stands here twice"), mend);
                continue;
            }
            if let Some(origin) = origin(tree, &path, base, version) {
                versions.push(SecretVersionParams { version: number, origin });
            }
        }
        secrets.push(SecretParams { name: entry.name, versions });
    }
    secrets
}

fn origin(tree: &mut Tree, path: &str, base: &Path, entry: VersionEntry) -> Option<SecretOrigin> {
    if entry.salt.is_some() && entry.passphrase_file.is_none() {
        tree.problem(
            format!("{path}.salt"),
            "a salt goes with a passphrase only",
            "remove it, or set `passphrase_file`",
        );
    }
    match (entry.file, entry.env, entry.passphrase_file) {
        (Some(file), None, None) => Some(SecretOrigin::File(resolve(base, &file))),
        (None, Some(name), None) => Some(SecretOrigin::Env(name)),
        (None, None, Some(file)) => {
            let salt = entry.salt.as_deref().map(keygate_core::encoding::decode);
            match salt {
                Some(Ok(salt)) if (16..=64).contains(&salt.len()) => {
                    Some(SecretOrigin::Passphrase { file: resolve(base, &file), salt })
                }
                _ => {
                    let problem = "a passphrase needs a salt of 16 to 64 bytes in base64";
                    tree.problem(format!("{path}.salt"), problem, "make one with `openssl rand -base64 16`");
                    None
                }
            }
        }
        _ => {
            let mend = "set exactly one of `file`, `env` and `passphrase_file`";
            tree.problem(path, "it must be said once where this version is", mend);
            None
        }
    }
}
