//! `/keys` and `/keys/{id}`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use keygate_core::access::Action;
use keygate_core::error::{Error, ReasonCode};
use keygate_core::ids::KeySelector;
use keygate_core::instance::Instance;
use keygate_core::key::Key;
use keygate_core::ops;
use keygate_core::secret::SecretBytes;

use super::{KeyPath, selector};
use crate::app::App;
use crate::http::answer::{Answer, KEY_TOTAL, MediaType, json_len};
use crate::http::dto::Collection;
use crate::http::dto::key::{self, KeyBody, MinimalKeyBody};
use crate::http::exchange::{Incoming, Prefer, exchange};

/// `POST /keys`
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    make(app, false, request).await
}

/// `POST /keys_with_policy_overrides`
pub(crate) async fn create_with_overrides(State(app): State<Arc<App>>, request: Request) -> Response {
    make(app, true, request).await
}

async fn make(app: Arc<App>, overriding: bool, request: Request) -> Response {
    let action = if overriding { Action::CreateWithOverrides } else { Action::Create };
    exchange(app, action, request, async move |app: Arc<App>, incoming: Incoming| {
        let representation = incoming.prefer == Prefer::Representation;
        let input = key::create(&incoming.body, representation, overriding);
        let created = ops::create::create(&app.gateway, &incoming.cx, overriding, input).await?;
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
        let query = incoming.query.list();
        let search = query.as_ref().ok().and_then(|query| query.filter.search.clone());
        let listing = ops::list::list(&app.gateway, &incoming.cx, query).await?;
        let instance = instance(&app, &incoming)?;
        let now = app.gateway.clock.now();
        let keys = listing.keys.iter().map(|key| KeyBody::new(key, &instance, &app.gateway.limits, now)).collect();
        let body = Collection::new(MediaType::Key.as_str(), keys)
            .with_total(listing.total)
            .with_search(search.as_ref(), listing.incomplete);
        Ok(Answer::json(StatusCode::OK, MediaType::Key, &body, 0)?)
    })
    .await
}

/// `HEAD /keys`
pub(crate) async fn head(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::Head, request, async |app: Arc<App>, incoming: Incoming| {
        let filter = incoming.query.filter();
        let count = ops::list::count(&app.gateway, &incoming.cx, filter).await?;
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

/// `PATCH /keys/{id}`
pub(crate) async fn patch(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::Patch, request, async move |app: Arc<App>, incoming: Incoming| {
        let input = key::patch(&incoming.body);
        let key = ops::patch::patch(&app.gateway, &incoming.cx, &selector, input).await?;
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

/// `DELETE /keys/{id}/purge`
pub(crate) async fn purge(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::Purge, request, async move |app: Arc<App>, incoming: Incoming| {
        let key = ops::purge::purge(&app.gateway, &incoming.cx, &selector).await?;
        if incoming.prefer != Prefer::Representation {
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        let (instance, now) = (instance(&app, &incoming)?, app.gateway.clock.now());
        let body = KeyBody::new(&key, &instance, &app.gateway.limits, now).purged();
        let body = Collection::new(MediaType::Key.as_str(), vec![body]);
        Ok(Answer::json(StatusCode::OK, MediaType::Key, &body, 0)?)
    })
    .await
}

/// `POST /keys/{id}/restore`
pub(crate) async fn restore(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    bring_back(app, selector(path), request).await
}

/// Restores a key, by whichever path.
pub(super) async fn bring_back(app: Arc<App>, selector: KeySelector, request: Request) -> Response {
    exchange(app, Action::Restore, request, async move |app: Arc<App>, incoming: Incoming| {
        let input = key::restore(&incoming.body);
        let key = ops::restore::restore(&app.gateway, &incoming.cx, &selector, input).await?;
        if incoming.prefer == Prefer::Minimal {
            let body = Collection::new(MediaType::Key.as_str(), vec![MinimalKeyBody::from(&key)]);
            return Ok(Answer::json(StatusCode::CREATED, MediaType::Key, &body, 0)?);
        }
        one_key(&app, &incoming, StatusCode::CREATED, &key, None)
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
    let body = KeyBody::new(key, &instance, &app.gateway.limits, app.gateway.clock.now()).with_payload(payload);
    let body = Collection::new(MediaType::Key.as_str(), vec![body]);
    // Measured, and not reckoned from what a key may be: names, tags and aliases take up to six bytes a character.
    let size = if payload.is_some() { json_len(&body)? } else { 0 };
    Ok(Answer::json(status, MediaType::Key, &body, size)?)
}

pub(super) fn instance(app: &App, incoming: &Incoming) -> Result<Arc<Instance>, Error> {
    // The pipeline has refused the request already if there was none. It may have been deleted since.
    app.gateway
        .instances
        .get(incoming.cx.instance)
        .ok_or_else(|| Error::refused(ReasonCode::InstanceNotFound, "The instance was deleted during the request"))
}
