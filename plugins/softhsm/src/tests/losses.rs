//! What goes wrong on the way to a token and back: nothing is lost, nothing is left without a name, and every failure says
//! what it is.

use keygate_plugin_sdk::host::pkcs11;
use keygate_plugin_sdk::testing::token::rejected;

use super::*;

fn gone() -> pkcs11::Error {
    pkcs11::Error::Unavailable("the cable".into())
}

#[test]
fn a_key_whose_making_was_never_answered_is_found_again() {
    let (backend, token) = keeping("token");
    let generate = || backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Root));
    mark(&backend);
    token.lose_answer("generate-key", gone());
    assert!(unavailable(generate()).contains("the cable"));
    assert_eq!(kept(&token).len(), 1, "it was made");
    let key = key(generate().unwrap());
    assert_eq!(kept(&token).len(), 1, "and is found");
    let wrapped = backend.wrap(&call(), &key, b"text", b"").unwrap();
    assert_eq!(self::key(generate().unwrap()), key, "the same every time");
    assert_eq!(*backend.unwrap(&call(), &key, &wrapped, b"").unwrap(), b"text");
    // An orphan has a name: whoever knows the identity makes its key-ref again, and destroys it.
    backend.destroy_key(&call(), &key).unwrap();
    assert!(kept(&token).is_empty());
}

#[test]
fn an_import_whose_answer_was_lost_is_found_again_if_it_is_the_same() {
    let (backend, token) = keeping("token");
    let import = |byte| backend.import_key(&call(), &identity(), &spec("AES", 32, KeyKind::Root), &[byte; 32]);
    mark(&backend);
    token.lose_answer("import-key", gone());
    assert!(unavailable(import(7)).contains("the cable"));
    let found = key(import(7).unwrap());
    assert_eq!(kept(&token).len(), 1);
    let wrapped = backend.wrap(&call(), &found, b"text", b"").unwrap();
    // Other material under the same identity is no lost answer: nothing is replaced, nothing taken for it.
    assert!(matches!(import(8), Err(Error::Internal(text)) if text.contains("another key")));
    assert_eq!(*backend.unwrap(&call(), &found, &wrapped, b"").unwrap(), b"text");
    // A key that somebody knows is never taken for one that nobody does.
    let made = root(&backend, 32);
    assert_ne!(made.reference, found.reference);
    assert_eq!(backend.unwrap(&call(), &made, &wrapped, b""), Err(Error::AuthenticationFailed));
    assert_eq!(kept(&token).len(), 2);
}

#[test]
fn a_key_pair_whose_making_was_never_answered_is_found_again() {
    let (backend, token) = keeping("token");
    token.set_primes(&super::imports::primes());
    let make = || backend.create_import_key(&call(), &identity(), "RSA-4096");
    mark(&backend);
    token.lose_answer("generate-key-pair", gone());
    assert!(unavailable(make()).contains("the cable"));
    let (one, two) = (make().unwrap(), make().unwrap());
    assert_eq!((one.private, one.public), (two.private, two.public));
    assert_eq!(kept(&token).len(), 1);
}

#[test]
fn a_lost_answer_leaves_nothing_behind_where_keys_are_wrapped() {
    let (backend, token) = keeping("wrapped");
    root(&backend, 32);
    let before = token.objects();
    for function in ["generate-key", "wrap-key", "seal", "find-key", "token"] {
        token.lose_answer(function, gone());
        let lost = backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Root));
        assert!(unavailable(lost).contains("the cable"), "{function}");
        token.heal();
        assert_eq!(token.objects(), before, "{function}");
    }
}

#[test]
fn the_answer_to_making_a_wrapping_key_may_be_lost_too() {
    let (backend, token) = keeping("wrapped");
    let standard = || backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Standard));
    token.lose_answer("generate-key", gone());
    assert!(unavailable(standard()).contains("keygate/seal/1"));
    let key = key(standard().unwrap());
    assert_eq!(token.persistent().len(), 1);
    backend.export_key(&call(), &key).unwrap();
    // Two calls at once: the one that comes second takes what the first made.
    token.fail("find-key", pkcs11::Error::NotFound);
    let second = self::key(standard().unwrap());
    assert_eq!(token.persistent().len(), 1);
    backend.export_key(&call(), &second).unwrap();
}

#[test]
fn a_key_that_is_being_made_at_this_moment_is_waited_for() {
    let busy = |answer: Result<Vec<u8>, Error>| assert_eq!(answer, Err(Error::Busy(Some(500))));
    let (backend, token) = keeping("token");
    let root = spec("AES", 32, KeyKind::Root);
    // The first that is made is the sealing key.
    token.fail("generate-key", pkcs11::Error::AlreadyExists);
    busy(backend.generate_key(&call(), &identity(), &root));
    mark(&backend);
    token.fail("generate-key", pkcs11::Error::AlreadyExists);
    busy(backend.generate_key(&call(), &identity(), &root));
    token.fail("import-key", pkcs11::Error::AlreadyExists);
    busy(backend.import_key(&call(), &identity(), &root, &[7; 32]));
    token.fail("generate-key-pair", pkcs11::Error::AlreadyExists);
    busy(backend.create_import_key(&call(), &identity(), "RSA-4096").map(|pair| pair.private));
    assert!(kept(&token).is_empty(), "and nothing is believed in that is not there");
}

#[test]
fn a_wrapping_key_that_is_made_is_told() {
    let (backend, token) = keeping("wrapped");
    root(&backend, 32);
    let lines = testing::take_log();
    assert_eq!(lines.len(), 2);
    assert!(lines.iter().all(|line| line.message.contains("back the token up")), "{lines:?}");
    token.take_calls();
    other_root(&backend);
    assert!(testing::take_log().is_empty());
}

#[test]
fn an_empty_token_is_unavailable_and_never_a_reason_to_forget() {
    for keep in KEEPS {
        let (backend, token) = keeping(keep);
        let (key, standard) = (root(&backend, 32), secret(&backend, b"x"));
        let wrapped = backend.wrap(&call(), &key, b"text", b"").unwrap();
        token.clear();
        let answer = backend.unwrap(&call(), &key, &wrapped, b"");
        if keep == "token" {
            assert_eq!(answer, Err(Error::KeyNotFound));
        } else {
            assert!(unavailable(answer).contains("`keygate/seal/1`"));
        }
        assert!(unavailable(backend.export_key(&call(), &standard)).contains("`keygate/seal/1`"));
        assert!(token.objects().is_empty(), "reading makes no keys");
    }
}

#[test]
fn a_key_counts_as_destroyed_only_in_a_token_that_is_known() {
    let (backend, token) = keeping("token");
    token.set_primes(&super::imports::primes());
    let (key, pair) = (root(&backend, 32), backend.create_import_key(&call(), &others()[2], "RSA-4096").unwrap());
    let pair = Key { identity: others()[2].clone(), reference: pair.private };
    // The answer is lost: the second time it is gone, and the token is the right one.
    token.lose_answer("destroy-key", gone());
    assert!(unavailable(backend.destroy_key(&call(), &key)).contains("the cable"));
    assert_eq!(backend.destroy_key(&call(), &key), Ok(()));
    // A version that nothing was sealed under yet is no other token.
    let next = configured(r#""keep":"token","wrapping_key_version":3"#);
    assert_eq!(next.destroy_key(&call(), &key), Ok(()));
    // An empty token, or another's.
    token.clear();
    for key in [&key, &pair] {
        for backend in [&backend, &next] {
            let text = unavailable(backend.destroy_key(&call(), key));
            assert!(text.contains("`keygate/seal/") && text.contains("Nothing was destroyed"), "{text}");
        }
    }
    assert!(token.objects().is_empty(), "and it does not become known by that");
    // Nor is one believed that cannot be asked.
    mark(&backend);
    token.fail("find-key", gone());
    assert!(unavailable(backend.destroy_key(&call(), &key)).contains("the cable"));
}

#[test]
fn where_the_plugin_makes_no_keys_of_its_own_nothing_is_kept_in_a_token_without_them() {
    let (backend, token) = rig(r#""keep":"token","make_wrapping_keys":false"#);
    let text = unavailable(backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Root)));
    assert!(text.contains("`keygate/seal/1`"), "{text}");
    let text = unavailable(backend.import_key(&call(), &identity(), &spec("AES", 32, KeyKind::Root), &[7; 32]));
    assert!(text.contains("`keygate/seal/1`"), "{text}");
    assert!(token.objects().is_empty());
}

#[test]
fn a_wrapping_key_that_is_another_is_told_from_a_damaged_key_ref() {
    let (backend, _token) = keeping("wrapped");
    let key = root(&backend, 32);
    let hsm = backend.hsm().unwrap();
    hsm.token().destroy_key(b"keygate/wrap/1").unwrap();
    assert!(unavailable(backend.wrap(&call(), &key, b"", b"")).contains("`keygate/wrap/1`"));
    other_root(&backend);
    let text = unavailable(backend.wrap(&call(), &key, b"", b""));
    assert!(text.contains("is not the one") && text.contains("restore"), "{text}");
    // And a sealing key that is another cannot be told from damage.
    hsm.token().destroy_key(b"keygate/seal/1").unwrap();
    other_root(&backend);
    assert_eq!(backend.wrap(&call(), &key, b"", b""), Err(Error::InvalidKeyRef));
}

#[test]
fn wrapping_keys_are_not_made_where_the_operator_says_so() {
    let (backend, token) = rig(r#""make_wrapping_keys":false"#);
    let text = unavailable(backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Root)));
    assert!(text.contains("`keygate/wrap/1`") && text.contains("`hsm`"), "{text}");
    assert!(token.objects().is_empty());
    root(&configured(""), 32);
    root(&backend, 32);
}

/// Every error of the contract, and what it becomes.
#[test]
fn every_error_of_the_token_is_told_for_what_it_is() {
    type Check = fn(&Error) -> bool;
    let unavailable: Check = |error| matches!(error, Error::Unavailable(_));
    let internal: Check = |error| matches!(error, Error::Internal(_));
    let table: [(pkcs11::Error, Check, &str); 11] = [
        (pkcs11::Error::NotGranted, unavailable, "grants"),
        (pkcs11::Error::NotFound, unavailable, "gone"),
        (pkcs11::Error::AlreadyExists, internal, "id"),
        (pkcs11::Error::AuthenticationFailed, internal, "belong together"),
        (pkcs11::Error::InvalidInput("`iv`".into()), internal, "`iv`"),
        (pkcs11::Error::Unsupported("CKM_X".into()), unavailable, "CKM_X"),
        (pkcs11::Error::Busy(None), |error| *error == Error::Busy(None), ""),
        (pkcs11::Error::Busy(Some(9)), |error| *error == Error::Busy(Some(9)), ""),
        (gone(), unavailable, "the cable"),
        (rejected("C_Encrypt", 0x30, "CKR_DEVICE_ERROR"), unavailable, "C_Encrypt answered CKR_DEVICE_ERROR (0x30)"),
        (rejected("C_Encrypt", 0x8000_0001, "vendor-defined"), unavailable, "0x80000001"),
    ];
    for keep in KEEPS {
        let (backend, token) = keeping(keep);
        let key = root(&backend, 32);
        for (error, is_right, part) in &table {
            token.fail("seal", error.clone());
            let told = backend.wrap(&call(), &key, b"x", b"").unwrap_err();
            assert!(is_right(&told), "{error:?} became {told:?}");
            let text = format!("{told:?}");
            assert!(text.contains(part), "{part}: {text}");
            // Nothing of it is for the caller.
            assert!(!matches!(told, Error::InvalidInput(_) | Error::Unsupported(_)));
        }
    }
}

/// The same error of any function never becomes an answer about the key or the ciphertext.
#[test]
fn trouble_is_never_a_statement_about_a_key() {
    for keep in KEEPS {
        let (backend, token) = keeping(keep);
        let (key, standard) = (root(&backend, 32), secret(&backend, b"x"));
        let wrapped = backend.wrap(&call(), &key, b"text", b"").unwrap();
        for function in ["token", "find-key", "open", "unwrap-key", "seal", "destroy-key", "random", "wrap-key"] {
            for error in [gone(), pkcs11::Error::Busy(Some(5)), rejected("C_X", 0x32, "CKR_DEVICE_REMOVED")] {
                let check = |answer: Option<Error>| {
                    let fine = matches!(answer, None | Some(Error::Unavailable(_) | Error::Busy(Some(5))));
                    assert!(fine, "{keep} {function}: {answer:?}");
                };
                let fail = || token.fail_times(function, error.clone(), 9);
                fail();
                check(backend.wrap(&call(), &key, b"x", b"").err());
                check(backend.unwrap(&call(), &key, &wrapped, b"").err());
                check(backend.export_key(&call(), &standard).err());
                fail();
                check(backend.generate_data_key(&call(), &key, 32, b"").err());
                check(backend.rewrap(&call(), &key, &key, &wrapped, b"", b"").err());
                check(backend.generate_key(&call(), &others()[0], &spec("AES", 16, KeyKind::Root)).err());
                check(backend.random(&call(), 8).err());
                fail();
                check(backend.probe(&call()).err());
                token.heal();
            }
        }
        assert_eq!(*backend.unwrap(&call(), &key, &wrapped, b"").unwrap(), b"text", "and service returns");
        backend.probe(&call()).unwrap();
    }
}

#[test]
fn a_token_that_is_not_granted_is_named() {
    testing::reset(42);
    let backend = configured("");
    let text = unavailable(backend.probe(&call()));
    assert!(text.contains("`hsm`") && text.contains("grants"), "{text}");
}
