//! `/keys` and `/keys/{id}`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use keygate_core::access::Action;
use keygate_core::error::Error;
use keygate_core::instance::Instance;
use keygate_core::key::Key;
use keygate_core::ops;
use keygate_core::secret::SecretBytes;
use keygate_core::store::{KeyFilter, PageRequest};

use super::{KeyPath, selector};
use crate::app::App;
use crate::http::answer::{Answer, KEY_TOTAL, MediaType};
use crate::http::dto::Collection;
use crate::http::dto::key::{self, KeyBody, MinimalKeyBody};
use crate::http::exchange::{Incoming, Prefer, exchange};
use crate::http::query::Query;

/// `POST /keys`
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::Create, request, async |app: Arc<App>, incoming: Incoming| {
        let representation = incoming.prefer == Prefer::Representation;
        let input = key::create(&incoming.body, representation);
        let created = ops::create::create(&app.gateway, &incoming.cx, input).await?;
        if incoming.prefer == Prefer::Minimal {
            let body = Collection::new(MediaType::Key.as_str(), vec![MinimalKeyBody::from(&created.key)]);
            return Ok(Answer::json(StatusCode::CREATED, MediaType::Key, &body, 0)?);
        }
        one_key(&app, &incoming, StatusCode::CREATED, &created.key, created.payload.as_ref())
    })
    .await
}

/// `GET /keys`
pub(crate) async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::List, request, async |app: Arc<App>, incoming: Incoming| {
        let parsed = parse(&incoming.query);
        let with_total = parsed.as_ref().is_ok_and(|(_, with_total)| *with_total);
        let query = parsed.map(|(query, _)| query);
        let page = ops::list::list(&app.gateway, &incoming.cx, query).await?;
        let instance = instance(&app, &incoming)?;
        let now = app.gateway.clock.now();
        let keys = page.items.iter().map(|key| KeyBody::new(key, instance, &app.gateway.limits, now)).collect();
        let body = Collection::new(MediaType::Key.as_str(), keys).with_total(with_total.then_some(page.total));
        Ok(Answer::json(StatusCode::OK, MediaType::Key, &body, 0)?)
    })
    .await
}

fn parse(query: &Query) -> Result<((KeyFilter, PageRequest), bool), Error> {
    Ok(((query.filter()?, query.page()?), query.flag("totalCount")?))
}

/// `HEAD /keys`
pub(crate) async fn head(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::Head, request, async |app: Arc<App>, incoming: Incoming| {
        let count = ops::list::count(&app.gateway, &incoming.cx, incoming.query.filter()).await?;
        Ok(Answer::empty(StatusCode::OK).with(KEY_TOTAL, HeaderValue::from(count)))
    })
    .await
}

/// `GET /keys/{id}`
pub(crate) async fn read(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::Read, request, async move |app: Arc<App>, incoming: Incoming| {
        let found = ops::read::read(&app.gateway, &incoming.cx, &selector).await?;
        one_key(&app, &incoming, StatusCode::OK, &found.key, found.payload.as_ref())
    })
    .await
}

/// `GET /keys/{id}/metadata`
pub(crate) async fn metadata(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::ReadMetadata, request, async move |app: Arc<App>, incoming: Incoming| {
        let key = ops::read::metadata(&app.gateway, &incoming.cx, &selector).await?;
        one_key(&app, &incoming, StatusCode::OK, &key, None)
    })
    .await
}

/// `DELETE /keys/{id}`
pub(crate) async fn delete(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::Delete, request, async move |app: Arc<App>, incoming: Incoming| {
        let force = incoming.query.flag("force");
        let key = ops::delete::delete(&app.gateway, &incoming.cx, &selector, force).await?;
        match incoming.prefer {
            Prefer::Representation => one_key(&app, &incoming, StatusCode::OK, &key, None),
            _ => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        }
    })
    .await
}

/// A collection with one key in it.
fn one_key(
    app: &App,
    incoming: &Incoming,
    status: StatusCode,
    key: &Key,
    payload: Option<&SecretBytes>,
) -> Result<Answer, Error> {
    let instance = instance(app, incoming)?;
    let body = KeyBody::new(key, instance, &app.gateway.limits, app.gateway.clock.now()).with_payload(payload);
    // All else of a key is bounded at well under 8 KiB.
    let size = 8192 + payload.map_or(0, |bytes| bytes.len() * 2);
    Ok(Answer::json(status, MediaType::Key, &Collection::new(MediaType::Key.as_str(), vec![body]), size)?)
}

fn instance<'a>(app: &'a App, incoming: &Incoming) -> Result<&'a Instance, Error> {
    // The pipeline has refused the request already if there is none.
    app.gateway
        .instances
        .get(incoming.cx.instance)
        .ok_or_else(|| Error::Internal("an instance vanished during a request".to_owned()))
}
