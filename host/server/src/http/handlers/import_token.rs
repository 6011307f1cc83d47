//! `/import_token`

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::ids::InstanceId;
use keygate_core::ops::import_tokens;
use tokio::sync::Semaphore;

use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::import_token::{self, ImportTokenBody};
use crate::http::exchange::{Incoming, exchange};

/// `POST /import_token`
pub(crate) async fn create(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::CreateImportToken, request, async |app: Arc<App>, incoming: Incoming| {
        let input = import_token::create(&incoming.body);
        key_pair(&app, incoming.cx.instance).await;
        let token = import_tokens::create(&app.gateway, &incoming.cx, input).await?;
        Ok(Answer::json(StatusCode::OK, MediaType::ImportToken, &ImportTokenBody::created(&token), 0)?)
    })
    .await
}

/// How many requests wait at a time for a key pair that is being made. More are answered at once, with 503.
static WAITING: Semaphore = Semaphore::const_new(8);

/// How often a waiting request looks, and how many times.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: usize = 100;

/// Waits, within bounds, while the key pair that this request could have is being made: a second after a start, and after
/// each token. Tells nobody anything, so that it may come before the decision.
async fn key_pair(app: &App, instance: InstanceId) {
    let Some(instance) = app.gateway.instances.get(instance) else { return };
    let Ok(_turn) = WAITING.try_acquire() else { return };
    let pairs = &app.gateway.import_keys;
    for _ in 0..LOOKS {
        if pairs.count(&instance.backend) > 0 || !pairs.is_making(&instance.backend) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// `GET /import_token`
pub(crate) async fn fetch(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ReadImportToken, request, async |app: Arc<App>, incoming: Incoming| {
        let token = import_tokens::fetch(&app.gateway, &incoming.cx).await?;
        Ok(Answer::json(StatusCode::OK, MediaType::ImportToken, &ImportTokenBody::fetched(&token), 0)?)
    })
    .await
}
