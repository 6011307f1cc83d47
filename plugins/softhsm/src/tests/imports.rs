//! Imports under a token, with each place for the key pairs: known answers, and everything that is wrong.

use std::collections::BTreeMap;

use keygate_plugin_sdk::backend::{ImportEnvelope, ImportRejection, Imported, Result};
use keygate_plugin_sdk::host::pkcs11;
use keygate_plugin_sdk::testing::token::rejected;

use super::*;

const MATERIAL: Error = Error::ImportRejected(ImportRejection::Material);
const NONCE_IV: Error = Error::ImportRejected(ImportRejection::NonceIv);
const NONCE: Error = Error::ImportRejected(ImportRejection::Nonce);

/// The settings of each place for key pairs, with each way of keeping keys.
const PLACES: [&str; 6] = [
    r#""keep":"token","import_keys":"token""#,
    r#""keep":"wrapped","import_keys":"token""#,
    r#""keep":"token","import_keys":"wrapped","wrap":"aes-key-wrap-kwp""#,
    r#""keep":"wrapped","import_keys":"wrapped","wrap":"aes-key-wrap-pad""#,
    r#""keep":"token","import_keys":"sandbox""#,
    r#""keep":"wrapped","import_keys":"sandbox""#,
];

/// What the other implementation made, by name.
struct Vectors(BTreeMap<&'static str, Vec<u8>>);

impl Vectors {
    fn read() -> Self {
        let lines = include_str!("../../../aes-gcm/vectors/import.txt").lines();
        let lines = lines.filter(|line| !line.starts_with('#')).map(|line| line.split_once(" = ").unwrap());
        Self(lines.map(|(name, hex)| (name, unhex(hex))).collect())
    }

    fn get(&self, name: &str) -> Vec<u8> {
        self.0.get(name).unwrap_or_else(|| panic!("no vector {name}")).clone()
    }

    fn gcm(&self, bytes: usize) -> ImportEnvelope {
        ImportEnvelope {
            algorithm: "RSAES_OAEP_SHA_256".into(),
            encrypted_key: self.get(&format!("sha256.{bytes}")),
            encrypted_nonce: self.get(&format!("gcm.{bytes}")),
            iv: self.get("iv12"),
            expected_nonce: self.get("nonce"),
        }
    }

    fn cbc(&self, bytes: usize) -> ImportEnvelope {
        ImportEnvelope {
            algorithm: "RSAES_OAEP_SHA_1".into(),
            encrypted_key: self.get(&format!("sha1.{bytes}")),
            encrypted_nonce: self.get(&format!("cbc.{bytes}")),
            iv: self.get("iv16"),
            expected_nonce: self.get("nonce"),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// The two primes of the vectors' key pair.
pub(super) fn primes() -> Vec<u8> {
    let vectors = Vectors::read();
    [vectors.get("p"), vectors.get("q")].concat()
}

/// The identity of the import key.
fn import_identity() -> KeyIdentity {
    KeyIdentity { instance_id: INSTANCE.into(), key_id: OTHER.into(), version_id: OTHER.into() }
}

/// A backend whose import key is the vectors' key pair.
fn place(settings: &str) -> (SoftHsm, Control, Key) {
    let (backend, token) = rig(settings);
    token.set_primes(&primes());
    let reference = if settings.contains("sandbox") {
        use crate::keyref::Inside;
        use crate::spec::{Algorithm, Purpose};
        let hsm = backend.hsm().unwrap();
        hsm.seal(&import_identity(), Purpose::Import, Algorithm::Rsa, Inside::Payload, &primes()).unwrap()
    } else {
        let pair = backend.create_import_key(&call(), &import_identity(), "RSA-4096").unwrap();
        assert_eq!(pair.public, Vectors::read().get("public"));
        pair.private
    };
    (backend, token, Key { identity: import_identity(), reference })
}

fn open(backend: &SoftHsm, key: &Key, envelope: &ImportEnvelope) -> Result<Imported> {
    backend.open_import(&call(), key, &identity(), &spec("AES", 0, KeyKind::Root), envelope)
}

#[test]
fn what_another_implementation_made_is_opened() {
    let vectors = Vectors::read();
    for settings in PLACES {
        let (backend, token, import_key) = place(settings);
        for bytes in [16, 24, 32] {
            let imported = open(&backend, &import_key, &vectors.gcm(bytes)).unwrap();
            assert_eq!(imported.bits, bytes as u32 * 8);
            let imported = key(imported.key_ref);
            let wrapped = backend.wrap(&call(), &imported, b"text", b"aad").unwrap();
            // The same material in clear is the same key; for keys in the token that is the lost answer of an import.
            let material = vectors.get(&format!("material.{bytes}"));
            let root = spec("AES", bytes, KeyKind::Root);
            let same = key(backend.import_key(&call(), &identity(), &root, &material).unwrap());
            assert_eq!(*backend.unwrap(&call(), &same, &wrapped, b"aad").unwrap(), b"text", "{settings}");
            assert!(is_unsupported(&backend.export_key(&call(), &imported)), "it is a root key");
            // And so it is under SHA-1 and CBC.
            let again = key(open(&backend, &import_key, &vectors.cbc(bytes)).unwrap().key_ref);
            assert_eq!(*backend.unwrap(&call(), &again, &wrapped, b"aad").unwrap(), b"text", "{settings}");
        }
        let full = ImportEnvelope {
            encrypted_nonce: vectors.get("cbc16.32"),
            expected_nonce: vectors.get("nonce16"),
            ..vectors.cbc(32)
        };
        assert_eq!(open(&backend, &import_key, &full).unwrap().bits, 256);
        assert_eq!(token.objects(), token.persistent(), "session objects end with the call");
        assert!(token.persistent().iter().all(|object| !object.exportable));
    }
}

#[test]
fn material_never_reaches_the_sandbox_where_the_token_opens_it() {
    let vectors = Vectors::read();
    for settings in &PLACES[..4] {
        let (backend, token, import_key) = place(settings);
        token.take_calls();
        open(&backend, &import_key, &vectors.gcm(32)).unwrap();
        let calls = token.take_calls();
        assert!(!calls.contains(&"decrypt-oaep") && !calls.contains(&"import-key"), "{settings}: {calls:?}");
    }
}

#[test]
fn a_size_that_was_said_must_come() {
    let vectors = Vectors::read();
    for settings in PLACES {
        let (backend, _, import_key) = place(settings);
        let open = |bits, bytes| {
            let spec = KeySpec { algorithm: "AES".into(), bits, kind: KeyKind::Root };
            backend.open_import(&call(), &import_key, &identity(), &spec, &vectors.gcm(bytes))
        };
        assert_eq!(open(192, 24).unwrap().bits, 192);
        for (bits, bytes) in [(128, 24), (256, 24), (192, 16), (8, 16), (u32::MAX, 32)] {
            assert_eq!(open(bits, bytes), Err(MATERIAL), "{bits} bits");
        }
        let secret = spec("SECRET", 32, KeyKind::Standard);
        assert!(is_unsupported(&backend.open_import(&call(), &import_key, &identity(), &secret, &vectors.gcm(32))));
        // A standard key's owner gets back what they sent.
        let standard = spec("AES", 0, KeyKind::Standard);
        let kept = backend.open_import(&call(), &import_key, &identity(), &standard, &vectors.gcm(32)).unwrap();
        assert_eq!(*backend.export_key(&call(), &key(kept.key_ref)).unwrap(), vectors.get("material.32"));
    }
}

#[test]
fn whatever_is_wrong_with_the_encrypted_key_has_one_answer() {
    let vectors = Vectors::read();
    let good = vectors.gcm(32);
    let mut flipped = good.encrypted_key.clone();
    flipped[300] ^= 1;
    let wrong = [
        ("15 bytes", vectors.get("sha256.15")),
        ("33 bytes", vectors.get("sha256.33")),
        ("another hash", vectors.get("sha1.32")),
        ("another hash of the mask", vectors.get("mixed.32")),
        ("a label", vectors.get("label.32")),
        ("damaged", flipped),
        ("cut at the end", good.encrypted_key[..511].to_vec()),
        ("longer", [good.encrypted_key.as_slice(), &[0]].concat()),
        ("nothing", Vec::new()),
        ("zero", vec![0; 512]),
        ("the modulus", vectors.get("public")[33..545].to_vec()),
        ("more than the modulus", vec![0xFF; 512]),
    ];
    for settings in PLACES {
        let (backend, token, import_key) = place(settings);
        let before = token.objects().len();
        for (what, encrypted_key) in &wrong {
            let envelope = ImportEnvelope { encrypted_key: encrypted_key.clone(), ..good.clone() };
            assert_eq!(open(&backend, &import_key, &envelope), Err(MATERIAL), "{settings}: {what}");
        }
        assert!(token.objects().len() <= before + 1, "nothing is left behind but a key of the plugin");
    }
}

#[test]
fn what_modules_say_to_a_wrong_ciphertext_is_its_fault_and_trouble_is_not() {
    let vectors = Vectors::read();
    let (backend, token, import_key) = place(PLACES[0]);
    // The host knows what a return value means. What it could not make anything of may be the module's own trouble.
    for error in [pkcs11::Error::AuthenticationFailed, pkcs11::Error::InvalidInput("too long".into())] {
        token.fail("unwrap-key", error);
        assert_eq!(open(&backend, &import_key, &vectors.gcm(32)), Err(MATERIAL));
    }
    for name in ["CKR_DEVICE_ERROR", "CKR_DEVICE_MEMORY", "CKR_HOST_MEMORY", "CKR_GENERAL_ERROR", "vendor-defined"] {
        token.fail("unwrap-key", rejected("C_UnwrapKey", 0x30, name));
        assert!(unavailable(open(&backend, &import_key, &vectors.gcm(32))).contains(name));
    }
    token.fail("unwrap-key", pkcs11::Error::Busy(Some(7)));
    assert_eq!(open(&backend, &import_key, &vectors.gcm(32)), Err(Error::Busy(Some(7))));
    // 15 bytes that a module took for an AES key, and does not encrypt with.
    for error in [
        pkcs11::Error::Unsupported("C_EncryptInit answered CKR_KEY_SIZE_RANGE".into()),
        pkcs11::Error::Unsupported("C_EncryptInit answered CKR_MECHANISM_INVALID".into()),
    ] {
        token.fail("seal", error);
        assert_eq!(open(&backend, &import_key, &vectors.gcm(32)), Err(MATERIAL));
    }
}

#[test]
fn the_nonce_must_open_and_be_the_tokens() {
    let vectors = Vectors::read();
    let gcm = vectors.gcm(32);
    let mut damaged = gcm.encrypted_nonce.clone();
    damaged[0] ^= 1;
    let wrong = [
        ImportEnvelope { encrypted_nonce: damaged, ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: gcm.encrypted_nonce[..27].to_vec(), ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: vec![1; 15], ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: vec![1; 16], ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: Vec::new(), ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: vectors.get("gcm.24"), ..gcm.clone() },
        ImportEnvelope { iv: vec![0; 12], ..gcm.clone() },
        ImportEnvelope { iv: vec![], ..gcm.clone() },
        // Each algorithm has its own way with the nonce, and the iv of the other is none.
        ImportEnvelope { iv: vectors.get("iv16"), encrypted_nonce: vectors.get("cbc.32"), ..gcm.clone() },
        ImportEnvelope { iv: gcm.iv.clone(), encrypted_nonce: gcm.encrypted_nonce.clone(), ..vectors.cbc(32) },
    ];
    for settings in PLACES {
        let (backend, token, import_key) = place(settings);
        let before = token.persistent();
        for (n, envelope) in wrong.iter().enumerate() {
            assert_eq!(open(&backend, &import_key, envelope), Err(NONCE_IV), "{settings}: number {n}");
        }
        for expected_nonce in [vec![9; 12], gcm.expected_nonce[..11].to_vec(), vec![0; 13]] {
            let other = ImportEnvelope { expected_nonce, ..gcm.clone() };
            assert_eq!(open(&backend, &import_key, &other), Err(NONCE));
        }
        // With CBC, whatever differs has one answer.
        let cbc = vectors.cbc(24);
        for byte in 0..16 {
            let (mut damaged, mut shifted) = (cbc.clone(), cbc.clone());
            damaged.encrypted_nonce[byte] ^= 1;
            shifted.iv[byte] ^= 1;
            assert_eq!(open(&backend, &import_key, &damaged), Err(NONCE_IV));
            assert_eq!(open(&backend, &import_key, &shifted), Err(NONCE_IV));
        }
        let other = ImportEnvelope { expected_nonce: vec![9; 12], ..cbc };
        assert_eq!(open(&backend, &import_key, &other), Err(NONCE_IV));
        assert_eq!(token.persistent(), before, "nothing was kept");
    }
}

#[test]
fn unknown_algorithms_and_hashes_that_are_off_are_unsupported() {
    let vectors = Vectors::read();
    let (backend, _, import_key) = place(PLACES[0]);
    for algorithm in ["", "RSAES_OAEP_SHA_512", "rsaes_oaep_sha_256", "RSAES_PKCS1_V1_5"] {
        let envelope = ImportEnvelope { algorithm: algorithm.into(), ..vectors.gcm(32) };
        assert!(is_unsupported(&open(&backend, &import_key, &envelope)), "{algorithm}");
    }
    for algorithm in ["", "RSA-2048", "rsa-4096", "EC"] {
        assert!(is_unsupported(&backend.create_import_key(&call(), &identity(), algorithm)), "{algorithm}");
    }
    let one = configured(r#""keep":"token","oaep":["sha1"]"#);
    let Err(Error::Unsupported(text)) = open(&one, &import_key, &vectors.gcm(32)) else { panic!("opened") };
    assert!(text.contains("RSAES_OAEP_SHA_1") && !text.contains("256"), "{text}");
    assert!(open(&one, &import_key, &vectors.cbc(32)).is_ok());
    let off = configured(r#""import_keys":"off""#);
    assert!(is_unsupported(&off.create_import_key(&call(), &identity(), "RSA-4096")));
    assert!(is_unsupported(&open(&off, &import_key, &vectors.gcm(32))));
}

#[test]
fn an_import_key_is_nothing_else_and_nothing_else_is_one() {
    let vectors = Vectors::read();
    for settings in PLACES {
        let (backend, token, import_key) = place(settings);
        let refused = Error::InvalidKeyRef;
        assert_eq!(backend.wrap(&call(), &import_key, b"x", b""), Err(refused.clone()));
        assert_eq!(backend.unwrap(&call(), &import_key, &[0xD1; 64], b""), Err(refused.clone()));
        assert_eq!(backend.export_key(&call(), &import_key), Err(refused.clone()));
        for other in [root(&backend, 32), secret(&backend, &primes())] {
            assert_eq!(open(&backend, &other, &vectors.gcm(32)), Err(refused.clone()), "{settings}");
        }
        let moved = Key { identity: identity(), ..import_key.clone() };
        assert_eq!(open(&backend, &moved, &vectors.gcm(32)), Err(refused.clone()));
        assert_eq!(backend.destroy_key(&call(), &import_key), Ok(()));
        if settings.contains(r#""import_keys":"token""#) {
            assert!(token.persistent().iter().all(|object| object.algorithm != "RSA"), "it is gone from the token");
            assert_eq!(open(&backend, &import_key, &vectors.gcm(32)), Err(Error::KeyNotFound));
        }
    }
}

#[test]
fn a_pair_made_in_the_sandbox_opens_what_was_encrypted_to_it() {
    let vectors = Vectors::read();
    let (backend, token) = rig(r#""import_keys":"sandbox""#);
    token.set_oaep(&[]);
    backend.probe(&call()).unwrap();
    let pair = backend.create_import_key(&call(), &identity(), "RSA-4096").unwrap();
    assert!(token.objects().iter().all(|object| object.algorithm == "AES"));
    assert_eq!(pair.public.len(), vectors.get("public").len());
    token.set_oaep(&[pkcs11::Digest::Sha256]);
    let material = vectors.get("material.32");
    let encrypt = keygate_plugin_sdk::testing::token::encrypt_oaep;
    let encrypted_key = encrypt(pkcs11::Digest::Sha256, &pair.public, &material).unwrap();
    let import_key = key(pair.private);
    let envelope = ImportEnvelope { encrypted_key, ..vectors.gcm(32) };
    assert_eq!(open(&backend, &import_key, &envelope).unwrap().bits, 256);
    assert_eq!(open(&backend, &import_key, &vectors.gcm(32)), Err(MATERIAL), "that was for another");
    token.fail("random", pkcs11::Error::Unavailable("gone".into()));
    assert!(unavailable(open(&backend, &import_key, &envelope)).contains("gone"), "no fault of the import's");
    token.fail("random", pkcs11::Error::Unavailable("gone".into()));
    assert!(unavailable(backend.create_import_key(&call(), &identity(), "RSA-4096")).contains("gone"));
}

#[test]
fn a_token_without_the_hash_is_refused_when_the_pair_is_made_and_keeps_none() {
    for places in ["token", "wrapped"] {
        let (backend, token) = rig(&format!(r#""import_keys":"{places}","wrap":"aes-key-wrap-kwp""#));
        token.set_primes(&primes());
        token.set_oaep(&[pkcs11::Digest::Sha1]);
        let text = unavailable(backend.create_import_key(&call(), &import_identity(), "RSA-4096"));
        for part in ["CKM_RSA_PKCS_OAEP", "sha256", "sandbox", "`oaep`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(token.objects().iter().all(|object| object.algorithm == "AES"), "no pair is left behind");
        let fewer = configured(&format!(r#""import_keys":"{places}","wrap":"aes-key-wrap-kwp","oaep":["sha1"]"#));
        fewer.create_import_key(&call(), &import_identity(), "RSA-4096").unwrap();
    }
}

#[test]
fn an_import_key_outlives_its_wrapping_keys() {
    let vectors = Vectors::read();
    for settings in &PLACES[2..] {
        let (_, _, import_key) = place(settings);
        let new = configured(&format!(r#"{settings},"wrapping_key_version":2"#));
        let reference = new.reseal_key(&call(), &import_key).unwrap().expect("under version 2");
        assert_eq!(open(&new, &Key { reference, ..import_key }, &vectors.gcm(16)).unwrap().bits, 128);
    }
}
