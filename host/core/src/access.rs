//! Who may do what: the question that the policy chain is asked, and its answer. All plain data.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::ids::{InstanceId, KeyRingId};
use crate::key::Key;

/// What kind of caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person or an application with a user's identity.
    User,
    /// A service id, of the named service.
    Service {
        /// Such as `cloud-object-storage`.
        name: String,
    },
}

/// Roles on a part of the resources (an IAM access policy). `None` is any.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct RoleAssignment {
    /// `Reader`, `Writer`, ...
    pub roles: Vec<String>,
    /// On one instance.
    pub instance: Option<InstanceId>,
    /// On one key ring.
    pub key_ring: Option<KeyRingId>,
    /// On one type of resource; `key` is the only one known.
    pub resource_type: Option<String>,
    /// On one key.
    pub resource_id: Option<String>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The IAM id.
    pub id: String,
    /// What people call them, where known.
    pub name: Option<String>,
    /// What kind.
    pub kind: PrincipalKind,
    /// The account.
    pub account: String,
    /// What they were given.
    pub assignments: Vec<RoleAssignment>,
    /// Further claims.
    pub attributes: Vec<(String, String)>,
}

/// Which door a request came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Endpoint {
    /// The public one.
    #[default]
    Public,
    /// The private one.
    Private,
}

/// Where from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Network {
    /// The peer's address; absent for the gateway's own background work.
    pub address: Option<std::net::IpAddr>,
    /// Which door.
    pub endpoint: Endpoint,
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $iam:literal, $event:literal;)*) => {
        /// What a request wants, as IAM names it. The audit log has names of its own for the same
        /// (`api-v2`, table 2: IAM keeps the old names).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $($(#[$doc])* $name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The IAM action.
            pub const fn iam(self) -> &'static str {
                match self { $(Self::$name => $iam,)* }
            }

            /// The name of the audit event.
            pub const fn event(self) -> &'static str {
                match self { $(Self::$name => $event,)* }
            }
        }
    };
}

actions! {
    /// `POST /keys`
    Create = "kms.secrets.create", "kms.secrets.create";
    /// `GET /keys`
    List = "kms.secrets.list", "kms.secrets.list";
    /// `HEAD /keys`
    Head = "kms.secrets.head", "kms.secrets.head";
    /// `GET /keys/{id}`
    Read = "kms.secrets.read", "kms.secrets.read";
    /// `GET /keys/{id}/metadata`
    ReadMetadata = "kms.secrets.readmetadata", "kms.secrets-metadata.read";
    /// `GET /keys/{id}/versions`
    ListVersions = "kms.secrets.listkeyversions", "kms.secrets-key-versions.list";
    /// `DELETE /keys/{id}`
    Delete = "kms.secrets.delete", "kms.secrets.delete";
    /// `POST /keys/{id}/actions/wrap`
    Wrap = "kms.secrets.wrap", "kms.secrets.wrap";
    /// `POST /keys/{id}/actions/unwrap`
    Unwrap = "kms.secrets.unwrap", "kms.secrets.unwrap";
    /// `POST /keys/{id}/actions/rewrap`
    Rewrap = "kms.secrets.rewrap", "kms.secrets.rewrap";
    /// `POST /keys/{id}/actions/rotate`
    Rotate = "kms.secrets.rotate", "kms.secrets.rotate";
}

/// The question.
#[derive(Clone, Debug)]
pub struct AccessRequest<'a> {
    /// The correlation id.
    pub request_id: &'a str,
    /// What is wanted.
    pub action: Action,
    /// By whom.
    pub principal: &'a Principal,
    /// In which instance.
    pub instance: InstanceId,
    /// The key's ring, or the one that the request names.
    pub key_ring: Option<&'a KeyRingId>,
    /// The key, where there is one.
    pub key: Option<&'a Key>,
    /// What the request calls it.
    pub key_name: Option<&'a str>,
    /// Where from.
    pub network: &'a Network,
    /// How long each rule may take, beside its own limit.
    pub timeout: Option<Duration>,
    /// When.
    pub now: Timestamp,
    /// What more the host knows (`wit/policy`: `request.attributes`).
    pub attributes: &'a [(&'static str, String)],
}

/// Which HTTP status a denial becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DenialKind {
    /// 401, and no reason for the caller.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 409.
    Conflict,
}

/// A refusal by a rule, or by the chain itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// Which kind.
    pub kind: DenialKind,
    /// The reason code.
    pub code: String,
    /// For the caller.
    pub message: String,
}

/// Something that must be done beside, for an allow to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// What.
    pub name: String,
    /// How.
    pub value: String,
}

/// What one rule answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to say.
    Abstain,
    /// Yes.
    Allow,
    /// No, with the reason code.
    Deny(String),
    /// It failed.
    Fault(String),
}

/// One rule's part in a decision, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleAnswer {
    /// The rule's name in `plugins.toml`.
    pub rule: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Whether its answer counted (`mode = "enforce"`), or was only noted (`"monitor"`).
    pub enforced: bool,
    /// What it said.
    pub answer: Answer,
    /// How long it took.
    pub took: Duration,
}

/// What the chain decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, if these are met.
    Allow(Vec<Obligation>),
    /// No.
    Deny(Denial),
    /// There was no room to ask every rule in time. Nothing is allowed; asking again may help.
    Busy,
}

/// The decision, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What.
    pub verdict: Verdict,
    /// Who said what, in the chain's order.
    pub trail: Vec<RuleAnswer>,
}
