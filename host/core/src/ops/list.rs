//! `GET /keys` and `HEAD /keys`.

use crate::access::Action;
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{Alias, InstanceId};
use crate::key::Key;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext, settle};
use crate::query::{Listed, Lookup, Search, search_text};
use crate::store::{KeyFilter, PageRequest, Sort};

/// What to list.
#[derive(Clone, Debug)]
pub struct ListKeys {
    /// Which keys. Ring and instant are the request's, whatever stands here.
    pub filter: KeyFilter,
    /// In what order.
    pub sort: Sort,
    /// Which part.
    pub page: PageRequest,
    /// Whether to say how many there are in all (`totalCount=true`).
    pub count: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The part asked for.
    pub keys: Vec<Key>,
    /// How many there are in all, where asked for.
    pub total: Option<usize>,
    /// Whether there were too many keys to search, so that this is no more than the key that the search names whole.
    pub incomplete: bool,
}

/// Lists the keys of an instance. The ring that the request names narrows the list; of a ring that is not there the list
/// is empty.
///
/// A key that a search names whole, by its id or by an alias, stands first, whatever the order.
///
/// # Errors
/// `KEY_SEARCH_TOO_BROAD`, those of the query, and what chain, store and audit log fail with.
pub async fn list(gateway: &Gateway, cx: &RequestContext, query: Result<ListKeys, Error>) -> Result<Listing, Error> {
    gateway
        .run(cx, Ask::instance(Action::List), async |admitted: Admitted| {
            let query = query?;
            let query = ListKeys { filter: narrowed(query.filter, cx, admitted.now), ..query };
            let mut listing = match &query.filter.search {
                Some(search) => searched(gateway, cx.instance, &query, search).await?,
                None => found(gateway, cx.instance, &query).await?,
            };
            listing.keys = listing.keys.into_iter().map(|key| settle(key, admitted.now)).collect();
            let count = listing.keys.len();
            Ok(Done::new(listing).tell("totalResources", count))
        })
        .await
}

/// Counts the keys of an instance.
///
/// # Errors
/// Those of the query, and what chain, store and audit log fail with.
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

async fn found(gateway: &Gateway, instance: InstanceId, query: &ListKeys) -> Result<Listing, Error> {
    let ListKeys { filter, sort, page, count } = query;
    let keys = gateway.store.keys(instance, filter, sort, *page).await?;
    let total = if *count { Some(gateway.store.count(instance, filter).await?) } else { None };
    Ok(Listing { keys, total, incomplete: false })
}

/// A search: the key that it names whole, then those that it finds.
async fn searched(
    gateway: &Gateway,
    instance: InstanceId,
    query: &ListKeys,
    search: &Search,
) -> Result<Listing, Error> {
    let hit = named(gateway, instance, &query.filter, search).await?;
    let most = gateway.limits.searchable_keys;
    if gateway.store.count(instance, &searchable(&query.filter)).await? > most {
        return only(hit, query).ok_or_else(|| too_broad(most));
    }
    let Some(hit) = hit else { return found(gateway, instance, query).await };
    let filter = KeyFilter { except: Some(hit.id), ..query.filter.clone() };
    let page = match query.page {
        PageRequest { offset: 0, limit } => PageRequest { offset: 0, limit: limit.saturating_sub(1) },
        PageRequest { offset, limit } => PageRequest { offset: offset - 1, limit },
    };
    let rest = found(gateway, instance, &ListKeys { filter, page, ..query.clone() }).await?;
    let first = Some(hit).filter(|_| query.page.offset == 0 && query.page.limit > 0);
    let keys = first.into_iter().chain(rest.keys).collect();
    Ok(Listing { keys, total: rest.total.map(|rest| rest + 1), incomplete: false })
}

/// The keys that a search looks through: those in the states, of the kind and in the ring that are asked for
/// (`api-v2: GET /keys`, `search`).
fn searchable(filter: &KeyFilter) -> KeyFilter {
    KeyFilter { conditions: Vec::new(), search: None, except: None, ..filter.clone() }
}

/// The key that a search names whole, if it is one of those that the filter lets through.
async fn named(
    gateway: &Gateway,
    instance: InstanceId,
    filter: &KeyFilter,
    search: &Search,
) -> Result<Option<Key>, Error> {
    let key = match search.lookup() {
        Some(Lookup::Id(id)) => gateway.store.key(instance, id).await?,
        Some(Lookup::Alias(alias)) => gateway.store.key_by_alias(instance, &alias).await?,
        None => None,
    };
    Ok(key.filter(|key| lets_through(filter, key)))
}

fn lets_through(filter: &KeyFilter, key: &Key) -> bool {
    let names = search_text(&key.name, key.alias_names().map(Alias::as_str));
    filter.matches(&Listed::of(key, &names, filter.at))
}

/// The one key that was looked up, as the whole list.
fn only(hit: Option<Key>, query: &ListKeys) -> Option<Listing> {
    let hit = hit?;
    let ListKeys { page, count, .. } = query;
    let keys = std::iter::once(hit).skip(page.offset).take(page.limit).collect();
    Some(Listing { keys, total: count.then_some(1), incomplete: true })
}

fn too_broad(most: usize) -> Error {
    let text = format!(
        "There are more than {most} keys to search; narrow them by `state`, `extractable` or the header X-Kms-Key-Ring, \
         or search for a whole key id or alias"
    );
    Reason::new(ReasonCode::SearchTooBroad, text).query("search").into()
}
