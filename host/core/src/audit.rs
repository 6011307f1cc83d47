//! What is told of each request, in the words of the audit log. By its types, no secret can get in.

use crate::access::{Network, RuleAnswer};
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
    /// Who in the policy chain said what.
    pub trail: Vec<RuleAnswer>,
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
        Self::Unavailable { what: "audit".to_owned(), detail: error.0 }
    }
}
