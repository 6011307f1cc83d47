//! Which path goes where.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderValue;
use http::header::ALLOW;
use keygate_core::error::{Error, ReasonCode};
use tower_http::catch_panic::CatchPanicLayer;

use super::correlation::correlate;
use super::error::respond;
use super::exchange::refuse_anybody;
use super::handlers::{actions, health, keys, token, versions};
use crate::app::App;

/// The whole of what is served.
pub(super) fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/keys", get(keys::list).head(keys::head).post(keys::create))
        .route("/keys/{id}", get(keys::read).head(method_not_allowed).delete(keys::delete).post(actions::legacy))
        .route("/keys/{id}/metadata", get(keys::metadata).head(method_not_allowed))
        .route("/keys/{id}/versions", get(versions::list).head(method_not_allowed))
        .route("/keys/{id}/actions/wrap", post(actions::wrap))
        .route("/keys/{id}/actions/unwrap", post(actions::unwrap))
        .route("/keys/{id}/actions/rewrap", post(actions::rewrap))
        .route("/keys/{id}/actions/rotate", post(actions::rotate));
    Router::new()
        .nest("/api/v2", api)
        .route("/identity/token", post(token::exchange))
        .route("/oidc/token", post(token::exchange))
        .route("/identity/keys", get(token::keys))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| {
            respond(&Error::Internal("a handler panicked".to_owned()), None)
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), correlate))
        .with_state(app)
}

async fn no_such_path(State(app): State<Arc<App>>, request: Request) -> Response {
    let error = Error::refused(ReasonCode::NoSuchPath, "There is nothing at this path; the API is under /api/v2");
    refuse_anybody(&app, request, "kms.secrets.default", error).await
}

async fn method_not_allowed(State(app): State<Arc<App>>, request: Request) -> Response {
    let message = format!("{} is not allowed here; the `Allow` header names what is", request.method());
    let error = Error::refused(ReasonCode::MethodNotAllowed, message);
    let allowed = request.extensions().get::<MatchedPath>().and_then(|path| without_head(path.as_str()));
    let mut response = refuse_anybody(&app, request, "kms.secrets.default", error).await;
    if let Some(allowed) = allowed {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    }
    response
}

/// What paths take that take GET and not HEAD. The router itself would take both, and say so in `Allow`.
fn without_head(path: &str) -> Option<&'static str> {
    match path {
        "/api/v2/keys/{id}" => Some("GET,POST,DELETE"),
        "/api/v2/keys/{id}/metadata" | "/api/v2/keys/{id}/versions" => Some("GET"),
        _ => None,
    }
}
