//! Why an operation did not happen. No HTTP in here: the server has the one table from these to statuses.

use std::time::Duration;

use crate::access::{Denial, DenialKind};
use crate::backend::{BackendError, ImportRejection};
use crate::entropy::EntropyError;
use crate::store::StoreError;

pub use crate::fault::{Fault, FaultKind};

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The API's reason codes (`api-contract`, c). Clients match on these, so a code never changes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ReasonCode {
            $($(#[$doc])* $name,)*
        }

        impl ReasonCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as clients read it.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }
        }
    };
}

reason_codes! {
    /// The body cannot be read as what it should be.
    BadBody = "BAD_BODY_ERR",
    /// A body is needed and there is none.
    NoBody = "NO_BODY_ERR",
    /// A field is missing.
    MissingField = "MISSING_FIELD_ERR",
    /// A field's value cannot be.
    InvalidField = "INVALID_FIELD_ERR",
    /// A query parameter's value cannot be.
    InvalidQueryParam = "INVALID_QUERY_PARAM_ERR",
    /// A part of the path cannot be.
    InvalidPathParam = "INVALID_PATH_PARAM_ERR",
    /// A header cannot be.
    InvalidHeader = "INVALID_HEADER_ERR",
    /// A part of the access token that must be there is not.
    BearerSubExtraction = "BEARER_SUB_EXTRACTION_ERR",
    /// A CRN cannot be.
    InvalidParam = "INVALID_PARAM_ERR",
    /// There are more keys than a search looks through.
    SearchTooBroad = "KEY_SEARCH_TOO_BROAD",
    /// `collectionTotal` is not the number of resources.
    CollectionTotalMismatch = "COLLECTION_TOTAL_MISMATCH_ERR",
    /// The policy in the body is not the one in the query.
    BodyQueryParamMismatch = "BODY_QUERY_PARAM_MISMATCH_ERR",
    /// With `?policy=` there is exactly one resource.
    CollectionSize = "NUM_COLLECTION_RESOURCE_ERR",
    /// Only root keys can.
    KeyRootRequired = "KEY_ROOT_REQ_ERR",
    /// The same, of registrations.
    KeyRootRequiredToRegister = "KEY_ROOT_REQ_REG_ERR",
    /// A registration does not go back to an older key version.
    KeyVersionInvalid = "KEY_VERSION_INVALID",
    /// An imported key is rotated with new material only.
    KeyPayloadRequired = "KEY_PAYLOAD_REQ_ERR",
    /// A generated key is restored without material.
    KeyImportRequired = "KEY_IMPT_REQ_ERR",
    /// An expired key is not restored.
    KeyExpired = "KEY_EXPIRED_ERR",
    /// Too long after the deletion.
    RestoreExpired = "KEY_RESTORE_EXPIRED",
    /// An instance policy that this gateway's configuration rules out.
    ConfigRuleConflict = "CONFIG_RULE_CONFLICT_ERR",
    /// The caller may not. (Left out of the body.)
    Unauthorized = "UNAUTHORIZED_ERR",
    /// No such key in this instance and ring.
    KeyNotFound = "KEY_NOT_FOUND_ERR",
    /// No such instance.
    InstanceNotFound = "INSTANCE_NOT_FOUND_ERR",
    /// No import token in this instance.
    ImportTokenNotFound = "IMPORT_TOKEN_NOT_FOUND_ERR",
    /// The import token holds no longer, or was fetched as often as it may be.
    ImportTokenExpired = "IMPORT_TOKEN_EXPIRED_ERR",
    /// No such ring.
    KeyRingNotFound = "KEY_RING_NOT_FOUND_ERR",
    /// There are as many rings as there may be.
    KeyRingQuota = "KEY_RING_RESOURCE_QUOTA_ERR",
    /// There are keys in the ring.
    KeyRingNotEmpty = "KEY_RING_NOT_EMPTY_ERR",
    /// There are keys in the ring that are not deleted.
    KeyRingKeysNotDeleted = "KEY_RING_KEYS_NOT_DELETED_ERR",
    /// No such alias.
    AliasNotFound = "ALIAS_NOT_FOUND_ERR",
    /// No such registration.
    RegistrationNotFound = "REGISTRATION_NOT_FOUND_ERR",
    /// There is one already, and it says something else.
    RegistrationDuplicate = "REGISTRATION_DUP_ERR",
    /// Not in this state of the registration.
    RegistrationState = "REG_INVALID_STATE_ERR",
    /// No such event, or it was acknowledged before.
    EventNotFound = "EVENT_NOT_FOUND",
    /// The key is deleted by one person.
    NotDualAuth = "NOT_DUAL_AUTH_ERR",
    /// The key is deleted by two people, and nobody else has authorized it.
    AuthorizationsNotMet = "AUTHORIZATIONS_NOT_MET",
    /// The key protects a resource.
    ProtectedResource = "PROTECTED_RESOURCE_ERR",
    /// The key protects a resource that is under a retention policy.
    DeletionPrevented = "PREV_KEY_DEL_ERR",
    /// Not in this state.
    KeyActionInvalidState = "KEY_ACTION_INVALID_STATE_ERR",
    /// The same, of policies and registrations.
    KeyInvalidState = "KEY_INVALID_STATE_ERR",
    /// The key is deleted.
    KeyDeleted = "KEY_DELETED_ERR",
    /// Too soon after the last one.
    RotationNotPermitted = "KEY_ROTATION_NOT_PERMITTED",
    /// Too soon.
    TooEarly = "REQ_TOO_EARLY_ERR",
    /// Another key has this alias.
    AliasNotUnique = "KEY_ALIAS_NOT_UNIQUE_ERR",
    /// The key has as many aliases as it can have.
    AliasQuota = "KEY_ALIAS_QUOTA_ERR",
    /// The key has as many versions as it can have.
    VersionQuota = "KEY_VERSION_QUOTA_ERR",
    /// The key has as many registrations as it can have.
    RegistrationQuota = "REGISTRATION_QUOTA_ERR",
    /// Another change came first.
    Conflict = "CONFLICT_ERR",
    /// The ciphertext is not this key's, is damaged, or the AAD is another.
    UnprocessableCiphertext = "UNPROCESSABLE_CIPHERTEXT_ERR",
    /// The backend of this key cannot do this.
    NotSupported = "NOT_SUPPORTED_ERR",
    /// The import token's nonce is another.
    IncorrectNonce = "INCORRECT_NONCE_ERR",
    /// The import token's nonce does not open.
    IncorrectNonceIv = "INCORRECT_NONCE_IV_ERR",
    /// The backend has lost the key's material.
    KeyMaterialMissing = "KEY_MATERIAL_UNAVAILABLE_ERR",
    /// The path is none of this API.
    NoSuchPath = "NOT_FOUND_ERR",
    /// The path is one of this API, and takes other methods.
    MethodNotAllowed = "METHOD_NOT_ALLOWED_ERR",
    /// The body is longer than bodies may be.
    BodyTooLarge = "BODY_TOO_LARGE_ERR",
    /// The body is of a type or encoding that is not understood.
    UnsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE_ERR",
    /// The client takes no type of answer that this API has.
    NotAcceptable = "NOT_ACCEPTABLE_ERR",
    /// A rule failed, so the answer is no.
    PolicyFault = "POLICY_FAULT_ERR",
    /// A rule asks for something that this gateway does not know how to do, so the answer is no.
    UnknownObligation = "UNKNOWN_OBLIGATION_ERR",
    /// There is no backend of this name.
    BackendNotFound = "BACKEND_NOT_FOUND_ERR",
    /// No such migration of this instance.
    MigrationNotFound = "MIGRATION_NOT_FOUND_ERR",
    /// Another migration of the instance is under way.
    MigrationUnderWay = "MIGRATION_UNDER_WAY_ERR",
    /// The instance makes its keys on another backend than the one to move to.
    InstanceNotBound = "INSTANCE_NOT_BOUND_ERR",
    /// There is more data than a rule allows.
    DataTooLarge = "DATA_TOO_LARGE_ERR",
    /// The instance may not use the crypto instance that it is bound to.
    CryptoInstanceNotAuthorized = "CRYPTO_INSTANCE_NOT_AUTHORIZED_ERR",
    /// No such crypto instance.
    CryptoInstanceNotFound = "CRYPTO_INSTANCE_NOT_FOUND_ERR",
    /// No such authorization.
    AuthorizationNotFound = "AUTHORIZATION_NOT_FOUND_ERR",
    /// There are keys in the instance.
    InstanceNotEmpty = "INSTANCE_NOT_EMPTY_ERR",
    /// The instance is the configuration's.
    InstanceConfigured = "INSTANCE_CONFIGURED_ERR",
    /// There are as many instances as there may be.
    InstanceQuota = "INSTANCE_QUOTA_ERR",
    /// The configuration, or something that it names, cannot be taken; what was loaded before goes on.
    ReloadRefused = "RELOAD_REFUSED_ERR",
}

/// What a reason points at (`api-contract`, b: `target`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A field of the body.
    Field(String),
    /// A parameter, of the path or of the query: what a CRN is to the API.
    Param(String),
    /// A query parameter.
    QueryParam(String),
    /// A part of the path.
    PathParam(String),
    /// A header.
    Header(String),
}

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Which.
    pub code: ReasonCode,
    /// What is wrong and how to mend it.
    pub message: String,
    /// Where.
    pub target: Option<Target>,
}

impl Reason {
    /// A reason that points nowhere in particular.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), target: None }
    }

    /// The same, about a field of the body.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>) -> Self {
        self.target = Some(Target::Field(name.into()));
        self
    }

    /// The same, about a query parameter.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>) -> Self {
        self.target = Some(Target::QueryParam(name.into()));
        self
    }

    /// The same, about a parameter that is a CRN.
    #[must_use]
    pub fn param(mut self, name: impl Into<String>) -> Self {
        self.target = Some(Target::Param(name.into()));
        self
    }

    /// The same, about a part of the path.
    #[must_use]
    pub fn path(mut self, name: impl Into<String>) -> Self {
        self.target = Some(Target::PathParam(name.into()));
        self
    }

    /// The same, about a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>) -> Self {
        self.target = Some(Target::Header(name.into()));
        self
    }
}

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong, or comes at the wrong time. At least one reason.
    #[error("refused: {}", .0.first().map_or("", |r| r.message.as_str()))]
    Refused(Vec<Reason>),
    /// There is no valid access token.
    #[error("not authenticated: {0}")]
    Unauthenticated(&'static str),
    /// The policy chain said no.
    #[error("denied: {} ({})", .0.message, .0.code)]
    Denied(Denial),
    /// Too many requests at once. Nothing was done.
    #[error("busy")]
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The instance, or the caller, makes more requests than it may. Nothing was done.
    #[error("too many requests")]
    TooManyRequests {
        /// When to try again.
        retry_after: Duration,
    },
    /// Something that is needed is away. Nothing was done, unless it was the store that went away while it committed:
    /// then only a look tells.
    #[error("{what} is unavailable: {detail}")]
    Unavailable {
        /// The part: `store`, `backend NAME`, `audit`, ...
        what: String,
        /// For the operator.
        detail: String,
        /// When to try again, where known.
        retry_after: Option<Duration>,
    },
    /// It takes longer than anybody may wait, and goes on. What comes of it can be seen by looking again.
    #[error("not ready in time; the work goes on")]
    Unfinished,
    /// It was done, and the audit log did not take the event. Says why, for the operator.
    #[error("done, and not recorded: {0}")]
    Unrecorded(String),
    /// A plugin failed.
    #[error(transparent)]
    Fault(Fault),
    /// A defect of the gateway, or damaged data.
    #[error("internal: {0}")]
    Internal(String),
}

impl Error {
    /// A refusal for one reason.
    pub fn refused(code: ReasonCode, message: impl Into<String>) -> Self {
        Self::Refused(vec![Reason::new(code, message)])
    }

    /// The first reason's code, of a refusal.
    pub fn reason_code(&self) -> Option<ReasonCode> {
        match self {
            Self::Refused(reasons) => reasons.first().map(|reason| reason.code),
            _ => None,
        }
    }

    /// What is left of it for the audit log.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Refused(reasons) => reasons.first().map_or(Cause::Internal, |reason| Cause::Refused(reason.code)),
            Self::Unauthenticated(_) => Cause::Unauthenticated,
            Self::Denied(denial) => Cause::Denied { kind: denial.kind, code: denial.code.clone() },
            Self::Busy { .. } => Cause::Busy,
            Self::TooManyRequests { .. } => Cause::TooManyRequests,
            Self::Unavailable { .. } => Cause::Unavailable,
            Self::Unfinished => Cause::Unfinished,
            Self::Unrecorded(_) => Cause::Unrecorded,
            Self::Fault(fault) => Cause::Fault { plugin: fault.plugin.clone(), kind: fault.kind },
            Self::Internal(_) => Cause::Internal,
        }
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self::Refused(vec![reason])
    }
}

/// Why an operation failed, without the texts: for audit events, and for the table of HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The request's own fault.
    Refused(ReasonCode),
    /// No valid access token.
    Unauthenticated,
    /// A rule said no.
    Denied {
        /// Which kind of no.
        kind: DenialKind,
        /// The rule's reason code.
        code: String,
    },
    /// Too much at once.
    Busy,
    /// More requests than the instance, or the caller, may make.
    TooManyRequests,
    /// A part is away.
    Unavailable,
    /// Not ready in time; the work goes on.
    Unfinished,
    /// Done, and not in the audit log.
    Unrecorded,
    /// A plugin failed.
    Fault {
        /// Whose fault.
        plugin: String,
        /// Which.
        kind: FaultKind,
    },
    /// A defect.
    Internal,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Self::refused(
                ReasonCode::Conflict,
                "Another request changed the key at the same time; look at it again and repeat what is still wanted",
            ),
            StoreError::AliasTaken(alias) => Reason::new(
                ReasonCode::AliasNotUnique,
                format!("The alias '{alias}' is already associated with a key in the instance"),
            )
            .field("aliases")
            .into(),
            StoreError::RingMissing(ring) => {
                Reason::new(ReasonCode::KeyRingNotFound, format!("There is no key ring '{ring}' in this instance"))
                    .header("X-Kms-Key-Ring")
                    .into()
            }
            StoreError::RingInUse(ring) => Self::refused(
                ReasonCode::KeyRingNotEmpty,
                format!("The key ring '{ring}' has keys in it; move them to another ring, or delete them, first"),
            ),
            StoreError::RingQuota(most) => Self::refused(
                ReasonCode::KeyRingQuota,
                format!("An instance has at most {most} key rings beside `default`; delete one that is not needed"),
            ),
            StoreError::InstanceInUse(keys) => Self::refused(
                ReasonCode::InstanceNotEmpty,
                format!("The instance has {keys} keys, deleted ones included; purge them first"),
            ),
            StoreError::Unavailable(detail) => {
                Self::Unavailable { what: "store".to_owned(), detail, retry_after: None }
            }
            StoreError::Corrupt(detail) => Self::Internal(format!("the store is damaged: {detail}")),
        }
    }
}

impl From<EntropyError> for Error {
    fn from(error: EntropyError) -> Self {
        Self::Unavailable { what: "entropy".to_owned(), detail: error.0, retry_after: None }
    }
}

/// The one place where a backend's error becomes an answer.
impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        match error {
            BackendError::AuthenticationFailed => Reason::new(
                ReasonCode::UnprocessableCiphertext,
                "The ciphertext was not wrapped by this key, is damaged, or needs other additional authentication data",
            )
            .field("ciphertext")
            .into(),
            BackendError::KeyNotFound => Self::refused(
                ReasonCode::KeyMaterialMissing,
                "The key's material is not in its backend; tell the operator of the gateway",
            ),
            BackendError::InvalidInput(message) => Self::refused(ReasonCode::InvalidField, message),
            BackendError::ImportRejected(ImportRejection::Nonce) => {
                Reason::new(ReasonCode::IncorrectNonce, "The nonce is not the import token's")
                    .field("encryptedNonce")
                    .into()
            }
            BackendError::ImportRejected(_) => Reason::new(
                ReasonCode::IncorrectNonceIv,
                "The key and the nonce were not encrypted as the import token requires",
            )
            .field("encryptedNonce")
            .into(),
            BackendError::Unsupported(message) => Self::refused(ReasonCode::NotSupported, message),
            BackendError::Busy(after) => Self::Busy { retry_after: after.unwrap_or(Duration::from_secs(1)) },
            BackendError::Unavailable { backend, detail, retry_after } => {
                Self::Unavailable { what: format!("backend {backend}"), detail, retry_after }
            }
            BackendError::InvalidKeyRef { backend } => {
                Self::Internal(format!("backend `{backend}` does not take the key-ref that the store holds"))
            }
            BackendError::Internal { backend, detail } => Self::Internal(format!("backend `{backend}`: {detail}")),
            BackendError::Fault(fault) => Self::Fault(fault),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_codes_are_unique_and_shaped_like_reason_codes() {
        let mut seen = std::collections::BTreeSet::new();
        for code in ReasonCode::ALL {
            let text = code.as_str();
            assert!(seen.insert(text), "{text} stands twice");
            assert!(text.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{text}");
        }
    }
}
