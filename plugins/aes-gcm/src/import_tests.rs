//! Import keys and imports, against known answers and against the host of the SDK's tests.

use core::convert::Infallible;
use std::collections::BTreeMap;

use keygate_plugin_rsa::{PRIMES, RsaPair};
use keygate_plugin_sdk::backend::{
    Backend, Call, Error, ImportEnvelope, ImportRejection, Imported, Key, KeyIdentity, KeyKind, KeySpec, Result,
};
use keygate_plugin_sdk::host::random;
use keygate_plugin_sdk::testing;
use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::{BoxedUint, Oaep, RsaPublicKey};
use sha2::Sha256;

use crate::AesGcm;
use crate::spec::{Algorithm, Purpose, Spec};
use crate::xaes::tests::unhex;

const MATERIAL: Error = Error::ImportRejected(ImportRejection::Material);
const NONCE_IV: Error = Error::ImportRejected(ImportRejection::NonceIv);
const NONCE: Error = Error::ImportRejected(ImportRejection::Nonce);

/// The host's generator, to encrypt as a client does.
struct HostRandom;

impl TryRng for HostRandom {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> core::result::Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> core::result::Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> core::result::Result<(), Infallible> {
        bytes.copy_from_slice(&random::bytes(bytes.len() as u32));
        Ok(())
    }
}

impl TryCryptoRng for HostRandom {}

/// What the other implementation made, by name.
struct Vectors(BTreeMap<&'static str, Vec<u8>>);

impl Vectors {
    fn read() -> Self {
        let lines = include_str!("../vectors/import.txt").lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(|line| line.split_once(" = ").unwrap()).map(|(name, hex)| (name, unhex(hex))).collect())
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

fn call() -> Call {
    Call { request_id: "r".into(), deadline_ms: 1_000 }
}

fn identity(key: &str) -> KeyIdentity {
    KeyIdentity { instance_id: "i".into(), key_id: key.into(), version_id: key.into() }
}

fn spec(bits: u32, kind: KeyKind) -> KeySpec {
    KeySpec { algorithm: "AES".into(), bits, kind }
}

/// A backend that has the vectors' key pair as its import key.
fn backend(vectors: &Vectors) -> (AesGcm, Key) {
    testing::reset(42);
    testing::grant_secret("kek", 7, &[0x4b; 32]);
    let backend = AesGcm::configure("{}").unwrap();
    let primes = [vectors.get("p"), vectors.get("q")].concat();
    let spec = Spec { algorithm: Algorithm::Rsa, purpose: Purpose::Import, bytes: PRIMES as u32 };
    let reference = backend.seal(&identity("import"), spec, &primes).unwrap();
    (backend, Key { identity: identity("import"), reference })
}

fn open(backend: &AesGcm, key: &Key, envelope: &ImportEnvelope) -> Result<Imported> {
    backend.open_import(&call(), key, &identity("root"), &spec(0, KeyKind::Root), envelope)
}

#[test]
fn what_another_implementation_made_is_opened() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    for bytes in [16, 24, 32] {
        for envelope in [vectors.gcm(bytes), vectors.cbc(bytes)] {
            let imported = open(&backend, &import_key, &envelope).unwrap();
            assert_eq!(imported.bits, bytes as u32 * 8);
            let key = Key { identity: identity("root"), reference: imported.key_ref };
            let opened = backend.open(&key).unwrap();
            assert_eq!((opened.purpose, opened.algorithm), (Purpose::Root, Algorithm::Aes));
            assert_eq!(*opened.material, vectors.get(&format!("material.{bytes}")));
            let wrapped = backend.wrap(&call(), &key, b"text", b"aad").unwrap();
            assert_eq!(*backend.unwrap(&call(), &key, &wrapped, b"aad").unwrap(), b"text");
            assert!(matches!(backend.export_key(&call(), &key), Err(Error::Unsupported(_))), "it is a root key");
        }
    }
    // A nonce that fills a block gets a block of padding.
    let full = ImportEnvelope {
        encrypted_nonce: vectors.get("cbc16.32"),
        expected_nonce: vectors.get("nonce16"),
        ..vectors.cbc(32)
    };
    assert_eq!(open(&backend, &import_key, &full).unwrap().bits, 256);
}

#[test]
fn the_public_half_is_written_as_others_write_it() {
    let vectors = Vectors::read();
    let primes = [vectors.get("p"), vectors.get("q")].concat();
    let pair = RsaPair::from_primes(&primes).unwrap();
    assert_eq!(pair.public(), vectors.get("public"));
    assert_eq!(*pair.primes(), primes);
    for broken in [&primes[..511], &primes[1..], &[0; 512], &[0xFF; 512]] {
        assert!(RsaPair::from_primes(broken).is_err_and(|error| error == Error::InvalidKeyRef));
    }
}

#[test]
fn a_size_that_was_said_must_come() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    let open = |bits, bytes| {
        backend.open_import(&call(), &import_key, &identity("x"), &spec(bits, KeyKind::Root), &vectors.gcm(bytes))
    };
    assert_eq!(open(192, 24).unwrap().bits, 192);
    for (bits, bytes) in [(128, 24), (256, 24), (192, 16), (8, 16), (u32::MAX, 32)] {
        assert_eq!(open(bits, bytes), Err(MATERIAL), "{bits} bits");
    }
    let secret = KeySpec { algorithm: "SECRET".into(), bits: 256, kind: KeyKind::Standard };
    let refused = backend.open_import(&call(), &import_key, &identity("x"), &secret, &vectors.gcm(32));
    assert!(matches!(refused, Err(Error::Unsupported(_))), "{refused:?}");
    // A standard key's owner gets back what they sent.
    let standard = spec(0, KeyKind::Standard);
    let kept = backend.open_import(&call(), &import_key, &identity("x"), &standard, &vectors.gcm(32)).unwrap();
    let kept = Key { identity: identity("x"), reference: kept.key_ref };
    assert_eq!(*backend.export_key(&call(), &kept).unwrap(), vectors.get("material.32"));
}

#[test]
fn whatever_is_wrong_with_the_encrypted_key_has_one_answer() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    let good = vectors.gcm(32);
    let mut flipped = good.encrypted_key.clone();
    flipped[300] ^= 1;
    let modulus = vectors.get("public")[33..545].to_vec();
    let wrong = [
        ("15 bytes", vectors.get("sha256.15")),
        ("33 bytes", vectors.get("sha256.33")),
        ("another hash", vectors.get("sha1.32")),
        ("another hash of the mask", vectors.get("mixed.32")),
        ("a label", vectors.get("label.32")),
        ("damaged", flipped),
        ("cut at the end", good.encrypted_key[..511].to_vec()),
        ("cut at the front", good.encrypted_key[1..].to_vec()),
        ("longer", [good.encrypted_key.as_slice(), &[0]].concat()),
        ("nothing", Vec::new()),
        ("zero", vec![0; 512]),
        ("one", [vec![0; 511], vec![1]].concat()),
        ("the modulus", modulus),
        ("more than the modulus", vec![0xFF; 512]),
    ];
    for (what, encrypted_key) in wrong {
        let envelope = ImportEnvelope { encrypted_key, ..good.clone() };
        assert_eq!(open(&backend, &import_key, &envelope), Err(MATERIAL), "{what}");
    }
}

#[test]
fn the_nonce_must_open_and_be_the_tokens() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    let gcm = vectors.gcm(32);
    let mut damaged = gcm.encrypted_nonce.clone();
    damaged[0] ^= 1;
    let wrong = [
        ImportEnvelope { encrypted_nonce: damaged, ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: gcm.encrypted_nonce[..27].to_vec(), ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: vec![1; 15], ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: Vec::new(), ..gcm.clone() },
        ImportEnvelope { encrypted_nonce: vectors.get("gcm.24"), ..gcm.clone() },
        ImportEnvelope { iv: vec![0; 12], ..gcm.clone() },
        ImportEnvelope { iv: vec![], ..gcm.clone() },
        ImportEnvelope { iv: gcm.iv[..11].to_vec(), ..gcm.clone() },
        // Each algorithm has its own way with the nonce, and the iv of the other is none.
        ImportEnvelope { iv: vectors.get("iv16"), encrypted_nonce: vectors.get("cbc.32"), ..gcm.clone() },
        ImportEnvelope { iv: gcm.iv.clone(), encrypted_nonce: gcm.encrypted_nonce.clone(), ..vectors.cbc(32) },
    ];
    for (n, envelope) in wrong.iter().enumerate() {
        assert_eq!(open(&backend, &import_key, envelope), Err(NONCE_IV), "number {n}");
    }
    for expected_nonce in [vec![9; 12], gcm.expected_nonce[..11].to_vec(), vec![0; 13]] {
        let other = ImportEnvelope { expected_nonce, ..gcm.clone() };
        assert_eq!(open(&backend, &import_key, &other), Err(NONCE));
    }
}

#[test]
fn nothing_tells_wrong_padding_from_a_wrong_nonce() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    let cbc = vectors.cbc(24);
    let refused = |envelope: &ImportEnvelope| assert_eq!(open(&backend, &import_key, envelope), Err(NONCE_IV));
    refused(&ImportEnvelope { expected_nonce: vec![9; 12], ..cbc.clone() });
    for byte in 0..16 {
        let mut damaged = cbc.clone();
        damaged.encrypted_nonce[byte] ^= 1;
        refused(&damaged);
        let mut shifted = cbc.clone();
        shifted.iv[byte] ^= 1;
        refused(&shifted);
    }
    for len in [0, 8, 15] {
        refused(&ImportEnvelope { encrypted_nonce: cbc.encrypted_nonce[..len].to_vec(), ..cbc.clone() });
    }
    refused(&ImportEnvelope { encrypted_nonce: [cbc.encrypted_nonce.clone(), vec![0; 16]].concat(), ..cbc });
}

#[test]
fn unknown_algorithms_are_unsupported() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    for algorithm in ["", "RSAES_OAEP_SHA_512", "rsaes_oaep_sha_256", "RSAES_PKCS1_V1_5"] {
        let envelope = ImportEnvelope { algorithm: algorithm.into(), ..vectors.gcm(32) };
        let refused = open(&backend, &import_key, &envelope);
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{algorithm}: {refused:?}");
    }
    for algorithm in ["", "RSA-2048", "rsa-4096", "EC"] {
        let refused = backend.create_import_key(&call(), &identity("import"), algorithm);
        assert!(matches!(refused, Err(Error::Unsupported(_))), "{algorithm}");
    }
}

#[test]
fn an_import_key_is_nothing_else_and_nothing_else_is_one() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    let refused = Error::InvalidKeyRef;
    assert_eq!(backend.wrap(&call(), &import_key, b"x", b""), Err(refused.clone()));
    assert_eq!(backend.unwrap(&call(), &import_key, &[0xB1; 64], b""), Err(refused.clone()));
    assert_eq!(backend.export_key(&call(), &import_key), Err(refused.clone()));
    let made = backend.generate_data_key(&call(), &import_key, 32, b"");
    assert_eq!(made.map(|made| made.wrapped), Err(refused.clone()));

    let root = backend.generate_key(&call(), &identity("import"), &spec(256, KeyKind::Root)).unwrap();
    // A secret of the right size is not the right kind.
    let primes = [vectors.get("p"), vectors.get("q")].concat();
    let secret = KeySpec { algorithm: "SECRET".into(), bits: 4_096, kind: KeyKind::Standard };
    let secret = backend.import_key(&call(), &identity("import"), &secret, &primes).unwrap();
    for reference in [root, secret] {
        let other = Key { reference, ..import_key.clone() };
        assert_eq!(open(&backend, &other, &vectors.gcm(32)), Err(refused.clone()));
    }
    let moved = Key { identity: identity("another"), ..import_key.clone() };
    assert_eq!(open(&backend, &moved, &vectors.gcm(32)), Err(refused.clone()));
    // Header bytes say what it is, and are bound into it.
    for (at, value) in [(5, 1), (5, 2), (6, 1), (6, 2), (5, 4), (6, 4)] {
        let mut forged = import_key.clone();
        forged.reference[at] = value;
        assert_eq!(open(&backend, &forged, &vectors.gcm(32)), Err(refused.clone()));
        assert_eq!(backend.export_key(&call(), &forged), Err(refused.clone()));
    }
}

#[test]
fn an_import_key_outlives_its_kek() {
    let vectors = Vectors::read();
    let (backend, import_key) = backend(&vectors);
    testing::grant_secret("kek", 8, &[0x4c; 32]);
    let reference = backend.reseal_key(&call(), &import_key).unwrap().expect("a key-ref under the new KEK");
    testing::revoke_secret("kek");
    testing::grant_secret("kek", 8, &[0x4c; 32]);
    let renewed = Key { reference, ..import_key };
    assert_eq!(open(&backend, &renewed, &vectors.gcm(16)).unwrap().bits, 128);
}

#[test]
fn a_made_key_pair_opens_what_was_encrypted_to_it() {
    let vectors = Vectors::read();
    let (backend, _) = backend(&vectors);
    let made = backend.create_import_key(&call(), &identity("new"), "RSA-4096").unwrap();
    assert_eq!(made.public.len(), vectors.get("public").len());
    assert_eq!(made.public[..33], vectors.get("public")[..33]);
    let modulus = BoxedUint::from_be_slice(&made.public[33..545], 4_096).unwrap();
    assert_eq!(modulus.bits(), 4_096);
    let public = RsaPublicKey::new(modulus, BoxedUint::from(65_537_u64)).unwrap();
    let material = vectors.get("material.32");
    let encrypted_key = public.encrypt(&mut HostRandom, Oaep::<Sha256>::new(), &material).unwrap();
    let key = Key { identity: identity("new"), reference: made.private };
    let envelope = ImportEnvelope { encrypted_key, ..vectors.gcm(32) };
    assert_eq!(open(&backend, &key, &envelope).unwrap().bits, 256);
    assert_eq!(open(&backend, &key, &vectors.gcm(32)), Err(MATERIAL), "that was for another");

    testing::set_unavailable("kek", Some("the file vanished"));
    let away = backend.create_import_key(&call(), &identity("new"), "RSA-4096");
    assert!(matches!(away, Err(Error::Unavailable(_))));
}
