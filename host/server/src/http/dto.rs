//! The shapes of the API (`api-contract`, b), and the ways from bodies to inputs and from outcomes to bodies.

pub(super) mod action;
pub(super) mod key;

use serde::Serialize;

/// Around every list.
#[derive(Serialize)]
pub(super) struct Collection<T> {
    metadata: CollectionMetadata,
    resources: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CollectionMetadata {
    collection_type: &'static str,
    collection_total: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_count: Option<usize>,
}

impl<T> Collection<T> {
    /// These resources, of the given type. `resources` is written even when there are none (`api-contract`, fact 5).
    pub(super) fn new(collection_type: &'static str, resources: Vec<T>) -> Self {
        let metadata = CollectionMetadata { collection_type, collection_total: resources.len(), total_count: None };
        Self { metadata, resources }
    }

    /// With the number of resources that there are in all.
    #[must_use]
    pub(super) fn with_total(mut self, total: Option<usize>) -> Self {
        self.metadata.total_count = total;
        self
    }
}
