//! `/keygate/v1/instances`, `/keygate/v1/authorizations`, `/keygate/v1/crypto-instances` and `/crypto_v1/instances/{id}`.
//! Keygate's own; about no instance that a header names.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::Error;
use keygate_core::instance::CryptoInstance;
use keygate_core::ops::instances;

use super::NamePath;
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::dto::instance::{self, AuthorizationBody, CryptoInstanceBody, InstanceBody};
use crate::http::exchange::{Incoming, exchange};

/// Two names in a path.
type PairPath = Result<Path<(String, String)>, PathRejection>;

fn name(path: NamePath) -> String {
    path.map_or_else(|_| String::new(), |Path(id)| id)
}

fn names(path: PairPath) -> (String, String) {
    path.map_or_else(|_| Default::default(), |Path(names)| names)
}

fn told(status: StatusCode, views: &[instances::InstanceView]) -> Result<Answer, Error> {
    let body = Collection::new(MediaType::Instance.as_str(), views.iter().map(InstanceBody::from).collect());
    Ok(Answer::json(status, MediaType::Instance, &body, 0)?)
}

fn told_crypto(app: &App, all: &[Arc<CryptoInstance>]) -> Result<Answer, Error> {
    let plugins = app.runtime.describe();
    let bodies = all.iter().map(|crypto| CryptoInstanceBody::new(crypto, &plugins)).collect();
    let body = Collection::new(MediaType::CryptoInstance.as_str(), bodies);
    Ok(Answer::json(StatusCode::OK, MediaType::CryptoInstance, &body, 0)?)
}

/// `GET /keygate/v1/instances`
pub(crate) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ListInstances, request, async |app: Arc<App>, incoming: Incoming| {
        told(StatusCode::OK, &instances::list(&app.gateway, &incoming.cx).await?)
    })
    .await
}

/// `GET /keygate/v1/instances/{id}`
pub(crate) async fn read(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    let id = name(path);
    exchange(app, Action::ReadInstance, request, async move |app: Arc<App>, incoming: Incoming| {
        told(StatusCode::OK, &[instances::read(&app.gateway, &incoming.cx, &id).await?])
    })
    .await
}

/// `POST /keygate/v1/instances`
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::CreateInstance, request, async |app: Arc<App>, incoming: Incoming| {
        let input = instance::create(&incoming.body);
        told(StatusCode::CREATED, &[instances::create(&app.gateway, &incoming.cx, input).await?])
    })
    .await
}

/// `PATCH /keygate/v1/instances/{id}`
pub(crate) async fn change(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    let id = name(path);
    exchange(app, Action::BindInstance, request, async move |app: Arc<App>, incoming: Incoming| {
        let input = instance::change(&incoming.body);
        told(StatusCode::OK, &[instances::change(&app.gateway, &incoming.cx, &id, input).await?])
    })
    .await
}

/// `DELETE /keygate/v1/instances/{id}`
pub(crate) async fn delete(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    let id = name(path);
    exchange(app, Action::DeleteInstance, request, async move |app: Arc<App>, incoming: Incoming| {
        instances::delete(&app.gateway, &incoming.cx, &id).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// `GET /keygate/v1/authorizations`
pub(crate) async fn authorizations(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ListAuthorizations, request, async |app: Arc<App>, incoming: Incoming| {
        let all = instances::authorizations(&app.gateway, &incoming.cx).await?;
        let bodies = all.iter().map(|authorization| AuthorizationBody::from(&**authorization)).collect();
        let body = Collection::new(MediaType::Authorization.as_str(), bodies);
        Ok(Answer::json(StatusCode::OK, MediaType::Authorization, &body, 0)?)
    })
    .await
}

/// `PUT /keygate/v1/authorizations/{source}/{target}`
pub(crate) async fn authorize(State(app): State<Arc<App>>, path: PairPath, request: Request) -> Response {
    let (source, target) = names(path);
    exchange(app, Action::CreateAuthorization, request, async move |app: Arc<App>, incoming: Incoming| {
        let (given, is_new) = instances::authorize(&app.gateway, &incoming.cx, &source, &target).await?;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        let body = Collection::new(MediaType::Authorization.as_str(), vec![AuthorizationBody::from(&*given)]);
        Ok(Answer::json(status, MediaType::Authorization, &body, 0)?)
    })
    .await
}

/// `DELETE /keygate/v1/authorizations/{source}/{target}`
pub(crate) async fn revoke(State(app): State<Arc<App>>, path: PairPath, request: Request) -> Response {
    let (source, target) = names(path);
    exchange(app, Action::DeleteAuthorization, request, async move |app: Arc<App>, incoming: Incoming| {
        instances::revoke(&app.gateway, &incoming.cx, &source, &target).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// `GET /keygate/v1/crypto-instances`
pub(crate) async fn list_crypto(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ListCryptoInstances, request, async |app: Arc<App>, incoming: Incoming| {
        let all = instances::list_crypto(&app.gateway, &incoming.cx).await?;
        told_crypto(&app, &all)
    })
    .await
}

/// `GET /crypto_v1/instances/{id}`
pub(crate) async fn read_crypto(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    let id = name(path);
    exchange(app, Action::ReadCryptoInstance, request, async move |app: Arc<App>, incoming: Incoming| {
        let crypto = instances::read_crypto(&app.gateway, &incoming.cx, &id).await?;
        told_crypto(&app, &[crypto])
    })
    .await
}
