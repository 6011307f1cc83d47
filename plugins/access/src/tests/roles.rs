//! The table of the API's documentation, written out once more by hand and compared action by action.

use super::*;
use crate::roles::TABLE;

const ROLES: [&str; 8] =
    ["Reader", "ReaderPlus", "Writer", "Manager", "KeyPurge", "KmipAdapterManager", "Administrator", "Viewer"];

/// One column a role, in the order of `ROLES`; `y` has the action. A column that is left out is `-`.
const EXPECTED: &[(&str, &str)] = &[
    ("kms.secrets.list", "yyyy-y"),
    ("kms.secrets.head", "yyyy-y"),
    ("kms.secrets.readmetadata", "yyyy--"),
    ("kms.secrets.listkeyversions", "yyyy--"),
    ("kms.secrets.read", "-yyy--"),
    ("kms.secrets.wrap", "yyyy--"),
    ("kms.secrets.unwrap", "yyyy--"),
    ("kms.secrets.rewrap", "yyyy--"),
    ("kms.secrets.create", "--yy--"),
    ("kms.secrets.rotate", "--yy--"),
    ("kms.secrets.setkeyfordeletion", "--yy--"),
    ("kms.secrets.unsetkeyfordeletion", "--yy--"),
    ("kms.secrets.sync", "--yy--"),
    ("kms.secrets.disable", "---y--"),
    ("kms.secrets.enable", "---y--"),
    ("kms.secrets.delete", "---y--"),
    ("kms.secrets.restore", "---y--"),
    ("kms.secrets.patch", "---y--"),
    ("kms.secrets.purge", "----y-"),
    ("kms.secrets.createalias", "--yy--"),
    ("kms.secrets.deletealias", "--yy--"),
    ("kms.secrets-with-policy-overrides.create", "---y--"),
    ("kms.keyrings.list", "yyyy-y"),
    ("kms.keyrings.create", "--yy--"),
    ("kms.keyrings.delete", "---y--"),
    ("kms.policies.read", "---y--"),
    ("kms.policies.write", "---y--"),
    ("kms.instancepolicies.read", "---y--"),
    ("kms.instancepolicies.write", "---y--"),
    ("kms.instance.readallowedipport", "---y--"),
    ("kms.importtoken.create", "--yy--"),
    ("kms.importtoken.read", "--yy--"),
    ("kms.registrations.list", "yyyy--"),
    ("kms.registrations.create", "yyyy--"),
    ("kms.registrations.merge", "yyyy--"),
    ("kms.registrations.write", "yyyy--"),
    ("kms.registrations.delete", "yyyy--"),
    ("kms.secrets.eventack", "yyyy--"),
    ("kms.events.list", "---y--"),
    ("kms.kmip-management.create", "---y-y"),
    ("kms.kmip-management.list", "---y-y"),
    ("kms.kmip-management.read", "---y-y"),
    ("kms.kmip-management.delete", "---y-y"),
    ("keygate.plugins.reload", "------y-"),
    ("keygate.backends.list", "------y-"),
    ("keygate.backends.migrate", "------y-"),
    ("keygate.backends.migration.read", "------y-"),
    ("keygate.backends.migration.stop", "------y-"),
    ("keygate.instances.list", "------yy"),
    ("keygate.instances.read", "------yy"),
    ("keygate.instances.create", "------y-"),
    ("keygate.instances.bind", "------y-"),
    ("keygate.instances.delete", "------y-"),
    ("keygate.authorizations.list", "------yy"),
    ("keygate.authorizations.create", "------y-"),
    ("keygate.authorizations.delete", "------y-"),
    ("keygate.crypto-instances.list", "------y-"),
    ("keygate.crypto-instances.read", "yyyy----"),
];

const SERVICES_ONLY: [&str; 5] = [
    "kms.registrations.create",
    "kms.registrations.merge",
    "kms.registrations.write",
    "kms.registrations.delete",
    "kms.secrets.eventack",
];

#[test]
fn every_role_has_its_actions_and_no_other() {
    assert_eq!(EXPECTED.len(), TABLE.len(), "an action is missing from one of the two tables");
    for (action, columns) in EXPECTED {
        for (role, column) in ROLES.into_iter().zip(columns.chars().chain(std::iter::repeat('-'))) {
            for kind in [PrincipalKind::User, PrincipalKind::Service] {
                let user_at_service_door = SERVICES_ONLY.contains(action) && kind == PrincipalKind::User;
                let expected = match column {
                    'y' if user_at_service_door => Outcome::ServiceOnly,
                    'y' => Outcome::Allowed,
                    _ => Outcome::Unauthorized,
                };
                let outcome = ask(&request(action, kind, vec![assignment(role)]));
                assert_eq!(outcome, expected, "{role} {kind:?} {action}");
            }
        }
    }
}

#[test]
fn roles_add_up() {
    let both = vec![assignment("Reader"), assignment("KeyPurge")];
    for action in ["kms.secrets.wrap", "kms.secrets.purge"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, both.clone())), Outcome::Allowed);
    }
    let one = RoleAssignment { roles: vec!["Reader".into(), "KeyPurge".into()], ..assignment("Reader") };
    assert_eq!(ask(&request("kms.secrets.purge", PrincipalKind::User, vec![one])), Outcome::Allowed);
}

#[test]
fn without_a_role_nothing_is_allowed_or_explained() {
    for (action, _) in EXPECTED {
        for kind in [PrincipalKind::User, PrincipalKind::Service] {
            assert_eq!(ask(&request(action, kind, vec![])), Outcome::Unauthorized, "{action}");
            for role in ["", "reader", "Reader ", "administrator", "Owner"] {
                assert_eq!(ask(&request(action, kind, vec![assignment(role)])), Outcome::Unauthorized, "{action}");
            }
        }
    }
}

#[test]
fn unknown_actions_are_denied() {
    let all: Vec<_> = ROLES.into_iter().map(assignment).collect();
    let near = [
        "plugins.reload",
        "kms.plugins.reload",
        "kms.keygate.plugins.reload",
        "keygate.secrets.wrap",
        "keygate.",
        "kms.keygate.crypto-instances.read",
    ];
    let none = ["", "kms.", "kms.secrets", "kms.secrets.wrapp", "secrets.wrap", "kms.secrets.WRAP", "kms.*"];
    for action in near.into_iter().chain(none) {
        assert_eq!(ask(&request(action, PrincipalKind::Service, all.clone())), Outcome::Unauthorized, "{action}");
    }
}

#[test]
fn the_gateway_itself_is_no_part_of_anything() {
    const GATEWAY: &str = "00000000-0000-0000-0000-000000000000";
    let reload = |assignment| {
        let mut request = request("keygate.plugins.reload", PrincipalKind::User, vec![assignment]);
        GATEWAY.clone_into(&mut request.target.instance_id);
        request.target.key = None;
        request.target.key_ring = None;
        request.target.key_name = None;
        ask(&request)
    };
    let whole = assignment("Administrator");
    assert_eq!(reload(whole.clone()), Outcome::Allowed);
    for role in ROLES.into_iter().filter(|role| *role != "Administrator") {
        assert_eq!(reload(assignment(role)), Outcome::Unauthorized, "{role}");
    }
    for part in [
        RoleAssignment { instance_id: Some(GATEWAY.into()), ..whole.clone() },
        RoleAssignment { instance_id: Some(INSTANCE.into()), ..whole.clone() },
        RoleAssignment { key_ring: Some("default".into()), ..whole.clone() },
        RoleAssignment { resource_type: Some("key".into()), ..whole.clone() },
        RoleAssignment { resource_id: Some(GATEWAY.into()), ..whole },
    ] {
        assert_eq!(reload(part), Outcome::Unauthorized);
    }
}

#[test]
fn instance_scope() {
    let here = RoleAssignment { instance_id: Some(INSTANCE.into()), ..assignment("Manager") };
    let there = RoleAssignment { instance_id: Some(OTHER_INSTANCE.into()), ..assignment("Manager") };
    for (action, _) in
        EXPECTED.iter().filter(|(action, columns)| columns.as_bytes()[3] == b'y' && !SERVICES_ONLY.contains(action))
    {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![here.clone()])), Outcome::Allowed, "{action}");
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![there.clone()])), Outcome::Unauthorized, "{action}");
    }
}
