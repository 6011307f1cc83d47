//! `GET /keys` and `HEAD /keys`.

use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::key::Key;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext, settle};
use crate::store::{KeyFilter, Page, PageRequest};

/// Lists the keys of an instance, by id ascending. The ring that the request names narrows the list.
///
/// # Errors
/// Those of the query, and what chain, store and audit log fail with.
pub async fn list(
    gateway: &Gateway,
    cx: &RequestContext,
    query: Result<(KeyFilter, PageRequest), Error>,
) -> Result<Page<Key>, Error> {
    gateway
        .run(cx, Ask::instance(Action::List), async |admitted: Admitted| {
            let (filter, page) = query?;
            let filter = narrowed(filter, cx, admitted.now);
            let mut page = gateway.store.keys(cx.instance, &filter, page).await?;
            page.items = page.items.into_iter().map(|key| settle(key, admitted.now)).collect();
            let count = page.items.len();
            Ok(Done::new(page).tell("totalResources", count))
        })
        .await
}

/// Counts the keys of an instance.
///
/// # Errors
/// As for [`list`].
pub async fn count(gateway: &Gateway, cx: &RequestContext, filter: Result<KeyFilter, Error>) -> Result<usize, Error> {
    gateway
        .run(cx, Ask::instance(Action::Head), async |admitted: Admitted| {
            let filter = narrowed(filter?, cx, admitted.now);
            let count = gateway.store.count(cx.instance, &filter).await?;
            Ok(Done::new(count).tell("totalResources", count))
        })
        .await
}

fn narrowed(filter: KeyFilter, cx: &RequestContext, at: Timestamp) -> KeyFilter {
    KeyFilter { ring: cx.ring.clone(), at, ..filter }
}
