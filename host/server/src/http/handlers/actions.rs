//! `/keys/{id}/actions/...`, and `POST /keys/{id}?action=...`, the deprecated form of the same.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::KeySelector;
use keygate_core::ops;

use super::{KeyPath, selector};
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

/// `POST /keys/{id}?action=...`
pub(crate) async fn legacy(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let action = match Query::parse(request.uri().query()).get("action") {
        Some("wrap") => Action::Wrap,
        Some("unwrap") => Action::Unwrap,
        Some("rewrap") => Action::Rewrap,
        Some("rotate") => Action::Rotate,
        _ => {
            let message = "'action' must be one of wrap, unwrap, rewrap and rotate";
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
            Action::Rotate => {
                ops::rotate::rotate(gateway, &cx, &selector, action::rotate(&body)).await?;
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
            _ => return Err(Error::Internal(format!("{} is no key action", action.iam()))),
        };
        Ok(Answer::json(StatusCode::OK, MediaType::KeyAction, &outcome, outcome.size())?)
    })
    .await
}
