//! Ciphertexts of the software backend, under keys that came from it.
//!
//! Those here are the software backend's own known answers, made with another implementation: root keys of the numbers from 0
//! up, AAD `additional data`.

use keygate_plugin_sdk::host::pkcs11::{Digest, Usage};
use keygate_plugin_sdk::testing::token::Control;

use super::*;

const CIPHERTEXTS: [(usize, &str); 3] = [
    (16, "b15857565554535251504f4e4d4c4b4a4948474645444342419de55202c53a1814b09d6f71d68471d607faa108c500b6d067"),
    (24, "b15857565554535251504f4e4d4c4b4a49484746454443424137837e9b5bdf73288dd635cbdca63bfa376b1a4d4efaa879a9"),
    (32, "b15857565554535251504f4e4d4c4b4a494847464544434241a1a6a0d412938c1707c13cd62bebb38efc71e39d0a0fe021fe"),
];
const SETTINGS: [&str; 2] = [
    r#""keep":"wrapped","wrap":"aes-key-wrap-kwp","transport":"sha256""#,
    r#""keep":"token","wrap":"aes-key-wrap-kwp","transport":"sha256""#,
];

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// A key of these bytes that comes by transport.
fn arrived(backend: &SoftHsm, token: &Control, bytes: usize) -> Key {
    token.grant_transport(true);
    token.set_primes(&super::imports::primes());
    let to = KeyIdentity { instance_id: INSTANCE.into(), key_id: OTHER.into(), version_id: OTHER.into() };
    let pair = backend.create_transport_key(&call(), &to).unwrap();
    let material: Vec<u8> = (0..bytes as u8).collect();
    let hsm = backend.hsm().unwrap();
    let passing = hsm.token().import_key(&crate::hsm::session("AES", Usage::ENCRYPT, true), &material).unwrap();
    let sealed = [&[1, 2], passing.wrap_to(Digest::Sha256, &pair.public).unwrap().as_slice()].concat();
    let pair = Key { identity: to, reference: pair.private };
    let root = spec("AES", bytes, KeyKind::Root);
    key(backend.open_transport(&call(), &pair, &identity(), &root, &sealed).unwrap())
}

#[test]
fn a_key_that_came_from_the_software_backend_opens_what_it_wrapped_there() {
    for settings in SETTINGS {
        for (bytes, wrapped) in CIPHERTEXTS {
            let (backend, token) = rig(settings);
            let root = arrived(&backend, &token, bytes);
            let wrapped = unhex(wrapped);
            assert_eq!(*backend.unwrap(&call(), &root, &wrapped, b"additional data").unwrap(), b"plaintext");
            // And what is wrapped from now on.
            let ours = backend.wrap(&call(), &root, b"text", b"").unwrap();
            assert_eq!(ours[0], 0xD1);
            assert_eq!(*backend.unwrap(&call(), &root, &ours, b"").unwrap(), b"text");
            let moved = backend.rewrap(&call(), &root, &root, &wrapped, b"additional data", b"").unwrap();
            assert_eq!(
                (moved[0], backend.unwrap(&call(), &root, &moved, b"").unwrap().as_slice()),
                (0xD1, &b"plaintext"[..])
            );
        }
    }
}

#[test]
fn what_is_damaged_or_of_another_key_is_refused() {
    for settings in SETTINGS {
        let (backend, token) = rig(settings);
        let root = arrived(&backend, &token, 32);
        let good = unhex(CIPHERTEXTS[2].1);
        let refused = |root: &Key, wrapped: &[u8], aad: &[u8]| {
            assert_eq!(backend.unwrap(&call(), root, wrapped, aad), Err(Error::AuthenticationFailed), "{wrapped:?}");
        };
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            refused(&root, &bad, b"additional data");
        }
        for len in 0..good.len() {
            refused(&root, &good[..len], b"additional data");
        }
        refused(&root, &[good.as_slice(), b"\0"].concat(), b"additional data");
        refused(&root, &unhex(CIPHERTEXTS[0].1), b"additional data");
        refused(&root, &good, b"other data");
    }
}

#[test]
fn only_a_key_that_came_computes_cmacs() {
    for settings in SETTINGS {
        let (backend, token) = rig(settings);
        let born = other_root(&backend);
        let imported = spec("AES", 32, KeyKind::Root);
        let material: Vec<u8> = (0..32).collect();
        let given = key(backend.import_key(&call(), &identity(), &imported, &material).unwrap());
        token.take_calls();
        for key in [&born, &given] {
            let refused = backend.unwrap(&call(), key, &unhex(CIPHERTEXTS[2].1), b"additional data");
            assert_eq!(refused, Err(Error::AuthenticationFailed));
        }
        assert!(!token.take_calls().contains(&"mac"), "the token is not even asked");
        let macs = || token.persistent().iter().filter(|object| object.usage & Usage::MAC == Usage::MAC).count();
        assert_eq!(macs(), 0);
        let came = arrived(&backend, &token, 32);
        assert_eq!(macs(), usize::from(settings.contains("token")));
        assert_ne!(came.reference, given.reference);
        // What it is cannot be said of a key-ref that says otherwise: neither a key that came nor one that did not.
        for key in [&came, &given] {
            let mut forged = key.clone();
            let at = if forged.reference[0] == 0xC1 { 6 } else { 3 };
            forged.reference[at] = match (at, forged.reference[at]) {
                (6, 3) => 2,
                (6, _) => 3,
                (_, inside) => inside ^ 4,
            };
            let answer = backend.unwrap(&call(), &forged, &unhex(CIPHERTEXTS[2].1), b"additional data");
            // An object of the other name is there, and is what its name says.
            let expected = if at == 6 { key.reference == came.reference } else { true };
            assert!(!expected || answer.is_err(), "{answer:?}");
        }
    }
}

#[test]
fn a_key_that_came_stays_one_when_it_is_sealed_anew() {
    let (backend, token) = rig(SETTINGS[0]);
    let root = arrived(&backend, &token, 32);
    assert_eq!((root.reference[0], root.reference[3]), (0xC2, 7));
    let newer = configured(&format!(r#"{},"wrapping_key_version":2"#, SETTINGS[0]));
    let anew = key(newer.reseal_key(&call(), &root).unwrap().unwrap());
    assert_eq!((anew.reference[3], anew.reference[7]), (7, 2));
    let opened = newer.unwrap(&call(), &anew, &unhex(CIPHERTEXTS[2].1), b"additional data");
    assert_eq!(*opened.unwrap(), b"plaintext");
    assert_eq!(newer.reseal_key(&call(), &anew), Ok(None));
}

#[test]
fn a_token_that_is_away_says_so() {
    let (backend, token) = rig(SETTINGS[0]);
    let root = arrived(&backend, &token, 32);
    token.fail("mac", keygate_plugin_sdk::host::pkcs11::Error::Unavailable("gone".to_owned()));
    assert!(unavailable(backend.unwrap(&call(), &root, &unhex(CIPHERTEXTS[2].1), b"additional data")).contains("gone"));
}
