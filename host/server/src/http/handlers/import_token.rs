//! `/import_token`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::ops::import_tokens;

use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::import_token::{self, ImportTokenBody};
use crate::http::exchange::{Incoming, exchange};

/// `POST /import_token`
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::CreateImportToken, request, async |app: Arc<App>, incoming: Incoming| {
        let input = import_token::create(&incoming.body);
        let token = import_tokens::create(&app.gateway, &incoming.cx, input).await?;
        Ok(Answer::json(StatusCode::OK, MediaType::ImportToken, &ImportTokenBody::created(&token), 0)?)
    })
    .await
}

/// `GET /import_token`
pub(crate) async fn fetch(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ReadImportToken, request, async |app: Arc<App>, incoming: Incoming| {
        let token = import_tokens::fetch(&app.gateway, &incoming.cx).await?;
        Ok(Answer::json(StatusCode::OK, MediaType::ImportToken, &ImportTokenBody::fetched(&token), 0)?)
    })
    .await
}
