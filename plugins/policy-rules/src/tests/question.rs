//! A question as case files have it (the gateway's `Question`).

use std::collections::BTreeMap;

use jiff::Timestamp;
use keygate_plugin_sdk::rule::{
    DeletionAuthorization, Endpoint, InstancePolicy, KeyFacts, KeyKind, KeyState, Network, Principal, PrincipalKind,
    Request, RoleAssignment, Target,
};
use serde::Deserialize;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Question {
    request_id: String,
    action: String,
    principal: Who,
    target: What,
    network: Where,
    now: String,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Who {
    id: String,
    kind: String,
    service_name: Option<String>,
    account: String,
    assignments: Vec<Given>,
    attributes: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Given {
    roles: Vec<String>,
    instance_id: Option<String>,
    key_ring: Option<String>,
    resource_type: Option<String>,
    resource_id: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct What {
    instance_id: String,
    key_ring: Option<String>,
    key: Option<Facts>,
    key_name: Option<String>,
    instance_policies: Vec<PolicyOf>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct PolicyOf {
    kind: String,
    attributes: Vec<(String, String)>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Facts {
    id: String,
    name: String,
    aliases: Vec<String>,
    tags: Vec<String>,
    kind: String,
    state: String,
    imported: bool,
    created: String,
    created_by: String,
    last_rotated: Option<String>,
    expires: Option<String>,
    dual_auth_delete: bool,
    deletion_authorization: Option<Given2>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given2 {
    by: String,
    expires: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct Where {
    address: Option<String>,
    endpoint: String,
}

fn millis(text: &str) -> u64 {
    let at: Timestamp = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    u64::try_from(at.as_millisecond()).unwrap()
}

impl Question {
    pub(super) fn into_request(self) -> Request {
        let assignments = self.principal.assignments.into_iter().map(|one| RoleAssignment {
            roles: one.roles,
            instance_id: one.instance_id,
            key_ring: one.key_ring,
            resource_type: one.resource_type,
            resource_id: one.resource_id,
        });
        let policies = self.target.instance_policies.into_iter();
        Request {
            request_id: self.request_id,
            action: self.action,
            principal: Principal {
                id: self.principal.id,
                kind: if self.principal.kind == "service" { PrincipalKind::Service } else { PrincipalKind::User },
                service_name: self.principal.service_name,
                account: self.principal.account,
                assignments: assignments.collect(),
                attributes: self.principal.attributes.into_iter().collect(),
            },
            target: Target {
                instance_id: self.target.instance_id,
                key_ring: self.target.key_ring,
                key: self.target.key.map(Facts::into_key),
                key_name: self.target.key_name,
                instance_policies: policies
                    .map(|one| InstancePolicy { kind: one.kind, attributes: one.attributes })
                    .collect(),
            },
            network: Network {
                address: self.network.address,
                endpoint: if self.network.endpoint == "private" { Endpoint::Private } else { Endpoint::Public },
            },
            now_unix_ms: millis(&self.now),
            attributes: self.attributes.into_iter().collect(),
        }
    }
}

impl Facts {
    fn into_key(self) -> KeyFacts {
        KeyFacts {
            id: self.id,
            name: self.name,
            aliases: self.aliases,
            tags: self.tags,
            kind: if self.kind == "standard" { KeyKind::Standard } else { KeyKind::Root },
            state: match self.state.as_str() {
                "pre-activation" => KeyState::PreActivation,
                "active" => KeyState::Active,
                "suspended" => KeyState::Suspended,
                "deactivated" => KeyState::Deactivated,
                "destroyed" => KeyState::Destroyed,
                other => panic!("no state is {other}"),
            },
            imported: self.imported,
            created_unix_ms: millis(&self.created),
            created_by: self.created_by,
            last_rotated_unix_ms: self.last_rotated.as_deref().map(millis),
            expires_unix_ms: self.expires.as_deref().map(millis),
            dual_auth_delete: self.dual_auth_delete,
            deletion_authorization: self
                .deletion_authorization
                .map(|given| DeletionAuthorization { by: given.by, expires_unix_ms: millis(&given.expires) }),
        }
    }
}
