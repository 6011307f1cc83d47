//! `[[instances]]` and `[[crypto_instances]]`

use std::collections::BTreeSet;

use keygate_core::ids::InstanceId;
use keygate_core::instance::{CryptoInstance, Instance};
use keygate_pkcs11::{Find, TokenConfig};
use serde::Deserialize;
use serde_json::Value;

use super::PluginParams;
use super::tree::Tree;
use crate::problem::nearest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    region: String,
    account: String,
    backend: Option<String>,
    crypto_instance: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CryptoEntry {
    id: String,
    name: String,
    region: String,
    account: String,
    backend: String,
}

/// Reads both.
pub(super) fn read(tree: &mut Tree, backends: &BTreeSet<String>) -> (Vec<Instance>, Vec<CryptoInstance>) {
    let mut reader = Reader { backends, seen: BTreeSet::new() };
    let crypto = reader.crypto(tree);
    (reader.instances(tree, &crypto), crypto)
}

/// With what is told of the backends that stand for them: the plugin, and the labels of the tokens that it was granted.
pub(super) fn told(
    mut crypto: Vec<CryptoInstance>,
    plugins: &PluginParams,
    tokens: &[TokenConfig],
) -> Vec<CryptoInstance> {
    for crypto in &mut crypto {
        let Some((_, plugin)) = plugins.backends.iter().find(|(name, _)| *name == crypto.backend) else { continue };
        crypto.plugin.clone_from(plugin);
        let entry = plugins.plugins.iter().find(|entry| entry["name"] == plugin.as_str());
        let granted = entry.and_then(|entry| entry["grants"]["pkcs11"].as_array());
        let granted = granted.into_iter().flatten().filter_map(Value::as_str);
        let labels = granted.filter_map(|name| match &tokens.iter().find(|token| token.name == name)?.find {
            Find::Label(label) => Some(label.clone()),
            Find::Serial(_) => None,
        });
        crypto.token_labels = labels.collect();
    }
    crypto
}

struct Reader<'a> {
    backends: &'a BTreeSet<String>,
    seen: BTreeSet<InstanceId>,
}

impl Reader<'_> {
    fn crypto(&mut self, tree: &mut Tree) -> Vec<CryptoInstance> {
        let mut crypto = Vec::new();
        for (i, entry) in tree.list::<CryptoEntry>("crypto_instances").into_iter().enumerate() {
            let Some(CryptoEntry { id, name, region, account, backend }) = entry else { continue };
            let path = format!("crypto_instances[{i}]");
            self.backend(tree, &path, &format!("crypto instance `{name}`"), &backend);
            crns(tree, &path, &region, &account);
            if let Some(id) = self.id(tree, &path, &id) {
                // The rest is filled in when plugins and tokens are read.
                let (plugin, token_labels) = Default::default();
                crypto.push(CryptoInstance { id, name, region, account, backend, plugin, token_labels });
            }
        }
        crypto
    }

    fn instances(&mut self, tree: &mut Tree, crypto: &[CryptoInstance]) -> Vec<Instance> {
        let entries = tree.list::<Entry>("instances");
        if entries.is_empty() {
            tree.problem(
                "instances",
                "there is no instance, so nobody could do anything",
                "add an [[instances]] entry",
            );
        }
        let mut instances = Vec::new();
        for (i, entry) in entries.into_iter().enumerate() {
            let Some(entry) = entry else { continue };
            let path = format!("instances[{i}]");
            let bound = self.bound(tree, &path, &entry, crypto);
            crns(tree, &path, &entry.region, &entry.account);
            let Some(id) = self.id(tree, &path, &entry.id) else { continue };
            let Some((backend, crypto_instance)) = bound else { continue };
            let Entry { name, region, account, .. } = entry;
            instances.push(Instance { id, name, region, account, backend, crypto_instance });
        }
        instances
    }

    /// What an instance makes its keys on: a backend, or the one of a crypto instance.
    fn bound(
        &self,
        tree: &mut Tree,
        path: &str,
        entry: &Entry,
        crypto: &[CryptoInstance],
    ) -> Option<(String, Option<InstanceId>)> {
        match (&entry.backend, &entry.crypto_instance) {
            (Some(backend), None) => {
                self.backend(tree, path, &format!("instance `{}`", entry.name), backend);
                Some((backend.clone(), None))
            }
            (None, Some(text)) => {
                let found = crypto.iter().find(|crypto| text.parse() == Ok(crypto.id));
                if found.is_none() {
                    let problem = format!("instance `{}` names a crypto instance that is not there", entry.name);
                    let mend = "give the `id` of a [[crypto_instances]] entry";
                    tree.problem(format!("{path}.crypto_instance"), problem, mend);
                }
                found.map(|crypto| (crypto.backend.clone(), Some(crypto.id)))
            }
            (None, None) => {
                tree.problem(
                    format!("{path}.backend"),
                    "this key is missing",
                    "name the [[backends]] entry that keys are made on, or a `crypto_instance`",
                );
                None
            }
            (Some(_), Some(_)) => {
                tree.problem(
                    format!("{path}.crypto_instance"),
                    "an instance is bound to a backend or to a crypto instance, not to both",
                    "remove one of the two",
                );
                None
            }
        }
    }

    fn backend(&self, tree: &mut Tree, path: &str, who: &str, backend: &str) {
        if self.backends.contains(backend) {
            return;
        }
        let mend = match nearest(backend, self.backends.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("add a [[backends]] entry with name = \"{backend}\""),
        };
        tree.problem(
            format!("{path}.backend"),
            format!("{who} names the backend `{backend}`, which is not there"),
            mend,
        );
    }

    fn id(&mut self, tree: &mut Tree, path: &str, text: &str) -> Option<InstanceId> {
        let path = format!("{path}.id");
        let Ok(id) = text.parse::<InstanceId>() else {
            tree.problem(path, "this is not a UUID", "make one with `uuidgen`");
            return None;
        };
        if id == InstanceId::GATEWAY {
            let problem = "the nil UUID is the gateway itself and no instance";
            tree.problem(path, problem, "make one with `uuidgen`");
            return None;
        }
        if !self.seen.insert(id) {
            tree.problem(path, format!("another instance has the id {id}"), "give each its own id");
            return None;
        }
        Some(id)
    }
}

/// What stands in CRNs, between colons.
fn crns(tree: &mut Tree, path: &str, region: &str, account: &str) {
    for (key, text) in [("region", region), ("account", account)] {
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            tree.problem(format!("{path}.{key}"), "this cannot stand in a CRN", "use letters, digits, '-' and '_'");
        }
    }
}
