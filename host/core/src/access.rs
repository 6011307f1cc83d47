//! Who may do what: the question that the policy chain is asked, and its answer. All plain data.

pub mod obligations;
pub mod question;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{InstanceId, KeyRingId};
use crate::key::Key;
use crate::policy::InstancePolicies;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
    /// `POST /keys_with_policy_overrides`
    CreateWithOverrides = "kms.secrets-with-policy-overrides.create", "kms.secrets-with-policy-overrides.create";
    /// `PATCH /keys/{id}`
    Patch = "kms.secrets.patch", "kms.secrets.patch";
    /// `POST /keys/{id}/restore`
    Restore = "kms.secrets.restore", "kms.secrets.restore";
    /// `DELETE /keys/{id}/purge`
    Purge = "kms.secrets.purge", "kms.secrets.purge";
    /// `POST /keys/{id}/actions/enable`
    Enable = "kms.secrets.enable", "kms.secrets.enable";
    /// `POST /keys/{id}/actions/disable`
    Disable = "kms.secrets.disable", "kms.secrets.disable";
    /// `POST /keys/{id}/actions/setKeyForDeletion`
    SetKeyForDeletion = "kms.secrets.setkeyfordeletion", "kms.secrets.setkeyfordeletion";
    /// `POST /keys/{id}/actions/unsetKeyForDeletion`
    UnsetKeyForDeletion = "kms.secrets.unsetkeyfordeletion", "kms.secrets.unsetkeyfordeletion";
    /// `POST /keys/{id}/actions/sync`
    Sync = "kms.secrets.sync", "kms.secrets.sync";
    /// `GET /keys/{id}/policies`
    ReadPolicies = "kms.policies.read", "kms.policies.read";
    /// `PUT /keys/{id}/policies`
    WritePolicies = "kms.policies.write", "kms.policies.write";
    /// `GET /instance/policies`
    ReadInstancePolicies = "kms.instancepolicies.read", "kms.instance-policies.read";
    /// `PUT /instance/policies`
    WriteInstancePolicies = "kms.instancepolicies.write", "kms.instance-policies.write";
    /// `GET /instance/allowed_ip_port`
    ReadAllowedIpPort = "kms.instance.readallowedipport", "kms.instance-allowed-ip-port.read";
    /// `POST /import_token`
    CreateImportToken = "kms.importtoken.create", "kms.import-token.create";
    /// `GET /import_token`
    ReadImportToken = "kms.importtoken.read", "kms.import-token.read";
    /// `POST /keys/{id}/registrations/{crn}`
    CreateRegistration = "kms.registrations.create", "kms.registrations.create";
    /// `PATCH /keys/{id}/registrations/{crn}`
    MergeRegistration = "kms.registrations.merge", "kms.registrations.merge";
    /// `PUT /keys/{id}/registrations/{crn}`
    WriteRegistration = "kms.registrations.write", "kms.registrations.write";
    /// `DELETE /keys/{id}/registrations/{crn}`
    DeleteRegistration = "kms.registrations.delete", "kms.registrations.delete";
    /// `POST /keys/{id}/registrations?action=deactivate`. The documents name no IAM action for it.
    DeactivateRegistration = "kms.registrations.write", "kms.registrations.deactivate";
    /// `GET /keys/{id}/registrations` and `GET /keys/registrations`
    ListRegistrations = "kms.registrations.list", "kms.registrations.list";
    /// `POST /event_ack`
    AcknowledgeEvent = "kms.secrets.eventack", "kms.secrets-event.ack";
    /// `GET /keygate/v1/events`: what adopters have not acknowledged yet. Keygate's own.
    ListEvents = "kms.events.list", "kms.events.list";
    /// `POST /keys/{id}/aliases/{alias}`
    CreateAlias = "kms.secrets.createalias", "kms.secrets-alias.create";
    /// `DELETE /keys/{id}/aliases/{alias}`
    DeleteAlias = "kms.secrets.deletealias", "kms.secrets-alias.delete";
    /// `GET /key_rings`
    ListKeyRings = "kms.keyrings.list", "kms.key-rings.list";
    /// `POST /key_rings/{id}`
    CreateKeyRing = "kms.keyrings.create", "kms.key-rings.create";
    /// `DELETE /key_rings/{id}`
    DeleteKeyRing = "kms.keyrings.delete", "kms.key-rings.delete";
    /// A key's expiration date has come. The gateway's own doing: nobody asks for it.
    Expire = "kms.secrets.expire", "kms.secrets.expire";
    /// `POST /keygate/v1/reload`: plugins, backends, rules and secrets as the configuration has them now. Keygate's own;
    /// about no instance.
    ReloadPlugins = "keygate.plugins.reload", "keygate.plugins.reload";
    /// `GET /keygate/v1/backends`: the backends, and what they can do. Keygate's own; about no instance.
    ListBackends = "keygate.backends.list", "keygate.backends.list";
    /// `POST /keygate/v1/instances/{id}/migrations`: move keys from one backend to another. Keygate's own.
    Migrate = "keygate.backends.migrate", "keygate.backends.migrate";
    /// `GET /keygate/v1/instances/{id}/migrations`. Keygate's own.
    ReadMigration = "keygate.backends.migration.read", "keygate.backends.migration.read";
    /// `DELETE /keygate/v1/instances/{id}/migrations/{id}`. Keygate's own.
    StopMigration = "keygate.backends.migration.stop", "keygate.backends.migration.stop";
    /// A migration has moved a key, or found that it cannot. The gateway's own doing: nobody asks for it.
    MoveKey = "keygate.backends.migration.move", "keygate.backends.migration.move";
    /// A migration has come to its end. The gateway's own doing.
    EndMigration = "keygate.backends.migration.end", "keygate.backends.migration.end";
    /// `GET /keygate/v1/instances`. Keygate's own, as all that follow.
    ListInstances = "keygate.instances.list", "keygate.instances.list";
    /// `GET /keygate/v1/instances/{id}`
    ReadInstance = "keygate.instances.read", "keygate.instances.read";
    /// `POST /keygate/v1/instances`
    CreateInstance = "keygate.instances.create", "keygate.instances.create";
    /// `PATCH /keygate/v1/instances/{id}`
    BindInstance = "keygate.instances.bind", "keygate.instances.bind";
    /// `DELETE /keygate/v1/instances/{id}`
    DeleteInstance = "keygate.instances.delete", "keygate.instances.delete";
    /// `GET /keygate/v1/authorizations`
    ListAuthorizations = "keygate.authorizations.list", "keygate.authorizations.list";
    /// `PUT /keygate/v1/authorizations/{source}/{target}`
    CreateAuthorization = "keygate.authorizations.create", "keygate.authorizations.create";
    /// `DELETE /keygate/v1/authorizations/{source}/{target}`
    DeleteAuthorization = "keygate.authorizations.delete", "keygate.authorizations.delete";
    /// `GET /keygate/v1/crypto-instances`
    ListCryptoInstances = "keygate.crypto-instances.list", "keygate.crypto-instances.list";
    /// `GET /crypto_v1/instances/{id}`. The rules are told the crypto instance's id.
    ReadCryptoInstance = "keygate.crypto-instances.read", "keygate.crypto-instances.read";
}

impl Action {
    /// Whether somebody asks for it. The rules never hear of what the gateway does by itself.
    pub const fn is_asked_for(self) -> bool {
        !matches!(self, Self::Expire | Self::MoveKey | Self::EndMigration)
    }

    /// Whether it is about the gateway itself and no Key Protect instance. The rules are told [`InstanceId::GATEWAY`] then;
    /// of [`Action::ReadCryptoInstance`], the crypto instance.
    pub const fn is_about_gateway(self) -> bool {
        matches!(
            self,
            Self::ReloadPlugins
                | Self::ListInstances
                | Self::ReadInstance
                | Self::CreateInstance
                | Self::BindInstance
                | Self::DeleteInstance
                | Self::ListAuthorizations
                | Self::CreateAuthorization
                | Self::DeleteAuthorization
                | Self::ListCryptoInstances
                | Self::ReadCryptoInstance
                | Self::ListBackends
                | Self::Migrate
                | Self::ReadMigration
                | Self::StopMigration
        )
    }
}

/// What the question is made from: see [`question::Question`].
#[derive(Clone, Debug)]
pub struct AccessRequest<'a> {
    /// The correlation id.
    pub request_id: &'a str,
    /// What is wanted.
    pub action: Action,
    /// By whom.
    pub principal: &'a Principal,
    /// In which instance; [`InstanceId::GATEWAY`] where it is about the gateway itself.
    pub instance: InstanceId,
    /// The key's ring, or the one that the request names.
    pub key_ring: Option<&'a KeyRingId>,
    /// The key, where there is one.
    pub key: Option<&'a Key>,
    /// The policies of the instance.
    pub policies: &'a InstancePolicies,
    /// What the request calls it.
    pub key_name: Option<&'a str>,
    /// Where from.
    pub network: &'a Network,
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
    /// Who asks for it: the rule's name in `plugins.toml`.
    pub rule: String,
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
    /// What it made its allow depend on.
    pub obligations: Vec<Obligation>,
    /// How long it took.
    pub took: Duration,
}

/// What the chain decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, if these are met: see [`obligations::Obligations`].
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
    /// Which generation of plugins decided: 1 for the first that was live.
    pub generation: u64,
    /// Who said what, in the chain's order.
    pub trail: Vec<RuleAnswer>,
}
