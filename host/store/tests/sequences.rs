//! The random sequences of the use cases, which `keygate-core` runs on the store in memory, on redb: what is held against
//! the reference model here is the store's indexes and batches.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

// The model is compiled into core's own tests as well, and finds the domain at the root of whichever crate it is in.
use keygate_core::*;
use keygate_store::{RedbOptions, RedbStore};
use proptest::prelude::*;

#[path = "../../core/src/ops/tests/model/mod.rs"]
mod model;

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 8,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn long_sequences_come_out_as_in_the_reference_model(steps in model::steps::sequence(300)) {
        let dir = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&dir.path().join("keys.redb"), RedbOptions::default()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let limits = limits::Limits::default();
        runtime.block_on(model::run(Arc::new(store), limits, &steps, &mut model::Outcomes::new()))?;
    }
}
