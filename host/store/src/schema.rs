//! What lies where: the tables and the keys of their rows, the same for every engine that keeps ordered bytes.
//!
//! | table | key | value |
//! |---|---|---|
//! | `meta` | a name | the store's own, such as its format number |
//! | `keys` | instance, key | a key ([`crate::codec`]) |
//! | `summaries` | instance, key | what a list filters by, so that it need not read the keys it leaves out |
//! | `versions` | instance, key, sequence | a key version |
//! | `version-ids` | instance, key, version | its sequence |
//! | `aliases` | instance, alias | the key that has it |
//!
//! Ids are their 16 bytes, sequences 4 bytes with the highest first: rows of one instance lie together and in the order
//! of their ids, and no row of one instance can be reached with another's key.

use keygate_core::ids::{Alias, InstanceId, KeyId, VersionId};

/// The number of this layout and of the newest record formats in it. It rises when an older Keygate could no longer
/// read what this one writes.
pub(crate) const STORE_FORMAT: u32 = 1;

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
    /// What lists filter by.
    Summaries,
    /// Key versions by sequence.
    Versions,
    /// Sequences by version id.
    VersionIds,
    /// Keys by alias.
    Aliases,
}

impl Table {
    /// All of them. The position of each is its discriminant.
    pub(crate) const ALL: [Self; 5] = [Self::Keys, Self::Summaries, Self::Versions, Self::VersionIds, Self::Aliases];

    /// The name in the file. Never changes.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::Summaries => "summaries",
            Self::Versions => "versions",
            Self::VersionIds => "version-ids",
            Self::Aliases => "aliases",
        }
    }
}

/// The row of a key, in [`Table::Keys`] and [`Table::Summaries`]; also what the rows of its versions begin with.
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

/// The key whose row this is, in [`Table::Keys`] or [`Table::Summaries`].
pub(crate) fn key_of_row(row: &[u8]) -> Option<KeyId> {
    let (_, key) = row.split_at_checked(16)?;
    key.try_into().ok().map(KeyId::from_bytes)
}

/// The first and the last row that can begin with a prefix. No row has more than 16 bytes after an instance and a key,
/// nor more than 90 after an instance.
pub(crate) fn rows_of(prefix: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut last = prefix.to_vec();
    last.resize(prefix.len() + 91, 0xff);
    (prefix.to_vec(), last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_stand_at_their_own_positions_and_keep_their_names() {
        for (position, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table as usize, position);
        }
        let names = Table::ALL.map(Table::name);
        assert_eq!(names, ["keys", "summaries", "versions", "version-ids", "aliases"]);
    }

    #[test]
    fn rows_are_what_format_1_says() {
        let (instance, key) = (InstanceId::from_bytes([1; 16]), KeyId::from_bytes([2; 16]));
        assert_eq!(key_row(instance, key), [[1; 16], [2; 16]].concat()[..]);
        assert_eq!(version_row(instance, key, 0x0102_0304)[32..], [1, 2, 3, 4]);
        assert_eq!(version_id_row(instance, key, VersionId::from_bytes([3; 16]))[32..], [3; 16]);
        assert_eq!(alias_row(instance, &Alias::parse("my-key").unwrap())[16..], *b"my-key");
        assert_eq!(key_of_row(&key_row(instance, key)), Some(key));
        assert_eq!(key_of_row(&[0; 15]), None);
    }

    #[test]
    fn the_rows_of_a_prefix_are_all_of_its_rows_and_no_others() {
        let (instance, key) = (InstanceId::from_bytes([0xff; 16]), KeyId::from_bytes([0xff; 16]));
        let (first, last) = rows_of(&key_row(instance, key));
        let row = version_id_row(instance, key, VersionId::from_bytes([0xff; 16]));
        assert!(first.as_slice() <= &row[..] && &row[..] <= last.as_slice());
        let other = version_row(instance, KeyId::from_bytes([0xfe; 16]), u32::MAX);
        assert!(&other[..] < first.as_slice());
    }
}
