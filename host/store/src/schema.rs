//! What lies where: the tables and the keys of their rows, the same for every engine that keeps ordered bytes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | a name | the store's own, such as its format number |
//! | `keys` | instance, key | a key ([`crate::codec`]) |
//! | `versions` | instance, key, sequence | a key version |
//! | `version-ids` | instance, key, version | its sequence |
//! | `aliases` | instance, alias | the key that has it |
//! | `rings` | instance, ring | a key ring, but `default` |
//! | `ring-sizes` | instance, ring | how many keys are in it; no row is none; `default` is not counted |
//! | `policies` | instance | its policies |
//! | `import-tokens` | instance | its import token |
//! | `registrations` | instance, key, CRN | a registration |
//! | `resources` | instance, CRN, key | nothing: that there is this registration |
//! | `events` | instance, event | an event for an adopter |
//! | `event-times` | instance, time, event | the key that it is of |
//! | `key-events` | instance, key, time, event | nothing: that there is this event |
//! | `migrations` | instance | its last migration |
//! | `migration-stays` | instance, key | what stayed behind of the key in that |
//! | `instances` | instance | a provisioned instance |
//! | `authorizations` | instance, crypto instance | that the one may use the other |
//!
//! Ids are their 16 bytes, numbers have the highest byte first (sequences 4 bytes, times 8: milliseconds since the epoch):
//! rows of one instance lie together and in the order of their ids, and no row of one instance can be reached with
//! another's key. Texts stand last or before an id, so that every row can be taken apart again.

use std::ops::Bound;

use keygate_core::clock::Timestamp;
use keygate_core::crn::ResourceCrn;
use keygate_core::ids::{Alias, EventId, InstanceId, KeyId, KeyRingId, VersionId};

/// The number of this layout and of the newest record formats in it. It rises when an older Keygate could no longer
/// read what this one writes.
pub(crate) const STORE_FORMAT: u32 = 3;

/// The layout that had `summaries`, and nothing after `aliases`. It is made into this one when a store is opened.
pub(crate) const STORE_FORMAT_1: u32 = 1;

/// A table of [`STORE_FORMAT_1`]: what lists filtered by, which is in memory now.
pub(crate) const SUMMARIES_OF_FORMAT_1: &str = "summaries";

/// The table of the store's own facts.
pub(crate) const META: &str = "meta";

/// The row of [`META`] with [`STORE_FORMAT`], 4 bytes, highest first.
pub(crate) const META_FORMAT: &[u8] = b"format";

/// The row of [`META`] that a check writes, to show that writing works.
pub(crate) const META_CHECK: &[u8] = b"check";

/// The tables of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    /// Keys.
    Keys,
    /// Key versions by sequence.
    Versions,
    /// Sequences by version id.
    VersionIds,
    /// Keys by alias.
    Aliases,
    /// Key rings.
    Rings,
    /// How many keys are in each ring.
    RingSizes,
    /// Policies of instances.
    Policies,
    /// Import tokens of instances.
    ImportTokens,
    /// Registrations by key.
    Registrations,
    /// Registrations by resource.
    Resources,
    /// Events.
    Events,
    /// Events by time.
    EventTimes,
    /// Events by key and time.
    KeyEvents,
    /// Migrations of instances.
    Migrations,
    /// What stayed behind in them.
    MigrationStays,
    /// Provisioned instances.
    Instances,
    /// Which instance may use which crypto instance.
    Authorizations,
}

impl Table {
    /// All of them. The position of each is its discriminant.
    pub(crate) const ALL: [Self; 17] = [
        Self::Keys,
        Self::Versions,
        Self::VersionIds,
        Self::Aliases,
        Self::Rings,
        Self::RingSizes,
        Self::Policies,
        Self::ImportTokens,
        Self::Registrations,
        Self::Resources,
        Self::Events,
        Self::EventTimes,
        Self::KeyEvents,
        Self::Migrations,
        Self::MigrationStays,
        Self::Instances,
        Self::Authorizations,
    ];

    /// The name in the file. Never changes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Versions => "versions",
            Self::VersionIds => "version-ids",
            Self::Aliases => "aliases",
            Self::Rings => "rings",
            Self::RingSizes => "ring-sizes",
            Self::Policies => "policies",
            Self::ImportTokens => "import-tokens",
            Self::Registrations => "registrations",
            Self::Resources => "resources",
            Self::Events => "events",
            Self::EventTimes => "event-times",
            Self::KeyEvents => "key-events",
            Self::Migrations => "migrations",
            Self::MigrationStays => "migration-stays",
            Self::Instances => "instances",
            Self::Authorizations => "authorizations",
        }
    }
}

/// The row of a key, in [`Table::Keys`]; also what the rows of all it has begin with.
pub(crate) fn key_row(instance: InstanceId, key: KeyId) -> [u8; 32] {
    let mut row = [0; 32];
    row[..16].copy_from_slice(instance.as_bytes());
    row[16..].copy_from_slice(key.as_bytes());
    row
}

/// The row of a key version in [`Table::Versions`].
pub(crate) fn version_row(instance: InstanceId, key: KeyId, sequence: u32) -> [u8; 36] {
    let mut row = [0; 36];
    row[..32].copy_from_slice(&key_row(instance, key));
    row[32..].copy_from_slice(&sequence.to_be_bytes());
    row
}

/// The row of a key version in [`Table::VersionIds`].
pub(crate) fn version_id_row(instance: InstanceId, key: KeyId, version: VersionId) -> [u8; 48] {
    let mut row = [0; 48];
    row[..32].copy_from_slice(&key_row(instance, key));
    row[32..].copy_from_slice(version.as_bytes());
    row
}

/// The row of an alias in [`Table::Aliases`].
pub(crate) fn alias_row(instance: InstanceId, alias: &Alias) -> Vec<u8> {
    [instance.as_bytes(), alias.as_str().as_bytes()].concat()
}

/// The row of a key ring in [`Table::Rings`] and [`Table::RingSizes`].
pub(crate) fn ring_row(instance: InstanceId, ring: &KeyRingId) -> Vec<u8> {
    [instance.as_bytes(), ring.as_str().as_bytes()].concat()
}

/// The row of what an instance has one of, in [`Table::Policies`], [`Table::ImportTokens`] and [`Table::Migrations`].
/// The row of what an instance has one of, in [`Table::Policies`] and [`Table::ImportTokens`], and of itself in
/// [`Table::Instances`].
pub(crate) fn instance_row(instance: InstanceId) -> [u8; 16] {
    *instance.as_bytes()
}

/// The row of a registration in [`Table::Registrations`].
pub(crate) fn registration_row(instance: InstanceId, key: KeyId, crn: &ResourceCrn) -> Vec<u8> {
    [instance.as_bytes().as_slice(), key.as_bytes(), crn.as_str().as_bytes()].concat()
}

/// The row of a registration in [`Table::Resources`].
pub(crate) fn resource_row(instance: InstanceId, crn: &ResourceCrn, key: KeyId) -> Vec<u8> {
    [instance.as_bytes().as_slice(), crn.as_str().as_bytes(), key.as_bytes()].concat()
}

/// The row of an authorization in [`Table::Authorizations`].
pub(crate) fn authorization_row(source: InstanceId, target: InstanceId) -> [u8; 32] {
    let mut row = [0; 32];
    row[..16].copy_from_slice(source.as_bytes());
    row[16..].copy_from_slice(target.as_bytes());
    row
}

/// The source and the target of a row of [`Table::Authorizations`].
pub(crate) fn authorization_of_row(row: &[u8]) -> Option<(InstanceId, InstanceId)> {
    let (source, target) = row.split_first_chunk()?;
    Some((InstanceId::from_bytes(*source), InstanceId::from_bytes(target.try_into().ok()?)))
}

/// The row of an event in [`Table::Events`].
pub(crate) fn event_row(instance: InstanceId, event: EventId) -> [u8; 32] {
    let mut row = [0; 32];
    row[..16].copy_from_slice(instance.as_bytes());
    row[16..].copy_from_slice(event.as_bytes());
    row
}

/// The row of an event in [`Table::EventTimes`].
pub(crate) fn event_time_row(instance: InstanceId, at: Timestamp, event: EventId) -> [u8; 40] {
    let mut row = [0; 40];
    row[..16].copy_from_slice(instance.as_bytes());
    row[16..24].copy_from_slice(&at.unix_ms().to_be_bytes());
    row[24..].copy_from_slice(event.as_bytes());
    row
}

/// The row of an event in [`Table::KeyEvents`].
pub(crate) fn key_event_row(instance: InstanceId, key: KeyId, at: Timestamp, event: EventId) -> [u8; 56] {
    let mut row = [0; 56];
    row[..32].copy_from_slice(&key_row(instance, key));
    row[32..40].copy_from_slice(&at.unix_ms().to_be_bytes());
    row[40..].copy_from_slice(event.as_bytes());
    row
}

/// The instance and the key that a row begins with.
pub(crate) fn key_of_row(row: &[u8]) -> Option<(InstanceId, KeyId)> {
    let (instance, rest) = row.split_first_chunk()?;
    let (key, _) = rest.split_first_chunk()?;
    Some((InstanceId::from_bytes(*instance), KeyId::from_bytes(*key)))
}

/// The instance that a row begins with.
pub(crate) fn instance_of_row(row: &[u8]) -> Option<InstanceId> {
    row.first_chunk().copied().map(InstanceId::from_bytes)
}

/// The ring of a row of [`Table::Rings`].
pub(crate) fn ring_of_row(row: &[u8]) -> Option<KeyRingId> {
    KeyRingId::parse(std::str::from_utf8(row.get(16..)?).ok()?).ok()
}

/// The key and the resource of a row of [`Table::Registrations`].
pub(crate) fn registration_of_row(row: &[u8]) -> Option<(KeyId, ResourceCrn)> {
    let (key, crn) = row.get(16..)?.split_first_chunk()?;
    Some((KeyId::from_bytes(*key), crn_of(crn)?))
}

/// The resource and the key of a row of [`Table::Resources`].
pub(crate) fn resource_of_row(row: &[u8]) -> Option<(KeyId, ResourceCrn)> {
    let (crn, key) = row.get(16..)?.split_last_chunk()?;
    Some((KeyId::from_bytes(*key), crn_of(crn)?))
}

fn crn_of(text: &[u8]) -> Option<ResourceCrn> {
    ResourceCrn::parse(std::str::from_utf8(text).ok()?).ok()
}

/// The time and the event of a row of [`Table::EventTimes`].
pub(crate) fn event_time_of_row(row: &[u8]) -> Option<(Timestamp, EventId)> {
    let (at, event) = row.get(16..)?.split_first_chunk()?;
    Some((Timestamp::from_unix_ms(u64::from_be_bytes(*at)), EventId::from_bytes(event.try_into().ok()?)))
}

/// The time and the event of a row of [`Table::KeyEvents`].
pub(crate) fn key_event_of_row(row: &[u8]) -> Option<(Timestamp, EventId)> {
    event_time_of_row(row.get(16..)?)
}

/// Where the rows lie that begin with a prefix, of whatever length they are.
pub(crate) fn rows_of(prefix: &[u8]) -> (Bound<&[u8]>, Bound<Vec<u8>>) {
    // What comes after all of them is the prefix with its last byte one higher, without those that cannot be higher.
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if let Some(higher) = last.checked_add(1) {
            after.push(higher);
            return (Bound::Included(prefix), Bound::Excluded(after));
        }
    }
    (Bound::Included(prefix), Bound::Unbounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CRN: &str = "crn:v1:bluemix:public:cloud-object-storage:global:a/1:2:bucket:3";

    #[test]
    fn tables_stand_at_their_own_positions_and_keep_their_names() {
        for (position, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, position);
        }
        let names = Table::ALL.map(Table::name);
        assert_eq!(names[..6], ["keys", "versions", "version-ids", "aliases", "rings", "ring-sizes"]);
        assert_eq!(names[6..10], ["policies", "import-tokens", "registrations", "resources"]);
        assert_eq!(names[10..13], ["events", "event-times", "key-events"]);
        assert_eq!(names[13..], ["migrations", "migration-stays", "instances", "authorizations"]);
    }

    #[test]
    fn rows_are_what_the_format_says() {
        let (instance, key) = (InstanceId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
        let both = [[1; 16], [2; 16]].concat();
        assert_eq!(key_row(instance, key), both[..]);
        assert_eq!(version_row(instance, key, 0x0102_0304), [&both[..], &[1, 2, 3, 4]].concat()[..]);
        assert_eq!(version_id_row(instance, key, VersionId::from_bytes([3; 16])), [&both[..], &[3; 16]].concat()[..]);
        assert_eq!(alias_row(instance, &Alias::parse("my-key").unwrap()), [&[1; 16], &b"my-key"[..]].concat());
        let ring = KeyRingId::parse("my-ring").unwrap();
        assert_eq!(ring_row(instance, &ring), [&[1; 16], &b"my-ring"[..]].concat());
        assert_eq!(instance_row(instance), [1; 16]);
        let crn = ResourceCrn::parse(CRN).unwrap();
        assert_eq!(registration_row(instance, key, &crn), [&both[..], CRN.as_bytes()].concat());
        assert_eq!(resource_row(instance, &crn, key), [&[1; 16], CRN.as_bytes(), &[2; 16]].concat());
        let (event, at) = (EventId::from_bytes([3; 16]), Timestamp::from_unix_ms(0x0506));
        let time = [0, 0, 0, 0, 0, 0, 5, 6];
        assert_eq!(event_row(instance, event), [[1; 16], [3; 16]].concat()[..]);
        assert_eq!(event_time_row(instance, at, event), [&[1; 16], &time[..], &[3; 16]].concat()[..]);
        assert_eq!(key_event_row(instance, key, at, event), [&both[..], &time, &[3; 16]].concat()[..]);
        assert_eq!(authorization_row(instance, InstanceId::from_bytes([2; 16])), both[..]);
    }

    #[test]
    fn rows_are_taken_apart_again() {
        let (instance, key) = (InstanceId::from_bytes([0xff; 16]), KeyId::from_bytes([2; 16]));
        let crn = ResourceCrn::parse(CRN).unwrap();
        assert_eq!(key_of_row(&key_row(instance, key)), Some((instance, key)));
        assert_eq!(instance_of_row(&instance_row(instance)), Some(instance));
        let ring = KeyRingId::parse("my-ring").unwrap();
        assert_eq!(ring_of_row(&ring_row(instance, &ring)), Some(ring));
        assert_eq!(registration_of_row(&registration_row(instance, key, &crn)), Some((key, crn.clone())));
        assert_eq!(resource_of_row(&resource_row(instance, &crn, key)), Some((key, crn)));
        let (event, at) = (EventId::from_bytes([3; 16]), Timestamp::from_unix_ms(0x0506));
        assert_eq!(event_time_of_row(&event_time_row(instance, at, event)), Some((at, event)));
        assert_eq!(key_event_of_row(&key_event_row(instance, key, at, event)), Some((at, event)));
        let other = InstanceId::from_bytes([3; 16]);
        assert_eq!(authorization_of_row(&authorization_row(instance, other)), Some((instance, other)));
        for short in [&[][..], &[1; 15], &[1; 17], &[1; 31]] {
            assert!(key_of_row(short).is_none() && registration_of_row(short).is_none(), "{short:?}");
            assert!(resource_of_row(short).is_none() && ring_of_row(short).is_none(), "{short:?}");
            assert!(event_time_of_row(short).is_none() && key_event_of_row(short).is_none(), "{short:?}");
            assert!(authorization_of_row(short).is_none(), "{short:?}");
        }
    }

    #[test]
    fn the_rows_of_a_prefix_are_all_of_its_rows_and_no_others() {
        let (instance, key) = (InstanceId::from_bytes([0xff; 16]), KeyId::from_bytes([0xff; 16]));
        let within = |prefix: &[u8], row: &[u8]| {
            let (first, last) = rows_of(prefix);
            (first == Bound::Included(prefix) && prefix <= row)
                && match last {
                    Bound::Excluded(after) => row < after.as_slice(),
                    _ => true,
                }
        };
        let longest = [&key_row(instance, key)[..], &[0xff; 4096]].concat();
        let other = version_row(instance, KeyId::from_bytes([0xfe; 16]), u32::MAX);
        assert!(within(&key_row(instance, key), &longest) && !within(&key_row(instance, key), &other));
        for prefix in [&[1_u8][..], &[1, 0xff], &[1, 0xff, 0xff], &[0x20, 7]] {
            let mut after = prefix.to_vec();
            after.extend([0xff; 4096]);
            assert!(within(prefix, prefix) && within(prefix, &after), "{prefix:?}");
            let Bound::Excluded(next) = rows_of(prefix).1 else { unreachable!("{prefix:?} has rows after it") };
            assert!(!next.starts_with(prefix) && next.as_slice() > after.as_slice(), "{prefix:?}");
        }
    }
}
