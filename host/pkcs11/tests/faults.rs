//! A module that fails, hangs, is slow and loses answers, as it is told.

#![allow(clippy::panic)]

mod lab;

use std::fs;
use std::time::{Duration, Instant};

use keygate_pkcs11::{BreakerState, Error, Token};
use lab::{Lab, PIN, aes, make, open, rsa, seal, session_aes, soon, until, within};

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

/// A return value, and what it should be told as.
type Case<'a> = (&'a str, &'a dyn Fn(&Error) -> bool);

#[test]
fn every_class_of_return_value_is_told_as_it_should_be_and_the_token_serves_again() {
    let lab = Lab::new();
    let token = lab.patient();
    let key = make(&token, b"k");
    let unavailable = |e: &Error| matches!(e, Error::Unavailable { .. });
    let rejected = |e: &Error| matches!(e, Error::Rejected(r) if r.function == "C_Encrypt" && !r.mend.is_empty());
    let cases: [Case<'_>; 20] = [
        ("2", &unavailable),
        ("5", &rejected),
        ("6", &rejected),
        ("7", &rejected),
        ("20", &|e| matches!(e, Error::InvalidInput(_))),
        ("30", &rejected),
        ("31", &rejected),
        ("32", &unavailable),
        // What it was given was no ciphertext.
        ("40", &rejected),
        ("54", &|e| matches!(e, Error::Unsupported(_))),
        ("60", &|e| *e == Error::NotFound),
        ("68", &|e| matches!(e, Error::InvalidInput(_))),
        ("70", &|e| matches!(e, Error::Unsupported(t) if t.contains("CKR_MECHANISM_INVALID"))),
        ("82", &|e| *e == Error::NotFound),
        ("90", &rejected),
        ("B3", &unavailable),
        ("E0", &unavailable),
        ("101", &unavailable),
        ("190", &unavailable),
        ("80000042", &|e| matches!(e, Error::Rejected(r) if r.name == "vendor-defined" && r.rv == 0x8000_0042)),
    ];
    for (rv, is) in cases {
        // After the call: a module ends the operation with the error.
        lab.tell(&format!("C_Encrypt after rv=0x{rv}"));
        let error = seal(&key, b"text").wait().unwrap_err();
        assert!(is(&error), "0x{rv}: {error:?}");
        lab.tell("");
        seal(&key, b"text").wait().unwrap_or_else(|e| panic!("after 0x{rv}: {e}"));
    }
}

#[test]
fn one_loss_in_the_middle_of_a_call_is_not_seen_by_the_caller() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let key = make(&token, b"k");
    for rv in ["32", "60", "82", "90", "B0", "B3", "E0", "101", "190", "3"] {
        for function in ["C_EncryptInit", "C_Encrypt"] {
            lab.tell(&format!("{function} rv=0x{rv} times=1").replace("C_Encrypt rv", "C_Encrypt after rv"));
            let before = token.counts().retried;
            let sealed = seal(&key, b"text").wait().unwrap_or_else(|e| panic!("{function} 0x{rv}: {e}"));
            assert!(token.counts().retried > before, "{function} 0x{rv}");
            assert_eq!(open(&key, &sealed).unwrap(), b"text");
        }
    }
    assert!(token.health().is_ready());
}

#[test]
fn a_key_whose_making_lost_its_answer_is_found_and_not_made_twice() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    // Nothing hangs here; a machine may be busy.
    config.hang = Duration::from_secs(10);
    let token = lab.start(config);
    token.connect(soon()).wait().unwrap();
    for (function, rv) in [("C_GenerateKey", "32"), ("C_GenerateKey", "B3"), ("C_GenerateKey", "190")] {
        lab.tell(&format!("{function} after rv=0x{rv} times=1"));
        let id = format!("{function} {rv}").into_bytes();
        let key = token.generate_key(&aes(&id), 256, soon()).wait().unwrap();
        seal(&key, b"text").wait().unwrap();
        token.destroy_key(&id, soon()).wait().unwrap();
        assert_eq!(token.find_key(&id, soon()).wait().err(), Some(Error::NotFound), "there was one, not two");
    }
    // A vague failure: tried again, and not made twice either.
    for (when, rv) in [("", "5"), ("after ", "5"), ("", "D1"), ("after ", "D1"), ("", "13")] {
        lab.tell(&format!("C_GenerateKey {when}rv=0x{rv} times=1"));
        let id = format!("vague {when}{rv}").into_bytes();
        token.generate_key(&aes(&id), 256, soon()).wait().unwrap();
        token.destroy_key(&id, soon()).wait().unwrap();
        assert_eq!(token.find_key(&id, soon()).wait().err(), Some(Error::NotFound));
    }
    lab.tell("C_GenerateKeyPair after rv=0x32 times=1");
    token.generate_key_pair(&rsa(b"pair"), 2_048, soon()).wait().unwrap().public_key(soon()).wait().unwrap();
    lab.tell("C_DestroyObject after rv=0x32 times=1");
    token.destroy_key(b"pair", soon()).wait().unwrap();
    // A loss before the making began changes nothing of what is there.
    make(&token, b"there");
    lab.tell("C_FindObjectsInit rv=0x32 times=1");
    assert_eq!(token.generate_key(&aes(b"there"), 256, soon()).wait().err(), Some(Error::AlreadyExists));
    token.find_key(b"there", soon()).wait().unwrap();
}

#[test]
fn a_key_that_did_not_come_out_as_told_is_destroyed() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    token.connect(soon()).wait().unwrap();
    // The token answers that it does not have the attributes: nothing says that the key is sensitive.
    lab.tell("C_GetAttributeValue rv=0x12");
    let refused = token.generate_key(&aes(b"k"), 256, soon()).wait();
    lab.tell("");
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(token.find_key(b"k", soon()).wait().err(), Some(Error::NotFound));
}

#[test]
fn a_hang_costs_a_worker_and_not_the_caller_and_the_pool_is_filled_up() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    (config.sessions, config.written_off) = (2, 2);
    config.breaker.failures = 1_000;
    let token = lab.start(config);
    let key = make(&token, b"k");
    lab.tell("C_Encrypt hang");
    let began = Instant::now();
    let sealing = key.seal(keygate_pkcs11::IvSource::Host, lab::secret(b"x"), vec![], within(200));
    assert!(detail(sealing.wait()).contains("did not answer by the deadline"));
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    until("written off", || token.counts().written_off == 1);
    assert_eq!((token.health().workers, token.health().written_off), (2, 1), "replaced");
    // Others are served while it hangs.
    assert_eq!(token.random(8, soon()).wait().unwrap().len(), 8);
    // Up to the bound; then the pool shrinks, and at last refuses at once.
    for n in 2..=4 {
        let hangs = key.seal(keygate_pkcs11::IvSource::Host, lab::secret(b"x"), vec![], within(100));
        assert!(matches!(hangs.wait(), Err(Error::Unavailable { .. })));
        until("written off", || token.counts().written_off == n);
    }
    assert_eq!(token.health().workers, 0);
    assert!(!token.health().is_ready());
    let began = Instant::now();
    assert!(detail(token.random(8, soon()).wait()).contains("every session hangs"));
    assert!(began.elapsed() < Duration::from_millis(100));
    lab.tell("");
    until("back", || token.health().workers == 2);
    until("all back", || token.counts().came_back == 4);
    seal(&key, b"x").wait().unwrap();
    assert_eq!((token.health().workers, token.health().written_off), (2, 0));
}

#[test]
fn a_pool_that_was_lost_as_a_whole_is_whole_again_when_the_module_comes_back() {
    let lab = Lab::new();
    // The breaker and the bound of written-off workers as they are.
    let mut config = lab.faulty();
    config.hang = Duration::from_millis(400);
    let token = lab.start(config);
    until("made", || matches!(token.generate_key(&aes(b"k"), 256, soon()).wait(), Ok(_) | Err(Error::AlreadyExists)));
    let key = token.find_key(b"k", soon()).wait().unwrap();
    for rules in [
        "C_Encrypt hang",
        "C_GetSessionInfo hang\nC_Encrypt hang",
        "C_Encrypt rv=0xB3\nC_OpenSession hang",
        "C_Encrypt rv=0x101\nC_Login hang",
        "C_Encrypt rv=0xE0\nC_GetTokenInfo hang",
        "C_Encrypt rv=0x60\nC_FindObjects hang",
        "C_GenerateKey hang",
    ] {
        lab.tell(rules);
        let mut asked = Vec::new();
        until(&format!("lost with {rules}"), || {
            lab.clock.go(Duration::from_secs(1));
            let id = [b'n', asked.len() as u8];
            token.health().workers == 0 || {
                asked.push(if rules.starts_with("C_GenerateKey") {
                    token.generate_key(&aes(&id), 256, within(60)).wait().err()
                } else {
                    key.seal(keygate_pkcs11::IvSource::Host, lab::secret(b"x"), vec![], within(60)).wait().err()
                });
                false
            }
        });
        assert!(
            asked.iter().all(|error| matches!(error, Some(Error::Unavailable { .. } | Error::Busy { .. }))),
            "{asked:?}"
        );
        assert!(!token.health().is_ready() && token.health().written_off >= 4, "{:?}", token.health());
        lab.tell("");
        until(&format!("whole again after {rules}"), || {
            lab.clock.go(Duration::from_secs(1));
            let health = token.health();
            health.is_ready() && (health.workers, health.written_off) == (4, 0)
        });
        // On a busy machine one call or another may be taken for hung.
        until(&format!("served after {rules}"), || {
            let sealed: Vec<_> = (0..8).map(|_| seal(&key, b"text").wait()).collect();
            sealed.iter().all(|sealed| sealed.as_ref().is_ok_and(|sealed| open(&key, sealed) == Ok(b"text".to_vec())))
        });
    }
}

#[test]
fn a_hang_in_the_login_is_written_off_too() {
    let lab = Lab::new();
    let token = lab.patient();
    lab.tell("C_Login hang");
    assert!(matches!(token.random(8, within(200)).wait(), Err(Error::Unavailable { .. })));
    until("written off", || token.counts().written_off >= 1);
    lab.tell("");
    until("served", || token.random(8, within(2_000)).wait().is_ok());
}

#[test]
fn a_full_queue_says_busy_at_once_and_when_to_come_again() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    (config.sessions, config.queue, config.hang) = (1, 2, Duration::from_secs(30));
    config.hang_generating = config.hang;
    let token = lab.start(config);
    let key = make(&token, b"k");
    lab.tell("C_Encrypt slow=300");
    let first = seal(&key, b"x");
    until("inside", || token.health().in_use == 1);
    let waiting = [seal(&key, b"x"), seal(&key, b"x")];
    let began = Instant::now();
    match seal(&key, b"x").wait() {
        Err(Error::Busy { retry_after: Some(after) }) => assert!(after >= Duration::from_millis(10)),
        other => panic!("{other:?}"),
    }
    assert!(began.elapsed() < Duration::from_millis(100));
    first.wait().unwrap();
    for pending in waiting {
        pending.wait().unwrap();
    }
    // One whose deadline comes while it waits is busy too, and is never begun.
    let first = seal(&key, b"x");
    until("inside", || token.health().in_use == 1);
    let (calls, late) =
        (token.counts().calls, key.seal(keygate_pkcs11::IvSource::Host, lab::secret(b"x"), vec![], within(50)));
    assert!(matches!(late.wait(), Err(Error::Busy { .. })));
    first.wait().unwrap();
    seal(&key, b"x").wait().unwrap();
    assert_eq!(token.counts().calls, calls + 2);
    assert!(token.health().is_ready(), "busy is not broken");
}

#[test]
fn a_future_is_answered_by_its_deadline_without_a_runtime() {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Wake, Waker};

    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let key = make(&token, b"k");
    lab.tell("C_Encrypt hang");
    let began = Instant::now();
    let mut sealing = pin!(key.seal(keygate_pkcs11::IvSource::Host, lab::secret(b"x"), vec![], within(200)));
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let answer = loop {
        match sealing.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(5)),
        }
    };
    lab.tell("");
    detail(answer);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    // The call that was given up may still hold the token: stopped before the process ends, as `stop` asks.
    token.stop();
}

#[test]
fn the_breaker_opens_refuses_at_once_and_closes_by_itself_when_the_token_is_well() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let key = make(&token, b"k");
    // Ill in all respects: no session, no look.
    lab.tell("C_Encrypt rv=0x30\nC_GetSessionInfo rv=0x30\nC_OpenSession rv=0x30");
    for _ in 0..5 {
        assert!(seal(&key, b"x").wait().is_err());
    }
    assert_eq!(token.health().breaker, BreakerState::Open);
    assert!(!token.health().is_ready());
    let error = seal(&key, b"x").wait().unwrap_err();
    match &error {
        Error::Unavailable { detail, retry_after: Some(after) } => {
            assert!(detail.contains("CKR_DEVICE_ERROR"), "{detail}");
            assert_eq!(*after, Duration::from_secs(1));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(token.counts().refused, 1);
    // A trial that fails opens it again, for longer. The warden makes it: nobody calls.
    lab.clock.go(Duration::from_secs(1));
    until("a trial failed", || token.counts().opened == 2);
    lab.clock.go(Duration::from_millis(1_999));
    assert!(seal(&key, b"x").wait().is_err());
    // Well again: the warden finds out.
    lab.tell("");
    lab.clock.go(Duration::from_millis(1));
    until("closed", || token.health().breaker == BreakerState::Closed);
    seal(&key, b"x").wait().unwrap();
    let last = token.health().last_error.unwrap();
    assert!(last.what.contains("CKR_DEVICE_ERROR") && last.what.contains("look at the device"), "{}", last.what);
}

#[test]
fn a_token_without_sessions_says_busy_and_one_with_few_shares_them() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    lab.tell("C_OpenSession rv=0xB1");
    assert!(matches!(token.random(8, soon()).wait(), Err(Error::Unavailable { .. } | Error::Busy { .. })));
    lab.tell("");
    ready(&token, &lab);
    drop(token);
    // One session for four workers: all calls are served by it.
    let token = lab.start(lab.faulty());
    let key = make(&token, b"k");
    lab.tell("C_OpenSession rv=0xB1\nC_Encrypt slow=2");
    let sealing: Vec<_> = (0..20).map(|_| seal(&key, b"x")).collect();
    for pending in sealing {
        pending.wait().unwrap();
    }
    assert!(token.health().is_ready());
}

#[test]
fn a_wrong_pin_is_tried_once_and_a_corrected_file_is_taken_without_a_restart() {
    let lab = Lab::new();
    let pin = lab.dir.path().join("pin");
    fs::write(&pin, "falsch-0815").unwrap();
    let token = lab.patient();
    let said = detail(token.connect(soon()).wait());
    assert!(said.contains("C_Login answered CKR_PIN_INCORRECT") && said.contains("correct the PIN file"), "{said}");
    // If it were tried again the token would hear it: this answer would be another.
    lab.tell("C_Login rv=0xA4");
    for _ in 0..5 {
        let said = detail(token.connect(soon()).wait());
        assert!(said.contains("has refused this PIN before"), "{said}");
    }
    lab.tell("");
    fs::write(&pin, PIN).unwrap();
    token.connect(soon()).wait().unwrap();
    for text in [format!("{token:?}"), format!("{:?}", token.health()), format!("{:?}", lab.config()), said] {
        assert!(!text.contains(PIN) && !text.contains("falsch"), "{text}");
    }
}

#[test]
fn a_pin_file_that_is_open_to_others_is_refused_before_any_login() {
    use std::os::unix::fs::PermissionsExt;
    let lab = Lab::new();
    let pin = lab.dir.path().join("pin");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o644)).unwrap();
    let token = lab.start(lab.faulty());
    let said = detail(token.connect(soon()).wait());
    assert!(said.contains("chmod 600") && !said.contains(PIN), "{said}");
    fs::set_permissions(&pin, fs::Permissions::from_mode(0o600)).unwrap();
    token.connect(soon()).wait().unwrap();
}

#[test]
fn a_handle_that_the_token_forgot_is_looked_up_or_unwrapped_again() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let kek = make(&token, b"kek");
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let sealed = seal(&key, b"text").wait().unwrap();
    let how = keygate_pkcs11::Wrapping::AesKeyWrap;
    let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
    let back = kek.unwrap_key(how, wrapped, &session_aes(false), soon()).wait().unwrap();
    let misses = token.counts().unwrap_misses;
    lab.tell("C_DecryptInit rv=0x60 times=1");
    assert_eq!(open(&back, &sealed).unwrap(), b"text");
    assert_eq!(token.counts().unwrap_misses, misses + 1);
    lab.tell("C_DecryptInit rv=0x60 times=3");
    assert_eq!(open(&back, &sealed), Err(Error::NotFound), "three times in one call is once too often");
    assert_eq!(open(&back, &sealed).unwrap(), b"text");
    assert_eq!(token.counts().links, 1);
}

#[test]
fn a_module_that_is_none_and_a_token_that_is_none_are_named() {
    let lab = Lab::new();
    let mut config = lab.config();
    config.module = "/nowhere/libhsm.so".into();
    let refused = Token::start(config.clone(), &lab.modules, lab.surroundings()).unwrap_err().to_string();
    assert!(refused.contains("/nowhere/libhsm.so") && refused.contains("correct `module`"), "{refused}");
    config.module = std::env::current_exe().unwrap();
    let refused = Token::start(config, &lab.modules, lab.surroundings()).unwrap_err().to_string();
    assert!(refused.contains("no PKCS#11 module"), "{refused}");
    let mut config = lab.config();
    config.find = keygate_pkcs11::Find::Serial("0000".into());
    let said = detail(lab.start(config).connect(soon()).wait());
    assert!(said.contains("the serial number `0000`"), "{said}");
}

#[test]
fn a_token_whose_last_holder_is_a_call_still_stops() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let key = make(&token, b"k");
    lab.tell("C_Encrypt slow=100");
    let sealing = seal(&key, b"x");
    until("inside", || token.health().in_use == 1);
    drop((token, key, sealing));
    let began = Instant::now();
    until("finalised", || cryptoki::context::Pkcs11::new(lab::softhsm()).unwrap().get_library_info().is_err());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[test]
fn what_a_key_unwrapped_does_not_outlive_it() {
    let lab = Lab::new();
    let token = lab.start(lab.faulty());
    let kek = make(&token, b"kek");
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let sealed = seal(&key, b"text").wait().unwrap();
    let how = keygate_pkcs11::Wrapping::AesKeyWrap;
    let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
    let back = kek.unwrap_key(how, wrapped.clone(), &session_aes(false), soon()).wait().unwrap();
    assert_eq!(open(&back, &sealed).unwrap(), b"text");
    token.destroy_key(b"kek", soon()).wait().unwrap();
    assert_eq!(open(&back, &sealed), Err(Error::NotFound));
    let again = kek.unwrap_key(how, wrapped, &session_aes(false), soon()).wait();
    assert_eq!(again.err(), Some(Error::NotFound));
}
