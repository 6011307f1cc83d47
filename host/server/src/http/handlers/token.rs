//! The IAM token endpoint, on both paths that the SDKs use, and the keys to check tokens with.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use keygate_core::audit::{Outcome, Severity};
use keygate_core::error::{Cause, Error, ReasonCode};
use zeroize::Zeroizing;

use crate::app::App;
use crate::http::error::respond;
use crate::http::exchange::Intake;
use crate::iam::{IssuedToken, TokenRefusal, TokenResponse, token_request};

/// The longest form that is read, in bytes. An API key is far shorter.
const MAX_FORM: usize = 16 * 1024;

/// The name of the audit event. The API reference names none: tokens are IAM's business there.
const EVENT: &str = "iam-identity.apikey.login";

/// `POST /identity/token` and `POST /oidc/token`
pub(crate) async fn exchange(State(app): State<Arc<App>>, request: Request) -> Response {
    let intake = Intake::of(&request);
    let outcome = issue(&app, request).await;
    if let Ok(token) = &outcome {
        intake.is(&token.owner);
    }
    let cause = match &outcome {
        Ok(_) => Outcome::Success,
        Err(TokenRefusal::Unavailable(_)) => Outcome::Failure(Cause::Unavailable),
        Err(TokenRefusal::Missing(_)) => Outcome::Failure(Cause::Refused(ReasonCode::MissingField)),
        Err(TokenRefusal::GrantType) => Outcome::Failure(Cause::Refused(ReasonCode::InvalidField)),
        Err(TokenRefusal::UnknownKey) => Outcome::Failure(Cause::Unauthenticated),
    };
    let event = intake.event(&app, EVENT, Severity::Normal, cause);
    // Not from what is set aside for the requests in work.
    let recorded = match app.gateway.audit.reserve() {
        Ok(()) => app.gateway.audit.record(&event).await,
        Err(full) => Err(full),
    };
    if let Err(error) = recorded {
        return respond(&Error::from(error), None);
    }
    let mut response = match outcome {
        Ok(token) => Json(TokenResponse::from(&token)).into_response(),
        Err(refusal) => {
            tracing::info!(%refusal, "no access token issued");
            let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
            (status, Json(refusal.body(intake.correlation_id()))).into_response()
        }
    };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

async fn issue(app: &App, request: Request) -> Result<IssuedToken, TokenRefusal> {
    let body = Limited::new(request.into_body(), MAX_FORM).collect();
    let body = match tokio::time::timeout(app.server.header_timeout, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        // Too long, broken off, or too slow: there is no form.
        _ => return Err(TokenRefusal::Missing("grant_type")),
    };
    let mut grant_type = None;
    let mut api_key = None;
    for (name, value) in form_urlencoded::parse(&body) {
        match name.as_ref() {
            "grant_type" => grant_type = Some(value.into_owned()),
            "apikey" => api_key = Some(Zeroizing::new(value.into_owned())),
            _ => {}
        }
    }
    let api_key = api_key.as_ref().map(|key| key.as_str());
    token_request(&app.tokens, grant_type.as_deref(), api_key, app.gateway.clock.now())
}

/// `GET /identity/keys`: the JSON Web Key Set (RFC 7517).
pub(crate) async fn keys(State(app): State<Arc<App>>) -> Response {
    Json(app.tokens.jwks()).into_response()
}
