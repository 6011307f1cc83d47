//! `/healthz` and `/readyz`, for whoever watches the gateway. They need no access token and tell no secret.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::problem::Problem;
use crate::readiness::{Part, Ready};
use crate::reload::{Refusal, Report, line};

/// Whether requests can be served.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
pub(crate) struct ReadyBody<'a> {
    status: &'static str,
    generation: u64,
    store: PartBody<'a>,
    backends: Vec<PartBody<'a>>,
    reload: ReloadBody<'a>,
}

/// Which plugins are live, and whether others were refused since.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReloadState")]
struct ReloadBody<'a> {
    generation: u64,
    /// Since when that generation is live.
    at: String,
    /// The last reload, if it was refused: the gateway works by what was loaded before.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_refused: Option<RefusalBody<'a>>,
}

/// A reload that was refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReloadRefusal")]
struct RefusalBody<'a> {
    at: String,
    problems: Vec<ProblemBody<'a>>,
}

/// Why, as far as anybody may know it. Paths of the configuration and mends are for the log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReloadProblem")]
struct ProblemBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    step: &'a str,
    problem: String,
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

/// How many problems are told here, and how long the text of one is at most, in bytes.
const PROBLEMS: usize = 8;
const LONGEST: usize = 256;

impl<'a> From<&'a Report> for ReloadBody<'a> {
    fn from(report: &'a Report) -> Self {
        let problem = |problem: &'a Problem| ProblemBody {
            plugin: problem.plugin.as_deref(),
            step: &problem.step,
            problem: line(&problem.problem, LONGEST),
        };
        let refusal = |refusal: &'a Refusal| RefusalBody {
            at: refusal.at.to_rfc3339(),
            problems: refusal.problems.iter().take(PROBLEMS).map(problem).collect(),
        };
        Self {
            generation: report.generation,
            at: report.at.to_rfc3339(),
            last_refused: report.last_refused.as_ref().map(refusal),
        }
    }
}

impl<'a> ReadyBody<'a> {
    fn new(ready: &'a Ready, report: &'a Report) -> Self {
        Self {
            status: if ready.is_ready() { "ready" } else { "not ready" },
            generation: ready.generation,
            store: (&ready.store).into(),
            backends: ready.backends.iter().map(PartBody::from).collect(),
            reload: report.into(),
        }
    }
}

/// `GET /healthz`: the process is alive and answers.
pub(crate) async fn alive() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: the store is open and every backend was probed a moment ago; 503 with what is not otherwise. A reload that
/// was refused is told and changes nothing of that: the plugins before do the work.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Response {
    let ready = app.ready().await;
    let code = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(ReadyBody::new(&ready, &app.reload_report()))).into_response()
}
