//! Which path goes where.

use std::any::Any;
use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, head, patch, post, put};
use http::header::ALLOW;
use http::{HeaderValue, Method};
use keygate_core::error::{Error, ReasonCode};
use tower_http::catch_panic::CatchPanicLayer;

use super::correlation::correlate;
use super::error::respond;
use super::exchange::refuse_anybody;
use super::handlers::{
    actions, aliases, backends, dev, health, import_token, instances, keys, policies, registrations, reload, rings,
    token, versions,
};
use super::openapi;
use crate::app::App;

/// A method of a path, and who answers it.
pub(super) struct Route {
    /// The method.
    pub(super) method: Method,
    /// The path, its parameters in braces, as OpenAPI writes them too.
    pub(super) path: &'static str,
    to: fn(&Arc<App>) -> MethodRouter<Arc<App>>,
}

const fn route(method: Method, path: &'static str, to: fn(&Arc<App>) -> MethodRouter<Arc<App>>) -> Route {
    Route { method, path, to }
}

/// Everything that is served, `POST /dev/clock` apart. A test holds [`super::openapi`] against it.
pub(super) static ROUTES: &[Route] = &[
    route(Method::GET, "/api/v2/keys", |_| get(keys::list)),
    route(Method::HEAD, "/api/v2/keys", |_| head(keys::head)),
    route(Method::POST, "/api/v2/keys", |_| post(keys::create)),
    route(Method::POST, "/api/v2/keys_with_policy_overrides", |_| post(keys::create_with_overrides)),
    route(Method::GET, "/api/v2/keys/registrations", |_| get(registrations::list_all)),
    route(Method::GET, "/api/v2/keys/{id}", |_| get(keys::read)),
    route(Method::POST, "/api/v2/keys/{id}", |_| post(actions::legacy)),
    route(Method::PATCH, "/api/v2/keys/{id}", |_| patch(keys::patch)),
    route(Method::DELETE, "/api/v2/keys/{id}", |_| delete(keys::delete)),
    route(Method::GET, "/api/v2/keys/{id}/metadata", |_| get(keys::metadata)),
    route(Method::DELETE, "/api/v2/keys/{id}/purge", |_| delete(keys::purge)),
    route(Method::POST, "/api/v2/keys/{id}/restore", |_| post(keys::restore)),
    route(Method::GET, "/api/v2/keys/{id}/versions", |_| get(versions::list)),
    route(Method::POST, "/api/v2/keys/{id}/actions/wrap", |_| post(actions::wrap)),
    route(Method::POST, "/api/v2/keys/{id}/actions/unwrap", |_| post(actions::unwrap)),
    route(Method::POST, "/api/v2/keys/{id}/actions/rewrap", |_| post(actions::rewrap)),
    route(Method::POST, "/api/v2/keys/{id}/actions/rotate", |_| post(actions::rotate)),
    route(Method::POST, "/api/v2/keys/{id}/actions/setKeyForDeletion", |_| post(actions::set_key_for_deletion)),
    route(Method::POST, "/api/v2/keys/{id}/actions/unsetKeyForDeletion", |_| post(actions::unset_key_for_deletion)),
    route(Method::POST, "/api/v2/keys/{id}/actions/enable", |_| post(actions::enable)),
    route(Method::POST, "/api/v2/keys/{id}/actions/disable", |_| post(actions::disable)),
    route(Method::POST, "/api/v2/keys/{id}/actions/sync", |_| post(actions::sync)),
    route(Method::GET, "/api/v2/keys/{id}/policies", |_| get(policies::read)),
    route(Method::PUT, "/api/v2/keys/{id}/policies", |_| put(policies::write)),
    route(Method::POST, "/api/v2/keys/{id}/aliases/{alias}", |_| post(aliases::create)),
    route(Method::DELETE, "/api/v2/keys/{id}/aliases/{alias}", |_| delete(aliases::delete)),
    route(Method::GET, "/api/v2/keys/{id}/registrations", |_| get(registrations::list)),
    route(Method::POST, "/api/v2/keys/{id}/registrations", |_| post(registrations::act)),
    route(Method::POST, "/api/v2/keys/{id}/registrations/{crn}", |_| post(registrations::create)),
    route(Method::PUT, "/api/v2/keys/{id}/registrations/{crn}", |_| put(registrations::write)),
    route(Method::PATCH, "/api/v2/keys/{id}/registrations/{crn}", |_| patch(registrations::merge)),
    route(Method::DELETE, "/api/v2/keys/{id}/registrations/{crn}", |_| delete(registrations::delete)),
    route(Method::GET, "/api/v2/instance/policies", |_| get(policies::read_of_instance)),
    route(Method::PUT, "/api/v2/instance/policies", |_| put(policies::write_of_instance)),
    route(Method::GET, "/api/v2/instance/allowed_ip_port", |_| get(policies::allowed_ip_port)),
    route(Method::GET, "/api/v2/import_token", |_| get(import_token::fetch)),
    route(Method::POST, "/api/v2/import_token", |_| post(import_token::create)),
    route(Method::POST, "/api/v2/event_ack", |_| post(registrations::acknowledge)),
    route(Method::GET, "/api/v2/key_rings", |_| get(rings::list)),
    route(Method::POST, "/api/v2/key_rings/{id}", |_| post(rings::create)),
    route(Method::DELETE, "/api/v2/key_rings/{id}", |_| delete(rings::delete)),
    route(Method::GET, "/keygate/v1/events", |_| get(registrations::pending)),
    route(Method::POST, "/keygate/v1/reload", |_| post(reload::reload)),
    route(Method::GET, "/keygate/v1/backends", |_| get(backends::list)),
    route(Method::POST, "/keygate/v1/instances/{id}/migrations", |_| post(backends::start)),
    route(Method::GET, "/keygate/v1/instances/{id}/migrations", |_| get(backends::last)),
    route(Method::GET, "/keygate/v1/instances/{id}/migrations/{migration}", |_| get(backends::read)),
    route(Method::DELETE, "/keygate/v1/instances/{id}/migrations/{migration}", |_| delete(backends::stop)),
    route(Method::GET, "/keygate/v1/instances", |_| get(instances::list)),
    route(Method::POST, "/keygate/v1/instances", |_| post(instances::create)),
    route(Method::GET, "/keygate/v1/instances/{id}", |_| get(instances::read)),
    route(Method::PATCH, "/keygate/v1/instances/{id}", |_| patch(instances::change)),
    route(Method::DELETE, "/keygate/v1/instances/{id}", |_| delete(instances::delete)),
    route(Method::GET, "/keygate/v1/authorizations", |_| get(instances::authorizations)),
    route(Method::PUT, "/keygate/v1/authorizations/{source}/{target}", |_| put(instances::authorize)),
    route(Method::DELETE, "/keygate/v1/authorizations/{source}/{target}", |_| delete(instances::revoke)),
    route(Method::GET, "/keygate/v1/crypto-instances", |_| get(instances::list_crypto)),
    route(Method::GET, "/crypto_v1/instances/{id}", |_| get(instances::read_crypto)),
    route(Method::POST, "/identity/token", |_| post(token::exchange)),
    route(Method::POST, "/oidc/token", |_| post(token::exchange)),
    route(Method::GET, "/identity/keys", |_| get(token::keys)),
    route(Method::GET, "/healthz", |_| get(health::alive)),
    route(Method::GET, "/readyz", |_| get(health::ready)),
    route(Method::GET, "/openapi.json", openapi::served),
];

/// Where HEAD is answered as GET is, without the body: what is asked by tools that are no clients of the API.
const HEAD_AS_GET: [&str; 3] = ["/identity/keys", "/healthz", "/readyz"];

/// The whole of what is served.
pub(super) fn router(app: Arc<App>) -> Router {
    let mut router = match &app.dev_clock {
        Some(_) => Router::new().route(dev::CLOCK, post(dev::advance)),
        None => Router::new(),
    };
    for route in ROUTES {
        router = router.route(route.path, (route.to)(&app));
    }
    // The router itself would answer HEAD wherever it answers GET.
    for path in ROUTES.iter().filter(|route| route.method == Method::GET).map(|route| route.path) {
        if !HEAD_AS_GET.contains(&path) && !takes(path, &Method::HEAD) {
            router = router.route(path, head(method_not_allowed));
        }
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(|_: Box<dyn Any + Send>| {
            respond(&Error::Internal("a handler panicked".to_owned()), None)
        }))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), correlate))
        .with_state(app)
}

fn takes(path: &str, method: &Method) -> bool {
    ROUTES.iter().any(|route| route.path == path && route.method == *method)
}

async fn no_such_path(State(app): State<Arc<App>>, request: Request) -> Response {
    let error = Error::refused(ReasonCode::NoSuchPath, "There is nothing at this path; the API is under /api/v2");
    let event = event(request.uri().path());
    refuse_anybody(&app, request, event, error).await
}

async fn method_not_allowed(State(app): State<Arc<App>>, request: Request) -> Response {
    let message = format!("{} is not allowed here; the `Allow` header names what is", request.method());
    let error = Error::refused(ReasonCode::MethodNotAllowed, message);
    let allowed = request.extensions().get::<MatchedPath>().map(|path| allowed(path.as_str()));
    let event = event(request.uri().path());
    let mut response = refuse_anybody(&app, request, event, error).await;
    if let Some(Ok(allowed)) = allowed.filter(|allowed| !allowed.is_empty()).map(HeaderValue::try_from) {
        response.headers_mut().insert(ALLOW, allowed);
    }
    response
}

/// The name of the audit event of a request for nothing there is, by the part of the API that its path is in
/// (`api-contract`, a: the `.default` and `.request` events).
fn event(path: &str) -> &'static str {
    let mut segments = path.strip_prefix("/api/v2/").unwrap_or_default().split('/');
    match (segments.next().unwrap_or_default(), segments.next(), segments.next()) {
        ("key_rings", ..) => "kms.key-rings.request",
        ("instance", ..) => "kms.instance-policies.request",
        ("import_token", ..) => "kms.import-token.request",
        ("keys", Some("registrations"), _) | ("keys", _, Some("registrations")) => "kms.registrations.default",
        ("keys", _, Some("policies")) => "kms.policies.default",
        ("keys", _, Some("aliases")) => "kms.secrets-alias.request",
        _ => "kms.secrets.default",
    }
}

/// What a path takes, for `Allow`. The router would name HEAD beside every GET.
fn allowed(path: &str) -> String {
    let methods = ROUTES.iter().filter(|route| route.path == path).map(|route| route.method.as_str());
    let head = HEAD_AS_GET.contains(&path).then_some("HEAD");
    methods.chain(head).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_nothing_is_audited_as_one_of_its_part_of_the_api() {
        for (path, expected) in [
            ("/api/v2/key_rings", "kms.key-rings.request"),
            ("/api/v2/key_rings/one/two", "kms.key-rings.request"),
            ("/api/v2/keys/some-key/policies", "kms.policies.default"),
            ("/api/v2/keys/some-key/policies/x", "kms.policies.default"),
            ("/api/v2/keys/some-key/registrations/crn", "kms.registrations.default"),
            ("/api/v2/keys/registrations", "kms.registrations.default"),
            ("/api/v2/instance/policies", "kms.instance-policies.request"),
            ("/api/v2/import_token", "kms.import-token.request"),
            ("/api/v2/keys/some-key/aliases", "kms.secrets-alias.request"),
            ("/api/v2/keys", "kms.secrets.default"),
            ("/api/v2/keys/policies", "kms.secrets.default"),
            ("/api/v2/keys/some-key/actions/polish", "kms.secrets.default"),
            ("/api/v2/", "kms.secrets.default"),
            ("/api/v1/key_rings", "kms.secrets.default"),
            ("/key_rings", "kms.secrets.default"),
            ("/", "kms.secrets.default"),
        ] {
            assert_eq!(event(path), expected, "{path}");
        }
    }
}
