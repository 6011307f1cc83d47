//! `POST /dev/clock`: time travel, for tests of what takes hours or days.
//!
//! **In dev mode only, and open to everybody who can connect.** Who can move the clock ends every wait, window and
//! lifetime that protects a key: a purge that should be four hours away can be had at once. The path is there only where
//! the gateway was put together with a clock that can be moved, which `keygate serve --dev` alone does; anywhere else it
//! is a path like any other that there is not.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt as _, Limited};
use keygate_core::audit::{Outcome, Severity};
use keygate_core::error::{Error, Reason, ReasonCode};
use serde::Deserialize;
use serde_json::json;
use tracing::Instrument as _;

use crate::app::App;
use crate::http::error::respond;
use crate::http::exchange::{Intake, refuse};
use crate::system::DevClock;

/// Where it is.
pub(crate) const CLOCK: &str = "/dev/clock";

/// The name of the audit event. Auditors of a gateway that is not for production shall see it too.
const EVENT: &str = "keygate.dev-clock.advance";

/// The longest body, in bytes.
const MAX_BODY: usize = 1024;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Journey {
    /// How far ahead, with a unit: `"4h"`, `"90d"`.
    advance: String,
}

/// Moves the gateway's clock forward. Answers when what has come due by then is done.
pub(crate) async fn advance(State(app): State<Arc<App>>, request: Request) -> Response {
    let intake = Intake::of(&request);
    let body = Limited::new(request.into_body(), MAX_BODY).collect();
    let by = match tokio::time::timeout(app.server.header_timeout, body).await {
        Ok(Ok(body)) => journey(&body.to_bytes()),
        // Too long, broken off, or too slow.
        _ => Err(bad_body()),
    };
    // Detached from the connection: a client that hangs up leaves no journey that was not recorded.
    let way = async move {
        match (by, &app.dev_clock) {
            (Ok(by), Some(clock)) => travel(&app, &intake, clock, by).await,
            (Err(reason), _) => refuse(&app, &intake, EVENT, None, reason.into()).await,
            (_, None) => refuse(&app, &intake, EVENT, None, no_clock()).await,
        }
    };
    match tokio::spawn(way.in_current_span()).await {
        Ok(response) => response,
        Err(_) => respond(&Error::Internal("a journey's task panicked".to_owned()), None),
    }
}

async fn travel(app: &App, intake: &Intake, clock: &DevClock, by: Duration) -> Response {
    // Nothing is done that cannot be recorded.
    if let Err(lost) = app.gateway.audit.reserve() {
        return respond(&Error::from(lost), None);
    }
    let now = clock.advance(by);
    tracing::warn!(?by, %now, "the clock was moved (dev mode)");
    app.after_travel().await;
    match app.gateway.audit.record(&intake.event(app, EVENT, Severity::Warning, Outcome::Success)).await {
        Ok(()) => Json(json!({"now": now.to_rfc3339()})).into_response(),
        // The clock was moved: nobody may say that nothing was done.
        Err(lost) => respond(&Error::Unrecorded(lost.0), None),
    }
}

/// How far ahead the body says.
fn journey(body: &[u8]) -> Result<Duration, Reason> {
    let Journey { advance } = serde_json::from_slice(body).map_err(|_| bad_body())?;
    humantime::parse_duration(&advance).map_err(|_| bad_body().field("advance"))
}

/// The path is there with the clock only.
fn no_clock() -> Error {
    Error::Internal("there is no clock that could be moved".to_owned())
}

fn bad_body() -> Reason {
    Reason::new(ReasonCode::BadBody, "The body must be {\"advance\": DURATION}, such as {\"advance\": \"4h\"}")
}
