//! A host for unit tests: what [`crate::host`] talks to when the plugin runs natively.
//!
//! It belongs to the thread, so tests do not disturb each other. It starts with no secrets, an empty log and random
//! bytes that are the same in every run.

use std::cell::RefCell;
use std::collections::BTreeMap;

use zeroize::Zeroizing;

#[cfg(not(feature = "token"))]
pub(crate) mod no_token;
#[cfg(feature = "token")]
pub mod token;

use crate::host::log::Level;
use crate::host::random::MAX_BYTES;
use crate::host::secrets;
use crate::rule::{Endpoint, Network, Principal, PrincipalKind, Request, Target};

/// A question in which only the action is of interest: a user without roles or address asks at the epoch, about no key.
/// Fill in what a test is about: `Request { now_unix_ms: 7, ..request("kms.secrets.wrap") }`.
pub fn request(action: &str) -> Request {
    let principal = Principal {
        id: "IBMid-someone".to_owned(),
        kind: PrincipalKind::User,
        service_name: None,
        account: "0123456789abcdef0123456789abcdef".to_owned(),
        assignments: Vec::new(),
        attributes: Vec::new(),
    };
    let target = Target {
        instance_id: "00000000-0000-4000-8000-000000000001".to_owned(),
        key_ring: None,
        key: None,
        key_name: None,
        instance_policies: Vec::new(),
    };
    Request {
        request_id: "test".to_owned(),
        action: action.to_owned(),
        principal,
        target,
        network: Network { address: None, endpoint: Endpoint::Public },
        now_unix_ms: 0,
        attributes: Vec::new(),
    }
}

/// A line that the plugin logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much the operator should care.
    pub level: Level,
    /// What it says.
    pub message: String,
    /// And with which fields.
    pub fields: Vec<(String, String)>,
}

#[derive(Default)]
struct FakeHost {
    log: Vec<LogLine>,
    secrets: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    unavailable: BTreeMap<String, String>,
    random: u64,
    now_unix_ms: u64,
}

thread_local! {
    static HOST: RefCell<FakeHost> = RefCell::default();
}

/// Forgets everything, tokens too, and starts the random bytes at `seed`.
pub fn reset(seed: u64) {
    #[cfg(feature = "token")]
    token::revoke_all();
    HOST.set(FakeHost { random: seed, ..FakeHost::default() });
}

/// Grants a version of a secret. The highest one is the current one.
pub fn grant_secret(name: &str, version: u32, value: &[u8]) {
    HOST.with_borrow_mut(|host| host.secrets.entry(name.to_owned()).or_default().insert(version, value.to_vec()));
}

/// Takes all versions of a secret away again.
pub fn revoke_secret(name: &str) {
    HOST.with_borrow_mut(|host| host.secrets.remove(name));
}

/// Makes a secret's source fail with this message, or work again.
pub fn set_unavailable(name: &str, why: Option<&str>) {
    HOST.with_borrow_mut(|host| match why {
        Some(why) => host.unavailable.insert(name.to_owned(), why.to_owned()),
        None => host.unavailable.remove(name),
    });
}

/// Sets the clock, which starts at the epoch and stands still.
pub fn set_clock(unix_ms: u64) {
    HOST.with_borrow_mut(|host| host.now_unix_ms = unix_ms);
}

/// What was logged since the last time, oldest first.
pub fn take_log() -> Vec<LogLine> {
    HOST.with_borrow_mut(|host| std::mem::take(&mut host.log))
}

pub(crate) fn emit(level: Level, message: &str, fields: Vec<(String, String)>) {
    HOST.with_borrow_mut(|host| host.log.push(LogLine { level, message: message.to_owned(), fields }));
}

pub(crate) fn now_unix_ms() -> u64 {
    HOST.with_borrow(|host| host.now_unix_ms)
}

/// SplitMix64 (Steele, Lea, Flood 2014): well spread, repeatable, and of no use as a secret.
pub(crate) fn random(len: u32) -> Vec<u8> {
    assert!(len <= MAX_BYTES, "random bytes: at most {MAX_BYTES} a call, not {len}: the host would trap here");
    HOST.with_borrow_mut(|host| {
        let mut next = || {
            host.random = host.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = host.random;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        };
        let mut bytes = Vec::new();
        while bytes.len() < len as usize {
            bytes.extend_from_slice(&next().to_le_bytes());
        }
        bytes.truncate(len as usize);
        bytes
    })
}

pub(crate) fn current_secret(name: &str) -> Result<secrets::Secret, secrets::Error> {
    secret(name, |versions| versions.iter().next_back().map(|(version, value)| (*version, value.clone())))
}

pub(crate) fn secret_version(name: &str, version: u32) -> Result<secrets::Secret, secrets::Error> {
    secret(name, |versions| versions.get(&version).map(|value| (version, value.clone())))
}

fn secret(
    name: &str,
    choose: impl FnOnce(&BTreeMap<u32, Vec<u8>>) -> Option<(u32, Vec<u8>)>,
) -> Result<secrets::Secret, secrets::Error> {
    HOST.with_borrow(|host| {
        let versions = host.secrets.get(name).ok_or(secrets::Error::NotGranted)?;
        if let Some(why) = host.unavailable.get(name) {
            return Err(secrets::Error::Unavailable(why.clone()));
        }
        let (version, value) = choose(versions).ok_or(secrets::Error::NoSuchVersion)?;
        Ok(secrets::Secret { version, value: Zeroizing::new(value) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host;

    #[test]
    fn secrets_have_versions_and_a_current_one() {
        assert!(host::secrets::current("kek").is_err_and(|error| error == secrets::Error::NotGranted));
        grant_secret("kek", 1, b"one");
        grant_secret("kek", 3, b"three");
        let current = host::secrets::current("kek").ok().unwrap();
        assert_eq!((current.version, current.value.as_slice()), (3, b"three".as_slice()));
        let old = host::secrets::version("kek", 1).ok().unwrap();
        assert_eq!((old.version, old.value.as_slice()), (1, b"one".as_slice()));
        assert!(host::secrets::version("kek", 2).is_err_and(|error| error == secrets::Error::NoSuchVersion));
        set_unavailable("kek", Some("the file vanished"));
        assert!(
            host::secrets::current("kek")
                .is_err_and(|error| error == secrets::Error::Unavailable("the file vanished".into()))
        );
    }

    #[test]
    fn random_bytes_repeat_after_a_reset_and_not_before() {
        reset(1);
        let first = host::random::bytes(33);
        let second = host::random::bytes(33);
        assert_eq!(first.len(), 33);
        assert_ne!(first, second);
        reset(1);
        assert_eq!(first, host::random::bytes(33));
        assert!(host::random::bytes(0).is_empty());
    }

    #[test]
    fn the_log_is_collected() {
        host::log::warn("careful", &[("what", "this")]);
        let line =
            LogLine { level: Level::Warn, message: "careful".into(), fields: vec![("what".into(), "this".into())] };
        assert_eq!(take_log(), [line]);
        assert_eq!(take_log(), []);
    }
}
