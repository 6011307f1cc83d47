//! The whole backend, against the host of the SDK's tests.

use keygate_plugin_sdk::backend::KeyKind;
use keygate_plugin_sdk::testing;

use super::*;
use crate::wrapping::OVERHEAD;
use crate::xaes::tests::unhex;

const INSTANCE: &str = "11111111-1111-4111-8111-111111111111";
const KEY: &str = "22222222-2222-4222-8222-222222222222";
const VERSION: &str = "33333333-3333-4333-8333-333333333333";
const OTHER: &str = "44444444-4444-4444-8444-444444444444";

/// The bytes of a key-ref in front of the sealed material.
const REF_HEAD: usize = 31;

fn backend() -> AesGcm {
    testing::reset(42);
    testing::grant_secret("kek", 7, &[0x4b; 32]);
    AesGcm::configure("{}").unwrap()
}

fn call() -> Call {
    Call { request_id: "r".into(), deadline_ms: 1_000 }
}

fn identity() -> KeyIdentity {
    KeyIdentity { instance_id: INSTANCE.into(), key_id: KEY.into(), version_id: VERSION.into() }
}

fn others() -> [KeyIdentity; 3] {
    [
        KeyIdentity { instance_id: OTHER.into(), ..identity() },
        KeyIdentity { key_id: OTHER.into(), ..identity() },
        KeyIdentity { version_id: OTHER.into(), ..identity() },
    ]
}

fn spec(algorithm: &str, bytes: usize, kind: KeyKind) -> KeySpec {
    KeySpec { algorithm: algorithm.into(), bits: bytes as u32 * 8, kind }
}

fn key(reference: Vec<u8>) -> Key {
    Key { identity: identity(), reference }
}

fn root(backend: &AesGcm, bytes: usize) -> Key {
    key(backend.generate_key(&call(), &identity(), &spec("AES", bytes, KeyKind::Root)).unwrap())
}

fn secret(backend: &AesGcm, material: &[u8]) -> Key {
    let spec = spec("SECRET", material.len(), KeyKind::Standard);
    key(backend.import_key(&call(), &identity(), &spec, material).unwrap())
}

#[test]
fn wraps_and_unwraps_every_size() {
    let backend = backend();
    for bytes in [16, 24, 32] {
        let key = root(&backend, bytes);
        assert_eq!(key.reference.len(), REF_HEAD + bytes + 16);
        for len in [0, 1, 15, 16, 17, 32, 64, 4_096, 65_536] {
            let plaintext = vec![0x5a; len];
            for aad in [b"".as_slice(), b"aad", &[1; 65_536]] {
                let wrapped = backend.wrap(&call(), &key, &plaintext, aad).unwrap();
                assert_eq!(wrapped.len(), len + OVERHEAD);
                assert_eq!(*backend.unwrap(&call(), &key, &wrapped, aad).unwrap(), plaintext);
                assert_ne!(wrapped, backend.wrap(&call(), &key, &plaintext, aad).unwrap(), "two wraps differ");
            }
        }
    }
}

#[test]
fn imported_root_keys_work_like_generated_ones() {
    let backend = backend();
    for bytes in [16, 24, 32] {
        let material = vec![9; bytes];
        let spec = spec("AES", bytes, KeyKind::Root);
        let key = key(backend.import_key(&call(), &identity(), &spec, &material).unwrap());
        let wrapped = backend.wrap(&call(), &key, b"text", b"aad").unwrap();
        assert_eq!(*backend.unwrap(&call(), &key, &wrapped, b"aad").unwrap(), b"text");

        for len in [0, bytes - 1, bytes + 1] {
            let refused = backend.import_key(&call(), &identity(), &spec, &vec![9; len]);
            assert!(matches!(refused, Err(Error::InvalidInput(_))), "{len} bytes for {bytes}");
        }
    }
}

#[test]
fn same_material_in_two_keys_reads_nothing_of_the_other() {
    let backend = backend();
    let spec = spec("AES", 32, KeyKind::Root);
    let one = key(backend.import_key(&call(), &identity(), &spec, &[9; 32]).unwrap());
    let wrapped = backend.wrap(&call(), &one, b"text", b"aad").unwrap();
    for identity in others() {
        let reference = backend.import_key(&call(), &identity, &spec, &[9; 32]).unwrap();
        let other = Key { identity, reference };
        assert_eq!(backend.unwrap(&call(), &other, &wrapped, b"aad"), Err(Error::AuthenticationFailed));
    }
}

#[test]
fn a_wrong_aad_or_a_damaged_ciphertext_is_refused() {
    let backend = backend();
    let key = root(&backend, 32);
    let wrapped = backend.wrap(&call(), &key, b"text", b"aad").unwrap();
    let refused = |wrapped: &[u8], aad: &[u8]| {
        assert_eq!(backend.unwrap(&call(), &key, wrapped, aad), Err(Error::AuthenticationFailed));
    };
    for aad in [b"".as_slice(), b"aa", b"aad\0", b"Aad"] {
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
    let another = root(&backend, 32);
    assert_eq!(backend.unwrap(&call(), &another, &wrapped, b"aad"), Err(Error::AuthenticationFailed));
}

#[test]
fn a_moved_or_damaged_key_ref_is_refused() {
    let backend = backend();
    let key = root(&backend, 32);
    let open = |key: &Key| backend.wrap(&call(), key, b"text", b"").map(|_| ());
    for identity in others() {
        let moved = Key { identity, ..key.clone() };
        assert_eq!(open(&moved), Err(Error::InvalidKeyRef));
    }
    for bit in 0..key.reference.len() * 8 {
        let mut bad = key.clone();
        bad.reference[bit / 8] ^= 1 << (bit % 8);
        let error = open(&bad).unwrap_err();
        if (1..5).contains(&(bit / 8)) {
            // The number of another KEK version: all that can be said is that there is none of that number.
            assert!(matches!(error, Error::Unavailable(_)), "bit {bit}: {error:?}");
        } else {
            assert_eq!(error, Error::InvalidKeyRef, "bit {bit}");
        }
    }
    for len in 0..key.reference.len() {
        let bad = Key { reference: key.reference[..len].to_vec(), ..key.clone() };
        assert_eq!(open(&bad), Err(Error::InvalidKeyRef), "{len} bytes");
    }
    // With a KEK of that version there, a changed number is seen for what it is.
    testing::grant_secret("kek", 6, &[0x4b; 32]);
    let mut bad = key.clone();
    bad.reference[4] = 6;
    assert_eq!(open(&bad), Err(Error::InvalidKeyRef));
    assert_eq!(open(&key), Ok(()));
}

#[test]
fn a_root_key_cannot_be_passed_off_as_a_standard_key() {
    let backend = backend();
    let root = root(&backend, 32);
    assert!(matches!(backend.export_key(&call(), &root), Err(Error::Unsupported(_))));
    let mut forged = root.clone();
    forged.reference[5] = 2;
    assert_eq!(backend.export_key(&call(), &forged), Err(Error::InvalidKeyRef));
}

#[test]
fn standard_keys_come_back_and_wrap_nothing() {
    let backend = backend();
    for len in [1, 16, 32, 100, 4_096, 7_500] {
        let material = vec![0x33; len];
        let key = secret(&backend, &material);
        assert_eq!(*backend.export_key(&call(), &key).unwrap(), material);
        assert!(key.reference.len() <= 16_384);
        assert!(matches!(backend.wrap(&call(), &key, b"", b""), Err(Error::Unsupported(_))));
        assert!(matches!(backend.unwrap(&call(), &key, &[0; 64], b""), Err(Error::Unsupported(_))));
        assert!(backend.generate_data_key(&call(), &key, 32, b"").is_err_and(|e| matches!(e, Error::Unsupported(_))));
    }
    let aes = key(backend.generate_key(&call(), &identity(), &spec("AES", 32, KeyKind::Standard)).unwrap());
    assert_eq!(backend.export_key(&call(), &aes).unwrap().len(), 32);

    let refused = |spec: KeySpec, len| backend.import_key(&call(), &identity(), &spec, &vec![1; len]).unwrap_err();
    assert!(matches!(refused(spec("SECRET", 7_501, KeyKind::Standard), 7_501), Error::InvalidInput(_)));
    assert!(matches!(refused(spec("SECRET", 32, KeyKind::Root), 32), Error::InvalidInput(_)));
    let generated = backend.generate_key(&call(), &identity(), &spec("SECRET", 32, KeyKind::Standard));
    assert!(matches!(generated, Err(Error::Unsupported(_))));
}

#[test]
fn data_keys() {
    let backend = backend();
    let key = root(&backend, 32);
    for len in 16..=64 {
        let made = backend.generate_data_key(&call(), &key, len, b"aad").unwrap();
        assert_eq!(made.plaintext.len(), len as usize);
        assert_eq!(backend.unwrap(&call(), &key, &made.wrapped, b"aad").unwrap(), made.plaintext);
    }
    for len in [0, 15, 65, u32::MAX] {
        assert!(backend.generate_data_key(&call(), &key, len, b"").is_err_and(|e| matches!(e, Error::InvalidInput(_))));
    }
    // What is given out and what is in the open part of the ciphertext come from different bytes.
    let made = backend.generate_data_key(&call(), &key, 24, b"").unwrap();
    assert!(!made.wrapped.windows(8).any(|window| made.plaintext.windows(8).any(|secret| secret == window)));
}

#[test]
fn rewrap_moves_a_ciphertext() {
    let backend = backend();
    let source = root(&backend, 16);
    let [_, other, _] = others();
    let reference = backend.generate_key(&call(), &other, &spec("AES", 32, KeyKind::Root)).unwrap();
    let target = Key { identity: other, reference };
    let wrapped = backend.wrap(&call(), &source, b"text", b"old").unwrap();
    let moved = backend.rewrap(&call(), &source, &target, &wrapped, b"old", b"new").unwrap();
    assert_eq!(*backend.unwrap(&call(), &target, &moved, b"new").unwrap(), b"text");
    assert_eq!(backend.unwrap(&call(), &source, &moved, b"new"), Err(Error::AuthenticationFailed));
    let wrong = backend.rewrap(&call(), &source, &target, &wrapped, b"wrong", b"new");
    assert_eq!(wrong, Err(Error::AuthenticationFailed));
    let wrong = backend.rewrap(&call(), &source, &key(vec![0; 80]), &wrapped, b"old", b"new");
    assert_eq!(wrong, Err(Error::InvalidKeyRef));
}

#[test]
fn a_rotated_kek_still_opens_what_the_old_one_sealed() {
    let backend = backend();
    let old = root(&backend, 32);
    let wrapped = backend.wrap(&call(), &old, b"text", b"").unwrap();
    testing::grant_secret("kek", 8, &[0x4c; 32]);
    let new = root(&backend, 32);
    assert_eq!((old.reference[4], new.reference[4]), (7, 8));
    assert_eq!(*backend.unwrap(&call(), &old, &wrapped, b"").unwrap(), b"text");
    backend.wrap(&call(), &new, b"text", b"").unwrap();

    // Sealed anew, the old KEK can go, and old ciphertexts open all the same.
    let renewed = backend.reseal_key(&call(), &old).unwrap().expect("a key-ref under the new KEK");
    assert_eq!(renewed[4], 8);
    assert_eq!(backend.reseal_key(&call(), &new), Ok(None));
    testing::revoke_secret("kek");
    testing::grant_secret("kek", 8, &[0x4c; 32]);
    let renewed = Key { identity: old.identity.clone(), reference: renewed };
    assert_eq!(*backend.unwrap(&call(), &renewed, &wrapped, b"").unwrap(), b"text");
    assert!(matches!(backend.export_key(&call(), &renewed), Err(Error::Unsupported(_))), "it is a root key still");
    let moved = Key { identity: KeyIdentity { key_id: "another".to_owned(), ..old.identity.clone() }, ..old.clone() };
    testing::grant_secret("kek", 7, &[0x4b; 32]);
    assert_eq!(backend.reseal_key(&call(), &moved), Err(Error::InvalidKeyRef));

    // Only the old one left: the key is not lost, its KEK is away.
    testing::revoke_secret("kek");
    testing::grant_secret("kek", 7, &[0x4b; 32]);
    let Err(Error::Unavailable(text)) = backend.wrap(&call(), &new, b"", b"") else { panic!("opened without a KEK") };
    assert!(text.contains("version 8") && text.contains("`kek`"), "{text}");
    // Other bytes under the same number open nothing.
    testing::grant_secret("kek", 7, &[0x4d; 32]);
    assert_eq!(backend.unwrap(&call(), &old, &wrapped, b""), Err(Error::InvalidKeyRef));
}

#[test]
fn a_kek_that_cannot_be_used_is_named() {
    let backend = backend();
    let refused = || backend.probe(&call()).unwrap_err();
    backend.probe(&call()).unwrap();
    for len in [1, 16, 31, 33, 64] {
        testing::grant_secret("kek", 9, &vec![1; len]);
        let Error::Unavailable(text) = refused() else { panic!("not unavailable") };
        assert!(text.contains("`kek`") && text.contains(&format!("{len} bytes")), "{text}");
    }
    testing::set_unavailable("kek", Some("the file vanished"));
    assert!(matches!(refused(), Error::Unavailable(text) if text.contains("the file vanished")));
    testing::revoke_secret("kek");
    assert!(matches!(refused(), Error::Unavailable(text) if text.contains("grants")));

    testing::grant_secret("other", 1, &[1; 32]);
    let renamed = AesGcm::configure(r#"{"kek":"other"}"#).unwrap();
    renamed.probe(&call()).unwrap();
}

#[test]
fn bounds() {
    let backend = backend();
    let key = root(&backend, 32);
    let too_long = vec![0; 65_537];
    assert!(matches!(backend.wrap(&call(), &key, &too_long, b""), Err(Error::InvalidInput(_))));
    assert!(matches!(backend.wrap(&call(), &key, b"", &too_long), Err(Error::InvalidInput(_))));
    assert!(backend.generate_data_key(&call(), &key, 32, &too_long).is_err());
    assert_eq!(backend.random(&call(), 4_096).unwrap().len(), 4_096);
    assert!(backend.random(&call(), 0).unwrap().is_empty());
    assert!(matches!(backend.random(&call(), 4_097), Err(Error::InvalidInput(_))));
    assert_eq!(backend.destroy_key(&call(), &key), Ok(()));
    let description = backend.describe();
    assert_eq!((description.max_plaintext, description.max_material), (65_536, 7_500));
    assert_eq!(description.algorithms, ["AES", "SECRET"]);
}

/// Made with another implementation, from the crate's documentation. If this fails, stored keys are lost.
#[test]
fn format_1_stays_readable() {
    let backend = backend();
    let range = |len: u8| (0..len).collect::<Vec<u8>>();
    for (material, reference, wrapped) in [
        (
            range(16),
            "a10000000701014142434445464748494a4b4c4d4e4f50515253545556575841968cf1f8929fc9f329a8bca3f3bf2b43\
             01dfe77628df0cd137e541087af772",
            "b15857565554535251504f4e4d4c4b4a4948474645444342419de55202c53a1814b09d6f71d68471d607faa108c500b6\
             d067",
        ),
        (
            range(24),
            "a10000000701014142434445464748494a4b4c4d4e4f50515253545556575841968cf1f8929fc9f329a8bca3f3bf2b0e\
             0b93efe27101a4ef8b62ec4116f0860e31fc2c27918d12",
            "b15857565554535251504f4e4d4c4b4a49484746454443424137837e9b5bdf73288dd635cbdca63bfa376b1a4d4efaa8\
             79a9",
        ),
        (
            range(32),
            "a10000000701014142434445464748494a4b4c4d4e4f50515253545556575841968cf1f8929fc9f329a8bca3f3bf2b0e\
             0b93efe27101a4ee19008671dd4af1d69a3e0792f44afe1a9933ad4cc55e69",
            "b15857565554535251504f4e4d4c4b4a494847464544434241a1a6a0d412938c1707c13cd62bebb38efc71e39d0a0fe0\
             21fe",
        ),
    ] {
        let key = key(unhex(reference));
        let opened = backend.open(&key).unwrap();
        assert_eq!(*opened.material, material);
        let plaintext = backend.unwrap(&call(), &key, &unhex(wrapped), b"additional data").unwrap();
        assert_eq!(*plaintext, b"plaintext");
    }
    let standard = key(unhex(
        "a10000000702024142434445464748494a4b4c4d4e4f50515253545556575820b7fd979fe5fcba0e4e58b58b7278ba8a63\
         ed8e749dc2a3",
    ));
    assert_eq!(*backend.export_key(&call(), &standard).unwrap(), b"a secret");
}
