//! `/keys/{id}/versions`

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::Action;
use keygate_core::error::Error;
use keygate_core::ops::versions::{ListVersions, versions};

use super::{KeyPath, selector};
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::dto::key::VersionBody;
use crate::http::exchange::{Incoming, exchange};
use crate::http::query::Query;

/// `GET /keys/{id}/versions`
pub(crate) async fn list(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let selector = selector(path);
    exchange(app, Action::ListVersions, request, async move |app: Arc<App>, incoming: Incoming| {
        let parsed = parse(&incoming.query);
        let with_total = parsed.as_ref().is_ok_and(|(_, with_total)| *with_total);
        let query = parsed.map(|(query, _)| query);
        let (_, page) = versions(&app.gateway, &incoming.cx, &selector, query).await?;
        let body = Collection::new(MediaType::KeyVersion.as_str(), page.items.iter().map(VersionBody::from).collect())
            .with_total(with_total.then_some(page.total));
        Ok(Answer::json(StatusCode::OK, MediaType::KeyVersion, &body, 0)?)
    })
    .await
}

fn parse(query: &Query) -> Result<(ListVersions, bool), Error> {
    let list = ListVersions { page: query.page()?, all_key_states: query.flag("allKeyStates")? };
    Ok((list, query.flag("totalCount")?))
}
