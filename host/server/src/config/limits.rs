//! `[limits]`

use std::ops::RangeInclusive;
use std::time::Duration;

use keygate_core::limits::Limits;
use serde::Deserialize;

use super::duration::Span;
use super::tree::Tree;
use crate::http::MAX_TEXTS;

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
    rings_per_instance: usize,
    searchable_keys: usize,
    import_keys_ready: usize,
    tend_interval: Span,
    aad_entries: usize,
    versions_per_key: u32,
    registrations_per_key: usize,
    migration_grace: Span,
    migration_concurrency: usize,
    rate_limit: u32,
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
            rings_per_instance,
            searchable_keys,
            import_keys_ready,
            tend_interval,
            aad_entries,
            versions_per_key,
            registrations_per_key,
            migration_grace,
            migration_concurrency,
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
            rings_per_instance,
            searchable_keys,
            import_keys_ready,
            tend_interval: Span(tend_interval),
            aad_entries,
            versions_per_key,
            registrations_per_key,
            migration_grace: Span(migration_grace),
            migration_concurrency,
            rate_limit: 0,
        }
    }
}

/// The most requests a second that an instance can be limited to.
const RATE_MAX: u32 = 1_000_000;

/// A count of the section, and its bounds.
type Count = (&'static str, usize, usize, fn(&Section) -> usize);

/// The bounds of what is counted: the key, the least, the most.
const COUNTS: [Count; 8] = [
    // Less holds no request that makes a key; more is memory, times `server.max_in_flight`.
    ("max_body", 1024, 64 << 20, |section| section.max_body),
    ("aliases_per_key", 1, 100, |section| section.aliases_per_key),
    ("rings_per_instance", 1, 1_000_000, |section| section.rings_per_instance),
    // They are changed in one commit when something happens to their key.
    ("registrations_per_key", 1, 100_000, |section| section.registrations_per_key),
    ("searchable_keys", 1, 100_000, |section| section.searchable_keys),
    // Each takes a processor seconds to make.
    ("import_keys_ready", 0, 16, |section| section.import_keys_ready),
    // Each is a call of a plugin, beside those of requests.
    ("migration_concurrency", 1, 64, |section| section.migration_concurrency),
    // No array of texts is read that is longer.
    ("aad_entries", 0, MAX_TEXTS, |section| section.aad_entries),
];

/// How often the gateway may look for what has come due.
const TEND_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

fn check(tree: &mut Tree, section: &Section) {
    for (key, least, most, of) in COUNTS {
        let count = of(section);
        if !(least..=most).contains(&count) {
            tree.problem(
                format!("limits.{key}"),
                format!("{count} is out of bounds"),
                format!("give {least} to {most}"),
            );
        }
    }
    if !TEND_INTERVAL.contains(&section.tend_interval.0) {
        let problem = "what has come due would be looked for without a pause, or hours late";
        tree.problem("limits.tend_interval", problem, "give \"1s\" to \"1h\"");
    }
    if section.purge_after.0 < section.purge_wait.0 {
        tree.problem(
            "limits.purge_after",
            "keys would be purged by themselves before anybody may purge them",
            "give at least `limits.purge_wait`",
        );
    }
    if section.restore_window.0 < section.restore_wait.0 {
        tree.problem(
            "limits.restore_window",
            "no key could be restored: its time would be over before it begins",
            "give at least `limits.restore_wait`",
        );
    }
}

/// The domain's limits, and the requests that an instance may make in a second (0: any number).
pub(super) fn read(tree: &mut Tree) -> (Limits, u32) {
    let section: Section = tree.section("limits");
    check(tree, &section);
    if section.versions_per_key == 0 {
        tree.problem("limits.versions_per_key", "a key has at least one version", "give at least 1");
    }
    if section.rate_limit > RATE_MAX {
        let mend = format!("give 1 to {RATE_MAX}, or 0 for no limit");
        tree.problem("limits.rate_limit", format!("{} requests a second is out of bounds", section.rate_limit), mend);
    }
    if section.max_plaintext > section.max_body {
        tree.problem(
            "limits.max_plaintext",
            "a plaintext comes in a body, and this one is longer than `limits.max_body`",
            "raise `limits.max_body` to at least twice `limits.max_plaintext`",
        );
    }
    let limits = Limits {
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
        rings_per_instance: section.rings_per_instance,
        searchable_keys: section.searchable_keys,
        import_keys_ready: section.import_keys_ready,
        tend_interval: section.tend_interval.0,
        aad_entries: section.aad_entries,
        versions_per_key: section.versions_per_key,
        registrations_per_key: section.registrations_per_key,
        migration_grace: section.migration_grace.0,
        migration_concurrency: section.migration_concurrency,
    };
    (limits, section.rate_limit)
}
