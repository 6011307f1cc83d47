//! What is told of each request, in the words of the audit log. By its types, no secret can get in.

use std::sync::Arc;

use crate::access::obligations::Note;
use crate::access::question::Question;
use crate::access::{Action, DenialKind, Network, Principal, PrincipalKind, RuleAnswer};
use crate::clock::Timestamp;
use crate::error::{Cause, Error};
use crate::ids::{InstanceId, KeyId};

/// How a request came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// As asked.
    Success,
    /// Not.
    Failure(Cause),
}

/// How much an auditor should care (`api-contract`, a: severity).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Every day.
    Normal,
    /// A change in a key's life.
    Warning,
    /// Deletions, and refusals for lack of rights.
    Critical,
}

impl Severity {
    /// Of an action that succeeded, or failed for a reason that is nobody's concern.
    pub const fn of(action: Action) -> Self {
        match action {
            Action::Delete | Action::Purge | Action::DeleteRegistration | Action::DeleteInstance => Self::Critical,
            Action::Rotate
            | Action::Restore
            | Action::Enable
            | Action::Disable
            | Action::SetKeyForDeletion
            | Action::UnsetKeyForDeletion
            | Action::WritePolicies
            | Action::WriteInstancePolicies
            | Action::ReloadPlugins
            | Action::Migrate
            | Action::StopMigration
            | Action::CreateInstance
            | Action::BindInstance
            | Action::CreateAuthorization
            | Action::DeleteAuthorization => Self::Warning,
            _ => Self::Normal,
        }
    }

    /// The same after a failure: a refusal for lack of rights is critical, whatever was wanted.
    #[must_use]
    pub const fn after(self, cause: &Cause) -> Self {
        match cause {
            Cause::Unauthenticated | Cause::Denied { kind: DenialKind::Unauthorized | DenialKind::Forbidden, .. } => {
                Self::Critical
            }
            _ => self,
        }
    }
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Initiator {
    /// The IAM id; `unknown` where there was no valid access token.
    pub id: String,
    /// What people call them.
    pub name: Option<String>,
    /// Of a service id: the service.
    pub service: Option<String>,
}

impl Initiator {
    /// The gateway itself, at work without being asked.
    pub fn gateway() -> Self {
        Self { id: "keygate".to_owned(), name: None, service: Some("kms".to_owned()) }
    }

    /// Somebody without a valid access token.
    pub fn unknown() -> Self {
        Self { id: "unknown".to_owned(), name: None, service: None }
    }
}

impl From<&Principal> for Initiator {
    fn from(principal: &Principal) -> Self {
        Self {
            id: principal.id.clone(),
            name: principal.name.clone(),
            service: match &principal.kind {
                PrincipalKind::User => None,
                PrincipalKind::Service { name } => Some(name.clone()),
            },
        }
    }
}

/// How the chain's decision came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedVerdict {
    /// Yes, and the request went on.
    Allow,
    /// No, with the reason code: a rule's, or that of an obligation that could not be kept.
    Deny(String),
    /// There was no room to ask every rule in time.
    Busy,
}

/// A decision, with all that it takes to make it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// How it came out.
    pub verdict: RecordedVerdict,
    /// When it was made.
    pub at: Timestamp,
    /// Which generation of plugins made it.
    pub generation: u64,
    /// Who in the chain said what.
    pub rules: Vec<RuleAnswer>,
    /// What rules had noted beside, where the request went on.
    pub notes: Vec<Note>,
    /// What was asked.
    pub question: Arc<Question>,
    /// The first answer, where the rules put a new key into another ring and were asked again about that.
    pub redirected: Option<Redirected>,
}

/// An answer that put a new key into another ring. What was asked then is what was asked in the end, but for the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirected {
    /// The ring that the question named.
    pub named: Option<String>,
    /// Who in the chain said what. The conditions of this answer hold beside those of the second one.
    pub rules: Vec<RuleAnswer>,
}

/// One event.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// The request's correlation id.
    pub correlation_id: String,
    /// The event's name, such as `kms.secrets.wrap`.
    pub action: String,
    /// How it came out.
    pub outcome: Outcome,
    /// How much to care.
    pub severity: Severity,
    /// Who.
    pub initiator: Initiator,
    /// From where.
    pub network: Network,
    /// In which instance, where known.
    pub instance: Option<InstanceId>,
    /// To which key, where known.
    pub key: Option<KeyId>,
    /// The request's path, as the client wrote it and without its query.
    pub request_uri: String,
    /// What the policy chain decided; absent where it was not asked.
    pub decision: Option<DecisionRecord>,
    /// Facts of the request: `keyType`, `keyRingId`, ... Names from the contract, never a payload.
    pub request: Vec<(&'static str, String)>,
    /// Facts of the answer: `keyId`, `keyState`, `keyVersionId`, `totalResources`, ...
    pub response: Vec<(&'static str, String)>,
}

/// An audit event could not be kept. Says why, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit: {0}")]
pub struct AuditError(pub String);

impl From<AuditError> for Error {
    fn from(error: AuditError) -> Self {
        Self::Unavailable { what: "audit".to_owned(), detail: error.0, retry_after: None }
    }
}
