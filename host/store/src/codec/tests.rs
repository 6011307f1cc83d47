//! Golden records. What was once released is in people's files: when one of these fails, the format has changed, and what
//! is wanted is another format beside it.

use keygate_core::ids::{EventId, InstanceId, KeyRingId};
use keygate_core::key::{Key, KeyKind, KeyState, Stamp};
use keygate_core::policy::InstancePolicyKind;
use keygate_core::registration::{LifecycleKind, Registration, RegistrationState};

use super::adopters::{lifecycle_number, lifecycle_of, registration_state_number, registration_state_of};
use super::instances::{policy_number, policy_of};
use super::keys::{kind_number, kind_of, state_of};
use super::*;
use crate::conformance::samples;

// Field by field, and made from the specification of postcard rather than by the code under test.

/// Keys as format 1 had them.
pub(crate) const FULL_KEY_1: &str = "
    01 056b65792037 01135363686cc3bc7373656c2066c3bc7220e98db5 020766697273742d37087365636f6e642d37
    02036f6e650374776f 01 01 c001 05 0a6f746865722d72696e67 01 0b49424d69642d6d616b6572 02 0103 0104
    00000007100000004040404040404040 05 09 01060d49424d69642d64656c65746572 01
";
pub(crate) const BARE_KEY_1: &str = "
    01 056b65792037 00 00 00 00 00 8002 01 0764656661756c74 80d095ffbc31 0c49424d69642d73616d706c65
    80d095ffbc31 00 00 00000007404040404040404040404040 80d095ffbc31 01 00 01
";
const VERSION: &str = "
    01 00000007800000004040404040404040 82d095ffbc31 0673616d706c65 03372f32
";
const MOVED_VERSION: &str = "
    02 00000007800000004040404040404040 82d095ffbc31 056f74686572 03372f32 0673616d706c65 03372f32 e807
";
const MIGRATION: &str = "
    01 0000012c404040404040404040404040 0673616d706c65 056f74686572 00 01 0749424d69642d32 01 03
    01 00000004404040404040404040404040 01 05 02 0607 08 09 01 0000000a404040404040404040404040
    0b 0c 0d 0e 0f 10 11 01 03776879 12 02
";
const STAY: &str = "
    01 02 01 01 0474657874
";
const FULL_KEY: &str = "
    02056b6579203701135363686cc3bc7373656c2066c3bc7220e98db5020766697273742d37070749424d69642d31087365636f6e642d
    37080749424d69642d3202036f6e650374776f0101c001050a6f746865722d72696e67010b49424d69642d6d616b6572020103010400
    000007100000004040404040404040050901060d49424d69642d64656c6574657201010c101010101010101010101010101010101107
    49424d69642d33120749424d69642d34010120202020202020202020202020202020210749424d69642d33220749424d69642d340131
    0749424d69642d3532013301340101
";
const BARE_KEY: &str = "
    02056b6579203700000000008002010764656661756c7480d095ffbc310c49424d69642d73616d706c6580d095ffbc31000000000007
    40404040404040404040404080d095ffbc31010000000000000001
";
const RING: &str = "
    010b0749424d69642d31
";
const POLICIES: &str = "
    0106000101010c0749424d69642d320d0749424d69642d330101000c0749424d69642d320d0749424d69642d33020102020c3139322e
    302e322e302f32340d323030313a6462383a3a2f33320c0749424d69642d320d0749424d69642d3303010301000100010c0749424d69
    642d320d0749424d69642d330400000c0749424d69642d320d0749424d69642d33050104070c0749424d69642d320d0749424d69642d
    33ac02
";
const IMPORT_TOKEN: &str = "
    010e0749424d69642d340ff403f3030c0102030405060708090a0b0c0230820909090909090909090909090909090900000009404040
    4040404040404040400673616d706c65047061697202
";
const BARE_REGISTRATION: &str = "
    01100749424d69642d35110749424d69642d3600000000000007404040404040404040404040120001
";
const FULL_REGISTRATION: &str = "
    01100749424d69642d35110749424d69642d360104776861740101046e6f746500000007800000004040404040404040120203
";
const EVENT: &str = "
    01000000074040404040404040404040402a63726e3a76313a626c75656d69783a7075626c69633a64623a75732d736f7574683a612f
    313a323a3a7804e80700000007800000004040404040404040
";

const INSTANCE: InstanceId = InstanceId::from_bytes([1; 16]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect()
}

fn full_key() -> Key {
    samples::full_key(INSTANCE, 7).unwrap().0
}

fn bare_key() -> Key {
    samples::key(INSTANCE, 7, KeyKind::Root).0
}

fn bare_registration() -> Registration {
    samples::registration(INSTANCE, 7, samples::crn("db", "x").unwrap())
}

fn full_registration() -> Registration {
    Registration {
        description: Some("what".to_owned()),
        prevent_key_deletion: true,
        note: Some("note".to_owned()),
        version: samples::version_id(7, 2),
        state: RegistrationState::Deactivated,
        revision: 3,
        ..bare_registration()
    }
}

#[test]
fn keys_of_format_2_are_written_and_read_as_ever() {
    for (key, golden) in [(full_key(), FULL_KEY), (bare_key(), BARE_KEY)] {
        assert_eq!(hex(&encode_key(&key).unwrap()), joined(golden));
        assert_eq!(decode_key(key.instance, key.id, &unhex(golden)), Ok(key));
    }
}

#[test]
fn keys_of_format_1_are_read_as_ever_and_lack_what_came_later() {
    let full = Key {
        rotation: None,
        dual_auth: None,
        authorization: None,
        disabled_at: None,
        told_at: None,
        purging: false,
        ..full_key()
    };
    // Their aliases were given by whoever made them, when they were made.
    let given = Stamp { at: full.created_at, by: full.created_by.clone() };
    let mut full = full;
    full.aliases.iter_mut().for_each(|alias| alias.given = given.clone());
    for (key, old) in [(full, FULL_KEY_1), (bare_key(), BARE_KEY_1)] {
        assert_eq!(decode_key(key.instance, key.id, &unhex(old)).as_ref(), Ok(&key));
        assert_eq!(encode_key(&key).unwrap()[0], 2, "what is written anew is of format 2");
    }
}

#[test]
fn versions_of_format_1_are_written_and_read_as_ever() {
    let version = samples::version(7, 2);
    assert_eq!(hex(&encode_version(&version).unwrap()), joined(VERSION));
    assert_eq!(decode_version(2, &unhex(VERSION)), Ok(version));
}

#[test]
fn versions_that_were_moved_are_of_format_2() {
    let version = samples::moved(&samples::version(7, 2), 1000);
    assert_eq!(hex(&encode_version(&version).unwrap()), joined(MOVED_VERSION));
    assert_eq!(decode_version(2, &unhex(MOVED_VERSION)), Ok(version));
}

#[test]
fn migrations_are_written_and_read_as_ever() {
    let migration = samples::migration(INSTANCE, 300, 2);
    assert_eq!(hex(&encode_migration(&migration).unwrap()), joined(MIGRATION));
    assert_eq!(decode_migration(INSTANCE, &unhex(MIGRATION)), Ok(migration));
    let stay = samples::stay(7);
    assert_eq!(hex(&encode_stay(&stay).unwrap()), joined(STAY));
    assert_eq!(decode_stay(stay.key, &unhex(STAY)), Ok(stay));
}

#[test]
fn what_instances_have_is_written_and_read_as_ever() {
    let ring = samples::key_ring(INSTANCE, "red").unwrap();
    assert_eq!(hex(&encode_ring(&ring).unwrap()), joined(RING));
    assert_eq!(decode_ring(INSTANCE, KeyRingId::parse("red").unwrap(), &unhex(RING)), Ok(ring));
    let policies = samples::policies(300);
    assert_eq!(hex(&encode_policies(&policies).unwrap()), joined(POLICIES));
    assert_eq!(decode_policies(&unhex(POLICIES)), Ok(policies));
    let token = samples::import_token(INSTANCE, 2);
    assert_eq!(hex(&encode_import_token(&token).unwrap()), joined(IMPORT_TOKEN));
    assert_eq!(decode_import_token(INSTANCE, &unhex(IMPORT_TOKEN)), Ok(token));
}

#[test]
fn what_adopters_have_is_written_and_read_as_ever() {
    for (registration, golden) in [(bare_registration(), BARE_REGISTRATION), (full_registration(), FULL_REGISTRATION)] {
        assert_eq!(hex(&encode_registration(&registration).unwrap()), joined(golden));
        let (key, crn) = (registration.key, registration.crn.clone());
        assert_eq!(decode_registration(INSTANCE, key, crn, &unhex(golden)), Ok(registration));
    }
    let mut event = samples::event(INSTANCE, 3, 7, 1000, samples::crn("db", "x").unwrap());
    event.kind = LifecycleKind::Restored;
    assert_eq!(hex(&encode_event(&event).unwrap()), joined(EVENT));
    assert_eq!(decode_event(INSTANCE, event.id, &unhex(EVENT)), Ok(event));
}

#[test]
fn the_small_records_of_format_1_are_written_and_read_as_ever() {
    let key = full_key();
    assert_eq!(hex(&encode_key_id(key.id)), "0100000007404040404040404040404040");
    assert_eq!(decode_key_id(&unhex("0100000007404040404040404040404040")), Ok(key.id));
    assert_eq!(hex(&encode_sequence(0x0102_0304)), "0101020304");
    assert_eq!(decode_sequence(&unhex("0101020304")), Ok(0x0102_0304));
    assert_eq!(hex(&encode_ring_size(0x0102)), "010000000000000102");
    assert_eq!(decode_ring_size(&unhex("010000000000000102")), Ok(0x0102));
    assert_eq!(encode_mark(), [1]);
}

#[test]
fn the_numbers_of_what_is_named_are_frozen() {
    let states = KeyState::ALL.map(KeyState::number);
    assert_eq!(states, [0, 1, 2, 3, 5]);
    assert_eq!((kind_number(KeyKind::Root), kind_number(KeyKind::Standard)), (0, 1));
    for kind in [KeyKind::Root, KeyKind::Standard] {
        assert_eq!(kind_of(kind_number(kind)), Ok(kind));
    }
    assert!(kind_of(2).is_err() && state_of(4).is_err());
    use InstancePolicyKind::{AllowedIp, AllowedNetwork, DualAuthDelete, KeyCreateImportAccess, Metrics, Rotation};
    for (number, kind) in
        [AllowedNetwork, DualAuthDelete, AllowedIp, KeyCreateImportAccess, Metrics, Rotation].into_iter().enumerate()
    {
        assert_eq!((policy_number(kind), policy_of(number as u8)), (number as u8, Ok(kind)));
    }
    for (number, state) in
        (0..).zip([RegistrationState::Active, RegistrationState::Suspended, RegistrationState::Deactivated])
    {
        assert_eq!((registration_state_number(state), registration_state_of(number)), (number, Ok(state)));
    }
    use LifecycleKind::{Deleted, Disabled, Enabled, Restored, Rotated, Synced};
    for (number, kind) in (0..).zip([Rotated, Disabled, Enabled, Deleted, Restored, Synced]) {
        assert_eq!((lifecycle_number(kind), lifecycle_of(number)), (number, Ok(kind)));
    }
    assert!(policy_of(6).is_err() && registration_state_of(3).is_err() && lifecycle_of(6).is_err());
}

#[test]
fn a_newer_format_is_said_to_be_from_a_newer_keygate() {
    let key = full_key();
    let mut record = encode_key(&key).unwrap();
    record[0] = 3;
    let error = decode_key(key.instance, key.id, &record).unwrap_err();
    assert_eq!(error, DecodeError::Newer { found: 3, known: 2 });
    assert!(error.to_string().contains("a newer Keygate wrote it"), "{error}");
    let newer = |found| DecodeError::Newer { found, known: 1 };
    assert_eq!(decode_version(1, &[3, 0]), Err(DecodeError::Newer { found: 3, known: 2 }));
    assert_eq!(decode_migration(INSTANCE, &[2, 0]), Err(newer(2)));
    assert_eq!(decode_stay(samples::key_id(1), &[2, 0]), Err(newer(2)));
    assert_eq!(decode_key_id(&[2]), Err(newer(2)));
    assert_eq!(decode_sequence(&[9]), Err(newer(9)));
    assert_eq!(decode_ring_size(&[255]), Err(newer(255)));
    assert_eq!(decode_policies(&[2]), Err(newer(2)));
}

/// Reads a record, and says why it cannot.
type Read = fn(&[u8]) -> Result<(), DecodeError>;

#[test]
fn damage_is_found_and_never_panics() {
    let crn = || samples::crn("db", "x").unwrap();
    let event = samples::event(INSTANCE, 3, 7, 1000, crn());
    let readers: [(Vec<u8>, Read); 7] = [
        (encode_key(&full_key()).unwrap(), |record| decode_key(INSTANCE, samples::key_id(7), record).map(drop)),
        (unhex(FULL_KEY_1), |record| decode_key(INSTANCE, samples::key_id(7), record).map(drop)),
        (encode_ring(&samples::key_ring(INSTANCE, "red").unwrap()).unwrap(), |record| {
            decode_ring(INSTANCE, KeyRingId::default(), record).map(drop)
        }),
        (encode_policies(&samples::policies(1)).unwrap(), |record| decode_policies(record).map(drop)),
        (encode_import_token(&samples::import_token(INSTANCE, 1)).unwrap(), |record| {
            decode_import_token(INSTANCE, record).map(drop)
        }),
        (encode_registration(&full_registration()).unwrap(), |record| {
            decode_registration(INSTANCE, samples::key_id(7), samples::crn("db", "x").unwrap(), record).map(drop)
        }),
        (encode_event(&event).unwrap(), |record| {
            decode_event(INSTANCE, EventId::from_bytes([3; 16]), record).map(drop)
        }),
    ];
    for (record, read) in readers {
        assert_eq!(read(&record), Ok(()));
        for length in 0..record.len() {
            assert!(read(&record[..length]).is_err(), "cut to {length} bytes");
        }
        let longer = [record.as_slice(), &[0]].concat();
        assert_eq!(read(&longer), Err(DecodeError::Malformed("it has bytes left over")));
        // Any byte, any bit: an answer of some kind, and never a huge allocation or a panic.
        for position in 0..record.len() {
            for bit in 0..8 {
                let mut damaged = record.clone();
                damaged[position] ^= 1 << bit;
                drop(read(&damaged));
            }
        }
    }
    for bad in [&[][..], &[0], &[1], &[1, 2, 3]] {
        assert!(decode_key_id(bad).is_err() && decode_sequence(bad).is_err(), "{bad:?}");
        assert!(decode_ring_size(bad).is_err(), "{bad:?}");
    }
    assert_eq!(decode_sequence(&[0, 1, 2, 3, 4]), Err(DecodeError::NoFormat));
}
