//! What every backend does, with both ways of keeping keys.

use keygate_plugin_sdk::host::pkcs11::Usage;

use super::*;
use crate::wrapping::OVERHEAD;

#[test]
fn wraps_and_unwraps_every_size() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        for bytes in [16, 24, 32] {
            let key = root(&backend, bytes);
            for len in [0, 1, 15, 16, 17, 32, 64, 4_096, 65_535] {
                let plaintext = vec![0x5a; len];
                for aad in [b"".as_slice(), b"aad", &[1; 900], &[1; 65_536]] {
                    let wrapped = backend.wrap(&call(), &key, &plaintext, aad).unwrap();
                    assert!(wrapped.len() <= len + OVERHEAD);
                    assert_eq!(*backend.unwrap(&call(), &key, &wrapped, aad).unwrap(), plaintext);
                    assert_ne!(wrapped, backend.wrap(&call(), &key, &plaintext, aad).unwrap(), "two wraps differ");
                }
            }
        }
    }
}

#[test]
fn a_wrap_takes_one_call_on_the_data_and_no_search_more_than_it_must() {
    let (backend, token) = keeping("token");
    let kept = root(&backend, 32);
    token.take_calls();
    backend.wrap(&call(), &kept, b"text", b"").unwrap();
    assert_eq!(token.take_calls(), ["token", "find-key", "seal"]);
    let (backend, token) = keeping("wrapped");
    let wrapped = root(&backend, 32);
    token.take_calls();
    backend.wrap(&call(), &wrapped, b"text", b"").unwrap();
    assert_eq!(token.take_calls(), ["token", "find-key", "open", "find-key", "unwrap-key", "seal"]);
}

#[test]
fn what_is_in_the_token_cannot_leave_it() {
    let (backend, token) = keeping("token");
    root(&backend, 32);
    let objects = kept(&token);
    assert_eq!((objects.len(), token.objects().len()), (1, 2), "and the sealing key, by which the token is known");
    assert!(objects.iter().all(|object| !object.exportable && object.local));
    assert_eq!(objects[0].usage, Usage::ENCRYPT | Usage::DECRYPT);

    let (backend, token) = keeping("wrapped");
    root(&backend, 32);
    other_root(&backend);
    assert_eq!(token.objects(), token.persistent(), "session objects end with the call");
    let mut ids: Vec<_> = token.persistent().iter().map(|object| object.id.clone().unwrap()).collect();
    ids.sort();
    assert_eq!(ids, [b"keygate/seal/1".to_vec(), b"keygate/wrap/1".to_vec()]);
    for object in token.persistent() {
        assert!(!object.exportable && object.local);
        // Never to wrap and to decrypt.
        let both = (object.usage & (Usage::WRAP | Usage::UNWRAP), object.usage & (Usage::ENCRYPT | Usage::DECRYPT));
        assert!(both.0 == Usage::empty() || both.1 == Usage::empty(), "{object:?}");
    }
}

#[test]
fn imported_root_keys_work_like_generated_ones() {
    for keep in KEEPS {
        let (backend, token) = keeping(keep);
        for bytes in [16, 24, 32] {
            let material = vec![9; bytes];
            let spec = spec("AES", bytes, KeyKind::Root);
            let key = key(backend.import_key(&call(), &identity(), &spec, &material).unwrap());
            assert!(!key.reference.windows(bytes).any(|part| part == material));
            let wrapped = backend.wrap(&call(), &key, b"text", b"aad").unwrap();
            assert_eq!(*backend.unwrap(&call(), &key, &wrapped, b"aad").unwrap(), b"text");
            for len in [0, bytes - 1, bytes + 1] {
                let refused = backend.import_key(&call(), &identity(), &spec, &vec![9; len]);
                assert!(is_invalid(&refused), "{len} bytes for {bytes}");
            }
        }
        assert!(token.persistent().iter().all(|object| !object.exportable));
    }
}

#[test]
fn same_material_in_two_keys_reads_nothing_of_the_other() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let spec = spec("AES", 32, KeyKind::Root);
        let one = key(backend.import_key(&call(), &identity(), &spec, &[9; 32]).unwrap());
        let wrapped = backend.wrap(&call(), &one, b"text", b"aad").unwrap();
        for identity in others() {
            let reference = backend.import_key(&call(), &identity, &spec, &[9; 32]).unwrap();
            let other = Key { identity, reference };
            assert_eq!(backend.unwrap(&call(), &other, &wrapped, b"aad"), Err(Error::AuthenticationFailed));
        }
    }
}

#[test]
fn a_wrong_aad_or_a_damaged_ciphertext_is_refused() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let key = root(&backend, 32);
        let wrapped = backend.wrap(&call(), &key, b"text", b"aad").unwrap();
        let refused = |wrapped: &[u8], aad: &[u8]| {
            assert_eq!(backend.unwrap(&call(), &key, wrapped, aad), Err(Error::AuthenticationFailed));
        };
        for aad in [b"".as_slice(), b"aa", b"aad\0", b"Aad", &[0; 2_000]] {
            refused(&wrapped, aad);
        }
        for bit in 0..wrapped.len() * 8 {
            let mut bad = wrapped.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            refused(&bad, b"aad");
        }
        for len in 0..wrapped.len() {
            refused(&wrapped[..len], b"aad");
        }
        refused(&[wrapped.as_slice(), b"\0"].concat(), b"aad");
        refused(&[wrapped.as_slice(), &[0; 70_000]].concat(), b"aad");
        let long = backend.wrap(&call(), &key, b"text", &[7; 3_000]).unwrap();
        refused(&long, &[7; 3_001]);
        refused(&long, &[8; 3_000]);
        assert_eq!(backend.unwrap(&call(), &other_root(&backend), &wrapped, b"aad"), Err(Error::AuthenticationFailed));
    }
}

#[test]
fn a_moved_or_damaged_key_ref_is_refused() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let key = root(&backend, 32);
        let open = |key: &Key| backend.wrap(&call(), key, b"text", b"").map(|_| ());
        for identity in others() {
            let moved = Key { identity, ..key.clone() };
            assert_eq!(open(&moved), Err(Error::InvalidKeyRef));
            assert_eq!(backend.export_key(&call(), &moved).err(), Some(Error::InvalidKeyRef));
        }
        for bit in 0..key.reference.len() * 8 {
            let mut bad = key.clone();
            bad.reference[bit / 8] ^= 1 << (bit % 8);
            match open(&bad).unwrap_err() {
                Error::InvalidKeyRef => {}
                // The version of another sealing key, which is not there.
                Error::Unavailable(text) if keep == "wrapped" && (4..8).contains(&(bit / 8)) => {
                    assert!(text.contains("keygate/seal/"), "{text}");
                }
                // The name of a key of another origin or size, which is not there.
                Error::KeyNotFound if keep == "token" && matches!(bit / 8, 6 | 7) => {}
                other => panic!("{keep}: bit {bit}: {other:?}"),
            }
        }
        for len in 0..key.reference.len() {
            let bad = Key { reference: key.reference[..len].to_vec(), ..key.clone() };
            assert_eq!(open(&bad), Err(Error::InvalidKeyRef), "{len} bytes");
        }
        assert_eq!(
            open(&Key { reference: [key.reference.as_slice(), &[0]].concat(), ..key.clone() }),
            Err(Error::InvalidKeyRef)
        );
        assert_eq!(open(&key), Ok(()));
    }
}

#[test]
fn what_one_instance_imported_does_not_stand_in_for_another_key() {
    // The attack: the store's bytes of a key whose material is known are put where another key's are.
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let [foreign, ..] = others();
        let spec = spec("AES", 32, KeyKind::Root);
        let known = backend.import_key(&call(), &foreign, &spec, &[9; 32]).unwrap();
        let victim = root(&backend, 32);
        let stolen = Key { reference: known.clone(), ..victim.clone() };
        assert_eq!(backend.wrap(&call(), &stolen, b"text", b""), Err(Error::InvalidKeyRef));
        if keep == "token" {
            // Forged to fit: a CKA_ID of the victim's identity that says "imported". There is no such object.
            let mut forged = victim.clone();
            forged.reference[6] = 2;
            assert_eq!(backend.wrap(&call(), &forged, b"text", b""), Err(Error::KeyNotFound));
        }
    }
}

#[test]
fn a_root_key_cannot_be_passed_off_as_a_standard_key() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let root = root(&backend, 32);
        assert!(is_unsupported(&backend.export_key(&call(), &root)));
        let at = if keep == "token" { 4 } else { 1 };
        for purpose in [0, 2, 3, 4, 5] {
            let mut forged = root.clone();
            forged.reference[at] = purpose;
            assert_eq!(backend.export_key(&call(), &forged), Err(Error::InvalidKeyRef), "{keep} {purpose}");
        }
        // A wrapped root key said to be a payload, with the purpose to match.
        let mut forged = root.clone();
        forged.reference[1..4].copy_from_slice(&[2, 1, 0]);
        assert_eq!(backend.export_key(&call(), &forged), Err(Error::InvalidKeyRef));
    }
}

#[test]
fn standard_keys_come_back_and_wrap_nothing() {
    for keep in KEEPS {
        let (backend, token) = keeping(keep);
        for len in [1, 16, 32, 100, 4_096, 7_500] {
            let material = vec![0x33; len];
            let key = secret(&backend, &material);
            assert_eq!(*backend.export_key(&call(), &key).unwrap(), material);
            assert!(key.reference.len() <= 16_384);
            assert!(len < 16 || !key.reference.windows(len).any(|part| part == material));
            assert!(is_unsupported(&backend.wrap(&call(), &key, b"", b"")));
            assert!(is_unsupported(&backend.unwrap(&call(), &key, &[0; 64], b"")));
            assert!(is_unsupported(&backend.generate_data_key(&call(), &key, 32, b"")));
        }
        let generate = |spec| backend.generate_key(&call(), &identity(), &spec);
        let aes = key(generate(spec("AES", 32, KeyKind::Standard)).unwrap());
        assert_eq!(backend.export_key(&call(), &aes).unwrap().len(), 32);
        assert!(token.persistent().iter().all(|object| object.id.as_deref() == Some(b"keygate/seal/1")));

        let import = |spec: KeySpec, len| backend.import_key(&call(), &identity(), &spec, &vec![1; len]);
        assert!(is_invalid(&import(spec("SECRET", 7_501, KeyKind::Standard), 7_501)));
        assert!(is_invalid(&import(spec("SECRET", 32, KeyKind::Root), 32)));
        assert!(is_unsupported(&generate(spec("SECRET", 32, KeyKind::Standard))));
    }
}

#[test]
fn data_keys() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let key = root(&backend, 32);
        for len in 16..=64 {
            let made = backend.generate_data_key(&call(), &key, len, b"aad").unwrap();
            assert_eq!(made.plaintext.len(), len as usize);
            assert_eq!(backend.unwrap(&call(), &key, &made.wrapped, b"aad").unwrap(), made.plaintext);
        }
        for len in [0, 15, 65, u32::MAX] {
            assert!(is_invalid(&backend.generate_data_key(&call(), &key, len, b"")));
        }
    }
}

#[test]
fn rewrap_moves_a_ciphertext() {
    for keep in KEEPS {
        let (backend, _) = keeping(keep);
        let (source, target) = (root(&backend, 16), other_root(&backend));
        let wrapped = backend.wrap(&call(), &source, b"text", b"old").unwrap();
        let moved = backend.rewrap(&call(), &source, &target, &wrapped, b"old", b"new").unwrap();
        assert_eq!(*backend.unwrap(&call(), &target, &moved, b"new").unwrap(), b"text");
        assert_eq!(backend.unwrap(&call(), &source, &moved, b"new"), Err(Error::AuthenticationFailed));
        let rewrap = |target: &Key, aad: &[u8]| backend.rewrap(&call(), &source, target, &wrapped, aad, b"new");
        assert_eq!(rewrap(&target, b"wrong"), Err(Error::AuthenticationFailed));
        assert_eq!(rewrap(&key(vec![0; 80]), b"old"), Err(Error::InvalidKeyRef));
        assert!(is_invalid(&backend.rewrap(&call(), &source, &target, &wrapped, b"old", &[0; 65_537])));
    }
}

#[test]
fn keys_of_both_ways_are_read_whatever_is_set() {
    testing::reset(42);
    let _token = grant("hsm");
    let (objects, wrapped) = (configured(r#""keep":"token""#), configured(r#""keep":"wrapped""#));
    for (maker, reader) in [(&objects, &wrapped), (&wrapped, &objects)] {
        let key = root(maker, 32);
        let sealed = maker.wrap(&call(), &key, b"text", b"").unwrap();
        assert_eq!(*reader.unwrap(&call(), &key, &sealed, b"").unwrap(), b"text");
    }
}

#[test]
fn every_way_of_wrapping_works_and_stays_readable() {
    testing::reset(42);
    let _token = grant("hsm");
    let backend = |wrap: &str| configured(&format!(r#""wrap":"{wrap}""#));
    let ways = ["aes-key-wrap", "aes-key-wrap-pad", "aes-key-wrap-kwp"];
    for (number, wrap) in ways.iter().enumerate() {
        let maker = backend(wrap);
        let key = root(&maker, 24);
        assert_eq!(key.reference[3] as usize, number + 1);
        let sealed = maker.wrap(&call(), &key, b"text", b"").unwrap();
        for other in ways {
            let reader = backend(other);
            assert_eq!(*reader.unwrap(&call(), &key, &sealed, b"").unwrap(), b"text");
            let resealed = reader.reseal_key(&call(), &key).unwrap();
            assert_eq!(resealed.is_some(), other != *wrap);
            if let Some(reference) = resealed {
                let moved = Key { reference, ..key.clone() };
                assert_eq!(*reader.unwrap(&call(), &moved, &sealed, b"").unwrap(), b"text");
            }
        }
    }
}

#[test]
fn reseal_moves_to_the_newest_wrapping_keys() {
    let (old, token) = keeping("wrapped");
    let keys = [root(&old, 32), secret(&old, b"a secret")];
    let sealed = old.wrap(&call(), &keys[0], b"text", b"").unwrap();
    let new = configured(r#""wrapping_key_version":2"#);
    assert_eq!(*new.unwrap(&call(), &keys[0], &sealed, b"").unwrap(), b"text", "version 1 is read still");
    let moved = keys.each_ref().map(|key| {
        let reference = new.reseal_key(&call(), key).unwrap().expect("under version 2");
        assert_eq!(reference[4..8], [0, 0, 0, 2]);
        let moved = Key { reference, ..key.clone() };
        assert_eq!(new.reseal_key(&call(), &moved), Ok(None));
        assert_eq!(old.reseal_key(&call(), key), Ok(None));
        moved
    });
    // The old ones can go.
    let hsm = new.hsm().unwrap();
    for id in ["keygate/seal/1", "keygate/wrap/1"] {
        hsm.token().destroy_key(id.as_bytes()).unwrap();
    }
    assert_eq!(token.persistent().len(), 2);
    assert_eq!(*new.unwrap(&call(), &moved[0], &sealed, b"").unwrap(), b"text");
    assert_eq!(*new.export_key(&call(), &moved[1]).unwrap(), b"a secret");
    assert!(is_unsupported(&new.export_key(&call(), &moved[0])), "it is a root key still");
    assert!(unavailable(new.unwrap(&call(), &keys[0], &sealed, b"")).contains("keygate/seal/1"));

    let (backend, _) = keeping("token");
    assert_eq!(backend.reseal_key(&call(), &root(&backend, 32)), Ok(None), "nothing seals it");
    let moved = Key { identity: others()[0].clone(), ..root(&backend, 32) };
    assert_eq!(backend.reseal_key(&call(), &moved), Err(Error::InvalidKeyRef));
}

#[test]
fn destroying_is_done_also_a_second_time() {
    let (backend, token) = keeping("token");
    let (key, other) = (root(&backend, 32), other_root(&backend));
    let moved = Key { identity: other.identity.clone(), ..key.clone() };
    assert_eq!(backend.destroy_key(&call(), &moved), Err(Error::InvalidKeyRef), "another's key is not destroyed");
    assert_eq!(kept(&token).len(), 2);
    for _ in 0..2 {
        assert_eq!(backend.destroy_key(&call(), &key), Ok(()));
    }
    assert_eq!(kept(&token).len(), 1);
    assert_eq!(backend.wrap(&call(), &key, b"", b""), Err(Error::KeyNotFound));
    backend.wrap(&call(), &other, b"", b"").unwrap();

    let (backend, token) = keeping("wrapped");
    let key = root(&backend, 32);
    assert_eq!(backend.destroy_key(&call(), &key), Ok(()));
    assert_eq!(token.persistent().len(), 2, "the key-ref was all there was");
    // The host keeps what it unwrapped: that is let go.
    assert_eq!(token.forgotten().len(), 1);
    let other = other_root(&backend);
    token.take_calls();
    backend.destroy_key(&call(), &other).unwrap();
    assert_eq!(token.take_calls(), ["token", "find-key", "open", "find-key", "forget-unwrapped"]);
    assert_ne!(token.forgotten()[0], token.forgotten()[1]);
    // A standard key was never unwrapped, and a token that is away has nothing that lives on.
    backend.destroy_key(&call(), &secret(&backend, b"x")).unwrap();
    for function in ["token", "find-key", "open"] {
        token.fail(function, keygate_plugin_sdk::host::pkcs11::Error::Unavailable("the cable".into()));
        assert_eq!(backend.destroy_key(&call(), &key), Ok(()), "{function}");
        token.heal();
    }
    assert_eq!(token.forgotten().len(), 2);
    assert_eq!(backend.destroy_key(&call(), &self::key(vec![1, 2, 3])), Err(Error::InvalidKeyRef));
}

#[test]
fn bounds() {
    let (backend, _) = rig(r#""max_plaintext":16384"#);
    let key = root(&backend, 32);
    assert!(is_invalid(&backend.wrap(&call(), &key, &[0; 16_385], b"")));
    assert!(is_invalid(&backend.wrap(&call(), &key, b"", &[0; 65_537])));
    assert!(is_invalid(&backend.generate_data_key(&call(), &key, 32, &[0; 65_537])));
    assert_eq!(backend.random(&call(), 4_096).unwrap().len(), 4_096);
    assert!(backend.random(&call(), 0).unwrap().is_empty());
    assert!(is_invalid(&backend.random(&call(), 4_097)));
    let description = backend.describe();
    assert_eq!((description.max_plaintext, description.max_material), (16_384, 7_500));
    assert_eq!(description.algorithms, ["AES", "SECRET"]);
    assert_eq!(description.features, ["import-token"]);
    let all = configured(r#""import_keys":"off","transport":"sha1","wrap":"aes-key-wrap-kwp""#);
    assert_eq!(all.describe().features, ["transport"]);
}
