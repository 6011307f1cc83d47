//! Many threads at once, and the bounds of what is kept.

mod lab;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cryptoki::context::Pkcs11;
use keygate_pkcs11::{Error, Wrapping};
use lab::{Lab, aes, make, open, seal, secret, session_aes, softhsm, soon};

#[test]
fn eight_threads_make_use_and_destroy_keys_at_the_same_time() {
    let lab = Lab::new();
    let mut config = lab.config();
    config.unwrapped = 16;
    let token = lab.start(config);
    let kek = make(&token, b"kek");
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (token, kek) = (&token, &kek);
            scope.spawn(move || {
                let id = [b'k', thread];
                let key = make(token, &id);
                for round in 0..100_u8 {
                    let text = [thread, round];
                    let sealed = seal(&key, &text).wait().unwrap();
                    assert_eq!(open(&key, &sealed).unwrap(), text);
                    let fresh = loop {
                        match token.generate_key(&session_aes(true), 256, soon()).wait() {
                            Err(Error::Busy { .. }) => std::thread::yield_now(),
                            made => break made.unwrap(),
                        }
                    };
                    let wrapped = kek.wrap_key(Wrapping::AesKeyWrap, &fresh, soon()).wait().unwrap();
                    let back =
                        kek.unwrap_key(Wrapping::AesKeyWrap, wrapped, &session_aes(false), soon()).wait().unwrap();
                    let sealed = seal(&fresh, &text).wait().unwrap();
                    assert_eq!(open(&back, &sealed).unwrap(), text);
                }
                token.destroy_key(&id, soon()).wait().unwrap();
            });
        }
    });
    let health = token.health();
    assert!(health.is_ready() && health.unwrapped <= 16 && health.in_use == 0, "{health:?}");
    assert_eq!((token.counts().failures, token.counts().links), (0, 1));
}

/// SoftHSM's object files are written under the eyes of whoever searches: a key that is being made may be read half, and its
/// making then fails with CKR_GENERAL_ERROR or CKR_TEMPLATE_INCONSISTENT. Nobody should see that.
#[test]
fn eight_threads_make_look_up_and_destroy_keys_in_the_token_and_none_is_failed() {
    let lab = Lab::new();
    let mut config = lab.config();
    // None is remembered: each is looked up.
    (config.sessions, config.handles) = (8, 1);
    let token = lab.start(config);
    let kept = make(&token, b"kept");
    let sealed = seal(&kept, b"text").wait().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8_u8 {
            let (token, sealed) = (&token, &sealed);
            scope.spawn(move || {
                for round in 0..10_u8 {
                    let id = [b'k', thread, round];
                    let key = make(token, &id);
                    let text = seal(&key, &id).wait().unwrap();
                    let found = token.find_key(&id, soon()).wait().unwrap();
                    assert_eq!(open(&found, &text).unwrap(), id);
                    let found = token.find_key(b"kept", soon()).wait().unwrap();
                    assert_eq!(open(&found, sealed).unwrap(), b"text");
                    token.destroy_key(&id, soon()).wait().unwrap();
                    assert_eq!(token.find_key(&id, soon()).wait().err(), Some(Error::NotFound));
                }
            });
        }
    });
    let (health, counts) = (token.health(), token.counts());
    assert!(health.is_ready(), "{health:?}");
    assert_eq!((counts.failures, counts.links), (0, 1));
    let (_module, session) = lab.somebody();
    assert_eq!(session.find_objects(&[]).unwrap().len(), 1, "nothing is left behind");
}

#[test]
fn session_objects_are_destroyed_when_they_are_driven_out_and_unwrapped_again_when_used() {
    let lab = Lab::new();
    let mut config = lab.config();
    (config.unwrapped, config.sessions) = (4, 1);
    let token = lab.start(config);
    let kek = make(&token, b"kek");
    let mut keys = Vec::new();
    for n in 0..12_u8 {
        let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
        let wrapped = kek.wrap_key(Wrapping::AesKeyWrap, &key, soon()).wait().unwrap();
        let back = kek.unwrap_key(Wrapping::AesKeyWrap, wrapped, &session_aes(false), soon()).wait().unwrap();
        keys.push((back, seal(&key, &[n]).wait().unwrap()));
    }
    for _ in 0..3 {
        for (n, (key, sealed)) in keys.iter().enumerate() {
            assert_eq!(open(key, sealed).unwrap(), [n as u8]);
        }
    }
    // The next call buries what the last drove out.
    token.connect(soon()).wait().unwrap();
    let (_module, session) = lab.somebody();
    let objects = session.find_objects(&[]).unwrap().len();
    assert_eq!(objects, 1 + 4, "the wrapping key and as many as are kept");
    assert_eq!(token.health().unwrapped, 4);
    // As many generated ones as unwrapped ones may live; they die with their handles.
    let made: Vec<_> = (0..4).map(|_| token.generate_key(&session_aes(false), 256, soon()).wait().unwrap()).collect();
    let more = token.generate_key(&session_aes(false), 256, soon()).wait();
    assert!(matches!(more, Err(Error::Busy { .. })), "{more:?}");
    drop(made);
    token.connect(soon()).wait().unwrap();
    assert_eq!(session.find_objects(&[]).unwrap().len(), 5);
}

#[test]
fn what_was_unwrapped_is_forgotten_when_it_is_asked_for_and_exportable_keys_end_with_their_handles() {
    let lab = Lab::new();
    let token = lab.token();
    let kek = make(&token, b"kek");
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let how = Wrapping::AesKeyWrap;
    let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
    drop(key);
    let (_module, session) = lab.somebody();
    let objects = || {
        // Burying is the next call's.
        token.connect(soon()).wait().unwrap();
        session.find_objects(&[]).unwrap().len()
    };
    let unwrap = |exportable| kek.unwrap_key(how, wrapped.clone(), &session_aes(exportable), soon()).wait().unwrap();
    let leaves = unwrap(true);
    assert_eq!((objects(), token.health().unwrapped), (2, 0), "one that may leave is nobody else's");
    drop(leaves);
    assert_eq!(objects(), 1);
    let sealed = seal(&unwrap(false), b"text").wait().unwrap();
    assert_eq!((objects(), token.health().unwrapped), (2, 1), "kept for the next");
    // Of other bytes, or otherwise unwrapped: another.
    kek.forget_unwrapped(how, vec![1; 40], &session_aes(false));
    kek.forget_unwrapped(Wrapping::AesKeyWrapPad, wrapped.clone(), &session_aes(false));
    assert_eq!((objects(), token.health().unwrapped), (2, 1));
    kek.forget_unwrapped(how, wrapped.clone(), &session_aes(false));
    assert_eq!((objects(), token.health().unwrapped), (1, 0));
    assert_eq!(open(&unwrap(false), &sealed).unwrap(), b"text", "who has the bytes unwraps them again");
}

#[test]
fn under_load_the_module_is_finalised_again_and_again_and_no_call_gets_a_wrong_answer() {
    let lab = Lab::new();
    let mut config = lab.faulty();
    config.hang = Duration::from_secs(10);
    config.breaker.failures = 1_000;
    let token = lab.start(config);
    let keys: Vec<_> =
        (0..4_u8).map(|n| token.import_key(&aes(&[n]), secret(&[n; 32]), soon()).wait().unwrap()).collect();
    let sealed: Vec<_> = keys.iter().map(|key| seal(key, b"text").wait().unwrap()).collect();
    let (done, served, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    // That a key is not there is never the answer, nor that a ciphertext is damaged.
    let passing = |error: Error| match error {
        Error::Unavailable { .. } | Error::Busy { .. } | Error::Rejected(_) => {}
        other => panic!("{other:?}"),
    };
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (keys, sealed, done, served, refused, passing) = (&keys, &sealed, &done, &served, &refused, &passing);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match open(&keys[n], &sealed[n]) {
                        Ok(text) => {
                            assert_eq!(text, b"text");
                            served.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => passing(error),
                    }
                    match open(&keys[(n + 1) % 4], &sealed[n]) {
                        Ok(_) => panic!("another key opened it"),
                        Err(Error::AuthenticationFailed) => {
                            refused.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => passing(error),
                    }
                }
            });
        }
        for round in 0..20 {
            let before = (served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
            // C_Finalize between the calls of others, and, every other time, a logout: SoftHSM itself does not survive C_Finalize
            // under a call, and the faulty module waits until nobody is inside.
            if round % 2 == 0 {
                lab.tell("C_DecryptInit finalize times=1");
            } else {
                let (_module, session) = lab.somebody();
                let _ = session.logout();
            }
            lab::until("served again", || {
                let now = (served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
                now.0 > before.0 + 20 && now.1 > before.1 + 5
            });
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(token.counts().restarts >= 10 && token.counts().links > 15, "{:?}", token.counts());
    Pkcs11::new(softhsm()).unwrap().finalize().unwrap();
    assert_eq!(open(&keys[0], &sealed[0]).unwrap(), b"text");
}
