//! The way of every request of the API: authenticate, read, admit, and then the domain's own pipeline. All of it is
//! detached from the connection: a client that hangs up leaves no half-done rotation, and no request without its event.
//!
//! What is refused on this way is audited here; what gets as far as the pipeline is audited there. A body or a header
//! that cannot be read is for the pipeline to refuse: only who may ask learns of it.

use std::future::Future;
use std::sync::Arc;

use axum::extract::{OriginalUri, Request};
use axum::response::{IntoResponse, Response};
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName};
use keygate_core::access::{Action, Network, Principal};
use keygate_core::audit::{AuditEvent, Initiator, Outcome, Severity};
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::{InstanceId, KeyRingId};
use keygate_core::pipeline::RequestContext;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument as _;
use zeroize::Zeroizing;

use super::accept::accepts;
use super::answer::Answer;
use super::correlation::{CorrelationId, shortened};
use super::error::respond;
use super::query::Query;
use super::receive::{Received, receive};
use crate::app::App;

const INSTANCE: HeaderName = HeaderName::from_static("bluemix-instance");
const KEY_RING: HeaderName = HeaderName::from_static("x-kms-key-ring");
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Facts of the connection that a request came by. The accept loop puts them into the request's extensions.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    /// Its network facts, as the rules get them.
    pub network: Network,
    /// Room for the requests of this connection that are in work, or answered and their answers not taken. A stream that
    /// its client has reset is over for HTTP, and its request is not over here.
    pub requests: Arc<Semaphore>,
}

/// The place of a request among those of its connection. It goes with the answer, in its extensions, and is given back
/// when that is through.
#[derive(Clone, Debug)]
pub(super) struct Place(
    #[expect(dead_code, reason = "held for as long as there is a clone")] Arc<OwnedSemaphorePermit>,
);

impl Place {
    /// Of this permit.
    pub(super) fn new(permit: OwnedSemaphorePermit) -> Self {
        Self(Arc::new(permit))
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
    /// The body. Empty if it could not be read; the pipeline refuses the request then.
    pub body: Zeroizing<Vec<u8>>,
}

/// Takes a request through, in a task of its own.
pub(super) async fn exchange<F, Fut>(app: Arc<App>, action: Action, request: Request, op: F) -> Response
where
    F: FnOnce(Arc<App>, Incoming) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    // Waited for before the task is there: a client that goes away while it waits has asked for nothing yet.
    let place = match request.extensions().get::<Peer>() {
        Some(peer) => Arc::clone(&peer.requests).acquire_owned().await.ok().map(Place::new),
        None => None,
    };
    let way = async move {
        let intake = Intake::of(&request);
        let mut response = match through(&app, &intake, action, request, op).await {
            Ok(answer) => answer.into_response(),
            Err(Stop::Audited(error)) => respond(&error, Some(action)),
            Err(Stop::Unaudited(error)) => refuse(&app, &intake, action.event(), Some(action), error).await,
        };
        if let Some(place) = place {
            response.extensions_mut().insert(place);
        }
        response
    };
    match tokio::spawn(way.in_current_span()).await {
        Ok(response) => response,
        Err(_) => respond(&Error::Internal("a request's task panicked".to_owned()), Some(action)),
    }
}

/// Answers a request that gets no further, after its audit event was kept.
pub(super) async fn refuse(app: &App, intake: &Intake, event: &str, action: Option<Action>, error: Error) -> Response {
    let severity = action.map_or(Severity::Normal, Severity::of);
    let event = intake.event(app, event, severity, Outcome::Failure(error.cause()));
    // Nothing was set aside for it, and it may not have what was set aside for those that are in work. Where one of them was
    // too slow, this event has its place.
    let reserved = if matches!(error, Error::Unfinished) { Ok(()) } else { app.gateway.audit.reserve() };
    let recorded = match reserved {
        Ok(()) => app.gateway.audit.record(&event).await,
        Err(full) => Err(full),
    };
    let error = match (recorded, error) {
        (Ok(()), error) => error,
        // Of this one nobody may say that nothing was done.
        (Err(lost), Error::Unfinished) => Error::Unrecorded(lost.0),
        (Err(lost), _) => lost.into(),
    };
    respond(&error, action)
}

/// The same for a request to where there is nothing. Anybody may know what the API has; the event says who asked.
pub(super) async fn refuse_anybody(app: &App, request: Request, event: &str, error: Error) -> Response {
    let intake = Intake::of(&request);
    if let Ok(principal) = authenticate(app, request.headers()) {
        intake.is(&principal);
    }
    refuse(app, &intake, event, None, error).await
}

/// The same for a request that asks for nothing there is. That is told to those only who say who they are.
pub(super) async fn refuse_unknown(app: &App, request: Request, event: &str, error: Error) -> Response {
    let intake = Intake::of(&request);
    let error = match authenticate(app, request.headers()) {
        Ok(principal) => {
            intake.is(&principal);
            let instance = instance(request.headers());
            within_rate(app, &principal, &instance).err().or(instance.err()).unwrap_or(error)
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

async fn through<F, Fut>(
    app: &Arc<App>,
    intake: &Intake,
    action: Action,
    request: Request,
    op: F,
) -> Result<Answer, Stop>
where
    F: FnOnce(Arc<App>, Incoming) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Answer, Error>> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let principal = authenticate(app, &parts.headers).map_err(Stop::Unaudited)?;
    intake.is(&principal);
    // Whatever instance a request about the gateway itself names, it is not about that.
    let instance = if action.is_about_gateway() { Ok(InstanceId::GATEWAY) } else { instance(&parts.headers) };
    within_rate(app, &principal, &instance).map_err(Stop::Unaudited)?;
    let instance = instance.map_err(Stop::Unaudited)?;
    let mut flaws = Vec::new();
    let ring = ring(&parts.headers).map_err(|reason| flaws.push(reason)).unwrap_or_default();
    let (max, deadline) = (app.gateway.limits.max_body, app.server.request_deadline);
    flaws.extend(accepts(&parts.method, &parts.headers).err());
    let room = app.admission.room(&principal.id);
    let (body, room) = match receive(body, &parts.headers, room, max, deadline).await.map_err(Stop::Unaudited)? {
        Ok(Received { bytes, room }) => (bytes, Some(room)),
        Err(reason) => {
            flaws.push(reason);
            (Zeroizing::default(), None)
        }
    };
    let place = app.admission.admit().await.map_err(Stop::Unaudited)?;
    let cx = RequestContext {
        correlation_id: intake.correlation_id.clone(),
        principal,
        instance,
        ring,
        network: intake.network.clone(),
        request_uri: intake.uri.clone(),
        timeout: Some(deadline),
        flaws,
    };
    let query = Query::parse(parts.uri.query());
    let incoming = Incoming { cx, query, prefer: Prefer::of(&parts.headers), body };
    let work = op(Arc::clone(app), incoming);
    let task = async move {
        let _held = (room, place);
        work.await
    };
    match tokio::time::timeout(deadline, tokio::spawn(task.in_current_span())).await {
        Ok(Ok(outcome)) => outcome.map_err(Stop::Audited),
        // The task panicked: a defect, and nobody knows how far it came.
        Ok(Err(_)) => Err(Stop::Unaudited(Error::Internal("a request's work panicked".to_owned()))),
        // It goes on, and has an event of its own when it is through; this answer has one too.
        Err(_) => Err(Stop::Unaudited(Error::Unfinished)),
    }
}

/// Counts a request of somebody who is known.
fn within_rate(app: &App, principal: &Principal, instance: &Result<InstanceId, Error>) -> Result<(), Error> {
    let (gateway, instance) = (&app.gateway, instance.as_ref().ok().copied());
    app.rate_limit.count(principal, instance, &gateway.instances, gateway.clock.now())
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

fn ring(headers: &HeaderMap) -> Result<Option<KeyRingId>, Reason> {
    let Some(value) = headers.get(KEY_RING) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(text) => KeyRingId::parse(text).map(Some).map_err(invalid_ring),
        Err(_) => Err(invalid_ring("a key ring id consists of letters, digits and '-'")),
    }
}

fn invalid_ring(rule: &str) -> Reason {
    Reason::new(ReasonCode::InvalidHeader, rule).header("X-Kms-Key-Ring")
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
            uri: shortened(extensions.get::<OriginalUri>().map_or(request.uri(), |original| &original.0).path()),
            instance: instance(request.headers()).ok(),
            initiator: std::sync::OnceLock::new(),
        }
    }

    /// The correlation id.
    pub(super) fn correlation_id(&self) -> &str {
        &self.correlation_id
    }

    /// Notes who it turned out to be.
    pub(super) fn is(&self, principal: &Principal) {
        self.initiator.get_or_init(|| principal.into());
    }

    /// An audit event of it. `severity` is that of what was wanted.
    pub(super) fn event(&self, app: &App, action: &str, severity: Severity, outcome: Outcome) -> AuditEvent {
        AuditEvent {
            at: app.gateway.clock.now(),
            correlation_id: self.correlation_id.clone(),
            action: action.to_owned(),
            severity: match &outcome {
                Outcome::Success => severity,
                Outcome::Failure(cause) => severity.after(cause),
            },
            outcome,
            initiator: self.initiator.get().cloned().unwrap_or_else(Initiator::unknown),
            network: self.network.clone(),
            instance: self.instance,
            key: None,
            request_uri: self.uri.clone(),
            decision: None,
            request: Vec::new(),
            response: Vec::new(),
        }
    }
}
