//! `/key_rings`

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::Error;
use keygate_core::ops::rings::{self, RingView};
use keygate_core::store::PageRequest;
use schemars::JsonSchema;
use serde::Serialize;

use super::NamePath;
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::exchange::{Incoming, exchange};
use crate::http::openapi::shape;
use crate::http::query::Query;

/// How many rings a page has when nothing is said (`api-v2: GET /key_rings`).
const PAGE: usize = 100;

/// A key ring as clients see it. `default` has an id only.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "KeyRing")]
pub(crate) struct RingBody {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    creation_date: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
}

impl From<&RingView> for RingBody {
    fn from(ring: &RingView) -> Self {
        Self {
            id: ring.id.to_string(),
            creation_date: ring.created.as_ref().map(|created| created.at.to_rfc3339()),
            created_by: ring.created.as_ref().map(|created| created.by.clone()),
        }
    }
}

/// `GET /key_rings`
pub(crate) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ListKeyRings, request, async |app: Arc<App>, incoming: Incoming| {
        let parsed = parse(&incoming.query);
        let with_total = parsed.as_ref().is_ok_and(|(_, with_total)| *with_total);
        let page = rings::list(&app.gateway, &incoming.cx, parsed.map(|(page, _)| page)).await?;
        let body = Collection::new(MediaType::KeyRing.as_str(), page.items.iter().map(RingBody::from).collect())
            .with_total(with_total.then_some(page.total));
        Ok(Answer::json(StatusCode::OK, MediaType::KeyRing, &body, 0)?)
    })
    .await
}

fn parse(query: &Query) -> Result<(PageRequest, bool), Error> {
    Ok((query.page_of(PAGE)?, query.flag("totalCount")?))
}

/// `POST /key_rings/{id}`
pub(crate) async fn create(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    let id = path.map_or_else(|_| String::new(), |Path(id)| id);
    exchange(app, Action::CreateKeyRing, request, async move |app: Arc<App>, incoming: Incoming| {
        let new = rings::create(&app.gateway, &incoming.cx, &id).await?;
        Ok(Answer::empty(if new { StatusCode::CREATED } else { StatusCode::NO_CONTENT }))
    })
    .await
}

/// `DELETE /key_rings/{id}`
pub(crate) async fn delete(State(app): State<Arc<App>>, path: NamePath, request: Request) -> Response {
    let id = path.map_or_else(|_| String::new(), |Path(id)| id);
    exchange(app, Action::DeleteKeyRing, request, async move |app: Arc<App>, incoming: Incoming| {
        let force = incoming.query.flag("force");
        rings::delete(&app.gateway, &incoming.cx, &id, force).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}
