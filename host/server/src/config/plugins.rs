//! `[[plugins]]`, `[[backends]]` and, by way of [`super::chain`], `[policy]`. What a `[[plugins]]` entry may hold is the
//! runtime's own business: it reads them itself, and this hands them over.

use std::collections::BTreeSet;

use keygate_runtime::manifest::ChainEntry;
use serde::Deserialize;

use super::tree::Tree;
use super::{Names, chain};
use crate::problem::nearest;

/// What is loaded into sandboxes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginParams {
    /// The `[[plugins]]` entries as they are.
    pub plugins: Vec<serde_json::Value>,
    /// Name and plugin of each backend.
    pub backends: Vec<(String, String)>,
    /// The rules in the order in which they are asked, and what each is asked about.
    pub chain: Vec<ChainEntry>,
    /// Whether each plugin must say the SHA-256 of its file.
    pub require_digest: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backend {
    name: String,
    plugin: String,
}

pub(super) fn read(tree: &mut Tree, known: &Names) -> PluginParams {
    let mut names = BTreeSet::new();
    let mut backends = Vec::new();
    for (i, entry) in tree.list::<Backend>("backends").into_iter().enumerate() {
        let Some(entry) = entry else { continue };
        if !is_name(&entry.name) {
            let problem =
                "a backend's name has 1 to 64 letters, digits, '-', '_' and '.': it stands in every ciphertext";
            tree.problem(format!("backends[{i}].name"), problem, "choose another");
        }
        if !names.insert(entry.name.clone()) {
            let problem = format!("another backend is named `{}`", entry.name);
            tree.problem(format!("backends[{i}].name"), problem, "give each backend a name of its own");
        }
        check_reference(tree, &format!("backends[{i}].plugin"), &entry.plugin, &known.plugins);
        backends.push((entry.name, entry.plugin));
    }
    let chain = chain::read(tree, known);
    PluginParams { plugins: tree.raw_list("plugins"), backends, chain, require_digest: true }
}

/// Whether a backend can be called this. The header of ciphertexts has room for 64 bytes, and no name is cut.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// A plugin that is named must be there.
pub(super) fn check_reference(tree: &mut Tree, path: &str, plugin: &str, plugins: &BTreeSet<String>) {
    if !plugins.contains(plugin) {
        let mend = match nearest(plugin, plugins.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add a [[plugins]] entry with name = \"{plugin}\""),
        };
        tree.problem(path, format!("there is no plugin `{plugin}`"), mend);
    }
}
