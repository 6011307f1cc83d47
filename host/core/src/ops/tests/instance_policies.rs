//! Policies of instances.

use super::common::{by, fact};
use super::*;
use crate::audit::{AuditEvent, Severity};
use crate::ops::instance_policies::{self as policies, MAX_RANGES, WriteInstancePolicy};
use crate::policy::InstancePolicyKind as Kind;
use crate::policy::{CreateImportAccess, InstancePolicies, InstancePolicy, PolicyAttributes as Says};
use crate::store::Change;

fn policy(kind: Kind, enabled: bool, attributes: Says) -> WriteInstancePolicy {
    WriteInstancePolicy { kind, enabled, attributes }
}

fn write(world: &World, user: &str, input: Vec<WriteInstancePolicy>) -> Result<(), Error> {
    block_on(policies::write(&world.gateway, &by(user), false, Ok(input)))
}

fn read(world: &World, which: Option<Kind>) -> Vec<InstancePolicy> {
    block_on(policies::read(&world.gateway, &cx(FIRST), Ok(which))).unwrap()
}

fn ranges(ranges: &[&str]) -> Says {
    Says::AllowedIp(texts(ranges))
}

#[test]
fn there_are_none_before_any_is_written() {
    let world = World::new();
    assert!(read(&world, None).is_empty());
    assert_eq!(fact(&world.last_event().response, "totalResources"), Some("0"));
}

#[test]
fn each_kind_is_replaced_whole_and_keeps_its_maker() {
    let world = World::new();
    let made = world.now();
    let months = |interval_months| Says::Rotation { interval_months };
    let both = vec![
        policy(Kind::Rotation, true, months(3)),
        policy(Kind::AllowedNetwork, true, Says::AllowedNetwork { private_only: false }),
    ];
    write(&world, "one", both).unwrap();
    world.clock.travel(HOUR);
    write(&world, "two", vec![policy(Kind::Rotation, true, months(12))]).unwrap();
    let found = read(&world, None);
    let kinds: Vec<_> = found.iter().map(|policy| policy.kind).collect();
    assert_eq!(kinds, [Kind::AllowedNetwork, Kind::Rotation], "in their order, and the other one untouched");
    assert_eq!((found[0].updated.by.as_str(), found[0].updated.at), ("one", made));
    let rotation = &read(&world, Some(Kind::Rotation))[0];
    assert_eq!(rotation.attributes, months(12));
    assert_eq!((rotation.created.by.as_str(), rotation.created.at), ("one", made));
    assert_eq!((rotation.updated.by.as_str(), rotation.updated.at), ("two", world.now()));
    assert!(read(&world, Some(Kind::Metrics)).is_empty());
    let elsewhere = block_on(policies::read(&world.gateway, &cx(SECOND), Ok(None))).unwrap();
    assert!(elsewhere.is_empty(), "instances are apart");
}

#[test]
fn what_each_kind_must_say() {
    use ReasonCode::{BadBody, InvalidField, MissingField};
    let network = Says::AllowedNetwork { private_only: false };
    let access = Says::KeyCreateImportAccess(CreateImportAccess::default());
    let rotation = |interval_months| Says::Rotation { interval_months };
    let cases: Vec<(Kind, bool, Says, Option<ReasonCode>)> = vec![
        (Kind::DualAuthDelete, true, Says::None, None),
        (Kind::DualAuthDelete, true, network.clone(), Some(InvalidField)),
        (Kind::Metrics, true, Says::None, None),
        (Kind::Metrics, false, rotation(1), Some(InvalidField)),
        (Kind::AllowedNetwork, true, network.clone(), None),
        (Kind::AllowedNetwork, false, network.clone(), None),
        (Kind::AllowedNetwork, true, Says::None, Some(MissingField)),
        (Kind::AllowedNetwork, false, Says::None, Some(MissingField)),
        (Kind::AllowedIp, true, ranges(&["192.0.2.0/24"]), None),
        (Kind::AllowedIp, true, ranges(&[]), Some(InvalidField)),
        (Kind::AllowedIp, true, Says::None, Some(MissingField)),
        (Kind::AllowedIp, true, ranges(&["192.0.2.0"]), Some(InvalidField)),
        (Kind::AllowedIp, false, Says::None, None),
        (Kind::AllowedIp, false, ranges(&[]), None),
        (Kind::AllowedIp, false, ranges(&["nonsense"]), Some(InvalidField)),
        (Kind::KeyCreateImportAccess, true, access.clone(), None),
        (Kind::KeyCreateImportAccess, true, Says::None, None),
        (Kind::KeyCreateImportAccess, false, access, None),
        (Kind::KeyCreateImportAccess, true, network, Some(InvalidField)),
        (Kind::Rotation, true, rotation(1), None),
        (Kind::Rotation, true, rotation(12), None),
        (Kind::Rotation, true, rotation(0), Some(InvalidField)),
        (Kind::Rotation, true, rotation(13), Some(InvalidField)),
        (Kind::Rotation, true, Says::None, Some(MissingField)),
        (Kind::Rotation, false, Says::None, None),
    ];
    for (kind, enabled, attributes, expected) in cases {
        let world = World::new();
        let outcome = write(&world, "m", vec![policy(kind, enabled, attributes.clone())]);
        let found = outcome.as_ref().err().and_then(Error::reason_code);
        assert_eq!(found, expected, "{kind:?} {enabled} {attributes:?}: {outcome:?}");
        assert_eq!(read(&world, None).len(), usize::from(expected.is_none()));
    }
    let world = World::new();
    assert_eq!(code(write(&world, "m", Vec::new())), BadBody);
    let twice = vec![policy(Kind::Metrics, true, Says::None), policy(Kind::Metrics, false, Says::None)];
    assert_eq!(code(write(&world, "m", twice)), BadBody);
}

#[test]
fn one_that_is_wrong_keeps_the_others_from_being_written() {
    let world = World::new();
    let input = vec![policy(Kind::Metrics, true, Says::None), policy(Kind::AllowedIp, true, ranges(&["x"]))];
    assert_eq!(code(write(&world, "m", input)), ReasonCode::InvalidField);
    assert!(read(&world, None).is_empty());
}

#[test]
fn what_a_policy_says_that_is_switched_off_is_not_kept_but_for_the_network() {
    let world = World::new();
    let off = vec![
        policy(Kind::Rotation, false, Says::Rotation { interval_months: 3 }),
        policy(Kind::AllowedIp, false, ranges(&["192.0.2.0/24"])),
        policy(Kind::KeyCreateImportAccess, false, Says::KeyCreateImportAccess(CreateImportAccess::default())),
        policy(Kind::AllowedNetwork, false, Says::AllowedNetwork { private_only: true }),
    ];
    write(&world, "m", off).unwrap();
    for policy in read(&world, None) {
        let expected = match policy.kind {
            Kind::AllowedNetwork => Says::AllowedNetwork { private_only: true },
            _ => Says::None,
        };
        assert_eq!((policy.enabled, policy.attributes), (false, expected), "{:?}", policy.kind);
    }
}

#[test]
fn ranges_are_kept_in_one_form_and_once() {
    let world = World::new();
    let given = ranges(&["192.0.2.77/24", "2001:DB8::1/32", "192.0.2.0/24"]);
    write(&world, "m", vec![policy(Kind::AllowedIp, true, given)]).unwrap();
    assert_eq!(read(&world, None)[0].attributes, ranges(&["192.0.2.0/24", "2001:db8::/32"]));
}

#[test]
fn there_is_an_end_to_ranges() {
    let world = World::new();
    let many = |count: usize| {
        let ranges = (0..count).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
        write(&world, "m", vec![policy(Kind::AllowedIp, true, Says::AllowedIp(ranges))])
    };
    assert!(many(MAX_RANGES).is_ok());
    assert_eq!(code(many(MAX_RANGES + 1)), ReasonCode::InvalidField);
    let rubbish = Says::AllowedIp(vec!["rubbish".to_owned(); MAX_RANGES + 1]);
    let Err(Error::Refused(reasons)) = write(&world, "m", vec![policy(Kind::AllowedIp, true, rubbish)]) else {
        panic!("taken")
    };
    assert_eq!(reasons.len(), 1, "none of them is looked at: {reasons:?}");
    assert!(reasons[0].message.contains("at most 1000"), "{reasons:?}");
}

#[test]
fn nobody_shuts_the_only_door() {
    let world = World::new();
    let private = |enabled| vec![policy(Kind::AllowedNetwork, enabled, Says::AllowedNetwork { private_only: true })];
    let Err(Error::Refused(reasons)) = write(&world, "m", private(true)) else { panic!("shut") };
    assert_eq!(reasons[0].code, ReasonCode::ConfigRuleConflict);
    assert!(reasons[0].message.contains("server.private_listen"));
    assert!(write(&world, "m", private(false)).is_ok(), "switched off it shuts nothing");
    assert!(block_on(policies::write(&world.gateway, &cx(FIRST), true, Ok(private(true)))).is_ok());
}

#[test]
fn two_who_write_at_once_both_get_their_way() {
    let world = World::new();
    let gateway = world.meanwhile(|gateway| {
        let before = block_on(gateway.store.policies(FIRST)).unwrap();
        let mut policies = InstancePolicies::clone(&before);
        let stamp = crate::key::Stamp { at: gateway.clock.now(), by: "quick".to_owned() };
        policies.put(InstancePolicy {
            kind: Kind::Metrics,
            enabled: true,
            attributes: Says::None,
            created: stamp.clone(),
            updated: stamp,
        });
        policies.revision += 1;
        block_on(gateway.store.commit(vec![Change::PutPolicies { instance: FIRST, policies }])).unwrap();
    });
    let input = vec![policy(Kind::DualAuthDelete, true, Says::None)];
    // The chain is asked after the policies are read, so what is written meanwhile makes the first try fail.
    block_on(policies::write(&gateway, &by("slow"), false, Ok(input))).unwrap();
    let found: Vec<_> = read(&world, None).into_iter().map(|policy| (policy.kind, policy.created.by)).collect();
    assert_eq!(found, [(Kind::DualAuthDelete, "slow".to_owned()), (Kind::Metrics, "quick".to_owned())]);
}

#[test]
fn the_port_is_told_while_addresses_are_restricted() {
    let world = World::new();
    let port = || block_on(policies::allowed_ip_port(&world.gateway, &cx(FIRST), 8888)).unwrap();
    assert_eq!(port(), None);
    write(&world, "m", vec![policy(Kind::AllowedIp, true, ranges(&["192.0.2.0/24"]))]).unwrap();
    assert_eq!(port(), Some(8888));
    write(&world, "m", vec![policy(Kind::AllowedIp, false, Says::None)]).unwrap();
    assert_eq!(port(), None);
}

#[test]
fn the_audit_log_is_told_what_was_on_and_what_is() {
    let world = World::new();
    for (enabled, before, after) in [(true, "false", "true"), (false, "true", "false")] {
        let on = if enabled { ranges(&["192.0.2.0/24"]) } else { Says::None };
        write(&world, "m", vec![policy(Kind::AllowedIp, enabled, on)]).unwrap();
        let event = world.last_event();
        assert_eq!((event.action.as_str(), event.severity), ("kms.instance-policies.write", Severity::Warning));
        assert_eq!(fact(&event.request, "initialValue.policyAllowedIPEnabled"), Some(before));
        assert_eq!(fact(&event.request, "newValue.policyAllowedIPEnabled"), Some(after));
        let event = AuditEvent { decision: None, ..event };
        assert!(
            !format!("{event:?}").contains("192.0.2"),
            "addresses stand in what the rules were asked and nowhere else"
        );
    }
}
