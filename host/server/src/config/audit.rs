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
    /// Whether events hold what the rules were asked.
    pub record_input: bool,
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    file: PathBuf,
    record_input: bool,
}

impl Default for Section {
    fn default() -> Self {
        Self { file: "audit.jsonl".into(), record_input: true }
    }
}

pub(super) fn read(tree: &mut Tree, base: &Path) -> AuditParams {
    let section: Section = tree.section("audit");
    AuditParams { file: resolve(base, &section.file), record_input: section.record_input }
}
