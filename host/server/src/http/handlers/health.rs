//! `/healthz` and `/readyz`, for whoever watches the gateway. They need no access token and tell no secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keygate_core::clock::Timestamp;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::app::App;

/// How long a look at the parts is good for. It costs a durable write and a sandbox a backend, and anybody may ask.
const FRESH: Duration = Duration::from_secs(1);

/// What was seen last, and when.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Timestamp, Ready)>>);

impl Readiness {
    /// What is to be told now. Who comes while somebody looks waits for what they see.
    async fn look(&self, app: &App) -> Ready {
        let mut last = self.0.lock().await;
        let now = app.gateway.clock.now();
        match &*last {
            Some((at, ready)) if *at <= now && now.since(*at) < FRESH => ready.clone(),
            _ => {
                let ready = Ready::look(app).await;
                *last = Some((now, ready.clone()));
                ready
            }
        }
    }
}

#[derive(Clone, Serialize)]
struct Ready {
    status: &'static str,
    generation: u64,
    store: Part,
    backends: Vec<Part>,
}

#[derive(Clone, Serialize)]
struct Part {
    name: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

impl Part {
    fn new<E: std::fmt::Display>(name: impl Into<String>, state: Result<(), E>) -> Self {
        let (status, detail) = match state {
            Ok(()) => ("ok", None),
            Err(error) => ("unavailable", Some(error.to_string())),
        };
        Self { name: name.into(), status, detail }
    }

    fn is_ok(&self) -> bool {
        self.detail.is_none()
    }
}

/// `GET /healthz`: the process is alive and answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the store is open and every backend was probed a moment ago; 503 with the reason otherwise.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = app.readiness.look(&app).await;
    let code = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(ready)).into_response()
}

impl Ready {
    async fn look(app: &App) -> Self {
        let store = Part::new("store", app.gateway.store.check().await);
        let probes = app.runtime.probe().await;
        let backends: Vec<Part> = probes.into_iter().map(|(name, state)| Part::new(name, state)).collect();
        let ready = store.is_ok() && !backends.is_empty() && backends.iter().all(Part::is_ok);
        let status = if ready { "ready" } else { "not ready" };
        Self { status, generation: app.runtime.generation(), store, backends }
    }

    fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}
