//! `[runtime]`

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::duration::Span;
use super::resolve;
use super::tree::Tree;

/// How sandboxes are kept. `None` leaves a choice to the runtime.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeParams {
    /// Where compiled plugins are kept between starts; none compiles at each start.
    pub cache_dir: Option<PathBuf>,
    /// The most sandboxes at once.
    pub max_sandboxes: Option<u32>,
    /// The most memory that any one sandbox can have, in bytes.
    pub max_memory: Option<usize>,
    /// How long a call waits for a sandbox.
    pub admission_wait: Option<Duration>,
    /// Whether every plugin must say who signed it.
    pub require_signatures: bool,
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct Section {
    cache_dir: Option<PathBuf>,
    max_sandboxes: Option<u32>,
    max_memory: Option<usize>,
    admission_wait: Option<Span>,
    require_signatures: bool,
}

/// One page of a component's memory, and all that a 32-bit component can address. In bytes.
const MEMORY: std::ops::RangeInclusive<usize> = 64 * 1024..=4 * 1024 * 1024 * 1024;

pub(super) fn read(tree: &mut Tree, base: &Path) -> RuntimeParams {
    let section: Section = tree.section("runtime");
    if section.max_sandboxes.is_some_and(|n| !(1..=10_000).contains(&n)) {
        tree.problem("runtime.max_sandboxes", "this is out of bounds", "give 1 to 10000");
    }
    if section.max_memory.is_some_and(|bytes| !MEMORY.contains(&bytes)) {
        tree.problem("runtime.max_memory", "this is out of bounds", "give 65536 to 4294967296 (bytes)");
    }
    RuntimeParams {
        cache_dir: section.cache_dir.map(|dir| resolve(base, &dir)),
        max_sandboxes: section.max_sandboxes,
        max_memory: section.max_memory,
        admission_wait: section.admission_wait.map(|span| span.0),
        require_signatures: section.require_signatures,
    }
}
