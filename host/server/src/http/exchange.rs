//! The way of every request of the API: authenticate, read, admit, and then the domain's own pipeline, detached from the
//! connection. A client that hangs up leaves no half-done rotation.
//!
//! What is refused on this way is audited here; what gets as far as the pipeline is audited there.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::extract::{OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use keygate_core::access::{Action, Network, Principal, PrincipalKind};
use keygate_core::audit::{AuditEvent, Initiator, Outcome, Severity};
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_core::pipeline::RequestContext;

use super::answer::Answer;
use super::correlation::CorrelationId;
use super::error::respond;
use super::query::Query;
use crate::app::App;

const INSTANCE: HeaderName = HeaderName::from_static("bluemix-instance");
const KEY_RING: HeaderName = HeaderName::from_static("x-kms-key-ring");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Facts of the connection that a request came by. The accept loop puts them into the request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its network facts, as the rules get them.
    pub network: Network,
}

impl Peer {
    /// A peer at this address, by the public endpoint.
    pub(super) fn public(address: IpAddr) -> Self {
        Self { network: Network { address: Some(address.to_canonical()), ..Network::default() } }
    }
}

/// What the `Prefer` header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prefer {
    /// Nothing.
    Default,
    /// `return=minimal`
    Minimal,
    /// `return=representation`
    Representation,
}

impl Prefer {
    fn of(headers: &HeaderMap) -> Self {
        let wants = |what: &str| {
            headers
                .get_all(PREFER)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(|value| value.split([',', ';']))
                .any(|preference| preference.trim().eq_ignore_ascii_case(what))
        };
        match () {
            () if wants("return=representation") => Self::Representation,
            () if wants("return=minimal") => Self::Minimal,
            () => Self::Default,
        }
    }
}

/// A request that was authenticated and read.
pub(super) struct Incoming {
    /// What the domain needs to know of it.
    pub cx: RequestContext,
    /// The query.
    pub query: Query,
    /// What the answer shall hold.
    pub prefer: Prefer,
    /// The body.
    pub body: Bytes,
}

/// Takes a request through. `op` runs in a task of its own.
pub(super) async fn exchange<F, Fut>(app: Arc<App>, action: Action, request: Request, op: F) -> Response
where
    F: FnOnce(Arc<App>, Incoming) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    let intake = Intake::of(&request);
    match through(&app, &intake, request, op).await {
        Ok(answer) => answer.into_response(),
        Err(Stop::Audited(error)) => respond(&error, Some(action)),
        Err(Stop::Unaudited(error)) => refuse(&app, &intake, action.event(), Some(action), error).await,
    }
}

/// Answers a request that gets no further, after its audit event was kept.
pub(super) async fn refuse(app: &App, intake: &Intake, event: &str, action: Option<Action>, error: Error) -> Response {
    let event = intake.event(app, event, Outcome::Failure(error.cause()));
    let error = match app.gateway.audit.record(&event).await {
        Ok(()) => error,
        Err(audit) => audit.into(),
    };
    respond(&error, action)
}

/// The same for a request that asks for nothing there is. That is told to those only who say who they are.
pub(super) async fn refuse_unknown(app: &App, request: Request, event: &str, error: Error) -> Response {
    let intake = Intake::of(&request);
    let error = match authenticate(app, request.headers()) {
        Ok(principal) => {
            intake.is(&principal);
            instance(request.headers()).err().unwrap_or(error)
        }
        Err(unauthenticated) => unauthenticated,
    };
    refuse(app, &intake, event, None, error).await
}

enum Stop {
    /// The pipeline saw the request, and audited it.
    Audited(Error),
    /// It did not.
    Unaudited(Error),
}

async fn through<F, Fut>(app: &Arc<App>, intake: &Intake, request: Request, op: F) -> Result<Answer, Stop>
where
    F: FnOnce(Arc<App>, Incoming) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let principal = authenticate(app, &parts.headers).map_err(Stop::Unaudited)?;
    intake.is(&principal);
    let instance = instance(&parts.headers).map_err(Stop::Unaudited)?;
    let ring = ring(&parts.headers).map_err(Stop::Unaudited)?;
    let (max, within) = (app.gateway.limits.max_body, app.server.request_deadline);
    let body = read(body, &parts.headers, max, within).await.map_err(Stop::Unaudited)?;
    let permit = app.admission.admit().await.map_err(Stop::Unaudited)?;
    let cx = RequestContext {
        correlation_id: intake.correlation_id.clone(),
        principal,
        instance,
        ring,
        network: intake.network.clone(),
        request_uri: intake.uri.clone(),
    };
    let query = Query::parse(parts.uri.query());
    let incoming = Incoming { cx, query, prefer: Prefer::of(&parts.headers), body };
    let task = tokio::spawn({
        let work = op(Arc::clone(app), incoming);
        let span = tracing::Span::current();
        tracing::Instrument::instrument(
            async move {
                let _permit = permit;
                work.await
            },
            span,
        )
    });
    match tokio::time::timeout(app.server.request_deadline, task).await {
        Ok(Ok(outcome)) => outcome.map_err(Stop::Audited),
        // The task panicked: a defect, and nobody knows how far it came.
        Ok(Err(_)) => Err(Stop::Unaudited(Error::Internal("a request's task panicked".to_owned()))),
        // It goes on, and will be audited when it is through; the client is told to look again.
        Err(_) => Err(Stop::Audited(Error::Unavailable {
            what: "answer".to_owned(),
            detail: format!("not ready within {:?}; the work goes on", app.server.request_deadline),
        })),
    }
}

fn authenticate(app: &App, headers: &HeaderMap) -> Result<Principal, Error> {
    let value = headers.get(AUTHORIZATION).ok_or(Error::Unauthenticated("there is no Authorization header"))?;
    let text = value.to_str().map_err(|_| Error::Unauthenticated("the Authorization header is not text"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::Unauthenticated("the Authorization header is not a bearer token"));
    }
    Ok(app.tokens.authenticate(token.trim(), app.gateway.clock.now())?)
}

fn instance(headers: &HeaderMap) -> Result<InstanceId, Error> {
    headers.get(INSTANCE).and_then(|value| value.to_str().ok()?.trim().parse().ok()).ok_or_else(|| {
        Reason::new(ReasonCode::InvalidHeader, "Request requires valid Bluemix-Instance Header containing a valid UUID")
            .header("Bluemix-Instance")
            .into()
    })
}

fn ring(headers: &HeaderMap) -> Result<Option<KeyRingId>, Error> {
    let Some(value) = headers.get(KEY_RING) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(text) => KeyRingId::parse(text).map(Some).map_err(invalid_ring),
        Err(_) => Err(invalid_ring("a key ring id consists of letters, digits and '-'")),
    }
}

fn invalid_ring(rule: &str) -> Error {
    Reason::new(ReasonCode::InvalidHeader, rule).header("X-Kms-Key-Ring").into()
}

/// Reads a body of at most `max` bytes that is there `within` this time: a client that sends it in drops, or never, must
/// not keep its connection.
async fn read(mut body: Body, headers: &HeaderMap, max: usize, within: Duration) -> Result<Bytes, Error> {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Reason::new(ReasonCode::UnsupportedMediaType, "Send the body without a content encoding")
            .header("Content-Encoding")
            .into());
    }
    let announced = body.size_hint().lower() > max as u64;
    let collected = match announced {
        true => None,
        false => Some(tokio::time::timeout(within, Limited::new(&mut body, max).collect()).await),
    };
    match collected {
        Some(Ok(Ok(collected))) => Ok(collected.to_bytes()),
        Some(Ok(Err(error))) if !error.is::<LengthLimitError>() => {
            Err(Error::refused(ReasonCode::BadBody, "The body broke off"))
        }
        Some(Err(_)) => Err(Error::refused(ReasonCode::BadBody, format!("The body was not there within {within:?}"))),
        None | Some(Ok(Err(_))) => {
            discard(body).await;
            Err(Error::refused(ReasonCode::BodyTooLarge, format!("The body has at most {max} bytes")))
        }
    }
}

/// Most of what is discarded of a body that is too long, in bytes, and the time for it.
const DISCARDED: usize = 8 << 20;
const DISCARDING: Duration = Duration::from_secs(1);

/// Lets a client finish, within bounds. One that is cut off while it sends sees a broken connection and never the answer.
async fn discard(mut body: Body) {
    let mut left = DISCARDED;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                Some(less) => left = less,
                None => break,
            }
        }
    };
    let _ = tokio::time::timeout(DISCARDING, all).await;
}

/// What is known of a request before it is authenticated: enough to audit that it was refused.
pub(super) struct Intake {
    correlation_id: String,
    network: Network,
    uri: String,
    instance: Option<InstanceId>,
    initiator: std::sync::OnceLock<Initiator>,
}

impl Intake {
    /// Of this request.
    pub(super) fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        Self {
            correlation_id: extensions.get::<CorrelationId>().map(|id| id.as_str().to_owned()).unwrap_or_default(),
            network: extensions.get::<Peer>().map(|peer| peer.network.clone()).unwrap_or_default(),
            // A nested router sees a part of the path only.
            uri: extensions.get::<OriginalUri>().map_or(request.uri(), |original| &original.0).path().to_owned(),
            instance: instance(request.headers()).ok(),
            initiator: std::sync::OnceLock::new(),
        }
    }

    /// The correlation id.
    pub(super) fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// Notes who it turned out to be.
    pub(crate) fn is(&self, principal: &Principal) {
        self.initiator.get_or_init(|| Initiator {
            id: principal.id.clone(),
            name: principal.name.clone(),
            service: match &principal.kind {
                PrincipalKind::User => None,
                PrincipalKind::Service { name } => Some(name.clone()),
            },
        });
    }

    /// An audit event of it.
    pub(super) fn event(&self, app: &App, action: &str, outcome: Outcome) -> AuditEvent {
        let unauthenticated = matches!(outcome, Outcome::Failure(keygate_core::error::Cause::Unauthenticated));
        AuditEvent {
            at: app.gateway.clock.now(),
            correlation_id: self.correlation_id.clone(),
            action: action.to_owned(),
            outcome,
            severity: if unauthenticated { Severity::Critical } else { Severity::Normal },
            initiator: self.initiator.get().cloned().unwrap_or_else(|| Initiator {
                id: "unknown".to_owned(),
                name: None,
                service: None,
            }),
            network: self.network.clone(),
            instance: self.instance,
            key: None,
            request_uri: self.uri.clone(),
            trail: Vec::new(),
            request: Vec::new(),
            response: Vec::new(),
        }
    }
}
