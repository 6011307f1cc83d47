//! What is lost comes back: logins, sessions, modules, token files.

mod lab;

use std::fs;
use std::time::Duration;

use cryptoki::context::Pkcs11;
use keygate_pkcs11::{Error, Wrapping};
use lab::{Lab, make, open, seal, session_aes, softhsm, soon, until};

#[test]
fn somebody_logs_out_and_the_next_call_logs_in_again() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"text").wait().unwrap();
    let (_module, session) = lab.somebody();
    for round in 1..=3 {
        session.logout().unwrap();
        assert_eq!(open(&key, &sealed).unwrap(), b"text");
        assert_eq!(token.counts().links, 1 + round);
    }
    assert!(token.health().is_ready());
}

#[test]
fn somebody_finalises_the_module_and_the_next_call_initialises_it() {
    let lab = Lab::new();
    let token = lab.token();
    let kek = make(&token, b"kek");
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let sealed = seal(&key, b"text").wait().unwrap();
    let wrapped = kek.wrap_key(Wrapping::AesKeyWrap, &key, soon()).wait().unwrap();
    let back = kek.unwrap_key(Wrapping::AesKeyWrap, wrapped, &session_aes(false), soon()).wait().unwrap();
    for _ in 0..3 {
        Pkcs11::new(softhsm()).unwrap().finalize().unwrap();
        assert_eq!(open(&back, &sealed).unwrap(), b"text", "an unwrapped key is unwrapped again");
    }
    assert_eq!(open(&key, &sealed), Err(Error::NotFound), "a generated session key cannot be made again");
    assert_eq!((token.counts().restarts, token.counts().links), (3, 4));
    assert!(token.health().is_ready());
}

#[test]
fn two_tokens_of_one_module_both_survive_its_restart() {
    let lab = Lab::new();
    lab.add_token("other");
    let first = lab.token();
    let mut config = lab.config();
    config.find = keygate_pkcs11::Find::Label("other".into());
    config.name = "other".into();
    let second = lab.start(config);
    let (a, b) = (make(&first, b"same id"), make(&second, b"same id"));
    let (of_a, of_b) = (seal(&a, b"a").wait().unwrap(), seal(&b, b"b").wait().unwrap());
    for _ in 0..3 {
        Pkcs11::new(softhsm()).unwrap().finalize().unwrap();
        assert_eq!(open(&a, &of_a).unwrap(), b"a");
        assert_eq!(open(&b, &of_b).unwrap(), b"b");
        assert_eq!(open(&a, &of_b), Err(Error::AuthenticationFailed));
    }
    let mixed = a.wrap_key(Wrapping::AesKeyWrap, &b, soon()).wait();
    assert!(matches!(mixed, Err(Error::InvalidInput(_))));
}

#[test]
fn a_token_whose_files_are_gone_is_unavailable_and_works_again_when_they_are_back() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    let sealed = seal(&key, b"text").wait().unwrap();
    let (tokens, aside) = (lab.dir.path().join("tokens"), lab.dir.path().join("aside"));
    for _ in 0..2 {
        fs::rename(&tokens, &aside).unwrap();
        fs::create_dir(&tokens).unwrap();
        // The module may serve what it has in memory for a while; what it must not do is say that a key is not there.
        for _ in 0..8 {
            for result in [open(&key, &sealed).map(drop), token.find_key(b"k", soon()).wait().map(drop)] {
                assert!(matches!(result, Ok(()) | Err(Error::Unavailable { .. })), "{result:?}");
            }
        }
        let gone = token.find_key(b"never", soon()).wait().map(drop);
        assert!(matches!(gone, Err(Error::Unavailable { .. })), "{gone:?}");
        fs::remove_dir(&tokens).unwrap();
        fs::rename(&aside, &tokens).unwrap();
        until("the token serves again", || {
            lab.clock.go(Duration::from_secs(40));
            open(&key, &sealed).is_ok()
        });
        assert_eq!(open(&key, &sealed).unwrap(), b"text");
        until("the breaker closes", || token.health().is_ready());
    }
}

#[test]
fn a_token_that_comes_later_than_the_gateway_is_found() {
    let lab = Lab::new();
    let (tokens, aside) = (lab.dir.path().join("tokens"), lab.dir.path().join("aside"));
    fs::rename(&tokens, &aside).unwrap();
    fs::create_dir(&tokens).unwrap();
    let token = lab.token();
    match token.connect(soon()).wait() {
        Err(Error::Unavailable { detail, .. }) => assert!(detail.contains("the label `keygate`"), "{detail}"),
        other => panic!("{other:?}"),
    }
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&aside, &tokens).unwrap();
    token.connect(soon()).wait().unwrap();
}

#[test]
fn a_token_named_twice_by_its_label_is_refused() {
    let lab = Lab::new();
    lab.add_token("keygate");
    let refused = lab.token().connect(soon()).wait().unwrap_err();
    assert!(refused.to_string().contains("name yours by its serial number"), "{refused}");
}

#[test]
fn a_token_that_has_stopped_refuses_and_its_module_is_finalised() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    token.stop();
    assert!(matches!(seal(&key, b"x").wait(), Err(Error::Unavailable { .. })));
    assert_eq!(token.health().workers, 0);
    drop((token, key));
    until("C_Finalize", || Pkcs11::new(softhsm()).unwrap().get_library_info().is_err());
    // And all of it once more.
    lab.token().connect(soon()).wait().unwrap();
}

#[test]
fn a_public_key_that_somebody_put_in_place_of_the_real_one_is_given_to_nobody() {
    use cryptoki::object::{Attribute, KeyType, ObjectClass};
    let lab = Lab::new();
    let token = lab.token();
    let real = token.generate_key_pair(&lab::rsa(b"pair"), 2_048, soon()).wait().unwrap().public_key(soon()).wait();
    let real = real.unwrap();
    let (_module, session) = lab.somebody();
    let planted = |modulus: Vec<u8>| {
        session
            .create_object(&[
                Attribute::Class(ObjectClass::PUBLIC_KEY),
                Attribute::KeyType(KeyType::RSA),
                Attribute::Token(true),
                Attribute::Private(false),
                Attribute::Wrap(true),
                Attribute::Id(b"pair".to_vec()),
                Attribute::Modulus(modulus),
                Attribute::PublicExponent(vec![1, 0, 1]),
            ])
            .unwrap()
    };
    let own = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY)]).unwrap();
    planted(vec![0xC1; 256]);
    // The handles of before are forgotten with the link.
    let anew = || {
        session.logout().unwrap();
        assert_eq!(token.find_key(b"never", soon()).wait().err(), Some(Error::NotFound));
        token.find_key(b"pair", soon()).wait()
    };
    let two = anew().unwrap_err().to_string();
    assert!(two.contains("more than one public key"), "{two}");
    session.destroy_object(own[0]).unwrap();
    let pair = anew().unwrap();
    assert_eq!(pair.public_key(soon()).wait().unwrap(), real, "the private key's own");
    let what = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let leaks = pair.wrap_key(Wrapping::RsaOaep(keygate_pkcs11::Digest::Sha1), &what, soon()).wait().unwrap_err();
    assert!(leaks.to_string().contains("not of the private key"), "{leaks}");
}

#[test]
fn a_key_that_somebody_planted_is_neither_used_nor_taken_for_absent() {
    use cryptoki::object::{Attribute, KeyType, ObjectClass};
    use cryptoki::session::UserType;
    use cryptoki::types::AuthPin;
    let lab = Lab::new();
    let token = lab.token();
    token.connect(soon()).wait().unwrap();
    let (_module, session) = lab.somebody();
    let _ = session.login(UserType::User, Some(&AuthPin::new(lab::PIN.into())));
    let cases = [
        ("CKA_PRIVATE", false, true, false),
        ("CKA_SENSITIVE", true, false, false),
        ("CKA_EXTRACTABLE", true, true, true),
    ];
    for (name, private, sensitive, extractable) in cases {
        let attributes = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::Token(true),
            Attribute::Private(private),
            Attribute::Sensitive(sensitive),
            Attribute::Extractable(extractable),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Id(name.into()),
            Attribute::Value(vec![7; 32]),
        ];
        session.create_object(&attributes).unwrap();
        match token.find_key(name.as_bytes(), soon()).wait() {
            Err(Error::Unavailable { detail, .. }) => assert!(detail.contains(name), "{detail}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn what_was_unwrapped_to_leave_ends_with_its_handle() {
    let lab = Lab::new();
    let token = lab.token();
    let kek = make(&token, b"kek");
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let wrapped = kek.wrap_key(Wrapping::AesKeyWrap, &key, soon()).wait().unwrap();
    drop(key);
    let back = kek.unwrap_key(Wrapping::AesKeyWrap, wrapped, &session_aes(true), soon()).wait().unwrap();
    kek.wrap_key(Wrapping::AesKeyWrap, &back, soon()).wait().unwrap();
    drop(back);
    token.connect(soon()).wait().unwrap();
    let (_module, session) = lab.somebody();
    assert_eq!(session.find_objects(&[]).unwrap().len(), 1, "the wrapping key alone");
    assert_eq!(token.health().unwrapped, 0);
}

#[test]
fn another_token_of_the_same_label_does_not_take_the_place_of_the_first() {
    let lab = Lab::new();
    let token = lab.token();
    make(&token, b"k");
    let (tokens, aside) = (lab.dir.path().join("tokens"), lab.dir.path().join("aside"));
    Pkcs11::new(softhsm()).unwrap().finalize().unwrap();
    fs::rename(&tokens, &aside).unwrap();
    fs::create_dir(&tokens).unwrap();
    lab.add_token("keygate");
    for _ in 0..3 {
        let gone = token.destroy_key(b"k", soon()).wait();
        assert!(matches!(gone, Err(Error::Unavailable { .. })), "{gone:?}");
    }
    let why = token.health().last_error.unwrap().what;
    assert!(why.contains("serial number"), "{why}");
}
