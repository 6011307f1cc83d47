//! `GET /keygate/v1/backends`, and the migrations of an instance from one backend to another. Keygate's own; about the gateway,
//! not about an instance: whoever may move keys is its administrator.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::{InstanceId, MigrationId};
use keygate_core::migration::{Migration, MigrationState};
use keygate_core::ops::migrate;
use keygate_core::store::{Page, PageRequest};

use super::NamePath;
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::dto::migration::{self, BackendBody, MigrationBody, StayBody};
use crate::http::exchange::{Incoming, exchange};

/// An instance and one of its migrations.
type MigrationPath = Result<Path<(String, String)>, PathRejection>;

fn instance_of(text: Option<&str>) -> Result<InstanceId, Error> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Reason::new(ReasonCode::InvalidPathParam, "An instance is named by its id, a UUID").path("id").into()
    })
}

fn migration_of(text: Option<&str>) -> Result<MigrationId, Error> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Reason::new(ReasonCode::InvalidPathParam, "A migration is named by its id, a UUID").path("migration").into()
    })
}

fn one(status: StatusCode, migration: &Migration) -> Result<Answer, Error> {
    Ok(Answer::json(status, MediaType::Migration, &MigrationBody::from(migration), 0)?)
}

/// `GET /keygate/v1/backends`
pub(crate) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ListBackends, request, async |app: Arc<App>, incoming: Incoming| {
        let backends = migrate::backends(&app.gateway, &incoming.cx).await?;
        let bodies = backends.iter().map(BackendBody::from).collect();
        let body = Collection::new(MediaType::Backend.as_str(), bodies);
        Ok(Answer::json(StatusCode::OK, MediaType::Backend, &body, 0)?)
    })
    .await
}

/// `POST /keygate/v1/instances/{id}/migrations`
pub(crate) async fn start(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    exchange(app, Action::Migrate, request, async move |app: Arc<App>, incoming: Incoming| {
        let instance = instance_of(path.as_ref().ok().map(|path| path.0.as_str()));
        let route = migration::route(&incoming.body);
        let migration = migrate::start(&app.gateway, &incoming.cx, instance, route).await?;
        one(StatusCode::ACCEPTED, &migration)
    })
    .await
}

/// `GET /keygate/v1/instances/{id}/migrations`: the last one, or none.
pub(crate) async fn last(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    exchange(app, Action::ReadMigration, request, async move |app: Arc<App>, incoming: Incoming| {
        let instance = instance_of(path.as_ref().ok().map(|path| path.0.as_str()));
        let none = PageRequest { offset: 0, limit: 0 };
        let found = migrate::read(&app.gateway, &incoming.cx, instance, None, Ok(none)).await;
        let bodies = match &found {
            Ok((migration, _)) => vec![MigrationBody::from(migration)],
            Err(error) if error.reason_code() == Some(ReasonCode::MigrationNotFound) => Vec::new(),
            Err(_) => return Err(found.err().unwrap_or(Error::Unfinished)),
        };
        let body = Collection::new(MediaType::Migration.as_str(), bodies);
        Ok(Answer::json(StatusCode::OK, MediaType::Migration, &body, 0)?)
    })
    .await
}

/// `GET /keygate/v1/instances/{id}/migrations/{migration}`: with a page of what stayed behind.
pub(crate) async fn read(State(app): State<Arc<App>>, path: MigrationPath, request: Request) -> Response {
    exchange(app, Action::ReadMigration, request, async move |app: Arc<App>, incoming: Incoming| {
        let path = path.ok();
        let instance = instance_of(path.as_ref().map(|path| path.0.0.as_str()));
        let id = migration_of(path.as_ref().map(|path| path.0.1.as_str()));
        let page = incoming.query.page();
        let (found, Page { items, total }) =
            migrate::read(&app.gateway, &incoming.cx, instance, Some(id), page).await?;
        let stays = items.iter().map(StayBody::from).collect();
        let body = MigrationBody::from(&found).with_stays(stays, total);
        Ok(Answer::json(StatusCode::OK, MediaType::Migration, &body, 0)?)
    })
    .await
}

/// `DELETE /keygate/v1/instances/{id}/migrations/{migration}`: stops it. `POST` goes on with it.
pub(crate) async fn stop(State(app): State<Arc<App>>, path: MigrationPath, request: Request) -> Response {
    exchange(app, Action::StopMigration, request, async move |app: Arc<App>, incoming: Incoming| {
        let path = path.ok();
        let instance = instance_of(path.as_ref().map(|path| path.0.0.as_str()));
        let id = migration_of(path.as_ref().map(|path| path.0.1.as_str()));
        let stopped = migrate::stop(&app.gateway, &incoming.cx, instance, id).await?;
        debug_assert_ne!(stopped.state, MigrationState::Running, "it was stopped");
        one(StatusCode::OK, &stopped)
    })
    .await
}
