//! `/keys/{id}/policies`, `/instance/policies` and `/instance/allowed_ip_port`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ops::policies::KeyPolicyKind;
use keygate_core::ops::{instance_policies, policies};
use keygate_core::policy::InstancePolicyKind;
use schemars::JsonSchema;
use serde::Serialize;

use super::{KeyPath, selector};
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::dto::policy::{self, InstancePolicyBody, KeyPolicyBody};
use crate::http::exchange::{Incoming, Prefer, exchange};
use crate::http::query::Query;

/// `PUT /keys/{id}/policies`
pub(crate) async fn write(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::WritePolicies, request, async move |app: Arc<App>, incoming: Incoming| {
        let input = key_kind(&incoming.query).and_then(|kind| policy::write_policies(&incoming.body, kind));
        let written: Vec<KeyPolicyKind> = input.iter().flat_map(|input| input.kinds()).collect();
        let (key, instance) = policies::write(&app.gateway, &incoming.cx, &selector, input).await?;
        if incoming.prefer == Prefer::Minimal {
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        answer(KeyPolicyBody::of(&key, &instance, &written))
    })
    .await
}

/// `GET /keys/{id}/policies`
pub(crate) async fn read(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::ReadPolicies, request, async move |app: Arc<App>, incoming: Incoming| {
        let kind = key_kind(&incoming.query);
        let wanted = match kind {
            Ok(Some(kind)) => vec![kind],
            _ => KeyPolicyKind::ALL.to_vec(),
        };
        let (key, instance) = policies::read(&app.gateway, &incoming.cx, &selector, kind).await?;
        answer(KeyPolicyBody::of(&key, &instance, &wanted))
    })
    .await
}

/// `PUT /instance/policies`
pub(crate) async fn write_of_instance(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::WriteInstancePolicies, request, async |app: Arc<App>, incoming: Incoming| {
        let input =
            instance_kind(&incoming.query).and_then(|kind| policy::write_instance_policies(&incoming.body, kind));
        instance_policies::write(&app.gateway, &incoming.cx, app.has_private, input).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// `GET /instance/policies`
pub(crate) async fn read_of_instance(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ReadInstancePolicies, request, async |app: Arc<App>, incoming: Incoming| {
        let kind = instance_kind(&incoming.query);
        let policies = instance_policies::read(&app.gateway, &incoming.cx, kind).await?;
        answer(policies.iter().map(InstancePolicyBody::from).collect())
    })
    .await
}

/// Where the private endpoint is.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AllowedIpPort")]
pub(crate) struct PortBody {
    private_endpoint_port: u16,
}

/// `GET /instance/allowed_ip_port`
pub(crate) async fn allowed_ip_port(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ReadAllowedIpPort, request, async |app: Arc<App>, incoming: Incoming| {
        let port = instance_policies::allowed_ip_port(&app.gateway, &incoming.cx, app.private_port).await?;
        let ports = port.into_iter().map(|port| PortBody { private_endpoint_port: port }).collect();
        let body = Collection::new(MediaType::AllowedIpMetadata.as_str(), ports);
        Ok(Answer::json(StatusCode::OK, MediaType::AllowedIpMetadata, &body, 0)?)
    })
    .await
}

fn answer<T: Serialize>(policies: Vec<T>) -> Result<Answer, Error> {
    Ok(Answer::json(StatusCode::OK, MediaType::Policy, &Collection::new(MediaType::Policy.as_str(), policies), 0)?)
}

fn key_kind(query: &Query) -> Result<Option<KeyPolicyKind>, Error> {
    let Some(text) = query.get("policy") else { return Ok(None) };
    let unknown = || Reason::new(ReasonCode::InvalidQueryParam, "'policy' must be dualAuthDelete or rotation");
    KeyPolicyKind::parse(text).map(Some).ok_or_else(|| unknown().query("policy").into())
}

fn instance_kind(query: &Query) -> Result<Option<InstancePolicyKind>, Error> {
    let Some(text) = query.get("policy") else { return Ok(None) };
    let unknown = || {
        let text = format!("'policy' must be one of {}", policy::kinds());
        Reason::new(ReasonCode::InvalidQueryParam, text).query("policy")
    };
    InstancePolicyKind::parse(text).map(Some).ok_or_else(|| unknown().into())
}
