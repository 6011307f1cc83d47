//! A module that fails and hangs, with the breaker as it is by default; what it costs, and that it ends.

#![allow(clippy::panic)]

mod lab;

use std::fs;
use std::time::{Duration, Instant};

use keygate_pkcs11::{BreakerState, Error, Token};
use lab::{Lab, PIN, make, open, rsa, seal, session_aes, soon, until, within};

fn detail<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Unavailable { detail, .. }) => detail,
        other => panic!("{other:?}"),
    }
}

fn ready(token: &Token, lab: &Lab) {
    until("ready", || {
        lab.clock.go(Duration::from_secs(40));
        token.health().is_ready()
    });
}

#[test]
fn a_token_that_hung_past_every_bound_is_ready_again_with_the_breaker_as_it_is_by_default() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    (config.sessions, config.written_off) = (2, 2);
    config.breaker.failures = 2;
    let token = lab.start(config);
    let key = make(&token, b"k");
    lab.tell("C_Encrypt hang\nC_GetSessionInfo hang");
    let sealing: Vec<_> = (0..4).map(|_| seal(&key, b"x")).collect();
    // The first two are written off and have opened the breaker; the next two hang in the place of them. The trial waits
    // behind those when they are written off too.
    until("open", || token.health().breaker == BreakerState::Open);
    lab.clock.go(Duration::from_secs(1));
    until("a trial waits", || token.health().breaker == BreakerState::HalfOpen);
    until("all are written off", || token.health().workers == 0);
    drop(sealing);
    lab.tell("");
    until("all are back", || token.counts().came_back == 4);
    ready(&token, &lab);
    seal(&key, b"x").wait().unwrap();
}

#[test]
fn a_slow_call_or_a_full_token_does_not_keep_a_token_shut_that_is_well_again() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    config.breaker.failures = 1;
    let token = lab.start(config);
    let key = make(&token, b"k");
    lab.tell("C_Encrypt rv=0x31 times=1");
    assert!(seal(&key, b"x").wait().is_err());
    assert!(token.health().is_ready(), "a full token is not a broken one");
    lab.tell("C_Encrypt rv=0x30 times=1\nC_GenerateKeyPair slow=3000");
    assert!(seal(&key, b"x").wait().is_err());
    // Well again, and the first who comes wants an RSA pair.
    lab.clock.go(Duration::from_secs(1));
    let pair = token.generate_key_pair(&rsa(b"pair"), 2_048, soon());
    let began = Instant::now();
    until("ready", || token.health().is_ready());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    let _ = pair.wait();
}

#[test]
fn the_warden_makes_its_trial_though_nobody_calls_after_the_last_failure() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    config.breaker.failures = 1;
    let token = lab.start(config);
    let key = make(&token, b"k");
    for _ in 0..50 {
        lab.tell("C_Encrypt rv=0x30");
        assert!(seal(&key, b"x").wait().is_err());
        lab.clock.go(Duration::from_secs(40));
        until("ready without a call", || token.health().is_ready());
    }
}

/// A C_Decrypt or C_UnwrapKey that fails on everything.
#[test]
fn a_device_that_is_broken_is_never_told_as_a_wrong_ciphertext_and_opens_the_breaker() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let kek = make(&token, b"kek");
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let sealed = seal(&key, b"text").wait().unwrap();
    let how = keygate_pkcs11::Wrapping::AesKeyWrap;
    let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
    let pair = token.generate_key_pair(&rsa(b"pair"), 2_048, soon()).wait().unwrap();
    for rv in ["30", "5", "6", "80000042"] {
        lab.tell(&format!("C_Decrypt after rv=0x{rv}\nC_UnwrapKey after rv=0x{rv}"));
        let mut refused = vec![
            open(&key, &sealed).map(drop),
            kek.unwrap_key(how, wrapped.clone(), &session_aes(false), soon()).wait().map(drop),
            pair.decrypt_oaep(keygate_pkcs11::Digest::Sha1, vec![1; 256], soon()).wait().map(drop),
            key.decrypt_cbc(&[0; 16], vec![1; 32], soon()).wait().map(drop),
        ];
        refused.push(open(&key, &sealed).map(drop));
        for (n, answer) in refused.into_iter().enumerate() {
            assert!(matches!(answer, Err(Error::Rejected(_))), "0x{rv}, {n}: {answer:?}");
        }
        assert_eq!(token.health().breaker, BreakerState::Open, "0x{rv}");
        lab.tell("");
        ready(&token, &lab);
        assert_eq!(open(&key, &sealed).unwrap(), b"text");
    }
    // A token that is well again is believed again.
    let mut wrong = sealed;
    wrong.ciphertext[0] ^= 1;
    assert_eq!(open(&key, &wrong), Err(Error::AuthenticationFailed));
}

#[test]
fn no_input_of_a_client_opens_the_breaker() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let kek = make(&token, b"kek");
    let pair = token.generate_key_pair(&rsa(b"pair"), 2_048, soon()).wait().unwrap();
    let sha1 = keygate_pkcs11::Digest::Sha1;
    let ways = [keygate_pkcs11::Wrapping::AesKeyWrap, keygate_pkcs11::Wrapping::AesKeyWrapPad];
    for _ in 0..10 {
        for how in ways {
            let bad = kek.unwrap_key(how, vec![9; 48], &session_aes(false), soon()).wait();
            assert_eq!(bad.err(), Some(Error::AuthenticationFailed), "{how:?}");
        }
        let rsa = keygate_pkcs11::Wrapping::RsaOaep(sha1);
        let bad = pair.unwrap_key(rsa, vec![1; 256], &session_aes(false), soon()).wait();
        assert_eq!(bad.err(), Some(Error::AuthenticationFailed));
        let bad = pair.decrypt_oaep(sha1, vec![1; 256], soon()).wait();
        assert_eq!(bad.err(), Some(Error::AuthenticationFailed));
        let bad = kek.decrypt_cbc(&[0; 16], vec![1; 32], soon()).wait();
        assert_eq!(bad.err(), Some(Error::AuthenticationFailed));
    }
    // Also where a refusal of one of them looks like trouble of the device.
    lab.tell("C_UnwrapKey rv=0x30 times=1");
    assert!(kek.unwrap_key(ways[0], vec![9; 48], &session_aes(false), soon()).wait().is_err());
    lab.tell("");
    assert!(token.health().is_ready());
    assert_eq!((token.counts().failures, token.counts().links), (0, 1), "{:?}", token.health());
}

#[test]
fn to_destroy_one_key_waits_for_its_own_users_and_for_nobody_else() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    config.hang = Duration::from_secs(20);
    let token = lab.start(config);
    let (busy, idle, other) = (make(&token, b"busy"), make(&token, b"idle"), make(&token, b"other"));
    seal(&other, b"x").wait().unwrap();
    lab.tell("C_Encrypt slow=1500 times=1\nC_GenerateKeyPair slow=3000");
    let pair = token.generate_key_pair(&rsa(b"pair"), 2_048, soon());
    let sealing = seal(&busy, b"x");
    until("both are inside", || token.health().in_use == 2);
    std::thread::sleep(Duration::from_millis(100));
    let began = Instant::now();
    let late = token.destroy_key(b"busy", within(400));
    token.destroy_key(b"idle", soon()).wait().unwrap();
    seal(&other, b"x").wait().unwrap();
    assert!(began.elapsed() < Duration::from_millis(350), "{:?}", began.elapsed());
    assert!(late.wait().is_err(), "somebody uses it");
    seal(&other, b"x").wait().unwrap();
    sealing.wait().unwrap();
    assert_eq!(seal(&idle, b"x").wait().err(), Some(Error::NotFound));
    until("destroyed when nobody uses it", || token.destroy_key(b"busy", soon()).wait().is_ok());
    assert!(token.health().is_ready());
    assert_eq!(token.counts().failures, 0);
    lab.tell("");
    pair.wait().unwrap();
}

#[test]
fn sessions_that_nobody_can_use_are_closed_when_the_token_has_no_more() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    config.sessions = 1;
    let token = lab.start(config);
    let key = make(&token, b"k");
    // CKR_OPERATION_ACTIVE: the session is not used again, and the token gives no other.
    lab.tell("C_Encrypt after rv=0x90 times=1\nC_OpenSession rv=0xB1 times=1");
    seal(&key, b"x").wait().unwrap();
    assert!(token.counts().links > 1, "the link was given up");
    assert!(token.health().sessions <= 2, "{:?}", token.health());
}

#[test]
fn a_key_that_is_known_is_found_without_asking_the_token() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    make(&token, b"k");
    let calls = token.counts().calls;
    lab.tell("C_FindObjectsInit rv=0x30");
    for _ in 0..3 {
        token.find_key(b"k", soon()).wait().unwrap();
    }
    assert_eq!(token.counts().calls, calls);
    lab.tell("");
    token.destroy_key(b"k", soon()).wait().unwrap();
    assert_eq!(token.find_key(b"k", soon()).wait().err(), Some(Error::NotFound));
}

#[test]
fn a_module_that_cannot_be_initialised_yet_starts_and_serves_later() {
    let lab = Lab::new();
    for rule in ["C_Initialize rv=0x30", "C_Initialize hang"] {
        lab.tell(rule);
        let began = Instant::now();
        let token = lab.start(lab.faulty());
        assert!(began.elapsed() < Duration::from_millis(500), "{rule}: {:?}", began.elapsed());
        assert!(token.connect(within(300)).wait().is_err(), "{rule}");
        lab.tell("");
        until("served", || {
            lab.clock.go(Duration::from_secs(40));
            token.random(8, within(2_000)).wait().is_ok()
        });
        token.stop();
    }
}

#[test]
fn a_locked_pin_is_tried_again_and_a_refused_one_when_its_file_was_written_anew() {
    let lab = Lab::new();
    let token = lab.patient();
    // Locked, and unlocked with the same PIN.
    lab.tell("C_Login rv=0xA4 times=2");
    assert!(detail(token.connect(soon()).wait()).contains("CKR_PIN_LOCKED"));
    lab.tell("");
    token.connect(soon()).wait().unwrap();
    drop(token);
    let token = lab.patient();
    lab.tell("C_Login rv=0xA0 times=1");
    assert!(detail(token.connect(soon()).wait()).contains("CKR_PIN_INCORRECT"));
    assert!(detail(token.connect(soon()).wait()).contains("has refused this PIN before"));
    std::thread::sleep(Duration::from_millis(20));
    fs::write(lab.dir.path().join("pin"), PIN).unwrap();
    token.connect(soon()).wait().unwrap();
}
