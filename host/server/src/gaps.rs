//! Requests that a chain can never allow, because every rule is out of its scope there. That is no error: to refuse them may
//! be what was meant. Which of the rules that are in scope can allow anything, only they know: a chain without a gap in here
//! may allow nothing all the same.

use keygate_core::access::Action;
use keygate_core::instance::Instance;
use keygate_runtime::manifest::{ChainEntry, Manifest, Mode};

/// What nobody can do in an instance, or with the gateway itself.
#[derive(Debug, PartialEq, Eq)]
struct Gap<'a> {
    instance: Option<&'a Instance>,
    /// IAM actions, in alphabetical order.
    actions: Vec<&'static str>,
}

/// Says in the log what is refused in each instance, and by the gateway itself, whatever the rules would say.
pub(crate) fn warn<'a>(manifest: &Manifest, instances: impl IntoIterator<Item = &'a Instance>) {
    for Gap { instance, actions } in gaps(manifest, instances) {
        let actions = actions.join(", ");
        match instance {
            Some(Instance { id, name, .. }) => tracing::warn!(
                instance = %id,
                name,
                %actions,
                "these actions are refused, in some rings at least: no enforcing rule of the chain has them in its scope \
                 whatever the ring; unless you want that, give a rule that can allow them a scope in `policy.chain` that has \
                 them (whether the rules that are in scope can allow anything is not known here)"
            ),
            None => tracing::warn!(
                %actions,
                "nobody can do this by a request, Administrators included: no enforcing rule of the chain has it in its scope; \
                 unless you want that, give a rule that can allow it a scope in `policy.chain` that has it"
            ),
        }
    }
}

/// Rules that are asked about some rings only leave a gap as well: in all others.
fn gaps<'a>(manifest: &Manifest, instances: impl IntoIterator<Item = &'a Instance>) -> Vec<Gap<'a>> {
    let enforced = |rule: &str| manifest.plugins.iter().any(|p| p.name == rule && p.mode == Mode::Enforce);
    let chain: Vec<&ChainEntry> = manifest.policy.chain.iter().filter(|place| enforced(&place.rule)).collect();
    let gap = |instance: Option<&'a Instance>| {
        let covers = |place: &&ChainEntry, action: &str| {
            let scope = &place.scope;
            let here = match instance {
                Some(instance) => {
                    scope.rings.is_empty() && (scope.instances.is_empty() || scope.instances.contains(&instance.id))
                }
                // The gateway is in no instance and has no ring, and is inside all such limits. A crypto instance has an id.
                None => scope.instances.is_empty() || action != Action::ReadCryptoInstance.iam(),
            };
            here && scope.has_action(action)
        };
        // Nobody asks for what the gateway does by itself.
        let asked = Action::ALL.iter().filter(|a| a.is_asked_for() && a.is_about_gateway() == instance.is_none());
        let refused =
            asked.map(|action| action.iam()).filter(|action| !chain.iter().any(|place| covers(place, action)));
        let mut actions: Vec<_> = refused.collect();
        actions.sort_unstable();
        actions.dedup();
        Gap { instance, actions }
    };
    let places = std::iter::once(None).chain(instances.into_iter().map(Some));
    places.map(gap).filter(|gap| !gap.actions.is_empty()).collect()
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
        Instance { id, name: text(), region: text(), account: text(), backend: text(), crypto_instance: None }
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
            let found: Vec<_> = found.iter().filter(|gap| gap.instance.is_some()).collect();
            assert_eq!(found.len(), 1);
            assert!(
                found[0].actions.contains(&"kms.secrets.wrap") && !found[0].actions.contains(&"kms.secrets.expire")
            );
        }
    }

    #[test]
    fn reloads_are_about_no_instance_and_a_rule_of_one_can_allow_them() {
        let instances = [instance(1), instance(2)];
        let one = Scope { instances: vec![instances[0].id], ..Scope::default() };
        let of_one = manifest(vec![("access", one)]);
        let found = gaps(&of_one, &instances);
        assert_eq!(found.len(), 2);
        // A crypto instance is no instance of theirs.
        assert_eq!(found[0], Gap { instance: None, actions: vec!["keygate.crypto-instances.read"] });
        assert!(!found[1].actions.contains(&"keygate.plugins.reload"), "{:?}", found[1].actions);
        let keys = manifest(vec![("access", actions(&["kms.*"]))]);
        let found = gaps(&keys, &instances);
        let mut actions: Vec<_> = Action::ALL.iter().filter(|a| a.is_about_gateway()).map(|a| a.iam()).collect();
        actions.sort_unstable();
        assert_eq!(found, [Gap { instance: None, actions }]);
    }

    #[test]
    fn rules_close_each_others_gaps() {
        let instances = [instance(1), instance(2)];
        let first = Scope { instances: vec![instances[0].id], ..Scope::default() };
        let halves = vec![("access", first), ("other", actions(&["kms.secrets*", "keygate.crypto*"]))];
        let manifest = manifest(halves);
        let found = gaps(&manifest, &instances);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].instance.unwrap().id, instances[1].id);
        assert!(found[0].actions.iter().all(|action| !action.starts_with("kms.secrets")), "{:?}", found[0].actions);
        assert!(found[0].actions.contains(&"kms.keyrings.create"));
    }
}
