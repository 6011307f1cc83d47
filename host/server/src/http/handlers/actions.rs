//! `/keys/{id}/actions/...`, and `POST /keys/{id}?action=...`, the deprecated form of the same.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::KeySelector;
use keygate_core::ops;
use keygate_core::pipeline::RequestContext;

use super::{KeyPath, keys, selector};
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::action::{self, ActionBody};
use crate::http::exchange::{Incoming, exchange, refuse_unknown};
use crate::http::query::Query;

/// `POST /keys/{id}/actions/wrap`
pub(crate) async fn wrap(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Wrap, selector(path), request).await
}

/// `POST /keys/{id}/actions/unwrap`
pub(crate) async fn unwrap(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Unwrap, selector(path), request).await
}

/// `POST /keys/{id}/actions/rewrap`
pub(crate) async fn rewrap(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Rewrap, selector(path), request).await
}

/// `POST /keys/{id}/actions/rotate`
pub(crate) async fn rotate(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Rotate, selector(path), request).await
}

/// `POST /keys/{id}/actions/setKeyForDeletion`
pub(crate) async fn set_key_for_deletion(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::SetKeyForDeletion, selector(path), request).await
}

/// `POST /keys/{id}/actions/unsetKeyForDeletion`
pub(crate) async fn unset_key_for_deletion(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::UnsetKeyForDeletion, selector(path), request).await
}

/// `POST /keys/{id}/actions/enable`
pub(crate) async fn enable(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Enable, selector(path), request).await
}

/// `POST /keys/{id}/actions/disable`
pub(crate) async fn disable(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Disable, selector(path), request).await
}

/// `POST /keys/{id}/actions/sync`
pub(crate) async fn sync(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    act(app, Action::Sync, selector(path), request).await
}

/// `POST /keys/{id}?action=...`
pub(crate) async fn legacy(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let query = Query::parse(request.uri().query());
    // Written in mixed case in the documents, and in any case by clients.
    let action = match query.get("action").map(str::to_ascii_lowercase).as_deref() {
        Some("wrap") => Action::Wrap,
        Some("unwrap") => Action::Unwrap,
        Some("rewrap") => Action::Rewrap,
        Some("rotate") => Action::Rotate,
        Some("enable") => Action::Enable,
        Some("disable") => Action::Disable,
        Some("setkeyfordeletion") => Action::SetKeyForDeletion,
        Some("unsetkeyfordeletion") => Action::UnsetKeyForDeletion,
        Some("restore") => return keys::bring_back(app, selector(path), request).await,
        _ => {
            let message = "'action' must be one of disable, enable, restore, rewrap, rotate, setKeyForDeletion, \
                           unsetKeyForDeletion, unwrap and wrap";
            let error = Reason::new(ReasonCode::InvalidQueryParam, message).query("action").into();
            return refuse_unknown(&app, request, "kms.secrets.default", error).await;
        }
    };
    act(app, action, selector(path), request).await
}

async fn act(app: Arc<App>, action: Action, selector: KeySelector, request: Request) -> Response {
    exchange(app, action, request, async move |app: Arc<App>, incoming: Incoming| {
        let Incoming { cx, body, .. } = incoming;
        let gateway = &app.gateway;
        let outcome: ActionBody = match action {
            Action::Wrap => ops::wrap::wrap(gateway, &cx, &selector, action::wrap(&body)).await?.into(),
            Action::Unwrap => ops::unwrap::unwrap(gateway, &cx, &selector, action::ciphertext(&body)).await?.into(),
            Action::Rewrap => ops::rewrap::rewrap(gateway, &cx, &selector, action::ciphertext(&body)).await?.into(),
            other => {
                change(&app, &cx, other, &selector, &body).await?;
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
        };
        Ok(Answer::json(StatusCode::OK, MediaType::KeyAction, &outcome, outcome.size())?)
    })
    .await
}

/// An action that changes a key and says nothing.
async fn change(
    app: &App,
    cx: &RequestContext,
    action: Action,
    selector: &KeySelector,
    body: &[u8],
) -> Result<(), Error> {
    let gateway = &app.gateway;
    match action {
        Action::Rotate => drop(ops::rotate::rotate(gateway, cx, selector, action::rotate(body)).await?),
        Action::Enable => drop(ops::enable::enable(gateway, cx, selector).await?),
        Action::Disable => drop(ops::disable::disable(gateway, cx, selector).await?),
        Action::SetKeyForDeletion => drop(ops::authorize::set(gateway, cx, selector).await?),
        Action::UnsetKeyForDeletion => drop(ops::authorize::unset(gateway, cx, selector).await?),
        Action::Sync => ops::sync::sync(gateway, cx, selector).await?,
        _ => return Err(Error::Internal(format!("{} is no key action", action.iam()))),
    }
    Ok(())
}
