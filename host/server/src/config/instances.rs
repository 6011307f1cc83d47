//! `[[instances]]`

use std::collections::BTreeSet;

use keygate_core::ids::InstanceId;
use keygate_core::instance::Instance;
use serde::Deserialize;

use super::tree::Tree;
use crate::problem::nearest;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    name: String,
    region: String,
    account: String,
    backend: String,
}

pub(super) fn read(tree: &mut Tree, backends: &BTreeSet<String>) -> Vec<Instance> {
    let entries = tree.list::<Entry>("instances");
    if entries.is_empty() {
        tree.problem("instances", "there is no instance, so nobody could do anything", "add an [[instances]] entry");
    }
    let mut seen = BTreeSet::new();
    let mut instances = Vec::new();
    for (i, entry) in entries.into_iter().enumerate() {
        let Some(entry) = entry else { continue };
        let path = format!("instances[{i}]");
        if !backends.contains(&entry.backend) {
            let mend = match nearest(&entry.backend, backends.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add a [[backends]] entry with name = \"{}\"", entry.backend),
            };
            let problem =
                format!("instance `{}` names the backend `{}`, which is not there", entry.name, entry.backend);
            tree.problem(format!("{path}.backend"), problem, mend);
        }
        for (key, text) in [("region", &entry.region), ("account", &entry.account)] {
            // They stand in CRNs, between colons.
            if text.is_empty() || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                tree.problem(format!("{path}.{key}"), "this cannot stand in a CRN", "use letters, digits, '-' and '_'");
            }
        }
        let Ok(id) = entry.id.parse::<InstanceId>() else {
            tree.problem(format!("{path}.id"), "this is not a UUID", "make one with `uuidgen`");
            continue;
        };
        if id == InstanceId::GATEWAY {
            let problem = "the nil UUID is the gateway itself and no instance";
            tree.problem(format!("{path}.id"), problem, "make one with `uuidgen`");
            continue;
        }
        if !seen.insert(id) {
            tree.problem(format!("{path}.id"), format!("another instance has the id {id}"), "give each its own id");
            continue;
        }
        instances.push(Instance {
            id,
            name: entry.name,
            region: entry.region,
            account: entry.account,
            backend: entry.backend,
        });
    }
    instances
}
