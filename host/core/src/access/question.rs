//! The question as rules read it, and as it is written down: the record `request` of `wit/policy/types.wit`, as JSON in the
//! audit log and as TOML in case files. It is built once a request. It holds no secret, by its types: all of it is metadata.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{AccessRequest, Endpoint, Principal, PrincipalKind, RoleAssignment};
use crate::clock::Timestamp;
use crate::key::{Key, KeyKind, KeyState};
use crate::policy::InstancePolicy;

/// The question, whole. What is read from a file may leave out whatever does not matter, and may not have a field that
/// there is none of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Question {
    /// The correlation id.
    pub request_id: String,
    /// The IAM action, such as `kms.secrets.wrap`: [`super::Action::iam`].
    pub action: String,
    /// Who asks.
    pub principal: PrincipalFacts,
    /// What it is about.
    pub target: TargetFacts,
    /// Where from.
    pub network: NetworkFacts,
    /// When.
    #[serde(with = "instant")]
    pub now: Timestamp,
    /// What more the host knows, by name.
    pub attributes: BTreeMap<String, String>,
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrincipalFacts {
    /// The IAM id.
    pub id: String,
    /// What kind.
    pub kind: CallerKind,
    /// Of a service id: the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The account.
    pub account: String,
    /// The roles that they were given.
    pub assignments: Vec<AssignmentFacts>,
    /// Further claims, by name.
    pub attributes: BTreeMap<String, String>,
}

/// What kind of caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// A person or an application with a user's identity.
    #[default]
    User,
    /// A service id.
    Service,
}

/// Roles on a part of the resources. What is absent is any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssignmentFacts {
    /// `Reader`, `Writer`, ...
    pub roles: Vec<String>,
    /// On one instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// On one key ring.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ring: Option<String>,
    /// On one type of resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    /// On one key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
}

/// What the request is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TargetFacts {
    /// The instance, a UUID.
    pub instance_id: String,
    /// The key's ring, or the one that the request names; absent when neither is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_ring: Option<String>,
    /// The key, where the request names one that exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyFacts>,
    /// What the request calls the key, id or alias, whether it exists or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// The policies of the instance that are switched on.
    pub instance_policies: Vec<PolicyFacts>,
}

/// The key, as it is before the request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeyFacts {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What for. `root` where it is not said.
    #[serde(with = "kind")]
    pub kind: KeyKind,
    /// Where it is in its life. `active` where it is not said.
    #[serde(with = "state")]
    pub state: KeyState,
    /// Whether the material came from outside.
    pub imported: bool,
    /// When it was made.
    #[serde(with = "instant")]
    pub created: Timestamp,
    /// The IAM id of who made it.
    pub created_by: String,
    /// When it was rotated last, if ever.
    #[serde(with = "maybe_instant", skip_serializing_if = "Option::is_none")]
    pub last_rotated: Option<Timestamp>,
    /// When it is to become Deactivated, if ever.
    #[serde(with = "maybe_instant", skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Whether deleting it takes two people.
    pub dual_auth_delete: bool,
    /// The first of the two, where given. It may have lapsed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_authorization: Option<AuthorizationFacts>,
}

impl Default for KeyFacts {
    fn default() -> Self {
        Self {
            id: String::new(),
            name: String::new(),
            aliases: Vec::new(),
            tags: Vec::new(),
            kind: KeyKind::Root,
            state: KeyState::Active,
            imported: false,
            created: Timestamp::default(),
            created_by: String::new(),
            last_rotated: None,
            expires: None,
            dual_auth_delete: false,
            deletion_authorization: None,
        }
    }
}

/// A first authorization to delete a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizationFacts {
    /// The IAM id of who gave it.
    pub by: String,
    /// From this instant on it is void.
    #[serde(with = "instant")]
    pub expires: Timestamp,
}

/// An instance policy that is switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyFacts {
    /// Its `policy_type`.
    pub kind: String,
    /// Its attributes, lists as several pairs of one name.
    pub attributes: Vec<(String, String)>,
}

/// Where from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkFacts {
    /// The peer's IP address in its canonical text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Which door.
    pub endpoint: Endpoint,
}

impl From<&AccessRequest<'_>> for Question {
    fn from(request: &AccessRequest<'_>) -> Self {
        Self {
            request_id: request.request_id.to_owned(),
            action: request.action.iam().to_owned(),
            principal: request.principal.into(),
            target: TargetFacts {
                instance_id: request.instance.to_string(),
                key_ring: request.key_ring.map(|ring| ring.as_str().to_owned()),
                key: request.key.map(KeyFacts::from),
                key_name: request.key_name.map(str::to_owned),
                instance_policies: request.policies.enabled().map(PolicyFacts::from).collect(),
            },
            network: NetworkFacts {
                address: request.network.address.map(|address| address.to_string()),
                endpoint: request.network.endpoint,
            },
            now: request.now,
            attributes: request.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        }
    }
}

impl From<&Principal> for PrincipalFacts {
    fn from(principal: &Principal) -> Self {
        let (kind, service_name) = match &principal.kind {
            PrincipalKind::User => (CallerKind::User, None),
            PrincipalKind::Service { name } => (CallerKind::Service, Some(name.clone())),
        };
        Self {
            id: principal.id.clone(),
            kind,
            service_name,
            account: principal.account.clone(),
            assignments: principal.assignments.iter().map(AssignmentFacts::from).collect(),
            attributes: principal.attributes.iter().cloned().collect(),
        }
    }
}

impl From<&RoleAssignment> for AssignmentFacts {
    fn from(assignment: &RoleAssignment) -> Self {
        Self {
            roles: assignment.roles.clone(),
            instance_id: assignment.instance.map(|instance| instance.to_string()),
            key_ring: assignment.key_ring.as_ref().map(|ring| ring.as_str().to_owned()),
            resource_type: assignment.resource_type.clone(),
            resource_id: assignment.resource_id.clone(),
        }
    }
}

impl From<&InstancePolicy> for PolicyFacts {
    fn from(policy: &InstancePolicy) -> Self {
        let pairs = policy.attributes.pairs().into_iter();
        Self {
            kind: policy.kind.as_str().to_owned(),
            attributes: pairs.map(|(name, value)| (name.to_owned(), value)).collect(),
        }
    }
}

impl From<&Key> for KeyFacts {
    fn from(key: &Key) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            aliases: key.alias_names().map(|alias| alias.as_str().to_owned()).collect(),
            tags: key.tags.clone(),
            kind: key.kind,
            state: key.state,
            imported: key.imported,
            created: key.created_at,
            created_by: key.created_by.clone(),
            last_rotated: key.rotated_at,
            expires: key.expires_at,
            dual_auth_delete: key.needs_dual_auth(),
            deletion_authorization: key.authorization.as_ref().map(|authorization| AuthorizationFacts {
                by: authorization.given.by.clone(),
                expires: authorization.lapses_at,
            }),
        }
    }
}

/// An instant as RFC 3339 text: written in UTC with milliseconds, read with any fraction and offset.
mod instant {
    use std::borrow::Cow;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::clock::Timestamp;

    pub(super) fn serialize<S: Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&at.to_rfc3339_three_digits())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Timestamp::parse_rfc3339(&text)
            .map_err(|why| D::Error::custom(format!("`{text}` is {why}; write it like 2026-11-22T10:00:00.000Z")))
    }
}

/// The same, or nothing.
mod maybe_instant {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::clock::Timestamp;

    pub(super) fn serialize<S: Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match at {
            Some(at) => serializer.serialize_some(&at.to_rfc3339_three_digits()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        #[derive(Deserialize)]
        struct Instant(#[serde(with = "super::instant")] Timestamp);
        Ok(Option::<Instant>::deserialize(deserializer)?.map(|Instant(at)| at))
    }
}

/// Key kinds in the contract's words. Those that the store writes are its own.
mod kind {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::key::KeyKind;

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "KeyKind", rename_all = "kebab-case")]
    enum Word {
        Root,
        Standard,
    }

    pub(super) fn serialize<S: Serializer>(kind: &KeyKind, serializer: S) -> Result<S::Ok, S::Error> {
        Word::serialize(kind, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyKind, D::Error> {
        Word::deserialize(deserializer)
    }
}

/// Key states in the contract's words.
mod state {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::key::KeyState;

    #[derive(Serialize, Deserialize)]
    #[serde(remote = "KeyState", rename_all = "kebab-case")]
    enum Word {
        PreActivation,
        Active,
        Suspended,
        Deactivated,
        Destroyed,
    }

    pub(super) fn serialize<S: Serializer>(state: &KeyState, serializer: S) -> Result<S::Ok, S::Error> {
        Word::serialize(state, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KeyState, D::Error> {
        Word::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests;
