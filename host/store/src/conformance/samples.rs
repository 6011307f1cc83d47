//! Keys to test with. All are different where their numbers are, and the same in every run.

use keygate_core::clock::Timestamp;
use keygate_core::ids::{Alias, InstanceId, KeyId, KeyRingId, VersionId};
use keygate_core::key::{Deletion, Key, KeyKind, KeyRef, KeyState, KeyVersion};
use keygate_core::store::{Change, PageRequest};

use super::Failure;

/// All there is, in one page.
pub const EVERYTHING: PageRequest = PageRequest { offset: 0, limit: usize::MAX };

/// The instance with this number.
pub fn instance(number: u8) -> InstanceId {
    InstanceId::from_bytes([number; 16])
}

/// The key id with this number; ids are in the order of their numbers.
pub fn key_id(number: u32) -> KeyId {
    let mut bytes = [0x40; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    KeyId::from_bytes(bytes)
}

/// The id of the version of this sequence, of the key with this number; the first one's is the key's.
pub fn version_id(number: u32, sequence: u32) -> VersionId {
    let mut bytes = *key_id(number).as_bytes();
    // Not in the order of the sequences.
    bytes[4..8].copy_from_slice(&(sequence - 1).reverse_bits().to_be_bytes());
    if sequence == 1 { key_id(number).first_version() } else { VersionId::from_bytes(bytes) }
}

/// An alias.
///
/// # Errors
/// When the text is none.
pub fn alias(text: &str) -> Result<Alias, Failure> {
    Alias::parse(text).map_err(|rule| Failure { detail: format!("{text}: {rule}") })
}

/// A key ring.
///
/// # Errors
/// When the text is none.
pub fn ring(text: &str) -> Result<KeyRingId, Failure> {
    KeyRingId::parse(text).map_err(|rule| Failure { detail: format!("{text}: {rule}") })
}

/// A version of a key.
pub fn version(number: u32, sequence: u32) -> KeyVersion {
    KeyVersion {
        id: version_id(number, sequence),
        sequence,
        created_at: Timestamp::from_unix_ms(1_700_000_000_000 + u64::from(sequence)),
        key_ref: KeyRef { backend: "sample".to_owned(), reference: format!("{number}/{sequence}").into_bytes() },
    }
}

/// An Active key with its first version, and no aliases.
pub fn key(instance: InstanceId, number: u32, kind: KeyKind) -> (Key, KeyVersion) {
    let at = Timestamp::from_unix_ms(1_700_000_000_000);
    let id = key_id(number);
    let key = Key {
        instance,
        id,
        name: format!("key {number}"),
        description: None,
        aliases: Vec::new(),
        tags: Vec::new(),
        kind,
        imported: false,
        bits: 256,
        state: KeyState::Active,
        ring: KeyRingId::default(),
        created_at: at,
        created_by: "IBMid-sample".to_owned(),
        updated_at: at,
        rotated_at: None,
        expires_at: None,
        current_version: id.first_version(),
        current_version_created_at: at,
        version_count: 1,
        deletion: None,
        revision: 1,
    };
    (key, version(number, 1))
}

/// A key that has everything a key can have, each thing different from the others.
///
/// # Errors
/// Never: its texts keep the rules.
pub fn full_key(instance: InstanceId, number: u32) -> Result<(Key, KeyVersion), Failure> {
    let (mut key, version) = key(instance, number, KeyKind::Standard);
    key.description = Some("Schlüssel für 鍵".to_owned());
    key.aliases = vec![alias(&format!("first-{number}"))?, alias(&format!("second-{number}"))?];
    key.tags = vec!["one".to_owned(), "two".to_owned()];
    key.imported = true;
    key.bits = 192;
    key.state = KeyState::Destroyed;
    key.ring = ring("other-ring")?;
    key.created_at = Timestamp::from_unix_ms(1);
    key.created_by = "IBMid-maker".to_owned();
    key.updated_at = Timestamp::from_unix_ms(2);
    key.rotated_at = Some(Timestamp::from_unix_ms(3));
    key.expires_at = Some(Timestamp::from_unix_ms(4));
    key.current_version = version_id(number, 9);
    key.current_version_created_at = Timestamp::from_unix_ms(5);
    key.version_count = 9;
    key.deletion = Some(Deletion { at: Timestamp::from_unix_ms(6), by: "IBMid-deleter".to_owned() });
    Ok((key, version))
}

/// The insertion of a root key with these aliases, in one batch.
///
/// # Errors
/// When one of the texts is no alias.
pub fn insert(instance: InstanceId, number: u32, aliases: &[&str]) -> Result<(Key, Vec<Change>), Failure> {
    let (mut key, version) = key(instance, number, KeyKind::Root);
    key.aliases = aliases.iter().copied().map(alias).collect::<Result<_, _>>()?;
    Ok((key.clone(), vec![Change::InsertKey { key, version }]))
}

/// The key one revision later, changed.
pub fn next(key: &Key, change: impl FnOnce(&mut Key)) -> Key {
    let mut next = key.clone();
    next.revision += 1;
    change(&mut next);
    next
}
