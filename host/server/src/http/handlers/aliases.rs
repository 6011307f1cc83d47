//! `/keys/{id}/aliases/{alias}`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::ops::aliases;
use schemars::JsonSchema;
use serde::Serialize;

use super::{KeyPartPath, selector_and_part};
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::exchange::{Incoming, exchange};
use crate::http::openapi::shape;

/// An alias as clients see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Alias")]
pub(crate) struct AliasBody {
    #[schemars(schema_with = "shape::uuid")]
    key_id: String,
    alias: String,
    created_by: String,
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
}

/// `POST /keys/{id}/aliases/{alias}`
pub(crate) async fn create(State(app): State<Arc<App>>, path: KeyPartPath, request: Request) -> Response {
    let (selector, alias) = selector_and_part(path);
    exchange(app, Action::CreateAlias, request, async move |app: Arc<App>, incoming: Incoming| {
        let (key, alias, new) = aliases::create(&app.gateway, &incoming.cx, &selector, &alias).await?;
        let body = AliasBody {
            key_id: key.id.to_string(),
            alias: alias.alias.to_string(),
            created_by: alias.given.by,
            creation_date: alias.given.at.to_rfc3339(),
        };
        let status = if new { StatusCode::CREATED } else { StatusCode::OK };
        let body = Collection::new(MediaType::Alias.as_str(), vec![body]);
        Ok(Answer::json(status, MediaType::Alias, &body, 0)?)
    })
    .await
}

/// `DELETE /keys/{id}/aliases/{alias}`
pub(crate) async fn delete(State(app): State<Arc<App>>, path: KeyPartPath, request: Request) -> Response {
    let (selector, alias) = selector_and_part(path);
    exchange(app, Action::DeleteAlias, request, async move |app: Arc<App>, incoming: Incoming| {
        aliases::delete(&app.gateway, &incoming.cx, &selector, &alias).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}
