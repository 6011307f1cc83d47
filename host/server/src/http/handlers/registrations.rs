//! `/keys/{id}/registrations`, `/keys/registrations`, `/event_ack`, and the events that wait for an acknowledgement.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use keygate_core::access::{Action, PrincipalKind};
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::KeySelector;
use keygate_core::ops::registrations::{ListRegistrations, RegistrationView};
use keygate_core::ops::{events, registrations};
use keygate_core::store::PageRequest;

use super::{KeyPartPath, KeyPath, selector, selector_and_part};
use crate::app::App;
use crate::http::answer::{Answer, MediaType};
use crate::http::dto::Collection;
use crate::http::dto::registration::{self, LifecycleEventBody, RegistrationBody, ResourceCrnBody};
use crate::http::exchange::{Incoming, Prefer, exchange, refuse_unknown};
use crate::http::query::Query;

/// `POST /keys/{id}/registrations/{crn}`
pub(crate) async fn create(State(app): State<Arc<App>>, path: KeyPartPath, request: Request) -> Response {
    put(app, Action::CreateRegistration, path, request).await
}

/// `PATCH /keys/{id}/registrations/{crn}`
pub(crate) async fn merge(State(app): State<Arc<App>>, path: KeyPartPath, request: Request) -> Response {
    put(app, Action::MergeRegistration, path, request).await
}

/// `PUT /keys/{id}/registrations/{crn}`
pub(crate) async fn write(State(app): State<Arc<App>>, path: KeyPartPath, request: Request) -> Response {
    put(app, Action::WriteRegistration, path, request).await
}

async fn put(app: Arc<App>, action: Action, path: KeyPartPath, request: Request) -> Response {
    let (selector, crn) = selector_and_part(path);
    exchange(app, action, request, async move |app: Arc<App>, incoming: Incoming| {
        let (gateway, cx) = (&app.gateway, &incoming.cx);
        let input = registration::input(&incoming.body);
        let (view, new) = match action {
            Action::CreateRegistration => registrations::create(gateway, cx, &selector, &crn, input).await?,
            Action::MergeRegistration => registrations::merge(gateway, cx, &selector, &crn, input).await?,
            _ => registrations::write(gateway, cx, &selector, &crn, input).await?,
        };
        let status = if new && action == Action::CreateRegistration { StatusCode::CREATED } else { StatusCode::OK };
        one(&incoming, status, &view)
    })
    .await
}

/// `DELETE /keys/{id}/registrations/{crn}`
pub(crate) async fn delete(State(app): State<Arc<App>>, path: KeyPartPath, request: Request) -> Response {
    let (selector, crn) = selector_and_part(path);
    exchange(app, Action::DeleteRegistration, request, async move |app: Arc<App>, incoming: Incoming| {
        let view = registrations::delete(&app.gateway, &incoming.cx, &selector, &crn).await?;
        match incoming.prefer {
            Prefer::Representation => one(&incoming, StatusCode::OK, &view),
            _ => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        }
    })
    .await
}

/// `POST /keys/{id}/registrations?action=deactivate`
pub(crate) async fn act(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    let query = Query::parse(request.uri().query());
    if !query.get("action").is_some_and(|action| action.eq_ignore_ascii_case("deactivate")) {
        let error = Reason::new(ReasonCode::InvalidQueryParam, "'action' must be deactivate").query("action").into();
        return refuse_unknown(&app, request, "kms.registrations.default", error).await;
    }
    let selector = selector(path);
    exchange(app, Action::DeactivateRegistration, request, async move |app: Arc<App>, incoming: Incoming| {
        let crn = registration::resource_crn(&incoming.body);
        let view = registrations::deactivate(&app.gateway, &incoming.cx, &selector, crn).await?;
        match incoming.prefer {
            Prefer::Representation => {
                let (kind, body) = (MediaType::ResourceCrn, vec![ResourceCrnBody::from(&view)]);
                Ok(Answer::json(StatusCode::OK, kind, &Collection::new(kind.as_str(), body), 0)?)
            }
            _ => Ok(Answer::empty(StatusCode::NO_CONTENT)),
        }
    })
    .await
}

/// `GET /keys/{id}/registrations`
pub(crate) async fn list(State(app): State<Arc<App>>, path: KeyPath, request: Request) -> Response {
    many(app, Some(selector(path)), request).await
}

/// `GET /keys/registrations`
pub(crate) async fn list_all(State(app): State<Arc<App>>, request: Request) -> Response {
    many(app, None, request).await
}

async fn many(app: Arc<App>, selector: Option<KeySelector>, request: Request) -> Response {
    exchange(app, Action::ListRegistrations, request, async move |app: Arc<App>, incoming: Incoming| {
        let parsed = parse(&incoming.query);
        let with_total = parsed.as_ref().is_ok_and(|(_, with_total)| *with_total);
        let query = parsed.map(|(query, _)| query);
        let page = registrations::list(&app.gateway, &incoming.cx, selector.as_ref(), query).await?;
        let service = for_service(&incoming);
        let bodies = page.items.iter().map(|view| RegistrationBody::new(view, service)).collect();
        let body =
            Collection::new(MediaType::Registration.as_str(), bodies).with_total(with_total.then_some(page.total));
        Ok(Answer::json(StatusCode::OK, MediaType::Registration, &body, 0)?)
    })
    .await
}

fn parse(query: &Query) -> Result<(ListRegistrations, bool), Error> {
    let list = ListRegistrations {
        resources: query.get("urlEncodedResourceCRNQuery").map(str::to_owned),
        prevent_key_deletion: query.truth("preventKeyDeletion")?,
        page: query.page()?,
    };
    Ok((list, query.flag("totalCount")?))
}

/// `POST /event_ack`
pub(crate) async fn acknowledge(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::AcknowledgeEvent, request, async |app: Arc<App>, incoming: Incoming| {
        let input = registration::acknowledgements(&incoming.body);
        events::acknowledge(&app.gateway, &incoming.cx, input).await?;
        Ok(Answer::empty(StatusCode::NO_CONTENT))
    })
    .await
}

/// `GET /keygate/v1/events`
pub(crate) async fn pending(State(app): State<Arc<App>>, request: Request) -> Response {
    exchange(app, Action::ListEvents, request, async |app: Arc<App>, incoming: Incoming| {
        let parsed = page(&incoming.query);
        let with_total = parsed.as_ref().is_ok_and(|(_, with_total)| *with_total);
        let page = events::list(&app.gateway, &incoming.cx, parsed.map(|(page, _)| page)).await?;
        let bodies = page.items.iter().map(LifecycleEventBody::from).collect();
        let body =
            Collection::new(MediaType::LifecycleEvent.as_str(), bodies).with_total(with_total.then_some(page.total));
        Ok(Answer::json(StatusCode::OK, MediaType::LifecycleEvent, &body, 0)?)
    })
    .await
}

fn page(query: &Query) -> Result<(PageRequest, bool), Error> {
    Ok((query.page()?, query.flag("totalCount")?))
}

fn for_service(incoming: &Incoming) -> bool {
    matches!(incoming.cx.principal.kind, PrincipalKind::Service { .. })
}

fn one(incoming: &Incoming, status: StatusCode, view: &RegistrationView) -> Result<Answer, Error> {
    let (kind, body) = (MediaType::Registration, vec![RegistrationBody::new(view, for_service(incoming))]);
    Ok(Answer::json(status, kind, &Collection::new(kind.as_str(), body), 0)?)
}
