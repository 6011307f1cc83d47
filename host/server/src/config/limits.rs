//! `[limits]`

use keygate_core::limits::Limits;
use serde::Deserialize;

use super::duration::Span;
use super::tree::Tree;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Section {
    dual_auth_window: Span,
    purge_wait: Span,
    restore_window: Span,
    purge_after: Span,
    enable_wait: Span,
    restore_wait: Span,
    rotate_interval: Span,
    sync_interval: Span,
    max_plaintext: usize,
    max_body: usize,
    aliases_per_key: usize,
    aad_entries: usize,
    versions_per_key: u32,
}

impl Default for Section {
    fn default() -> Self {
        // Taken apart by name, so that a limit that the domain gains cannot be forgotten here.
        let Limits {
            dual_auth_window,
            purge_wait,
            restore_window,
            purge_after,
            enable_wait,
            restore_wait,
            rotate_interval,
            sync_interval,
            max_plaintext,
            max_body,
            aliases_per_key,
            aad_entries,
            versions_per_key,
        } = Limits::default();
        Self {
            dual_auth_window: Span(dual_auth_window),
            purge_wait: Span(purge_wait),
            restore_window: Span(restore_window),
            purge_after: Span(purge_after),
            enable_wait: Span(enable_wait),
            restore_wait: Span(restore_wait),
            rotate_interval: Span(rotate_interval),
            sync_interval: Span(sync_interval),
            max_plaintext,
            max_body,
            aliases_per_key,
            aad_entries,
            versions_per_key,
        }
    }
}

pub(super) fn read(tree: &mut Tree) -> Limits {
    let section: Section = tree.section("limits");
    if section.versions_per_key == 0 {
        tree.problem("limits.versions_per_key", "a key has at least one version", "give at least 1");
    }
    if section.max_plaintext > section.max_body {
        tree.problem(
            "limits.max_plaintext",
            "a plaintext comes in a body, and this one is longer than `limits.max_body`",
            "raise `limits.max_body` to at least twice `limits.max_plaintext`",
        );
    }
    Limits {
        dual_auth_window: section.dual_auth_window.0,
        purge_wait: section.purge_wait.0,
        restore_window: section.restore_window.0,
        purge_after: section.purge_after.0,
        enable_wait: section.enable_wait.0,
        restore_wait: section.restore_wait.0,
        rotate_interval: section.rotate_interval.0,
        sync_interval: section.sync_interval.0,
        max_plaintext: section.max_plaintext,
        max_body: section.max_body,
        aliases_per_key: section.aliases_per_key,
        aad_entries: section.aad_entries,
        versions_per_key: section.versions_per_key,
    }
}
