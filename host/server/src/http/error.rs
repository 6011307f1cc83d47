//! Answers that failed, in the API's shape (`api-contract`, b: errors). The status comes from [`crate::status`], the one
//! table; what is for the operator goes to the log and not to the client.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use keygate_core::access::{Action, DenialKind};
use keygate_core::error::{Error, Reason, Target};
use schemars::JsonSchema;
use serde::Serialize;

use super::answer::{Answer, MediaType};
use crate::status;

const MORE_INFO: &str = "https://cloud.ibm.com/apidocs/key-protect";

/// An answer that failed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub(super) struct Body<'a> {
    metadata: Metadata,
    resources: [Resource<'a>; 1],
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ErrorMetadata")]
struct Metadata {
    collection_type: &'static str,
    collection_total: u8,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ErrorResource")]
struct Resource<'a> {
    error_msg: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonBody<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Reason")]
struct ReasonBody<'a> {
    code: &'a str,
    message: &'a str,
    status: u16,
    more_info: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetBody<'a>>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Target")]
struct TargetBody<'a> {
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["field", "param", "query_param", "path_param", "header"]))]
    kind: &'static str,
    name: &'a str,
}

impl<'a> From<&'a Target> for TargetBody<'a> {
    fn from(target: &'a Target) -> Self {
        let (kind, name) = match target {
            Target::Field(name) => ("field", name),
            Target::Param(name) => ("param", name),
            Target::QueryParam(name) => ("query_param", name),
            Target::PathParam(name) => ("path_param", name),
            Target::Header(name) => ("header", name),
        };
        Self { kind, name }
    }
}

/// Writes the answer to a request that failed.
pub(super) fn respond(error: &Error, action: Option<Action>) -> Response {
    let status = status::status(&error.cause());
    tell_the_operator(error);
    let phrase = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error");
    let resource =
        Resource { error_msg: format!("{phrase}: {}", summary(error, action)), reasons: reasons(error, status) };
    let body = Body {
        metadata: Metadata { collection_type: MediaType::Error.as_str(), collection_total: 1 },
        resources: [resource],
    };
    let code = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer = match Answer::json(code, MediaType::Error, &body, 0) {
        Ok(answer) => answer,
        Err(_) => Answer::empty(code),
    };
    match error {
        Error::Busy { retry_after } | Error::TooManyRequests { retry_after } => {
            answer.with(RETRY_AFTER, HeaderValue::from(whole_seconds(*retry_after)))
        }
        Error::Unavailable { retry_after, .. } => {
            let after = retry_after.unwrap_or(Duration::from_secs(1));
            answer.with(RETRY_AFTER, HeaderValue::from(whole_seconds(after)))
        }
        _ => answer,
    }
    .into_response()
}

/// Rounded up, and at least one: who comes a moment too early has come in vain.
pub(crate) fn whole_seconds(duration: Duration) -> u64 {
    let begun = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(begun).max(1)
}

fn reasons(error: &Error, status: u16) -> Vec<ReasonBody<'_>> {
    match error {
        Error::Refused(reasons) => reasons
            .iter()
            .map(|Reason { code, message, target }| ReasonBody {
                code: code.as_str(),
                message,
                status,
                more_info: MORE_INFO,
                target: target.as_ref().map(TargetBody::from),
            })
            .collect(),
        Error::Denied(denial) if denial.kind != DenialKind::Unauthorized => vec![ReasonBody {
            code: &denial.code,
            message: &denial.message,
            status,
            more_info: MORE_INFO,
            target: None,
        }],
        _ => Vec::new(),
    }
}

fn summary(error: &Error, action: Option<Action>) -> String {
    match error {
        Error::Refused(_) => format!("{}. See 'reasons' for more details.", what_failed(action)),
        Error::Denied(denial) if denial.kind != DenialKind::Unauthorized => {
            format!("{}. See 'reasons' for more details.", what_failed(action))
        }
        Error::Denied(_) | Error::Unauthenticated(_) => {
            "The user does not have access to the specified resource".to_owned()
        }
        Error::TooManyRequests { .. } => {
            "Too many requests in this instance. Wait as long as the `Retry-After` header says, and try again."
                .to_owned()
        }
        Error::Busy { .. } => "The gateway has too much to do. Wait and try again.".to_owned(),
        Error::Unavailable { .. } => {
            "Something that the gateway needs is away. Try again later; if the request was to change something, look \
             first whether it did."
                .to_owned()
        }
        Error::Unfinished => {
            "The answer was not ready in time, and the work on it goes on. Look at what came of it before you repeat \
             the request."
                .to_owned()
        }
        Error::Unrecorded(_) => {
            "It was done, but could not be recorded, so its result is kept back. Look before you repeat the request, \
             and tell the operator of the gateway the Correlation-Id of this answer."
                .to_owned()
        }
        Error::Fault(_) | Error::Internal(_) => {
            "Your request could not be processed. If the problem persists, note the Correlation-Id of this answer and \
             tell the operator of the gateway."
                .to_owned()
        }
    }
}

fn what_failed(action: Option<Action>) -> &'static str {
    match action {
        Some(Action::Create | Action::CreateWithOverrides) => "Key could not be created",
        Some(Action::List | Action::Head) => "Keys could not be listed",
        Some(Action::Read) => "Key could not be retrieved",
        Some(Action::ReadMetadata) => "Key metadata could not be retrieved",
        Some(Action::ListVersions) => "Key versions could not be retrieved",
        Some(Action::Delete) => "Key could not be deleted",
        Some(Action::Wrap) => "Wrap with key could not be performed",
        Some(Action::Unwrap) => "Unwrap with key could not be performed",
        Some(Action::Rewrap) => "Rewrap with key could not be performed",
        Some(Action::Rotate) => "Key could not be rotated",
        Some(Action::Patch) => "Key could not be updated",
        Some(Action::Restore) => "Key could not be restored",
        Some(Action::Purge) => "Key could not be purged",
        Some(Action::Enable) => "Key could not be enabled",
        Some(Action::Disable) => "Key could not be disabled",
        Some(Action::SetKeyForDeletion) => "Key could not be set for deletion",
        Some(Action::UnsetKeyForDeletion) => "Key could not be unset for deletion",
        Some(Action::Sync) => "Associated resources could not be synced",
        Some(Action::ReadPolicies) => "Key policy could not be retrieved",
        Some(Action::WritePolicies) => "Key policy could not be created",
        Some(Action::ReadInstancePolicies) => "Instance policy could not be retrieved",
        Some(Action::WriteInstancePolicies) => "Instance policy could not be created",
        Some(Action::ReadAllowedIpPort) => "Allowed IP port could not be retrieved",
        Some(Action::CreateImportToken) => "Import token could not be created",
        Some(Action::ReadImportToken) => "Import token could not be retrieved",
        Some(Action::CreateRegistration) => "Registration could not be created",
        Some(Action::MergeRegistration | Action::WriteRegistration) => "Registration could not be updated",
        Some(Action::DeleteRegistration) => "Registration could not be deleted",
        Some(Action::DeactivateRegistration) => "Action could not be performed on registration",
        Some(Action::ListRegistrations) => "Registrations could not be retrieved",
        Some(Action::AcknowledgeEvent) => "Event acknowledgement could not be performed",
        Some(Action::ListEvents) => "Events could not be listed",
        Some(Action::CreateAlias) => "Alias could not be created",
        Some(Action::DeleteAlias) => "Alias could not be deleted",
        Some(Action::ListKeyRings) => "Key rings could not be retrieved",
        Some(Action::CreateKeyRing) => "Key ring could not be created",
        Some(Action::DeleteKeyRing) => "Key ring could not be deleted",
        Some(Action::Expire) => "Key could not be deactivated",
        Some(Action::ReloadPlugins) => "Plugins could not be reloaded",
        Some(Action::ListBackends) => "Backends could not be listed",
        Some(Action::Migrate) => "Migration could not be begun",
        Some(Action::ReadMigration) => "Migration could not be retrieved",
        Some(Action::StopMigration) => "Migration could not be stopped",
        Some(Action::MoveKey) => "Key could not be moved",
        Some(Action::EndMigration) => "Migration could not be ended",
        Some(Action::ListInstances) => "Instances could not be listed",
        Some(Action::ReadInstance) => "Instance could not be retrieved",
        Some(Action::CreateInstance) => "Instance could not be created",
        Some(Action::BindInstance) => "Instance could not be updated",
        Some(Action::DeleteInstance) => "Instance could not be deleted",
        Some(Action::ListAuthorizations) => "Authorizations could not be listed",
        Some(Action::CreateAuthorization) => "Authorization could not be created",
        Some(Action::DeleteAuthorization) => "Authorization could not be deleted",
        Some(Action::ListCryptoInstances) => "Crypto instances could not be listed",
        Some(Action::ReadCryptoInstance) => "Crypto instance could not be retrieved",
        None => "The request could not be performed",
    }
}

/// Faults and defects have their details here and nowhere else.
fn tell_the_operator(error: &Error) {
    match error {
        Error::Refused(_) | Error::Denied(_) => tracing::debug!(%error, "request refused"),
        Error::Unauthenticated(_) => tracing::info!(%error, "request without a valid access token"),
        Error::TooManyRequests { .. } => tracing::info!("request turned away: the rate limit is reached"),
        Error::Busy { .. } => tracing::warn!("request turned away: too much to do"),
        Error::Unavailable { .. } => tracing::warn!(%error, "request failed"),
        Error::Fault(fault) => {
            tracing::error!(plugin = fault.plugin, call = fault.call, kind = fault.kind.as_str(), %error, "plugin fault");
        }
        Error::Unfinished => tracing::warn!(%error, "request answered before its end"),
        Error::Internal(_) | Error::Unrecorded(_) => tracing::error!(%error, "request failed"),
    }
}

#[cfg(test)]
mod tests {
    use keygate_core::backend::BackendError;

    use super::*;

    #[test]
    fn who_is_refused_is_told_when_to_come_again_as_far_as_it_is_known() {
        let away = |retry_after| {
            let detail = "the token is given a rest".to_owned();
            Error::from(BackendError::Unavailable { backend: "hsm".to_owned(), detail, retry_after })
        };
        for (error, seconds) in [
            (away(None), "1"),
            (away(Some(Duration::from_millis(10))), "1"),
            (away(Some(Duration::from_millis(7_001))), "8"),
            (away(Some(Duration::from_secs(30))), "30"),
            (Error::from(BackendError::Busy(Some(Duration::from_millis(1_500)))), "2"),
        ] {
            let answer = respond(&error, None);
            assert_eq!(answer.status(), 503, "{error:?}");
            assert_eq!(answer.headers()[RETRY_AFTER], seconds, "{error:?}");
        }
    }
}
