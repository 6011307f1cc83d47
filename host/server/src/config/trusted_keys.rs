//! `[[trusted_keys]]`: the keys that plugins can be signed with. The keys themselves are read by the runtime, each time
//! that it loads plugins.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use keygate_runtime::manifest::{KeySource, TrustedKey};
use serde::Deserialize;

use super::resolve;
use super::tree::Tree;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    public_key: Option<String>,
    #[serde(default)]
    public_key_file: Option<PathBuf>,
}

pub(super) fn read(tree: &mut Tree, base: &Path) -> Vec<TrustedKey> {
    let mut names = BTreeSet::new();
    let mut keys = Vec::new();
    for (i, entry) in tree.list::<Entry>("trusted_keys").into_iter().enumerate() {
        let Some(Entry { name, public_key, public_key_file }) = entry else { continue };
        if name.is_empty() {
            tree.problem(format!("trusted_keys[{i}].name"), "a key's name is empty", "give it one");
        }
        if !names.insert(name.clone()) {
            let problem = format!("another trusted key is named `{name}`");
            tree.problem(format!("trusted_keys[{i}].name"), problem, "give each key a name of its own");
        }
        let source = match (public_key, public_key_file) {
            (Some(pem), None) => KeySource::Pem(pem),
            (None, Some(file)) => KeySource::File(resolve(base, &file)),
            (both, _) => {
                let (problem, mend) = match both {
                    Some(_) => ("`public_key` and `public_key_file` are both given", "keep one of the two"),
                    None => (
                        "the key itself is missing",
                        "add public_key_file = \"FILE\" (SPKI in PEM, as `openssl pkey -pubout` writes it)",
                    ),
                };
                tree.problem(format!("trusted_keys[{i}]"), problem, mend);
                continue;
            }
        };
        keys.push(TrustedKey { name, source });
    }
    keys
}
