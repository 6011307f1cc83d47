//! Requests that a chain can never allow, because every rule that could is out of its scope there. That is no error: to
//! refuse them may be what was meant.

use keygate_core::access::Action;
use keygate_core::instance::Instance;
use keygate_runtime::manifest::{ChainEntry, Manifest, Mode};

/// What nobody can do in an instance.
#[derive(Debug, PartialEq, Eq)]
struct Gap<'a> {
    instance: &'a Instance,
    /// IAM actions, in alphabetical order.
    actions: Vec<&'static str>,
}

/// Says in the log what is refused in each instance whatever the rules would say.
pub(crate) fn warn(manifest: &Manifest, instances: &[Instance]) {
    for Gap { instance, actions } in gaps(manifest, instances) {
        let (instance, name, actions) = (instance.id, &instance.name, actions.join(", "));
        tracing::warn!(
            %instance,
            name,
            %actions,
            "these actions are refused, in some rings at least: no enforcing rule of the chain has them in its scope whatever \
             the ring; unless you want that, give a rule that can allow them a scope in `policy.chain` that has them"
        );
    }
}

/// Rules that are asked about some rings only leave a gap as well: in all others.
fn gaps<'a>(manifest: &Manifest, instances: &'a [Instance]) -> Vec<Gap<'a>> {
    let enforced = |rule: &str| manifest.plugins.iter().any(|p| p.name == rule && p.mode == Mode::Enforce);
    let chain: Vec<&ChainEntry> = manifest.policy.chain.iter().filter(|place| enforced(&place.rule)).collect();
    // Nobody asks for what the gateway does by itself.
    let mut all: Vec<_> = Action::ALL.iter().filter(|a| **a != Action::Expire).map(|action| action.iam()).collect();
    all.sort_unstable();
    all.dedup();
    let gap = |instance: &'a Instance| {
        let covers = |place: &&ChainEntry, action: &str| {
            let scope = &place.scope;
            let here = scope.instances.is_empty() || scope.instances.contains(&instance.id);
            here && scope.rings.is_empty() && scope.has_action(action)
        };
        let actions = all.iter().filter(|action| !chain.iter().any(|place| covers(place, action))).copied().collect();
        Gap { instance, actions }
    };
    instances.iter().map(gap).filter(|gap| !gap.actions.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use keygate_core::ids::{InstanceId, KeyRingId};
    use keygate_runtime::manifest::{ActionPattern, PluginManifest, PolicyManifest, Scope};

    use super::*;

    fn instance(n: u8) -> Instance {
        let text = String::new;
        let id = InstanceId::from_bytes([n; 16]);
        Instance { id, name: text(), region: text(), account: text(), backend: text() }
    }

    fn manifest(chain: Vec<(&str, Scope)>) -> Manifest {
        let plugin = |name: &str, mode: &str| {
            let entry = serde_json::json!({"name": name, "file": "f", "world": "policy-rule", "mode": mode});
            PluginManifest::parse(&entry, Path::new("/")).unwrap()
        };
        let plugins = vec![plugin("access", "enforce"), plugin("other", "enforce"), plugin("watch", "monitor")];
        let chain = chain.into_iter().map(|(rule, scope)| ChainEntry { rule: rule.to_owned(), scope }).collect();
        Manifest { plugins, policy: PolicyManifest { chain }, ..Manifest::default() }
    }

    fn actions(list: &[&str]) -> Scope {
        let actions = list.iter().map(|action| ActionPattern::parse(action).unwrap()).collect();
        Scope { actions, ..Scope::default() }
    }

    #[test]
    fn a_rule_without_a_scope_leaves_no_gap_unless_it_only_watches() {
        let instances = [instance(1)];
        let rings = Scope { rings: vec![KeyRingId::default()], ..Scope::default() };
        assert_eq!(gaps(&manifest(vec![("access", Scope::default()), ("other", rings.clone())]), &instances), []);
        for chain in [vec![("watch", Scope::default())], vec![("access", rings)]] {
            let manifest = manifest(chain);
            let found = gaps(&manifest, &instances);
            assert_eq!(found.len(), 1);
            assert!(
                found[0].actions.contains(&"kms.secrets.wrap") && !found[0].actions.contains(&"kms.secrets.expire")
            );
        }
    }

    #[test]
    fn rules_close_each_others_gaps() {
        let instances = [instance(1), instance(2)];
        let first = Scope { instances: vec![instances[0].id], ..Scope::default() };
        let halves = vec![("access", first), ("other", actions(&["kms.secrets*"]))];
        let manifest = manifest(halves);
        let found = gaps(&manifest, &instances);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].instance.id, instances[1].id);
        assert!(found[0].actions.iter().all(|action| !action.starts_with("kms.secrets")), "{:?}", found[0].actions);
        assert!(found[0].actions.contains(&"kms.keyrings.create"));
    }
}
