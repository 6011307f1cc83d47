//! `[[plugins]]`, `[[backends]]` and `[policy]`. What a `[[plugins]]` entry may hold is the runtime's own business: it
//! reads them itself, and this hands them over.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::tree::Tree;
use crate::problem::nearest;

/// What is loaded into sandboxes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PluginParams {
    /// The `[[plugins]]` entries as they are.
    pub plugins: Vec<serde_json::Value>,
    /// Name and plugin of each backend.
    pub backends: Vec<(String, String)>,
    /// The names of the rules, in the order in which they are asked.
    pub chain: Vec<String>,
    /// Whether each plugin must say the SHA-256 of its file.
    pub require_digest: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Backend {
    name: String,
    plugin: String,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Policy {
    chain: Vec<String>,
}

pub(super) fn read(tree: &mut Tree, plugins: &BTreeSet<String>) -> PluginParams {
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
        check_reference(tree, &format!("backends[{i}].plugin"), &entry.plugin, plugins);
        backends.push((entry.name, entry.plugin));
    }
    let policy: Policy = tree.section("policy");
    if policy.chain.is_empty() {
        let problem = "the policy chain is empty, so every request would be denied";
        tree.problem("policy.chain", problem, "name at least one rule, such as chain = [\"access\"]");
    }
    for (i, rule) in policy.chain.iter().enumerate() {
        check_reference(tree, &format!("policy.chain[{i}]"), rule, plugins);
    }
    PluginParams { plugins: tree.raw_list("plugins"), backends, chain: policy.chain, require_digest: true }
}

/// Whether a backend can be called this. The header of ciphertexts has room for 64 bytes, and no name is cut.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn check_reference(tree: &mut Tree, path: &str, plugin: &str, plugins: &BTreeSet<String>) {
    if !plugins.contains(plugin) {
        let mend = match nearest(plugin, plugins.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add a [[plugins]] entry with name = \"{plugin}\""),
        };
        tree.problem(path, format!("there is no plugin `{plugin}`"), mend);
    }
}
