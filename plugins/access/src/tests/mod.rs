//! What the tests have in common: requests in short, and answers in a word.

use keygate_plugin_sdk::rule::{
    Decision, DenialKind, Endpoint, Facts, InstancePolicy, KeyFacts, KeyKind, KeyState, Memo, Network, Principal,
    PrincipalKind, RoleAssignment, Target,
};

use super::*;

mod callers;
mod creation;
mod deletion;
mod network;
mod roles;
mod scope;

const INSTANCE: &str = "11111111-1111-4111-8111-111111111111";
const OTHER_INSTANCE: &str = "22222222-2222-4222-8222-222222222222";
const KEY: &str = "33333333-3333-4333-8333-333333333333";
const OTHER_KEY: &str = "44444444-4444-4444-8444-444444444444";
const USER: &str = "IBMid-550000ABCD";
const NOW: u64 = 1_795_000_000_000;

#[derive(Clone, Debug, PartialEq)]
enum Outcome {
    Allowed,
    Unauthorized,
    ServiceOnly,
    NotOwner,
    /// With the message.
    NotPermitted(String),
    /// With the message.
    NeedsAnother(String),
}

/// What every decision reads.
fn basis() -> Facts {
    Facts::PRINCIPAL | Facts::ACTION | Facts::INSTANCE | Facts::KEY_RING | Facts::KEY_IDENTITY
}

/// The answer, and what it may be remembered by.
fn ask_all(request: &Request) -> (Outcome, Memo) {
    let verdict = Access.evaluate(request).unwrap();
    let memo = verdict.memo.unwrap();
    assert_eq!(memo.reads & basis(), basis());
    assert!(memo.valid_until_unix_ms.is_none() || memo.reads & Facts::TIME == Facts::TIME);
    let outcome = match verdict.decision {
        Decision::Allow(obligations) => {
            assert!(obligations.is_empty());
            Outcome::Allowed
        }
        Decision::Deny(denial) => match (denial.kind, denial.code.as_str()) {
            (DenialKind::Unauthorized, "UNAUTHORIZED_ERR") => {
                assert_eq!(denial.message, "The user does not have access to the specified resource");
                Outcome::Unauthorized
            }
            (DenialKind::Forbidden, "SERVICE_ONLY_ERR") => Outcome::ServiceOnly,
            (DenialKind::Forbidden, "RESOURCE_OWNER_ERR") => Outcome::NotOwner,
            (DenialKind::Conflict, "KEY_CREATE_IMPORT_ACCESS_ERR") => Outcome::NotPermitted(denial.message),
            (DenialKind::Conflict, "AUTHORIZATIONS_NOT_MET") => Outcome::NeedsAnother(denial.message),
            _ => panic!("not a denial of this rule's: {denial:?}"),
        },
        Decision::Abstain => panic!("the rule has an answer to everything"),
    };
    (outcome, memo)
}

fn ask(request: &Request) -> Outcome {
    ask_all(request).0
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
            id: USER.into(),
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
        network: Network { address: Some("203.0.113.7".into()), endpoint: Endpoint::Public },
        now_unix_ms: NOW,
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
        created_by: USER.into(),
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

/// A request with further facts.
fn with(mut request: Request, facts: &[(&str, &str)]) -> Request {
    request.attributes.extend(pairs(facts));
    request
}

/// A request to an instance with one more policy switched on.
fn under(mut request: Request, kind: &str, attributes: &[(&str, &str)]) -> Request {
    request.target.instance_policies.push(InstancePolicy { kind: kind.into(), attributes: pairs(attributes) });
    request
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn takes_no_settings() {
    assert!(Access::configure(" {} ").is_ok());
    assert!(Access::configure(r#"{"roles":{}}"#).is_err());
    assert_eq!(Access.describe().actions, Vec::<String>::new());
}

#[test]
fn wrapping_reads_nothing_more_than_it_must() {
    let wrap = about_key("kms.secrets.wrap", assignment("Reader"));
    let plain = Memo { reads: basis(), valid_until_unix_ms: None };
    assert_eq!(ask_all(&wrap), (Outcome::Allowed, plain));
    let beside = under(under(wrap.clone(), "metrics", &[]), "dualAuthDelete", &[]);
    assert_eq!(ask_all(&under(beside, "keyCreateImportAccess", &[])), (Outcome::Allowed, plain));
    let network = Memo { reads: basis() | Facts::NETWORK, valid_until_unix_ms: None };
    let limited = under(wrap, "allowedIP", &[("allowed_ip", "203.0.113.0/24")]);
    assert_eq!(ask_all(&limited), (Outcome::Allowed, network));
}
