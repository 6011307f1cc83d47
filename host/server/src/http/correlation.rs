//! `Correlation-Id`: the client's own where it is a UUID, a fresh one otherwise; in every answer (`api-contract`, a).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use keygate_core::ids::random_uuid;
use tracing::Instrument as _;

use crate::app::App;

const HEADER: HeaderName = HeaderName::from_static("correlation-id");

/// A request's correlation id, in its extensions.
#[derive(Clone, Debug)]
pub(super) struct CorrelationId(String);

impl CorrelationId {
    /// The text: a UUID in any of its written forms.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The most of a path that is written down, in bytes.
const PATH_MAX: usize = 1024;

/// A path for logs and events. Who asks for nonsense must not fill them: a long one is cut, and the mark says so.
pub(super) fn shortened(path: &str) -> String {
    match path.char_indices().map(|(at, _)| at).find(|at| *at >= PATH_MAX) {
        Some(end) => format!("{}...", path.get(..end).unwrap_or_default()),
        None => path.to_owned(),
    }
}

/// Finds or makes the id, opens the request's span, and puts the id into the answer.
pub(super) async fn correlate(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(|value| value.to_str().ok()).and_then(|text| {
        // As it was written: the client will look for that.
        uuid::Uuid::try_parse(text).ok().map(|_| text.to_owned())
    });
    let id = match given {
        Some(id) => id,
        // Without entropy there is no id; the request itself will fail for the same reason, and say so.
        None => random_uuid(app.gateway.entropy.as_ref()).map(|id| id.to_string()).unwrap_or_default(),
    };
    let span = tracing::info_span!(
        "request",
        correlation_id = %id,
        method = %request.method(),
        path = %shortened(request.uri().path()),
    );
    request.extensions_mut().insert(CorrelationId(id.clone()));
    let mut response = next.run(request).instrument(span).await;
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_path_is_cut_with_a_mark_and_between_characters() {
        assert_eq!(shortened("/api/v2/keys"), "/api/v2/keys");
        assert_eq!(shortened(&"a".repeat(1024)), "a".repeat(1024));
        assert_eq!(shortened(&"a".repeat(9000)), format!("{}...", "a".repeat(1024)));
        let cut = shortened(&format!("a{}", "\u{e4}".repeat(1000)));
        assert!(cut.ends_with("\u{e4}...") && cut.len() < 1030, "{}", cut.len());
    }
}
