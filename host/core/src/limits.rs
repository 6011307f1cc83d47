//! Timers and quotas of the API, with their documented defaults.

use std::time::Duration;

use crate::query::SEARCHABLE_KEYS;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Timers and quotas (`api-contract`, e and n). Every one can be set by the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first authorization to delete until it lapses. 7 days.
    pub dual_auth_window: Duration,
    /// From deletion until a purge is allowed. 4 hours.
    pub purge_wait: Duration,
    /// From deletion until a restore is no longer allowed. 30 days.
    pub restore_window: Duration,
    /// From deletion until the key is purged by itself. 90 days.
    pub purge_after: Duration,
    /// From disabling until enabling is allowed. 30 seconds.
    pub enable_wait: Duration,
    /// From deletion until a restore is allowed. 30 seconds.
    pub restore_wait: Duration,
    /// From one rotation to the next. 1 hour.
    pub rotate_interval: Duration,
    /// From a change in a key's life, or a sync, to the next sync. 1 hour.
    pub sync_interval: Duration,
    /// The longest plaintext that wrap takes, in bytes. 32,768; the API publishes none.
    pub max_plaintext: usize,
    /// The longest request body, in bytes. 1 MiB.
    pub max_body: usize,
    /// The most aliases a key can have. 5.
    pub aliases_per_key: usize,
    /// The most key rings an instance can have, beside `default`. 50.
    pub rings_per_instance: usize,
    /// The most keys a search looks through. 5,000.
    pub searchable_keys: usize,
    /// How many key pairs for import tokens are kept ready for each backend. 1.
    pub import_keys_ready: usize,
    /// How often the gateway looks for what has come due: expirations, rotations, purges. 30 seconds.
    pub tend_interval: Duration,
    /// The most AAD entries a request can have. 32; the API publishes none.
    pub aad_entries: usize,
    /// The most versions a key can have. 10,000.
    pub versions_per_key: u32,
    /// The most registrations a key can have. 1,000; the API publishes none.
    pub registrations_per_key: usize,
    /// How long the material of a key that was moved to another backend stays where it was, for calls that had begun.
    /// 1 minute; not less than the longest a request may take.
    pub migration_grace: Duration,
    /// How many keys a migration works on at a time. 8.
    pub migration_concurrency: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dual_auth_window: Duration::from_secs(7 * DAY),
            purge_wait: Duration::from_secs(4 * HOUR),
            restore_window: Duration::from_secs(30 * DAY),
            purge_after: Duration::from_secs(90 * DAY),
            enable_wait: Duration::from_secs(30),
            restore_wait: Duration::from_secs(30),
            rotate_interval: Duration::from_secs(HOUR),
            sync_interval: Duration::from_secs(HOUR),
            max_plaintext: 32 * 1024,
            max_body: 1024 * 1024,
            aliases_per_key: 5,
            rings_per_instance: 50,
            searchable_keys: SEARCHABLE_KEYS,
            import_keys_ready: 1,
            tend_interval: Duration::from_secs(30),
            aad_entries: 32,
            versions_per_key: 10_000,
            registrations_per_key: 1_000,
            migration_grace: Duration::from_secs(MINUTE),
            migration_concurrency: 8,
        }
    }
}
