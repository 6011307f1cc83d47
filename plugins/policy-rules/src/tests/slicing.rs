//! Slicing changes no answer: what is decided from the candidates with the facts that they mention, and what Cedar's own
//! authorizer decides from all policies with all facts, is the same. But for one thing, which [`is_across`] is about: what is
//! forbidden in a ring is forbidden of all rings at once, too, and Cedar knows no such thing as all rings.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{PolicySet, Value};
use cedar_policy_core::authorizer::{Authorizer, Decision as CedarDecision};
use cedar_policy_core::parser;
use keygate_plugin_sdk::rule::{Decision, Endpoint, KeyKind, PrincipalKind, Request, Rule as _};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::{DAY, NOW, assignment, request};
use crate::PolicyRules;
use crate::decide;
use crate::mentions::Mentions;
use crate::world::World;

/// What Cedar says of all policies: whether a forbid applies, whether a permit does, and whether one could not be evaluated.
fn whole(rule: &PolicyRules, text: &str, request: &Request) -> (bool, bool, bool) {
    let set: PolicySet = parser::parse_policyset(text).unwrap();
    let (about, _) = rule.program.shelf(&request.action).unwrap();
    let resource = decide::resource(request, about).unwrap();
    let world = World::new(request, resource, &rule.types, &rule.zone, Mentions::ALL);
    let none = std::iter::empty::<(SmolStr, Value)>();
    let response = Authorizer::new().is_authorized(world.request(none).unwrap(), &set, &world.entities().unwrap());
    let applied: BTreeSet<String> =
        response.diagnostics.reason.iter().map(|id| AsRef::<str>::as_ref(id).to_owned()).collect();
    let errors = !response.diagnostics.errors.is_empty();
    match response.decision {
        CedarDecision::Allow => (false, true, errors),
        CedarDecision::Deny => (!applied.is_empty(), false, errors),
    }
}

/// A list across all rings.
fn is_across(request: &Request) -> bool {
    let target = &request.target;
    request.action == "kms.registrations.list" && target.key.is_none() && target.key_ring.is_none()
}

fn principal_scope() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "principal",
        "principal",
        "principal is User",
        "principal is Service",
        "principal == User::\"ann\"",
        "principal == User::\"bob\"",
        "principal == Service::\"ann\"",
        "principal in Role::\"Writer\"",
        "principal in Role::\"Reader\"",
        "principal is User in Role::\"Writer\"",
        "principal in User::\"ann\"",
        "principal is Service in Role::\"oncall\"",
    ])
    .prop_map(str::to_owned)
}

fn action_scope() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "action",
        "action in Action::\"use\"",
        "action in Action::\"manage\"",
        "action in Action::\"kms.secrets.*\"",
        "action == Action::\"kms.secrets.unwrap\"",
        "action in [Action::\"create\", Action::\"kms.secrets.rotate\"]",
        "action == Action::\"kms.keyrings.list\"",
        "action == Action::\"kms.registrations.list\"",
    ])
    .prop_map(str::to_owned)
}

fn resource_scope() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "resource",
        "resource",
        "resource is Key",
        "resource == Key::\"k1\"",
        "resource == Key::\"k2\"",
        "resource in Ring::\"prod\"",
        "resource in Ring::\"lab\"",
        "resource is Key in Ring::\"prod\"",
        "resource in Instance::\"i1\"",
        "resource in Instance::\"i2\"",
        "resource == Ring::\"prod\"",
        "resource is Ring",
        "resource == Instance::\"i1\"",
        "resource in Key::\"k1\"",
    ])
    .prop_map(str::to_owned)
}

fn atom() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "context.time.hour >= 12",
        "context.time.weekday == 1",
        "context.time.clock < 1130",
        "context.endpoint == \"public\"",
        "context.address.isInRange(ip(\"10.0.0.0/8\"))",
        "context has force && context.force",
        "context has newKey.kind && context.newKey.kind == \"root\"",
        "principal.roles.contains(\"Writer\")",
        "principal.rolesAnywhere.containsAny([\"Reader\", \"oncall\"])",
        "principal in Role::\"oncall\"",
        "principal.hasTag(\"department\") && principal.getTag(\"department\") like \"pay*\"",
        "resource.instance == \"i1\"",
        "resource is Key && resource.tags.contains(\"pci\")",
        "resource is Key && resource.kind == \"standard\"",
        "resource is Key && resource.ageDays > 399",
        "resource is Key && [\"active\", \"suspended\"].contains(resource.state)",
        "resource is Key && resource has lastRotatedDaysAgo && resource.lastRotatedDaysAgo > 2",
        "resource in Ring::\"prod\"",
        "action in Action::\"manage\"",
        "action == Action::\"kms.secrets.unwrap\"",
        "context.request.hasTag(\"force\")",
        "(if context.time.hour > 3 then context.time else context.time).day > 20261122",
        "{a: context.time}.a.minute == 0",
        "4611686018427387904 * context.time.hour > 0",
        "context has keyName && context.keyName == \"k1\"",
        "resource.policies.isEmpty()",
    ])
    .prop_map(str::to_owned)
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn policy() -> impl Strategy<Value = String> {
    let scope = (principal_scope(), action_scope(), resource_scope());
    (any::<bool>(), scope, prop::option::of(condition()), any::<bool>()).prop_map(
        |(forbid, (p, a, r), when, unless)| {
            let effect = if forbid { "forbid" } else { "permit" };
            let word = if unless { "unless" } else { "when" };
            let condition = when.map_or(String::new(), |when| format!(" {word} {{ {when} }}"));
            format!("{effect} ({p}, {a}, {r}){condition};")
        },
    )
}

fn question() -> impl Strategy<Value = Request> {
    let action = prop::sample::select(vec![
        "kms.secrets.unwrap",
        "kms.secrets.rotate",
        "kms.secrets.create",
        "kms.keyrings.list",
        "kms.registrations.list",
    ]);
    let who = (
        prop::sample::select(vec!["ann", "bob"]),
        any::<bool>(),
        prop::sample::subsequence(vec!["Writer", "Reader", "oncall"], 0..=3),
    );
    let place = (any::<bool>(), prop::option::of(prop::sample::select(vec!["prod", "lab"])), any::<bool>());
    let facts = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        prop::sample::select(vec!["10.1.2.3", "192.0.2.1", "::1"]),
        0..48_u64,
    );
    (action, who, place, facts).prop_map(
        |(action, (id, service, roles), (i2, ring, k2), (force, pci, rotated, address, hours))| {
            let mut request = request(action);
            request.principal.id = id.to_owned();
            if service {
                request.principal.kind = PrincipalKind::Service;
                request.principal.attributes.clear();
            }
            request.principal.assignments = vec![assignment(&roles)];
            request.principal.assignments[0].key_ring = pci.then(|| "prod".to_owned());
            if i2 {
                request.target.instance_id = "i2".to_owned();
            }
            request.target.key_ring = ring.map(str::to_owned);
            let key = request.target.key.as_mut().unwrap();
            if k2 {
                key.id = "k2".to_owned();
                key.kind = KeyKind::Standard;
            }
            if !pci {
                key.tags.clear();
            }
            key.last_rotated_unix_ms = rotated.then_some(NOW - 3 * DAY);
            if action == "kms.registrations.list" && force {
                request.target.key = None;
                request.target.key_name = None;
            }
            if force {
                let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
                request.attributes = vec![pair("force", "true"), pair("new-key.kind", "root")];
                request.network.endpoint = Endpoint::Public;
            }
            request.network.address = Some(address.to_owned());
            request.now_unix_ms = NOW + hours * 3_600_000;
            request
        },
    )
}

/// The policies without those that are refused because no request is like them, a line each.
fn usable(mut lines: Vec<String>) -> (String, PolicyRules) {
    loop {
        let text = lines.join("\n");
        match super::try_configure(&text) {
            Ok(rule) => return (text, rule),
            Err(error) if error.message.starts_with("no request is like this") => {
                let line = error.path.split(':').nth(1).unwrap().parse::<usize>().unwrap();
                lines.remove(line - 1);
            }
            Err(error) => panic!("{}: {}\n{text}", error.path, error.message),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn slices_decide_as_the_whole(policies in prop::collection::vec(policy(), 1..12), questions in prop::collection::vec(question(), 8)) {
        let first = "permit (principal, action, resource) when { context.time.hour > 30 };".to_owned();
        let (text, rule) = usable([first].into_iter().chain(policies).collect());
        for request in questions {
            let (forbids, permits, errors) = whole(&rule, &text, &request);
            let more = is_across(&request) && text.contains("Ring::");
            match rule.evaluate(&request).map(|verdict| verdict.decision) {
                Ok(Decision::Deny(_)) => prop_assert!(forbids || more, "{request:?}"),
                Ok(Decision::Allow(_)) => prop_assert!(permits && !errors, "{request:?}"),
                Ok(Decision::Abstain) => prop_assert!(!permits && !forbids && !errors, "{request:?}"),
                // Cedar would have skipped it.
                Err(fault) => prop_assert!(errors || more, "{fault} {request:?}"),
            }
        }
    }
}
