//! Every operation on a SoftHSM, and what a key looks like from outside.

mod lab;

use cryptoki::object::{Attribute, AttributeType};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use keygate_pkcs11::{Digest, Error, IvSource, KeyTemplate, Outcome, Padding, Usage, Wrapping};
use lab::{Lab, aes, make, open, rsa, seal, secret, session_aes, soon};

#[test]
fn a_token_is_found_by_label_or_serial_and_says_what_it_is() {
    let lab = Lab::new();
    let token = lab.token();
    let info = token.info(soon()).wait().unwrap();
    assert_eq!(info.manufacturer, "SoftHSM project");
    for name in ["CKM_AES_GCM", "CKM_AES_KEY_WRAP", "CKM_RSA_PKCS_OAEP", "CKM_AES_KEY_GEN"] {
        assert!(info.mechanisms.iter().any(|found| found == name), "{name} of {:?}", info.mechanisms);
    }
    let (module, session) = lab.somebody();
    let slot = module.get_slots_with_token().unwrap()[0];
    let serial = module.get_token_info(slot).unwrap().serial_number().to_owned();
    drop(session);
    drop(token);
    let mut config = lab.config();
    config.find = keygate_pkcs11::Find::Serial(serial);
    lab.start(config).connect(soon()).wait().unwrap();
}

#[test]
fn sealed_is_opened_and_another_aad_is_refused() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k1");
    for len in [0, 1, 32, 65_536] {
        let sealed = seal(&key, &vec![7; len]).wait().unwrap();
        assert_eq!((sealed.iv.len(), sealed.ciphertext.len()), (12, len + 16));
        assert_eq!(open(&key, &sealed).unwrap(), vec![7; len]);
    }
    let sealed = seal(&key, b"secret").wait().unwrap();
    assert_ne!(seal(&key, b"secret").wait().unwrap().iv, sealed.iv);
    let other = key.open(sealed.clone(), b"other".to_vec(), soon()).wait();
    assert_eq!(other.err(), Some(Error::AuthenticationFailed));
    let mut flipped = sealed;
    flipped.ciphertext[0] ^= 1;
    for _ in 0..20 {
        assert_eq!(open(&key, &flipped), Err(Error::AuthenticationFailed));
    }
    assert!(token.health().is_ready(), "wrong ciphertexts say nothing about the token");
    assert_eq!(token.counts().links, 1, "nor do they cost the link");
}

#[test]
fn keys_are_sensitive_and_nothing_gets_their_value() {
    let lab = Lab::new();
    let token = lab.token();
    make(&token, b"made");
    token.import_key(&aes(b"brought"), secret(&[3; 32]), soon()).wait().unwrap();
    token.generate_key_pair(&rsa(b"pair"), 2_048, soon()).wait().unwrap();
    let leaves = token.generate_key(&KeyTemplate { exportable: true, ..aes(b"leaves") }, 256, soon()).wait();
    assert!(matches!(leaves, Err(Error::InvalidInput(_))), "{leaves:?}");
    let (_module, session) = lab.somebody();
    let _ = session.login(UserType::User, Some(&AuthPin::new(lab::PIN.into())));
    for (id, extractable, local) in [("made", false, true), ("brought", false, false), ("pair", false, true)] {
        let wanted = [Attribute::Id(id.into()), Attribute::Private(true)];
        let objects = session.find_objects(&wanted).unwrap();
        assert_eq!(objects.len(), 1, "{id}");
        let types = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::Token, AttributeType::Local];
        let found = session.get_attributes(objects[0], &types).unwrap();
        let told = [true, extractable, true, local];
        assert_eq!(
            found,
            [
                Attribute::Sensitive(told[0]),
                Attribute::Extractable(told[1]),
                Attribute::Token(told[2]),
                Attribute::Local(told[3])
            ],
            "{id}"
        );
        let secrets = [AttributeType::Value, AttributeType::PrivateExponent, AttributeType::Prime1];
        assert_eq!(session.get_attributes(objects[0], &secrets).unwrap(), [], "{id}");
        let label = session.get_attributes(objects[0], &[AttributeType::Label]).unwrap();
        assert!(matches!(&label[0], Attribute::Label(text) if text.starts_with(b"keygate ")));
    }
}

#[test]
fn a_key_is_found_used_and_destroyed_by_its_id() {
    let lab = Lab::new();
    let token = lab.token();
    assert_eq!(token.find_key(b"k", soon()).wait().err(), Some(Error::NotFound));
    let sealed = seal(&make(&token, b"k"), b"text").wait().unwrap();
    assert_eq!(token.generate_key(&aes(b"k"), 256, soon()).wait().err(), Some(Error::AlreadyExists));
    assert_eq!(token.generate_key_pair(&rsa(b"k"), 2_048, soon()).wait().err(), Some(Error::AlreadyExists));
    let found = token.find_key(b"k", soon()).wait().unwrap();
    assert_eq!(open(&found, &sealed).unwrap(), b"text");
    token.destroy_key(b"k", soon()).wait().unwrap();
    assert_eq!(open(&found, &sealed), Err(Error::NotFound));
    assert_eq!(token.destroy_key(b"k", soon()).wait(), Err(Error::NotFound));
    assert!(token.health().is_ready());
}

#[test]
fn keys_go_out_wrapped_and_come_back_as_session_objects_and_as_token_objects() {
    let lab = Lab::new();
    let token = lab.token();
    let kek = make(&token, b"kek");
    for how in [Wrapping::AesKeyWrap, Wrapping::AesKeyWrapPad] {
        let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
        let sealed = seal(&key, b"text").wait().unwrap();
        let wrapped = kek.wrap_key(how, &key, soon()).wait().unwrap();
        assert_eq!(wrapped.len(), 40);
        let back = kek.unwrap_key(how, wrapped.clone(), &session_aes(false), soon()).wait().unwrap();
        assert_eq!(open(&back, &sealed).unwrap(), b"text");
        let refused = kek.wrap_key(how, &back, soon()).wait();
        assert!(matches!(refused, Err(Error::InvalidInput(_))), "it may not leave again: {refused:?}");
        let mut broken = wrapped.clone();
        broken[5] ^= 1;
        let refused = kek.unwrap_key(how, broken, &session_aes(false), soon()).wait();
        assert_eq!(refused.err(), Some(Error::AuthenticationFailed));
        let id = format!("{how:?}").into_bytes();
        let stays = kek.unwrap_key(how, wrapped, &aes(&id), soon()).wait().unwrap();
        assert_eq!(open(&stays, &sealed).unwrap(), b"text");
    }
    assert!(token.health().is_ready());
    assert_eq!(token.counts().links, 1);
}

/// Of a session key that wraps others and does not leave.
fn wraps() -> KeyTemplate {
    KeyTemplate { exportable: false, ..session_aes(true) }
}

#[test]
fn only_a_key_that_nobody_can_know_wraps_others() {
    let lab = Lab::new();
    let token = lab.token();
    let target = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let brought = token.import_key(&aes(b"brought"), secret(&[1; 32]), soon()).wait().unwrap();
    let leaves = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let kek = make(&token, b"kek");
    let wrapped = kek.wrap_key(Wrapping::AesKeyWrap, &target, soon()).wait().unwrap();
    let unwrapped = kek.unwrap_key(Wrapping::AesKeyWrap, wrapped, &wraps(), soon()).wait().unwrap();
    for (key, why) in [(&brought, "CKA_LOCAL"), (&leaves, "CKA_EXTRACTABLE"), (&unwrapped, "CKA_LOCAL")] {
        match key.wrap_key(Wrapping::AesKeyWrap, &target, soon()).wait() {
            Err(Error::InvalidInput(text)) => assert!(text.contains(why), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_pair_decrypts_oaep_and_what_softhsm_cannot_is_unsupported() {
    let lab = Lab::new();
    let token = lab.token();
    let pair = token.generate_key_pair(&rsa(b"pair"), 2_048, soon()).wait().unwrap();
    let der = pair.public_key(soon()).wait().unwrap();
    assert_eq!((der.len(), &der[..4]), (294, &[0x30, 0x82, 0x01, 0x22][..]));
    assert!(matches!(make(&token, b"aes").public_key(soon()).wait(), Err(Error::Unsupported(_))));
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let wrapped = pair.wrap_key(Wrapping::RsaOaep(Digest::Sha1), &key, soon()).wait().unwrap();
    assert_eq!(wrapped.len(), 256);
    let sealed = seal(&key, b"text").wait().unwrap();
    let how = Wrapping::RsaOaep(Digest::Sha1);
    let back = pair.unwrap_key(how, wrapped.clone(), &session_aes(false), soon()).wait().unwrap();
    assert_eq!(open(&back, &sealed).unwrap(), b"text");
    assert_eq!(pair.decrypt_oaep(Digest::Sha1, wrapped.clone(), soon()).wait().unwrap().len(), 32);
    let mut broken = wrapped.clone();
    broken[9] ^= 1;
    let refused = pair.decrypt_oaep(Digest::Sha1, broken, soon()).wait();
    assert_eq!(refused.err(), Some(Error::AuthenticationFailed));
    match pair.decrypt_oaep(Digest::Sha256, wrapped, soon()).wait() {
        Err(Error::Unsupported(text)) => assert!(text.contains("Sha256"), "{text}"),
        other => panic!("{other:?}"),
    }
    assert!(token.health().is_ready());
}

#[test]
fn a_key_is_wrapped_to_a_recipient_and_only_to_a_large_one() {
    let lab = Lab::new();
    let token = lab.token();
    let transport = token.generate_key_pair(&rsa(b"transport"), 4_096, soon()).wait().unwrap();
    let recipient = transport.public_key(soon()).wait().unwrap();
    let key = token.generate_key(&session_aes(true), 256, soon()).wait().unwrap();
    let sealed = seal(&key, b"text").wait().unwrap();
    let out = key.wrap_to(Digest::Sha1, &recipient, soon()).wait().unwrap();
    assert_eq!(out.len(), 512 + 40);
    // The two steps back.
    let how = Wrapping::RsaOaep(Digest::Sha1);
    let fresh = transport.unwrap_key(how, out[..512].to_vec(), &wraps(), soon()).wait().unwrap();
    let back = fresh.unwrap_key(Wrapping::AesKeyWrapPad, out[512..].to_vec(), &session_aes(false), soon()).wait();
    assert_eq!(open(&back.unwrap(), &sealed).unwrap(), b"text");
    let small = token.generate_key_pair(&rsa(b"small"), 2_048, soon()).wait().unwrap();
    let small = small.public_key(soon()).wait().unwrap();
    for bad in [&small[..], &recipient[1..], b""] {
        assert!(matches!(key.wrap_to(Digest::Sha1, bad, soon()).wait(), Err(Error::InvalidInput(_))));
    }
}

#[test]
fn random_bytes_are_those_asked_for() {
    let lab = Lab::new();
    let token = lab.token();
    for len in [0, 1, 32, 4_096] {
        assert_eq!(token.random(len, soon()).wait().unwrap().len(), len as usize);
    }
    let draw = || token.random(32, soon()).wait().unwrap();
    assert_ne!(draw().expose(), draw().expose());
}

#[test]
fn arguments_out_of_their_bounds_never_reach_the_token() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    let calls = token.counts().calls;
    let mut refused = vec![
        token.random(4_097, soon()).wait().err(),
        token.find_key(b"", soon()).wait().err(),
        token.find_key(&[0; 65], soon()).wait().err(),
        token.destroy_key(&[0; 65], soon()).wait().err(),
        token.generate_key(&aes(b"x"), 512, soon()).wait().err(),
        token.generate_key(&rsa(b"x"), 256, soon()).wait().err(),
        token.generate_key(&KeyTemplate { id: None, ..aes(b"x") }, 256, soon()).wait().err(),
        token.generate_key(&KeyTemplate { persistent: false, ..aes(b"x") }, 256, soon()).wait().err(),
        token.generate_key_pair(&rsa(b"x"), 1_024, soon()).wait().err(),
        token.import_key(&aes(b"x"), secret(&[1; 33]), soon()).wait().err(),
        key.seal(IvSource::Host, secret(&[0; 65_537]), vec![], soon()).wait().err(),
        key.seal(IvSource::Host, secret(b""), vec![0; 65_537], soon()).wait().err(),
        key.decrypt_cbc(&[0; 15], vec![0; 16], soon()).wait().err(),
        key.decrypt_cbc(&[0; 16], vec![0; 17], soon()).wait().err(),
        key.decrypt_oaep(Digest::Sha1, vec![0; 513], soon()).wait().err(),
        key.unwrap_key(Wrapping::AesKeyWrap, vec![0; 4_097], &session_aes(false), soon()).wait().err(),
        key.wrap_to(Digest::Sha1, &[0; 4_097], soon()).wait().err(),
    ];
    for iv in [11, 17] {
        let sealed = keygate_pkcs11::Sealed { iv: vec![0; iv], ciphertext: vec![0; 16] };
        refused.push(key.open(sealed, vec![], soon()).wait().err());
    }
    for (n, error) in refused.iter().enumerate() {
        assert!(matches!(error, Some(Error::InvalidInput(_))), "{n}: {error:?}");
    }
    assert_eq!(token.counts().calls, calls);
}

#[test]
fn a_key_does_what_its_usage_says_and_nothing_else() {
    let lab = Lab::new();
    let token = lab.token();
    let usage = Usage { encrypt: true, ..Usage::default() };
    let key = token.generate_key(&KeyTemplate { usage, ..aes(b"seals") }, 256, soon()).wait().unwrap();
    let sealed = seal(&key, b"text").wait().unwrap();
    assert!(matches!(open(&key, &sealed), Err(Error::InvalidInput(_))));
    assert!(token.health().is_ready());
}

/// RFC 4493, examples 1 to 4.
#[test]
fn a_key_that_may_computes_cmacs() {
    let lab = Lab::new();
    let token = lab.token();
    let key = [0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c];
    let usage = Usage { mac: true, decrypt: true, ..Usage::default() };
    let template = KeyTemplate { usage, ..session_aes(false) };
    let key = token.import_key(&template, secret(&key), soon()).wait().unwrap();
    let text = [
        0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a, 0xae, 0x2d,
        0x8a, 0x57, 0x1e, 0x03, 0xac, 0x9c, 0x9e, 0xb7, 0x6f, 0xac, 0x45, 0xaf, 0x8e, 0x51, 0x30, 0xc8, 0x1c, 0x46,
        0xa3, 0x5c, 0xe4, 0x11,
    ];
    for (len, begins) in [(0, [0xbb, 0x1d, 0x69, 0x29]), (16, [0x07, 0x0a, 0x16, 0xb4]), (40, [0xdf, 0xa6, 0x67, 0x47])]
    {
        let mac = key.mac(text[..len].to_vec(), soon()).wait().unwrap();
        assert_eq!((mac.len(), &mac.expose()[..4]), (16, &begins[..]), "of {len} bytes");
    }
    assert_eq!(key.mac(vec![1; 1_024], soon()).wait().unwrap().len(), 16);
    assert!(matches!(key.mac(vec![1; 1_025], soon()).wait(), Err(Error::InvalidInput(_))));
    // One that may not does not, and no pair may.
    assert!(matches!(make(&token, b"k").mac(vec![1], soon()).wait(), Err(Error::InvalidInput(_))));
    let pair = KeyTemplate { usage, ..rsa(b"pair") };
    assert!(matches!(token.generate_key_pair(&pair, 2_048, soon()).wait(), Err(Error::InvalidInput(_))));
}

#[test]
fn an_iv_of_the_token_is_refused_where_the_token_does_not_make_it() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    match key.seal(IvSource::Token, secret(b"text"), vec![], soon()).wait() {
        Err(Error::Unsupported(text)) => assert!(text.contains("set `iv` to `host`"), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_probe_tells_what_softhsm_can_do() {
    let lab = Lab::new();
    let token = lab.token();
    let probe = token.probe(soon()).wait().unwrap();
    for name in [
        "CKM_AES_KEY_GEN",
        "CKM_AES_GCM",
        "CKM_AES_CMAC",
        "CKM_AES_KEY_WRAP",
        "CKM_AES_KEY_WRAP_PAD",
        "CKM_AES_CBC_PAD",
        "CKM_RSA_PKCS_KEY_PAIR_GEN",
        "CKM_RSA_PKCS_OAEP",
    ] {
        assert_eq!(probe.mechanism(name), &Outcome::Works, "{name}");
    }
    assert_eq!(probe.mechanism("CKM_AES_KEY_WRAP_KWP"), &Outcome::Missing);
    assert_eq!((probe.padding, probe.token_iv), (Some(Padding::Rfc5649), false));
    let works: Vec<_> = probe.oaep.iter().map(|(digest, outcome)| (*digest, outcome.works())).collect();
    let told = [(Digest::Sha1, true), (Digest::Sha256, false), (Digest::Sha384, false), (Digest::Sha512, false)];
    assert_eq!(works, told);
    assert!(token.health().is_ready());
    let (_module, session) = lab.somebody();
    assert_eq!(session.find_objects(&[]).unwrap().len(), 0, "a probe leaves nothing");
}

#[test]
fn cbc_with_padding_is_decrypted() {
    let lab = Lab::new();
    let token = lab.token();
    let key = make(&token, b"k");
    let (_module, session) = lab.somebody();
    let _ = session.login(UserType::User, Some(&AuthPin::new(lab::PIN.into())));
    let object = session.find_objects(&[Attribute::Id(b"k".to_vec())]).unwrap()[0];
    let mechanism = cryptoki::mechanism::Mechanism::AesCbcPad([9; 16]);
    let out = session.encrypt(&mechanism, object, b"a nonce").unwrap();
    assert_eq!(key.decrypt_cbc(&[9; 16], out.clone(), soon()).wait().unwrap().expose(), b"a nonce");
    let mut broken = out;
    *broken.last_mut().unwrap() ^= 1;
    let refused = key.decrypt_cbc(&[9; 16], broken, soon()).wait();
    assert!(refused.err().is_none_or(|e| e == Error::AuthenticationFailed));
}
