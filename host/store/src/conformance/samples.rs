//! Keys to test with. All are different where their numbers are, and the same in every run.

use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::crn::ResourceCrn;
use keygate_core::ids::{Alias, EventId, InstanceId, KeyId, KeyRingId, MigrationId, PolicyId, VersionId};
use keygate_core::import_token::ImportToken;
use keygate_core::key::{
    Deletion, DeletionAuthorization, DualAuthPolicy, Former, Key, KeyAlias, KeyKind, KeyRef, KeyState, KeyVersion,
    PolicyRecord, RotationPolicy, Stamp,
};
use keygate_core::migration::{Counts, Migration, MigrationState, Stay, StayReason, Transport};
use keygate_core::policy::{
    CreateImportAccess, InstancePolicies, InstancePolicy, InstancePolicyKind, PolicyAttributes,
};
use keygate_core::query::{self, Listed};
use keygate_core::registration::{LifecycleEvent, LifecycleKind, Registration, RegistrationState};
use keygate_core::ring::KeyRing;
use keygate_core::store::{Change, KeyFilter, KeyStore, PageRequest, Sort};

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

/// The instant so many milliseconds after the epoch.
pub fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(ms)
}

/// A stamp of an instant, by somebody whose name has this number.
pub fn stamp(ms: u64, by: u32) -> Stamp {
    Stamp { at: at(ms), by: format!("IBMid-{by}") }
}

/// The same alias, given by nobody in particular.
///
/// # Errors
/// When the text is no alias.
pub fn given(text: &str) -> Result<KeyAlias, Failure> {
    Ok(KeyAlias { alias: alias(text)?, given: stamp(1_700_000_000_001, 8) })
}

/// A resource of a service.
///
/// # Errors
/// When the two do not make a CRN.
pub fn crn(service: &str, resource: &str) -> Result<ResourceCrn, Failure> {
    let text = format!("crn:v1:bluemix:public:{service}:us-south:a/1:2::{resource}");
    ResourceCrn::parse(&text).map_err(|rule| Failure { detail: format!("{text}: {rule}") })
}

/// The event id with this number; ids are in the order of their numbers.
pub fn event_id(number: u32) -> EventId {
    EventId::from_bytes(*key_id(number).as_bytes())
}

/// A key ring.
///
/// # Errors
/// When the text is none.
pub fn key_ring(instance: InstanceId, text: &str) -> Result<KeyRing, Failure> {
    Ok(KeyRing { instance, id: ring(text)?, created: stamp(11, 1) })
}

/// The insertions of rings into an instance.
///
/// # Errors
/// When one of the texts is no ring.
pub fn insert_rings(instance: InstanceId, names: &[&str]) -> Result<Vec<Change>, Failure> {
    let insert = |name: &&str| Ok(Change::InsertRing { ring: key_ring(instance, name)?, at_most: 50 });
    names.iter().map(insert).collect()
}

/// Every policy that an instance can have, each with all it can say, at this revision.
pub fn policies(revision: u64) -> InstancePolicies {
    let attributes = |kind| match kind {
        InstancePolicyKind::AllowedNetwork => PolicyAttributes::AllowedNetwork { private_only: true },
        InstancePolicyKind::DualAuthDelete | InstancePolicyKind::Metrics => PolicyAttributes::None,
        InstancePolicyKind::AllowedIp => {
            PolicyAttributes::AllowedIp(vec!["192.0.2.0/24".to_owned(), "2001:db8::/32".to_owned()])
        }
        InstancePolicyKind::KeyCreateImportAccess => PolicyAttributes::KeyCreateImportAccess(CreateImportAccess {
            create_root_key: true,
            create_standard_key: false,
            import_root_key: true,
            import_standard_key: false,
            enforce_token: true,
        }),
        InstancePolicyKind::Rotation => PolicyAttributes::Rotation { interval_months: 7 },
    };
    let policy = |kind| InstancePolicy {
        kind,
        enabled: kind != InstancePolicyKind::Metrics,
        attributes: attributes(kind),
        created: stamp(12, 2),
        updated: stamp(13, 3),
    };
    InstancePolicies { policies: InstancePolicyKind::ALL.map(policy).into(), revision }
}

/// An import token at this revision.
pub fn import_token(instance: InstanceId, revision: u64) -> ImportToken {
    ImportToken {
        instance,
        created: stamp(14, 4),
        expires_at: at(15),
        max_retrievals: 500,
        remaining_retrievals: 499,
        nonce: (1..=12).collect(),
        public_key: vec![0x30, 0x82],
        pair: (self::instance(9), key_id(9)),
        private_key: KeyRef { backend: "sample".to_owned(), reference: b"pair".to_vec() },
        revision,
    }
}

/// A registration of the key with this number for a resource, at revision 1. It has no description and no note.
pub fn registration(instance: InstanceId, number: u32, crn: ResourceCrn) -> Registration {
    Registration {
        instance,
        key: key_id(number),
        crn,
        created: stamp(16, 5),
        updated: stamp(17, 6),
        description: None,
        prevent_key_deletion: false,
        note: None,
        version: version_id(number, 1),
        version_created_at: at(18),
        state: RegistrationState::Active,
        revision: 1,
    }
}

/// An event of the key with this number, for the service that has a resource.
pub fn event(instance: InstanceId, id: u32, key: u32, ms: u64, crn: ResourceCrn) -> LifecycleEvent {
    LifecycleEvent {
        instance,
        id: event_id(id),
        key: key_id(key),
        crn,
        kind: LifecycleKind::Rotated,
        at: at(ms),
        version: version_id(key, 2),
    }
}

/// A version of a key.
pub fn version(number: u32, sequence: u32) -> KeyVersion {
    KeyVersion {
        id: version_id(number, sequence),
        sequence,
        created_at: Timestamp::from_unix_ms(1_700_000_000_000 + u64::from(sequence)),
        key_ref: KeyRef { backend: "sample".to_owned(), reference: format!("{number}/{sequence}").into_bytes() },
        former: None,
    }
}

/// The same version, after its material was moved to the backend `other`.
pub fn moved(version: &KeyVersion, ms: u64) -> KeyVersion {
    let former = Former { key_ref: version.key_ref.clone(), left_at: at(ms) };
    let key_ref = KeyRef { backend: "other".to_owned(), reference: version.key_ref.reference.clone() };
    KeyVersion { key_ref, former: Some(former), ..version.clone() }
}

/// A migration with everything in it.
pub fn migration(instance: InstanceId, id: u32, revision: u64) -> Migration {
    Migration {
        id: MigrationId::from_bytes(*event_id(id).as_bytes()),
        instance,
        from: "sample".to_owned(),
        to: "other".to_owned(),
        state: MigrationState::Running,
        started: stamp(1, 2),
        ended_at: Some(at(3)),
        transport: Transport::Key { key: key_id(4), reference: vec![5], public: vec![6, 7] },
        pass: 8,
        pass_at: at(9),
        cursor: Some(key_id(10)),
        counts: Counts { keys: 11, seen: 12, moved: 13, renewed: 14, stayed: 15, destroyed: 16, pending: 17 },
        waiting: Some("why".to_owned()),
        updated_at: at(18),
        revision,
    }
}

/// What stayed behind of a key.
pub fn stay(number: u32) -> Stay {
    let detail = "text".to_owned();
    Stay { key: key_id(number), versions: 2, renewed: true, reason: StayReason::SampleNotOpened, detail }
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
        rotation: None,
        dual_auth: None,
        authorization: None,
        disabled_at: None,
        told_at: None,
        purging: false,
        revision: 1,
    };
    (key, version(number, 1))
}

/// A key that has everything a key can have, each thing different from the others. It is in the ring `other-ring`.
///
/// # Errors
/// Never: its texts keep the rules.
pub fn full_key(instance: InstanceId, number: u32) -> Result<(Key, KeyVersion), Failure> {
    let (mut key, version) = key(instance, number, KeyKind::Standard);
    key.description = Some("Schlüssel für 鍵".to_owned());
    key.aliases = vec![
        KeyAlias { alias: alias(&format!("first-{number}"))?, given: stamp(7, 1) },
        KeyAlias { alias: alias(&format!("second-{number}"))?, given: stamp(8, 2) },
    ];
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
    let policy = |id| PolicyRecord {
        id: PolicyId::from_bytes([id; 16]),
        created: stamp(u64::from(id) + 1, 3),
        updated: stamp(u64::from(id) + 2, 4),
    };
    key.rotation = Some(RotationPolicy { enabled: true, interval_months: 12, record: policy(0x10) });
    key.dual_auth = Some(DualAuthPolicy { enabled: true, record: policy(0x20) });
    key.authorization = Some(DeletionAuthorization { given: stamp(0x31, 5), lapses_at: at(0x32) });
    key.disabled_at = Some(at(0x33));
    key.told_at = Some(at(0x34));
    key.purging = true;
    Ok((key, version))
}

/// The insertion of a root key with these aliases, in one batch.
///
/// # Errors
/// When one of the texts is no alias.
pub fn insert(instance: InstanceId, number: u32, aliases: &[&str]) -> Result<(Key, Vec<Change>), Failure> {
    let (mut key, version) = key(instance, number, KeyKind::Root);
    key.aliases = aliases.iter().copied().map(given).collect::<Result<_, _>>()?;
    Ok((key.clone(), vec![Change::InsertKey { key, version }]))
}

/// The key one revision later, changed.
pub fn next(key: &Key, change: impl FnOnce(&mut Key)) -> Key {
    let mut next = key.clone();
    next.revision += 1;
    change(&mut next);
    next
}

/// All keys of an instance that a list shows when nothing is asked, by id.
///
/// # Errors
/// When the store fails.
pub async fn all_keys(store: &Arc<dyn KeyStore>, instance: InstanceId) -> Result<Vec<Key>, Failure> {
    Ok(store.keys(instance, &KeyFilter::default(), &Sort::default(), EVERYTHING).await?)
}

/// Of these keys those that a filter is to let through, in the order that is asked: the slow way.
pub fn in_order<'a>(keys: &'a [Key], filter: &KeyFilter, sort: &Sort) -> Vec<&'a Key> {
    let names = |key: &Key| query::search_text(&key.name, key.alias_names().map(Alias::as_str));
    let mut found: Vec<(&Key, String)> = keys.iter().map(|key| (key, names(key))).collect();
    found.retain(|(key, names)| filter.matches(&Listed::of(key, names, filter.at)));
    found
        .sort_by(|(a, of_a), (b, of_b)| sort.compare(&Listed::of(a, of_a, filter.at), &Listed::of(b, of_b, filter.at)));
    found.into_iter().map(|(key, _)| key).collect()
}
