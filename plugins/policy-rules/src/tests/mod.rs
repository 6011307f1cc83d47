//! Questions and settings in short, for the tests.

mod cases;
mod decisions;
mod errors;
mod hostile;
mod memo;
mod question;
mod slicing;

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::rule::{
    Decision, Endpoint, KeyFacts, KeyKind, KeyState, Network, Principal, PrincipalKind, Request, RoleAssignment, Rule,
    Target, Verdict,
};
use serde_json::json;

use crate::PolicyRules;

/// 2026-11-23T11:00:00Z, a Monday.
const NOW: u64 = 1_795_431_600_000;
const DAY: u64 = 86_400_000;

fn configured(policies: &str) -> PolicyRules {
    try_configure(policies).unwrap_or_else(|error| panic!("{}: {}", error.path, error.message))
}

fn try_configure(policies: &str) -> Result<PolicyRules, SettingsError> {
    PolicyRules::configure(&json!({ "policies": [{ "file": "a.cedar", "text": policies }] }).to_string())
}

fn assignment(roles: &[&str]) -> RoleAssignment {
    RoleAssignment {
        roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        instance_id: None,
        key_ring: None,
        resource_type: None,
        resource_id: None,
    }
}

fn key() -> KeyFacts {
    KeyFacts {
        id: "k1".to_owned(),
        name: "master".to_owned(),
        aliases: vec!["m".to_owned()],
        tags: vec!["pci".to_owned()],
        kind: KeyKind::Root,
        state: KeyState::Active,
        imported: false,
        created_unix_ms: NOW - 400 * DAY,
        created_by: "ann".to_owned(),
        last_rotated_unix_ms: None,
        expires_unix_ms: None,
        dual_auth_delete: false,
        deletion_authorization: None,
    }
}

/// A writer asks to do this with the key `k1` in ring `prod`, at eleven in the morning from 10.1.2.3.
fn request(action: &str) -> Request {
    Request {
        request_id: "r".to_owned(),
        action: action.to_owned(),
        principal: Principal {
            id: "ann".to_owned(),
            kind: PrincipalKind::User,
            service_name: None,
            account: "acme".to_owned(),
            assignments: vec![assignment(&["Writer"])],
            attributes: vec![("department".to_owned(), "payments".to_owned())],
        },
        target: Target {
            instance_id: "i1".to_owned(),
            key_ring: Some("prod".to_owned()),
            key: Some(key()),
            key_name: Some("k1".to_owned()),
            instance_policies: Vec::new(),
        },
        network: Network { address: Some("10.1.2.3".to_owned()), endpoint: Endpoint::Private },
        now_unix_ms: NOW,
        attributes: Vec::new(),
    }
}

fn verdict(policies: &str, request: &Request) -> Verdict {
    configured(policies).evaluate(request).unwrap_or_else(|fault| panic!("{fault}"))
}

/// `allow`, `abstain`, or the code of the denial.
fn said(decision: &Decision) -> &str {
    match decision {
        Decision::Allow(_) => "allow",
        Decision::Abstain => "abstain",
        Decision::Deny(denial) => &denial.code,
    }
}

fn decided(policies: &str, request: &Request) -> String {
    said(&verdict(policies, request).decision).to_owned()
}

/// What happens when this is the condition of a policy that forbids what is asked.
fn forbidden_when(condition: &str, request: &Request) -> bool {
    let policy = format!("@reason(\"NO\") forbid (principal, action, resource) when {{ {condition} }};");
    match decided(&policy, request).as_str() {
        "NO" => true,
        "abstain" => false,
        other => panic!("{other}"),
    }
}
