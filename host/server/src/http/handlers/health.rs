//! `/healthz` and `/readyz`, for whoever watches the gateway. They need no access token and tell no secret.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::readiness::{Part, Ready};

/// Whether requests can be served.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
pub(crate) struct ReadyBody<'a> {
    status: &'static str,
    generation: u64,
    store: PartBody<'a>,
    backends: Vec<PartBody<'a>>,
}

/// What is wrong with a part is for the log: anybody may ask here.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Part")]
struct PartBody<'a> {
    name: &'a str,
    status: &'static str,
}

impl<'a> From<&'a Part> for PartBody<'a> {
    fn from(part: &'a Part) -> Self {
        Self { name: &part.name, status: if part.is_ok { "ok" } else { "unavailable" } }
    }
}

impl<'a> From<&'a Ready> for ReadyBody<'a> {
    fn from(ready: &'a Ready) -> Self {
        Self {
            status: if ready.is_ready() { "ready" } else { "not ready" },
            generation: ready.generation,
            store: (&ready.store).into(),
            backends: ready.backends.iter().map(PartBody::from).collect(),
        }
    }
}

/// `GET /healthz`: the process is alive and answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the store is open and every backend was probed a moment ago; 503 with what is not otherwise.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = app.ready().await;
    let code = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(ReadyBody::from(&ready))).into_response()
}
