//! `/healthz` and `/readyz`, for whoever watches the gateway. They need no access token and tell no secret.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use keygate_core::clock::Timestamp;
use keygate_pkcs11::{BreakerState, Counts, Health};
use schemars::JsonSchema;
use serde::Serialize;

use crate::app::App;
use crate::http::error::whole_seconds;
use crate::problem::Problem;
use crate::readiness::{Part, Ready};
use crate::reload::{Refusal, Report};

/// Whether requests can be served.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Readiness")]
pub(crate) struct ReadyBody<'a> {
    status: &'static str,
    generation: u64,
    store: PartBody<'a>,
    backends: Vec<PartBody<'a>>,
    /// PKCS#11 tokens, where any are configured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tokens: Vec<TokenBody<'a>>,
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
    /// Since when a reload is under way, where it has taken longer than most do.
    #[serde(skip_serializing_if = "Option::is_none")]
    under_way_since: Option<String>,
}

/// A reload that was refused.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReloadRefusal")]
struct RefusalBody<'a> {
    at: String,
    problems: Vec<ProblemBody<'a>>,
}

/// Why, as far as anybody may know it: anybody may ask here. Paths, ids, names of secrets and mends are for the log and the
/// audit event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ReloadProblem")]
struct ProblemBody<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plugin: Option<&'a str>,
    step: &'a str,
    /// What went wrong in this step, in general.
    problem: &'static str,
}

/// What is wrong with a part is for the log: anybody may ask here.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Part")]
struct PartBody<'a> {
    name: &'a str,
    status: &'static str,
}

/// How a PKCS#11 token is. Why it is so is for the log.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenState")]
struct TokenBody<'a> {
    name: &'a str,
    status: &'static str,
    /// `closed`: calls go through. `open`: the token failed again and again, and calls are refused at once. `half-open`: one
    /// call is on trial.
    breaker: &'static str,
    /// Since when the breaker stands so.
    since: String,
    /// In how many seconds the next call may go through, where the breaker is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// Threads that serve calls, and threads that hang inside the token's module.
    workers: usize,
    written_off: usize,
    /// Calls that wait.
    queued: usize,
    counts: TokenCounts,
}

/// What happened on a token since the gateway was started. All only go up.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TokenCounts")]
struct TokenCounts {
    /// Calls that it served.
    calls: u64,
    /// Of those, calls that it or its module failed.
    failures: u64,
    /// Calls that got no session in time.
    busy: u64,
    /// Calls that missed their deadline inside the module.
    late: u64,
    /// Calls refused because the breaker was not closed.
    refused: u64,
    /// Times that the breaker opened.
    opened: u64,
    /// Logins.
    links: u64,
    /// Threads that were written off because they hung.
    written_off: u64,
}

impl From<&Counts> for TokenCounts {
    fn from(counts: &Counts) -> Self {
        Self {
            calls: counts.calls,
            failures: counts.failures,
            busy: counts.busy,
            late: counts.late,
            refused: counts.refused,
            opened: counts.opened,
            links: counts.links,
            written_off: counts.written_off,
        }
    }
}

impl<'a> From<&'a Health> for TokenBody<'a> {
    fn from(health: &'a Health) -> Self {
        Self {
            name: &health.name,
            status: if health.is_ready() { "ok" } else { "unavailable" },
            breaker: match health.breaker {
                BreakerState::Closed => "closed",
                BreakerState::Open => "open",
                BreakerState::HalfOpen => "half-open",
            },
            since: health.since.to_rfc3339(),
            retry_after: health.retry_after.map(whole_seconds),
            workers: health.workers,
            written_off: health.written_off,
            queued: health.queued,
            counts: (&health.counts).into(),
        }
    }
}

impl<'a> From<&'a Part> for PartBody<'a> {
    fn from(part: &'a Part) -> Self {
        Self { name: &part.name, status: if part.is_ok { "ok" } else { "unavailable" } }
    }
}

/// How many problems are told here.
const PROBLEMS: usize = 8;

/// A reload that takes longer than this is told.
const LONG: Duration = Duration::from_secs(10);

/// What is told of a problem in this step.
fn general(step: &str) -> &'static str {
    match step {
        "config" => "the configuration cannot be read, or something in it is wrong",
        "tokens" => "a token cannot be used",
        "secrets" => "a secret cannot be read, or a version of it has other bytes than before",
        "keys" => "keys of the store cannot be used with it, or could not be tried",
        "manifest" => "its entry or its settings are not sound",
        "read" => "its file cannot be read",
        "digest" => "its file has another digest, or none is given",
        "signature" => "nobody who is trusted has signed it, or a trusted key cannot be read",
        "compile" => "its file is not a component that can be compiled",
        "imports" => "it asks for what it is not granted",
        "version" => "it was built for another version of the contract",
        "configure" => "it does not take its settings",
        "describe" => "what it says of itself does not do",
        "probe" => "it does not show that it works",
        "bind" => "it has no place that fits it, or its name stands twice",
        _ => "see the log",
    }
}

impl<'a> ReloadBody<'a> {
    fn new(report: &'a Report, now: Timestamp) -> Self {
        let problem = |problem: &'a Problem| ProblemBody {
            plugin: problem.plugin.as_deref(),
            step: &problem.step,
            problem: general(&problem.step),
        };
        let refusal = |refusal: &'a Refusal| RefusalBody {
            at: refusal.at.to_rfc3339(),
            problems: refusal.problems.iter().take(PROBLEMS).map(problem).collect(),
        };
        Self {
            generation: report.generation,
            at: report.at.to_rfc3339(),
            last_refused: report.last_refused.as_ref().map(refusal),
            under_way_since: report.under_way.filter(|at| now.since(*at) >= LONG).map(|at| at.to_rfc3339()),
        }
    }
}

impl<'a> ReadyBody<'a> {
    fn new(ready: &'a Ready, report: &'a Report, now: Timestamp) -> Self {
        Self {
            status: if ready.is_ready() { "ready" } else { "not ready" },
            generation: ready.generation,
            store: (&ready.store).into(),
            backends: ready.backends.iter().map(PartBody::from).collect(),
            tokens: ready.tokens.iter().map(TokenBody::from).collect(),
            reload: ReloadBody::new(report, now),
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
    (code, Json(ReadyBody::new(&ready, &app.reload_report(), app.gateway.clock.now()))).into_response()
}

#[cfg(test)]
mod tests {
    use keygate_runtime::LoadStep;
    use serde_json::{Value, json};

    use super::*;

    fn told(report: &Report, now: Timestamp) -> Value {
        serde_json::to_value(ReloadBody::new(report, now)).unwrap()
    }

    #[test]
    fn anybody_learns_which_plugin_and_which_step_and_nothing_else_of_a_refusal() {
        let secret =
            Problem::at("secrets[0].versions[1].file", "there is no file /srv/kek-2 (KEK_2)", "make /srv/kek-2");
        let secret = secret.in_step("secrets").of_plugin("aes-gcm");
        let key = Problem::new("keys", "7a6c1b9a-0000-4000-8000-000000000001 does not open", "bring it back");
        let last_refused = Some(Refusal { at: Timestamp::default(), problems: vec![secret, key].into() });
        let report = Report { generation: 3, at: Timestamp::default(), last_refused, under_way: None };
        let body = told(&report, Timestamp::default());
        let problems = json!([
            {"plugin": "aes-gcm", "step": "secrets", "problem": general("secrets")},
            {"step": "keys", "problem": general("keys")},
        ]);
        assert_eq!(body["last_refused"]["problems"], problems);
        assert!(!body.to_string().contains("kek") && !body.to_string().contains("7a6c1b9a"), "{body}");
    }

    #[test]
    fn every_step_has_its_sentence() {
        use LoadStep::{
            Bind, Compile, Configure, Describe, Digest, Imports, Manifest, Probe, Read, Signature, Version,
        };
        let steps = [Manifest, Read, Digest, Signature, Compile, Imports, Version, Configure, Describe, Probe, Bind];
        for step in steps.map(|step| step.to_string()).iter().map(String::as_str).chain(["config", "secrets", "keys"]) {
            assert_ne!(general(step), "see the log", "{step}");
        }
    }

    #[test]
    fn a_reload_that_takes_long_is_told() {
        let begun = Timestamp::from_unix_ms(1_700_000_000_000);
        let report = Report { generation: 3, at: begun, last_refused: None, under_way: Some(begun) };
        assert!(told(&report, begun.plus(LONG / 2)).get("under_way_since").is_none());
        assert_eq!(told(&report, begun.plus(LONG))["under_way_since"], begun.to_rfc3339());
    }
}
