//! Bytes that nobody made, and bytes that somebody changed.

use keygate_plugin_sdk::backend::{ImportEnvelope, ImportRejection};
use proptest::prelude::*;

use super::*;

/// What may be said to a key-ref that is not the key's.
fn refused<T: core::fmt::Debug>(answer: Result<T, Error>) -> Result<(), TestCaseError> {
    let fine = matches!(&answer, Err(Error::InvalidKeyRef | Error::KeyNotFound))
        || matches!(&answer, Err(Error::Unavailable(text)) if text.contains("/seal/"));
    prop_assert!(fine, "{answer:?}");
    Ok(())
}

fn everything(backend: &SoftHsm, key: &Key) -> Result<(), TestCaseError> {
    refused(backend.wrap(&call(), key, b"x", b""))?;
    refused(backend.unwrap(&call(), key, &[0xD1; 80], b""))?;
    prop_assert!(backend.export_key(&call(), key).is_err());
    prop_assert!(!matches!(backend.reseal_key(&call(), key), Ok(Some(_))));
    let envelope = ImportEnvelope {
        algorithm: "RSAES_OAEP_SHA_256".into(),
        encrypted_key: vec![1; 512],
        encrypted_nonce: vec![1; 28],
        iv: vec![1; 12],
        expected_nonce: vec![1; 12],
    };
    refused(backend.open_import(&call(), key, &identity(), &spec("AES", 32, KeyKind::Root), &envelope))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn bytes_that_nobody_made_open_nothing(
        format in prop_oneof![Just(0xC1_u8), Just(0xC2), any::<u8>()],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let (backend, _) = keeping("wrapped");
        root(&backend, 32);
        let reference = [&[format], rest.as_slice()].concat();
        everything(&backend, &key(reference))?;
    }

    #[test]
    fn sealed_shapes_that_nobody_made_open_nothing(
        purpose in 0_u8..6, algorithm in 0_u8..5, inside in 0_u8..5, version in 0_u32..3, iv in 0_u8..20,
        rest in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let (backend, _) = keeping("wrapped");
        root(&backend, 32);
        let reference = [&[0xC2, purpose, algorithm, inside], version.to_be_bytes().as_slice(), &[iv], &rest].concat();
        everything(&backend, &key(reference))?;
    }

    #[test]
    fn a_changed_key_ref_opens_nothing(
        keep in 0_usize..2, at in any::<prop::sample::Index>(), change in 1_u8.., cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let (backend, _) = keeping(KEEPS[keep]);
        let mut bad = root(&backend, 32);
        if cuts {
            let len = cut.index(bad.reference.len());
            bad.reference.truncate(len);
        } else {
            let at = at.index(bad.reference.len());
            bad.reference[at] ^= change;
        }
        everything(&backend, &bad)?;
    }

    #[test]
    fn a_changed_ciphertext_opens_nothing(
        keep in 0_usize..2, plaintext in proptest::collection::vec(any::<u8>(), 0..100),
        aad in proptest::collection::vec(any::<u8>(), 0..2_000), at in any::<prop::sample::Index>(), change in 1_u8..,
    ) {
        let (backend, _) = keeping(KEEPS[keep]);
        let key = root(&backend, 32);
        let mut wrapped = backend.wrap(&call(), &key, &plaintext, &aad).unwrap();
        prop_assert_eq!(&*backend.unwrap(&call(), &key, &wrapped, &aad).unwrap(), &plaintext);
        let at = at.index(wrapped.len());
        wrapped[at] ^= change;
        prop_assert_eq!(backend.unwrap(&call(), &key, &wrapped, &aad), Err(Error::AuthenticationFailed));
    }
}

#[test]
fn an_import_of_any_bytes_has_one_of_two_answers() {
    let (backend, token) = keeping("token");
    token.set_primes(&super::imports::primes());
    let import_key = key(backend.create_import_key(&call(), &identity(), "RSA-4096").unwrap().private);
    let algorithm = prop_oneof![Just("RSAES_OAEP_SHA_256"), Just("RSAES_OAEP_SHA_1")];
    let bytes = |most| proptest::collection::vec(any::<u8>(), most);
    let encrypted_key = prop_oneof![bytes(512..513), bytes(0..600)];
    proptest!(
        ProptestConfig::with_cases(64),
        |(algorithm in algorithm, encrypted_key in encrypted_key, encrypted_nonce in bytes(0..100), iv in bytes(0..20))| {
            let envelope = ImportEnvelope {
                algorithm: algorithm.into(), encrypted_key, encrypted_nonce, iv, expected_nonce: vec![1; 12],
            };
            let any = spec("AES", 0, KeyKind::Root);
            let answer = backend.open_import(&call(), &import_key, &identity(), &any, &envelope);
            let fine =
                matches!(&answer, Err(Error::ImportRejected(ImportRejection::Material | ImportRejection::NonceIv)));
            prop_assert!(fine, "{answer:?}");
        }
    );
}
