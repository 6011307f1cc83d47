//! `[store]`

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::resolve;
use super::tree::Tree;

/// Where keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreParams {
    /// The database file. Made if it is not there; its directory is not.
    pub path: PathBuf,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    path: PathBuf,
}

impl Default for Section {
    fn default() -> Self {
        Self { path: "keygate.redb".into() }
    }
}

pub(super) fn read(tree: &mut Tree, base: &Path) -> StoreParams {
    let section: Section = tree.section("store");
    StoreParams { path: resolve(base, &section.path) }
}
