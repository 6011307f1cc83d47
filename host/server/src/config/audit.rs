//! `[audit]`

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::resolve;
use super::tree::Tree;

/// Where audit events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditParams {
    /// A file of JSON lines, appended to. Made with mode 0600 if it is not there; its directory is not.
    pub file: PathBuf,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    file: PathBuf,
}

impl Default for Section {
    fn default() -> Self {
        Self { file: "audit.jsonl".into() }
    }
}

pub(super) fn read(tree: &mut Tree, base: &Path) -> AuditParams {
    let section: Section = tree.section("audit");
    AuditParams { file: resolve(base, &section.file) }
}
