//! The one table from causes of failure to HTTP statuses (`api-contract`, c). Answers and audit events both use it.

use keygate_core::access::DenialKind;
use keygate_core::error::{Cause, ReasonCode};

/// The status of an answer that failed for this cause.
pub fn status(cause: &Cause) -> u16 {
    match cause {
        Cause::Refused(code) => of_reason(*code),
        Cause::Unauthenticated => 401,
        // Contract, fact 10: a refusal for lack of a role is 401, not 403.
        Cause::Denied { kind: DenialKind::Unauthorized, .. } => 401,
        Cause::Denied { kind: DenialKind::Forbidden, .. } => 403,
        Cause::Denied { kind: DenialKind::Conflict, .. } => 409,
        Cause::TooManyRequests => 429,
        Cause::Busy | Cause::Unavailable => 503,
        Cause::Unfinished => 504,
        Cause::Fault { .. } | Cause::Internal | Cause::Unrecorded => 500,
    }
}

/// The status that goes with a reason code.
pub const fn of_reason(code: ReasonCode) -> u16 {
    match code {
        ReasonCode::BadBody
        | ReasonCode::NoBody
        | ReasonCode::MissingField
        | ReasonCode::InvalidField
        | ReasonCode::InvalidQueryParam
        | ReasonCode::InvalidPathParam
        | ReasonCode::InvalidHeader
        | ReasonCode::BearerSubExtraction
        | ReasonCode::KeyRootRequired
        | ReasonCode::KeyPayloadRequired
        | ReasonCode::InvalidParam
        | ReasonCode::SearchTooBroad
        | ReasonCode::CollectionTotalMismatch
        | ReasonCode::BodyQueryParamMismatch
        | ReasonCode::CollectionSize
        | ReasonCode::KeyImportRequired
        | ReasonCode::KeyExpired
        | ReasonCode::RestoreExpired
        | ReasonCode::IncorrectNonce
        | ReasonCode::IncorrectNonceIv
        | ReasonCode::NotSupported => 400,
        ReasonCode::Unauthorized => 401,
        ReasonCode::PolicyFault
        | ReasonCode::UnknownObligation
        | ReasonCode::DataTooLarge
        | ReasonCode::CryptoInstanceNotAuthorized
        | ReasonCode::ConfigRuleConflict => 403,
        ReasonCode::KeyNotFound
        | ReasonCode::InstanceNotFound
        | ReasonCode::CryptoInstanceNotFound
        | ReasonCode::AuthorizationNotFound
        | ReasonCode::BackendNotFound
        | ReasonCode::MigrationNotFound
        | ReasonCode::ImportTokenNotFound
        | ReasonCode::KeyRingNotFound
        | ReasonCode::AliasNotFound
        | ReasonCode::RegistrationNotFound
        | ReasonCode::EventNotFound
        | ReasonCode::NoSuchPath => 404,
        ReasonCode::MethodNotAllowed => 405,
        ReasonCode::NotAcceptable => 406,
        ReasonCode::KeyActionInvalidState
        | ReasonCode::RotationNotPermitted
        | ReasonCode::TooEarly
        | ReasonCode::AliasNotUnique
        | ReasonCode::AliasQuota
        | ReasonCode::VersionQuota
        | ReasonCode::RegistrationQuota
        | ReasonCode::ImportTokenExpired
        | ReasonCode::KeyRingQuota
        | ReasonCode::KeyRingNotEmpty
        | ReasonCode::InstanceNotEmpty
        | ReasonCode::InstanceConfigured
        | ReasonCode::InstanceQuota
        | ReasonCode::MigrationUnderWay
        | ReasonCode::InstanceNotBound
        | ReasonCode::KeyRingKeysNotDeleted
        | ReasonCode::RegistrationDuplicate
        | ReasonCode::RegistrationState
        | ReasonCode::NotDualAuth
        | ReasonCode::AuthorizationsNotMet
        | ReasonCode::ProtectedResource
        | ReasonCode::DeletionPrevented
        | ReasonCode::Conflict => 409,
        ReasonCode::KeyDeleted => 410,
        ReasonCode::BodyTooLarge => 413,
        ReasonCode::UnsupportedMediaType => 415,
        ReasonCode::KeyInvalidState
        | ReasonCode::UnprocessableCiphertext
        | ReasonCode::KeyRootRequiredToRegister
        | ReasonCode::KeyVersionInvalid
        | ReasonCode::ReloadRefused => 422,
        ReasonCode::KeyMaterialMissing => 500,
    }
}

#[cfg(test)]
mod tests {
    use keygate_core::error::FaultKind;

    use super::*;

    /// The rows of `api-contract`, c, that this gateway answers, by their codes as clients read them.
    const CONTRACT: &[(&str, u16)] = &[
        ("BAD_BODY_ERR", 400),
        ("NO_BODY_ERR", 400),
        ("MISSING_FIELD_ERR", 400),
        ("INVALID_FIELD_ERR", 400),
        ("INVALID_QUERY_PARAM_ERR", 400),
        ("INVALID_PATH_PARAM_ERR", 400),
        ("BEARER_SUB_EXTRACTION_ERR", 400),
        ("KEY_ROOT_REQ_ERR", 400),
        ("KEY_PAYLOAD_REQ_ERR", 400),
        ("INVALID_PARAM_ERR", 400),
        ("KEY_SEARCH_TOO_BROAD", 400),
        ("COLLECTION_TOTAL_MISMATCH_ERR", 400),
        ("BODY_QUERY_PARAM_MISMATCH_ERR", 400),
        ("NUM_COLLECTION_RESOURCE_ERR", 400),
        ("KEY_IMPT_REQ_ERR", 400),
        ("KEY_EXPIRED_ERR", 400),
        ("KEY_RESTORE_EXPIRED", 400),
        ("CONFIG_RULE_CONFLICT_ERR", 403),
        ("ALIAS_NOT_FOUND_ERR", 404),
        ("REGISTRATION_NOT_FOUND_ERR", 404),
        ("EVENT_NOT_FOUND", 404),
        ("IMPORT_TOKEN_EXPIRED_ERR", 409),
        ("KEY_RING_RESOURCE_QUOTA_ERR", 409),
        ("KEY_RING_NOT_EMPTY_ERR", 409),
        ("KEY_RING_KEYS_NOT_DELETED_ERR", 409),
        ("REGISTRATION_DUP_ERR", 409),
        ("REG_INVALID_STATE_ERR", 409),
        ("NOT_DUAL_AUTH_ERR", 409),
        ("AUTHORIZATIONS_NOT_MET", 409),
        ("PROTECTED_RESOURCE_ERR", 409),
        ("PREV_KEY_DEL_ERR", 409),
        ("KEY_ROOT_REQ_REG_ERR", 422),
        ("KEY_VERSION_INVALID", 422),
        ("INCORRECT_NONCE_ERR", 400),
        ("INCORRECT_NONCE_IV_ERR", 400),
        ("UNAUTHORIZED_ERR", 401),
        ("KEY_NOT_FOUND_ERR", 404),
        ("INSTANCE_NOT_FOUND_ERR", 404),
        ("KEY_RING_NOT_FOUND_ERR", 404),
        ("IMPORT_TOKEN_NOT_FOUND_ERR", 404),
        ("KEY_ACTION_INVALID_STATE_ERR", 409),
        ("REQ_TOO_EARLY_ERR", 409),
        ("KEY_ROTATION_NOT_PERMITTED", 409),
        ("KEY_ALIAS_NOT_UNIQUE_ERR", 409),
        ("KEY_ALIAS_QUOTA_ERR", 409),
        ("KEY_DELETED_ERR", 410),
        ("UNPROCESSABLE_CIPHERTEXT_ERR", 422),
        ("KEY_INVALID_STATE_ERR", 422),
    ];

    /// Codes that only this gateway has.
    const OURS: &[(&str, u16)] = &[
        ("INVALID_HEADER_ERR", 400),
        ("NOT_SUPPORTED_ERR", 400),
        ("POLICY_FAULT_ERR", 403),
        ("UNKNOWN_OBLIGATION_ERR", 403),
        ("DATA_TOO_LARGE_ERR", 403),
        ("KEY_VERSION_QUOTA_ERR", 409),
        ("REGISTRATION_QUOTA_ERR", 409),
        ("CONFLICT_ERR", 409),
        ("KEY_MATERIAL_UNAVAILABLE_ERR", 500),
        ("NOT_FOUND_ERR", 404),
        ("METHOD_NOT_ALLOWED_ERR", 405),
        ("NOT_ACCEPTABLE_ERR", 406),
        ("BODY_TOO_LARGE_ERR", 413),
        ("UNSUPPORTED_MEDIA_TYPE_ERR", 415),
        ("RELOAD_REFUSED_ERR", 422),
        ("CRYPTO_INSTANCE_NOT_AUTHORIZED_ERR", 403),
        ("CRYPTO_INSTANCE_NOT_FOUND_ERR", 404),
        ("AUTHORIZATION_NOT_FOUND_ERR", 404),
        ("INSTANCE_NOT_EMPTY_ERR", 409),
        ("INSTANCE_CONFIGURED_ERR", 409),
        ("INSTANCE_QUOTA_ERR", 409),
        ("BACKEND_NOT_FOUND_ERR", 404),
        ("MIGRATION_NOT_FOUND_ERR", 404),
        ("MIGRATION_UNDER_WAY_ERR", 409),
        ("INSTANCE_NOT_BOUND_ERR", 409),
    ];

    #[test]
    fn every_reason_code_has_the_status_of_the_contract() {
        for code in ReasonCode::ALL {
            let row = CONTRACT.iter().chain(OURS).find(|(name, _)| *name == code.as_str());
            let (_, expected) = row.unwrap_or_else(|| panic!("{} stands in no table here", code.as_str()));
            assert_eq!(status(&Cause::Refused(*code)), *expected, "{}", code.as_str());
        }
        assert_eq!(ReasonCode::ALL.len(), CONTRACT.len() + OURS.len(), "a row here has no code");
    }

    #[test]
    fn every_other_cause_has_one_too() {
        let denied = |kind| Cause::Denied { kind, code: "X".to_owned() };
        assert_eq!(status(&Cause::Unauthenticated), 401);
        assert_eq!(status(&denied(DenialKind::Unauthorized)), 401);
        assert_eq!(status(&denied(DenialKind::Forbidden)), 403);
        assert_eq!(status(&denied(DenialKind::Conflict)), 409);
        assert_eq!(status(&Cause::TooManyRequests), 429);
        assert_eq!(status(&Cause::Busy), 503);
        assert_eq!(status(&Cause::Unavailable), 503);
        assert_eq!(status(&Cause::Unfinished), 504);
        assert_eq!(status(&Cause::Unrecorded), 500);
        assert_eq!(status(&Cause::Fault { plugin: "p".to_owned(), kind: FaultKind::Trap }), 500);
        assert_eq!(status(&Cause::Internal), 500);
    }
}
