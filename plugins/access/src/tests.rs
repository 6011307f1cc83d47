//! The table of the API's documentation, written out once more by hand and compared action by action.

use keygate_plugin_sdk::rule::{Decision, DenialKind, Endpoint, KeyFacts, KeyKind, KeyState, Network, Principal};

use super::*;
use crate::roles::TABLE;

const ROLES: [&str; 6] = ["Reader", "ReaderPlus", "Writer", "Manager", "KeyPurge", "KmipAdapterManager"];

/// One column a role, in the order of `ROLES`; `y` has the action.
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
    ("kms.kmip-management.create", "---y-y"),
    ("kms.kmip-management.list", "---y-y"),
    ("kms.kmip-management.read", "---y-y"),
    ("kms.kmip-management.delete", "---y-y"),
];

const SERVICES_ONLY: [&str; 5] = [
    "kms.registrations.create",
    "kms.registrations.merge",
    "kms.registrations.write",
    "kms.registrations.delete",
    "kms.secrets.eventack",
];

const INSTANCE: &str = "11111111-1111-4111-8111-111111111111";
const OTHER_INSTANCE: &str = "22222222-2222-4222-8222-222222222222";
const KEY: &str = "33333333-3333-4333-8333-333333333333";
const OTHER_KEY: &str = "44444444-4444-4444-8444-444444444444";

#[derive(Debug, PartialEq)]
enum Outcome {
    Allowed,
    Unauthorized,
    ServiceOnly,
}

fn ask(request: &Request) -> Outcome {
    let verdict = Access.evaluate(request).unwrap();
    let memo = verdict.memo.unwrap();
    assert_eq!(memo.valid_until_unix_ms, None);
    assert_eq!(memo.reads.bits(), 0b1_1111, "principal, action, instance, key ring, key identity");
    match verdict.decision {
        Decision::Allow(obligations) => {
            assert!(obligations.is_empty());
            Outcome::Allowed
        }
        Decision::Deny(denial) if denial.kind == DenialKind::Unauthorized => {
            assert_eq!(denial.code, "UNAUTHORIZED_ERR");
            assert_eq!(denial.message, "The user does not have access to the specified resource");
            Outcome::Unauthorized
        }
        Decision::Deny(denial) => {
            assert_eq!((denial.kind, denial.code.as_str()), (DenialKind::Forbidden, "SERVICE_ONLY_ERR"));
            Outcome::ServiceOnly
        }
        Decision::Abstain => panic!("the rule has an answer to everything"),
    }
}

fn assignment(role: &str) -> RoleAssignment {
    RoleAssignment {
        roles: vec![role.into()],
        instance_id: None,
        key_ring: None,
        resource_type: None,
        resource_id: None,
    }
}

fn request(action: &str, kind: PrincipalKind, assignments: Vec<RoleAssignment>) -> Request {
    Request {
        request_id: "r".into(),
        action: action.into(),
        principal: Principal {
            id: "IBMid-550000ABCD".into(),
            kind,
            service_name: (kind == PrincipalKind::Service).then(|| "cloud-object-storage".into()),
            account: "0123456789abcdef0123456789abcdef".into(),
            assignments,
            attributes: vec![],
        },
        target: Target {
            instance_id: INSTANCE.into(),
            key_ring: Some("default".into()),
            key: None,
            key_name: None,
            instance_policies: vec![],
        },
        network: Network { address: None, endpoint: Endpoint::Public },
        now_unix_ms: 1_795_000_000_000,
        attributes: vec![],
    }
}

fn key(id: &str) -> KeyFacts {
    KeyFacts {
        id: id.into(),
        name: "a key".into(),
        aliases: vec!["alias".into()],
        tags: vec![],
        kind: KeyKind::Root,
        state: KeyState::Active,
        imported: false,
        created_unix_ms: 0,
        created_by: "IBMid-550000ABCD".into(),
        last_rotated_unix_ms: None,
        expires_unix_ms: None,
        dual_auth_delete: false,
        deletion_authorization: None,
    }
}

/// A user who wants to wrap with a key, or to do something else with it.
fn about_key(action: &str, assignment: RoleAssignment) -> Request {
    let mut request = request(action, PrincipalKind::User, vec![assignment]);
    request.target.key = Some(key(KEY));
    request.target.key_name = Some("alias".into());
    request
}

#[test]
fn every_role_has_its_actions_and_no_other() {
    assert_eq!(EXPECTED.len(), TABLE.len(), "an action is missing from one of the two tables");
    for (action, columns) in EXPECTED {
        for (role, column) in ROLES.into_iter().zip(columns.chars()) {
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
            for role in ["", "reader", "Reader ", "Administrator"] {
                assert_eq!(ask(&request(action, kind, vec![assignment(role)])), Outcome::Unauthorized, "{action}");
            }
        }
    }
}

#[test]
fn unknown_actions_are_denied() {
    let all: Vec<_> = ROLES.into_iter().map(assignment).collect();
    for action in ["", "kms.", "kms.secrets", "kms.secrets.wrapp", "secrets.wrap", "kms.secrets.WRAP", "kms.*"] {
        assert_eq!(ask(&request(action, PrincipalKind::Service, all.clone())), Outcome::Unauthorized, "{action}");
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

#[test]
fn ring_scope() {
    let scoped = RoleAssignment { key_ring: Some("payments".into()), ..assignment("Manager") };
    for action in ["kms.secrets.create", "kms.secrets.list", "kms.secrets.wrap", "kms.keyrings.create"] {
        let mut request = request(action, PrincipalKind::User, vec![scoped.clone()]);
        assert_eq!(ask(&request), Outcome::Unauthorized, "{action} in another ring");
        request.target.key_ring = None;
        assert_eq!(ask(&request), Outcome::Unauthorized, "{action} without a ring");
        request.target.key_ring = Some("payments".into());
        assert_eq!(ask(&request), Outcome::Allowed, "{action} in the ring");
    }
}

#[test]
fn type_scope() {
    let keys = RoleAssignment { resource_type: Some("key".into()), ..assignment("Manager") };
    let rings = RoleAssignment { resource_type: Some("keyring".into()), ..assignment("Manager") };
    for action in ["kms.secrets.create", "kms.secrets.list", "kms.secrets.wrap"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![keys.clone()])), Outcome::Allowed, "{action}");
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![rings.clone()])), Outcome::Unauthorized, "{action}");
    }
    for action in ["kms.keyrings.create", "kms.instancepolicies.write", "kms.importtoken.create"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![keys.clone()])), Outcome::Unauthorized, "{action}");
    }
}

#[test]
fn key_scope() {
    let this = RoleAssignment { resource_id: Some(KEY.into()), ..assignment("Manager") };
    let other = RoleAssignment { resource_id: Some(OTHER_KEY.into()), ..assignment("Manager") };
    assert_eq!(ask(&about_key("kms.secrets.wrap", this.clone())), Outcome::Allowed, "by an alias, too");
    assert_eq!(ask(&about_key("kms.secrets.wrap", other.clone())), Outcome::Unauthorized);

    let typed = RoleAssignment { resource_type: Some("key".into()), ..this.clone() };
    assert_eq!(ask(&about_key("kms.secrets.wrap", typed)), Outcome::Allowed);

    let mut missing = about_key("kms.secrets.wrap", this.clone());
    missing.target.key = None;
    missing.target.key_name = Some(KEY.into());
    assert_eq!(ask(&missing), Outcome::Allowed, "may learn that the key is gone");
    missing.target.key_name = Some(OTHER_KEY.into());
    assert_eq!(ask(&missing), Outcome::Unauthorized);

    // A key that exists counts by its id alone: nobody can name a key so that another one's assignment fits.
    let mut named_like = about_key("kms.secrets.wrap", other);
    named_like.target.key_name = Some(OTHER_KEY.into());
    assert_eq!(ask(&named_like), Outcome::Unauthorized);

    for action in ["kms.secrets.list", "kms.secrets.head", "kms.secrets.create", "kms.keyrings.list"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![this.clone()])), Outcome::Unauthorized, "{action}");
        assert_eq!(ask(&about_key(action, this.clone())), Outcome::Unauthorized, "{action} names no key");
    }
}

#[test]
fn scopes_narrow_together_and_do_not_lend_each_other_roles() {
    let reader = assignment("Reader");
    let manager_there = RoleAssignment { instance_id: Some(OTHER_INSTANCE.into()), ..assignment("Manager") };
    let both = vec![reader, manager_there];
    assert_eq!(ask(&request("kms.secrets.wrap", PrincipalKind::User, both.clone())), Outcome::Allowed);
    assert_eq!(ask(&request("kms.secrets.delete", PrincipalKind::User, both)), Outcome::Unauthorized);

    let narrow = RoleAssignment {
        instance_id: Some(INSTANCE.into()),
        key_ring: Some("payments".into()),
        resource_id: Some(KEY.into()),
        ..assignment("Manager")
    };
    let mut wrap = about_key("kms.secrets.wrap", narrow);
    assert_eq!(ask(&wrap), Outcome::Unauthorized, "the key is in ring `default`");
    wrap.target.key_ring = Some("payments".into());
    assert_eq!(ask(&wrap), Outcome::Allowed);
}

#[test]
fn takes_no_settings() {
    assert!(Access::configure(" {} ").is_ok());
    assert!(Access::configure(r#"{"roles":{}}"#).is_err());
    assert_eq!(Access.describe().actions, Vec::<String>::new());
}
