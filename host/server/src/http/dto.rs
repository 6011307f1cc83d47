//! The shapes of the API (`api-contract`, b), and the ways from bodies to inputs and from outcomes to bodies.

pub(super) mod action;
pub(super) mod import_token;
pub(super) mod instance;
pub(super) mod key;
pub(super) mod migration;
pub(super) mod policy;
pub(super) mod registration;

use keygate_core::query::Search;
use schemars::JsonSchema;
use serde::Serialize;

/// Around every list.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Collection")]
pub(super) struct Collection<T> {
    metadata: CollectionMetadata,
    resources: Vec<T>,
}

/// What stands over a list.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CollectionMetadata {
    collection_type: &'static str,
    collection_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    search_query: Option<SearchQueryBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    incomplete_search: Option<bool>,
}

/// How a search was understood.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SearchQuery")]
struct SearchQueryBody {
    query: String,
    scopes: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exact: Option<bool>,
}

impl From<&Search> for SearchQueryBody {
    fn from(search: &Search) -> Self {
        Self {
            query: search.term().to_owned(),
            scopes: search.scopes().names(),
            not: search.is_not().then_some(true),
            exact: search.is_exact().then_some(true),
        }
    }
}

impl<T> Collection<T> {
    /// These resources, of the given type. `resources` is written even when there are none (`api-contract`, fact 5).
    pub(super) fn new(collection_type: &'static str, resources: Vec<T>) -> Self {
        let metadata = CollectionMetadata {
            collection_type,
            collection_total: resources.len(),
            total_count: None,
            search_query: None,
            incomplete_search: None,
        };
        Self { metadata, resources }
    }

    /// With the search that it answers, and whether that was cut short.
    #[must_use]
    pub(super) fn with_search(mut self, search: Option<&Search>, incomplete: bool) -> Self {
        self.metadata.search_query = search.map(SearchQueryBody::from);
        self.metadata.incomplete_search = incomplete.then_some(true);
        self
    }

    /// With the number of resources that there are in all.
    #[must_use]
    pub(super) fn with_total(mut self, total: Option<usize>) -> Self {
        self.metadata.total_count = total;
        self
    }
}
