//! Golden records. Format 1 is in people's files: when one of these fails, the format has changed, and what is wanted is
//! a format 2 beside it.

use super::*;
use crate::conformance::samples;

// Field by field, and made from the specification of postcard rather than by the code under test.
const FULL_KEY: &str = "
    01 056b65792037 01135363686cc3bc7373656c2066c3bc7220e98db5 020766697273742d37087365636f6e642d37
    02036f6e650374776f 01 01 c001 05 0a6f746865722d72696e67 01 0b49424d69642d6d616b6572 02 0103 0104
    00000007100000004040404040404040 05 09 01060d49424d69642d64656c65746572 01
";
const BARE_KEY: &str = "
    01 056b65792037 00 00 00 00 00 8002 01 0764656661756c74 80d095ffbc31 0c49424d69642d73616d706c65
    80d095ffbc31 00 00 00000007404040404040404040404040 80d095ffbc31 01 00 01
";
const FULL_SUMMARY: &str = "01 05 01 0000000000000004 6f746865722d72696e67";
const BARE_SUMMARY: &str = "01 01 00 ffffffffffffffff 64656661756c74";
const VERSION: &str = "
    01 00000007800000004040404040404040 82d095ffbc31 0673616d706c65 03372f32
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn full_key() -> Key {
    samples::full_key(samples::instance(1), 7).unwrap().0
}

fn bare_key() -> Key {
    samples::key(samples::instance(1), 7, KeyKind::Root).0
}

fn joined(text: &str) -> String {
    text.split_whitespace().collect()
}

#[test]
fn keys_of_format_1_are_written_and_read_as_ever() {
    for (key, golden) in [(full_key(), FULL_KEY), (bare_key(), BARE_KEY)] {
        assert_eq!(hex(&encode_key(&key).unwrap()), joined(golden));
        assert_eq!(decode_key(key.instance, key.id, &unhex(golden)), Ok(key));
    }
}

#[test]
fn versions_of_format_1_are_written_and_read_as_ever() {
    let version = samples::version(7, 2);
    assert_eq!(hex(&encode_version(&version).unwrap()), joined(VERSION));
    assert_eq!(decode_version(2, &unhex(VERSION)), Ok(version));
}

#[test]
fn the_small_records_of_format_1_are_written_and_read_as_ever() {
    let key = full_key();
    let expires_at = Some(Timestamp::from_unix_ms(4));
    let full = Summary { state: KeyState::Destroyed, kind: KeyKind::Standard, expires_at, ring: "other-ring" };
    let bare = Summary { state: KeyState::Active, kind: KeyKind::Root, expires_at: None, ring: "default" };
    for (key, summary, golden) in [(full_key(), full, FULL_SUMMARY), (bare_key(), bare, BARE_SUMMARY)] {
        assert_eq!(hex(&Summary::encode(&key)), joined(golden));
        assert_eq!(Summary::decode(&unhex(golden)), Ok(summary));
    }
    assert_eq!(hex(&encode_alias(key.id)), "0100000007404040404040404040404040");
    assert_eq!(decode_alias(&unhex("0100000007404040404040404040404040")), Ok(key.id));
    assert_eq!(hex(&encode_sequence(0x0102_0304)), "0101020304");
    assert_eq!(decode_sequence(&unhex("0101020304")), Ok(0x0102_0304));
}

#[test]
fn numbers_of_states_and_kinds_are_frozen() {
    let states = KeyState::ALL.map(KeyState::number);
    assert_eq!(states, [0, 1, 2, 3, 5]);
    assert_eq!((kind_number(KeyKind::Root), kind_number(KeyKind::Standard)), (0, 1));
    for kind in [KeyKind::Root, KeyKind::Standard] {
        assert_eq!(kind_of(kind_number(kind)), Ok(kind));
    }
    assert!(kind_of(2).is_err() && state_of(4).is_err());
}

#[test]
fn a_newer_format_is_said_to_be_from_a_newer_keygate() {
    let key = full_key();
    let mut record = encode_key(&key).unwrap();
    record[0] = 2;
    let error = decode_key(key.instance, key.id, &record).unwrap_err();
    assert_eq!(error, DecodeError::Newer(2));
    assert!(error.to_string().contains("a newer Keygate wrote it"), "{error}");
    assert_eq!(decode_version(1, &[2, 0]), Err(DecodeError::Newer(2)));
    assert_eq!(decode_alias(&[2]), Err(DecodeError::Newer(2)));
    assert_eq!(decode_sequence(&[9]), Err(DecodeError::Newer(9)));
    assert_eq!(Summary::decode(&[255]), Err(DecodeError::Newer(255)));
}

#[test]
fn damage_is_found_and_never_panics() {
    let key = full_key();
    let record = encode_key(&key).unwrap();
    for length in 0..record.len() {
        assert!(decode_key(key.instance, key.id, &record[..length]).is_err(), "cut to {length} bytes");
    }
    let longer = [record.as_slice(), &[0]].concat();
    assert_eq!(decode_key(key.instance, key.id, &longer), Err(DecodeError::Malformed("it has bytes left over")));
    // Any byte, any bit: an answer of some kind, and never a huge allocation or a panic.
    for position in 0..record.len() {
        for bit in 0..8 {
            let mut damaged = record.clone();
            damaged[position] ^= 1 << bit;
            drop(decode_key(key.instance, key.id, &damaged));
        }
    }
    for bad in [&[][..], &[0], &[1], &[1, 2, 3]] {
        assert!(decode_alias(bad).is_err() && decode_sequence(bad).is_err(), "{bad:?}");
    }
    let summary = Summary::encode(&key);
    for length in 0..11 {
        assert!(Summary::decode(&summary[..length]).is_err(), "cut to {length} bytes");
    }
    for (position, bad) in [(0, 0), (1, 4), (2, 7), (11, 0xff)] {
        let mut damaged = summary.clone();
        damaged[position] = bad;
        assert!(Summary::decode(&damaged).is_err(), "{damaged:?}");
    }
}

#[test]
fn a_summary_matches_as_its_key_does() {
    let filters = [
        KeyFilter::default(),
        KeyFilter { states: KeyState::ALL.to_vec(), ..KeyFilter::default() },
        KeyFilter { kind: Some(KeyKind::Standard), states: KeyState::ALL.to_vec(), ..KeyFilter::default() },
        KeyFilter {
            ring: Some(KeyRingId::parse("other-ring").unwrap()),
            states: KeyState::ALL.to_vec(),
            ..KeyFilter::default()
        },
        KeyFilter { ring: Some(KeyRingId::default()), ..KeyFilter::default() },
    ];
    for key in [full_key(), bare_key()] {
        for filter in &filters {
            let record = Summary::encode(&key);
            assert_eq!(Summary::decode(&record).unwrap().matches(filter), filter.matches(&key), "{filter:?}");
        }
    }
}

#[test]
fn a_summary_has_the_state_of_its_key_at_every_instant() {
    let instant = Timestamp::from_unix_ms;
    let ends = [0, 1, 1_800_000_000_000, u64::MAX].map(instant);
    let instants = [0, 1, 2, 1_799_999_999_999, 1_800_000_000_000, 1_800_000_000_001, u64::MAX].map(instant);
    let mut key = bare_key();
    for state in KeyState::ALL {
        for expires_at in ends.map(Some).into_iter().chain([None]) {
            (key.state, key.expires_at) = (state, expires_at);
            let record = Summary::encode(&key);
            let summary = Summary::decode(&record).unwrap();
            for at in instants {
                assert_eq!(summary.state_at(at), key.state_at(at), "{state:?} until {expires_at:?}, at {at}");
                let only = |state| KeyFilter { states: vec![state], at, ..KeyFilter::default() };
                for filter in KeyState::ALL.map(only) {
                    assert_eq!(summary.matches(&filter), filter.matches(&key), "until {expires_at:?}: {filter:?}");
                }
            }
        }
    }
}
