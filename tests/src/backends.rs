//! The suite that every backend passes, whatever it is made of: `keygate:crypto/backend` as its callers see it. A case
//! takes a backend and panics with what is wrong.

use aws_lc_rs::aead::{AES_128_GCM, AES_192_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use keygate_core::backend::{
    Algorithm, BackendError, BackendKey, Call, CryptoBackend, ImportEnvelope, ImportRejection, KeyIdentity, KeySpec,
};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::secret::SecretBytes;

const CALL: Call<'static> = Call { request_id: "suite", timeout: None };
const ROOT: KeySpec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };

/// Runs every case.
pub async fn run_all(backend: &dyn CryptoBackend) {
    describes_and_probes(backend).await;
    wraps_and_unwraps_every_size(backend).await;
    binds_aad_and_identity(backend).await;
    refuses_damage(backend).await;
    makes_data_keys(backend).await;
    rewraps_without_a_plaintext(backend).await;
    imports_roots_of_every_size(backend).await;
    keeps_roots_and_gives_standard_keys_back(backend).await;
    gives_random_bytes(backend).await;
    destroys_what_is_there_and_what_is_not(backend).await;
}

/// Encrypts a nonce under material and an iv.
type EncryptNonce = fn(material: &[u8], iv: &[u8], nonce: &[u8]) -> Vec<u8>;

/// How a client encrypts for an import token; every backend's clients alike, but for the fake's.
#[derive(Clone, Copy)]
pub struct Client {
    /// Material to a public key, with RSAES-OAEP and SHA-256.
    pub encrypt_key: fn(public: &[u8], material: &[u8]) -> Vec<u8>,
    /// A nonce under material and an iv, with AES-GCM.
    pub encrypt_nonce: EncryptNonce,
}

/// A client that has its cryptography from elsewhere than the plugin.
pub fn standard_client() -> Client {
    Client { encrypt_key: oaep, encrypt_nonce: gcm }
}

fn oaep(public: &[u8], material: &[u8]) -> Vec<u8> {
    let key = PublicEncryptingKey::from_der(public).expect("aws-lc takes it");
    assert_eq!(key.key_size_bits(), 4_096);
    let mut ciphertext = vec![0; 512];
    let key = OaepPublicEncryptingKey::new(key).expect("aws-lc takes it");
    let len = key.encrypt(&OAEP_SHA256_MGF1SHA256, material, &mut ciphertext, None).expect("aws-lc takes it").len();
    assert_eq!(len, 512);
    ciphertext
}

fn gcm(material: &[u8], iv: &[u8], nonce: &[u8]) -> Vec<u8> {
    let algorithm = match material.len() {
        16 => &AES_128_GCM,
        24 => &AES_192_GCM,
        _ => &AES_256_GCM,
    };
    let key = LessSafeKey::new(UnboundKey::new(algorithm, material).expect("aws-lc takes it"));
    let mut sealed = nonce.to_vec();
    key.seal_in_place_append_tag(
        Nonce::try_assume_unique_for_key(iv).expect("aws-lc takes it"),
        Aad::empty(),
        &mut sealed,
    )
    .expect("aws-lc takes it");
    sealed
}

/// What comes under an import token becomes a key of the right size; what does not fit together says where, and no more.
pub async fn imports_under_a_token(backend: &dyn CryptoBackend, client: Client) {
    assert!(backend.description().features.iter().any(|feature| feature == "import-token"));
    let other = backend.create_import_key(CALL, identity(7), "RSA-2048").await;
    assert!(matches!(other, Err(BackendError::Unsupported(_))), "{other:?}");
    let pair = backend.create_import_key(CALL, identity(7), "RSA-4096").await.expect("a key pair");
    let import_key = key(7, &pair.private);
    let any = KeySpec { bits: 0, ..ROOT };
    let envelope = |material: &[u8]| ImportEnvelope {
        algorithm: "RSAES_OAEP_SHA_256".to_owned(),
        encrypted_key: (client.encrypt_key)(&pair.public, material),
        encrypted_nonce: (client.encrypt_nonce)(material, &[5; 12], &[6; 12]),
        iv: vec![5; 12],
        expected_nonce: vec![6; 12].into(),
    };
    for bytes in [16_u8, 24, 32] {
        let good = envelope(&vec![bytes; bytes.into()]);
        let imported = backend.open_import(CALL, import_key, identity(8), any, &good).await.expect("opens");
        assert_eq!(imported.bits, u32::from(bytes) * 8);
        let wrapped = backend.wrap(CALL, key(8, &imported.reference), &secret(b"x"), b"").await.expect("wraps");
        assert!(backend.unwrap(CALL, key(8, &imported.reference), &wrapped, b"").await.is_ok());
        let kept = backend.export_key(CALL, key(8, &imported.reference)).await;
        assert!(matches!(kept, Err(BackendError::Unsupported(_))), "{kept:?}");
    }

    let good = envelope(&[1; 32]);
    let foreign = envelope(&[2; 32]).encrypted_nonce;
    let material = ImportRejection::Material;
    let refusals = [
        (material, ImportEnvelope { encrypted_key: good.encrypted_key[1..].to_vec(), ..good.clone() }),
        (material, ImportEnvelope { encrypted_key: vec![1; 513], ..good.clone() }),
        (material, ImportEnvelope { encrypted_key: Vec::new(), ..good.clone() }),
        (material, ImportEnvelope { encrypted_key: (client.encrypt_key)(&pair.public, &[1; 15]), ..good.clone() }),
        (material, ImportEnvelope { encrypted_key: (client.encrypt_key)(&pair.public, &[1; 33]), ..good.clone() }),
        (ImportRejection::NonceIv, ImportEnvelope { iv: vec![4; 12], ..good.clone() }),
        (ImportRejection::NonceIv, ImportEnvelope { iv: vec![5; 16], ..good.clone() }),
        (ImportRejection::NonceIv, ImportEnvelope { iv: vec![5; 1_000], ..good.clone() }),
        (ImportRejection::NonceIv, ImportEnvelope { encrypted_nonce: foreign, ..good.clone() }),
        (ImportRejection::Nonce, ImportEnvelope { expected_nonce: vec![7; 12].into(), ..good.clone() }),
    ];
    for (n, (why, envelope)) in refusals.iter().enumerate() {
        let refused = backend.open_import(CALL, import_key, identity(8), any, envelope).await;
        assert_eq!(refused, Err(BackendError::ImportRejected(*why)), "refusal number {n}");
    }
    let short = KeySpec { bits: 128, ..ROOT };
    let refused = backend.open_import(CALL, import_key, identity(8), short, &good).await;
    assert_eq!(refused, Err(BackendError::ImportRejected(material)));
    let unknown = ImportEnvelope { algorithm: "RSAES_OAEP_SHA_512".to_owned(), ..good.clone() };
    let refused = backend.open_import(CALL, import_key, identity(8), any, &unknown).await;
    assert!(matches!(refused, Err(BackendError::Unsupported(_))), "{refused:?}");

    // An import key is nothing else, and nothing else is one.
    let wrapped = backend.wrap(CALL, import_key, &secret(b"x"), b"").await;
    assert!(matches!(wrapped, Err(BackendError::InvalidKeyRef { .. })), "{wrapped:?}");
    let given = backend.export_key(CALL, import_key).await;
    assert!(matches!(given, Err(BackendError::InvalidKeyRef { .. })), "{given:?}");
    let root = root(backend, 1).await;
    for wrong in [key(1, &root), BackendKey { identity: identity(9), ..import_key }] {
        let opened = backend.open_import(CALL, wrong, identity(8), any, &good).await;
        assert!(matches!(opened, Err(BackendError::InvalidKeyRef { .. })), "{opened:?}");
    }
    backend.destroy_key(CALL, import_key).await.expect("gone");
}

fn identity(n: u8) -> KeyIdentity {
    KeyIdentity {
        instance: InstanceId::from_bytes([0xA0; 16]),
        key: KeyId::from_bytes([n; 16]),
        version: VersionId::from_bytes([n; 16]),
    }
}

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::new(bytes.to_vec())
}

async fn root(backend: &dyn CryptoBackend, n: u8) -> Vec<u8> {
    let reference = backend.generate_key(CALL, identity(n), ROOT).await.expect("a root key");
    assert!((1..=16_384).contains(&reference.len()), "a key-ref has 1 to 16,384 bytes, not {}", reference.len());
    reference
}

fn key(n: u8, reference: &[u8]) -> BackendKey<'_> {
    BackendKey { identity: identity(n), reference }
}

/// It says what it can, and shows that it works.
pub async fn describes_and_probes(backend: &dyn CryptoBackend) {
    let description = backend.description();
    assert!(description.algorithms.iter().any(|name| name == "AES"), "{description:?}");
    assert!(description.max_plaintext >= 4_096 && description.max_material >= 32, "{description:?}");
    backend.probe(CALL).await.expect("it works");
}

/// From nothing to its longest plaintext; never the same ciphertext twice.
pub async fn wraps_and_unwraps_every_size(backend: &dyn CryptoBackend) {
    let reference = root(backend, 1).await;
    let most = backend.description().max_plaintext.min(32_768);
    for len in [0, 1, 15, 16, 17, 32, 4_096, most] {
        let plaintext = secret(&vec![0xC3; len]);
        let once = backend.wrap(CALL, key(1, &reference), &plaintext, b"aad").await.expect("wraps");
        let twice = backend.wrap(CALL, key(1, &reference), &plaintext, b"aad").await.expect("wraps");
        assert_ne!(once, twice, "two wraps of the same {len} bytes are the same");
        assert!(once.len() <= len + 1_024, "{} bytes for a plaintext of {len}", once.len());
        let back = backend.unwrap(CALL, key(1, &reference), &once, b"aad").await.expect("unwraps");
        assert_eq!(back.expose(), plaintext.expose());
    }
}

/// What was wrapped under one AAD and key opens under no other; a key-ref is of use to its own key version only.
pub async fn binds_aad_and_identity(backend: &dyn CryptoBackend) {
    let (one, other) = (root(backend, 1).await, root(backend, 2).await);
    let wrapped = backend.wrap(CALL, key(1, &one), &secret(b"x"), b"aad").await.expect("wraps");
    for aad in [&b""[..], b"aa", b"aad ", b"AAD"] {
        let refused = backend.unwrap(CALL, key(1, &one), &wrapped, aad).await;
        assert_eq!(refused.err(), Some(BackendError::AuthenticationFailed), "under the AAD {aad:?}");
    }
    let foreign = backend.unwrap(CALL, key(2, &other), &wrapped, b"aad").await;
    assert_eq!(foreign.err(), Some(BackendError::AuthenticationFailed), "under another key");
    let own = identity(1);
    let moved = [
        KeyIdentity { instance: InstanceId::from_bytes([0xA1; 16]), ..own },
        KeyIdentity { key: KeyId::from_bytes([9; 16]), ..own },
        KeyIdentity { version: VersionId::from_bytes([9; 16]), ..own },
    ];
    for identity in moved {
        let stolen = BackendKey { identity, reference: &one };
        let refused = backend.wrap(CALL, stolen, &secret(b"x"), b"").await;
        assert!(matches!(refused, Err(BackendError::InvalidKeyRef { .. })), "as {identity:?}: {refused:?}");
    }
}

/// No bit of a ciphertext, and no part of it, can be changed unnoticed.
pub async fn refuses_damage(backend: &dyn CryptoBackend) {
    let reference = root(backend, 1).await;
    let wrapped = backend.wrap(CALL, key(1, &reference), &secret(b"sixteen bytes ok"), b"").await.expect("wraps");
    let mut damaged: Vec<Vec<u8>> = Vec::new();
    for at in 0..wrapped.len() {
        let mut flipped = wrapped.clone();
        flipped[at] ^= 0x80;
        damaged.push(flipped);
    }
    damaged.extend([wrapped[1..].to_vec(), wrapped[..wrapped.len() - 1].to_vec(), Vec::new()]);
    damaged.push([wrapped.as_slice(), &[0]].concat());
    for (n, bytes) in damaged.iter().enumerate() {
        let refused = backend.unwrap(CALL, key(1, &reference), bytes, b"").await;
        assert_eq!(refused.err(), Some(BackendError::AuthenticationFailed), "damage number {n}");
    }
}

/// Data keys have the length that was asked for, differ, and open.
pub async fn makes_data_keys(backend: &dyn CryptoBackend) {
    let reference = root(backend, 1).await;
    for len in [16_u32, 32, 64] {
        let one = backend.generate_data_key(CALL, key(1, &reference), len, b"a").await.expect("a data key");
        let two = backend.generate_data_key(CALL, key(1, &reference), len, b"a").await.expect("a data key");
        assert_eq!(one.plaintext.len(), len as usize);
        assert_ne!(one.plaintext.expose(), two.plaintext.expose());
        let back = backend.unwrap(CALL, key(1, &reference), &one.wrapped, b"a").await.expect("opens");
        assert_eq!(back.expose(), one.plaintext.expose());
    }
}

/// From one key version to another, each with its own AAD.
pub async fn rewraps_without_a_plaintext(backend: &dyn CryptoBackend) {
    let (old, new) = (root(backend, 1).await, root(backend, 2).await);
    let wrapped = backend.wrap(CALL, key(1, &old), &secret(b"moves"), b"old").await.expect("wraps");
    let moved = backend.rewrap(CALL, key(1, &old), key(2, &new), &wrapped, b"old", b"new").await.expect("rewraps");
    let back = backend.unwrap(CALL, key(2, &new), &moved, b"new").await.expect("unwraps");
    assert_eq!(back.expose(), b"moves");
    let wrong = backend.rewrap(CALL, key(1, &old), key(2, &new), &wrapped, b"not", b"new").await;
    assert_eq!(wrong.err(), Some(BackendError::AuthenticationFailed));
}

/// Imported root keys of 128, 192 and 256 bits wrap; material of another size than announced is refused.
pub async fn imports_roots_of_every_size(backend: &dyn CryptoBackend) {
    for bytes in [16, 24, 32] {
        let spec = KeySpec { bits: bytes as u32 * 8, ..ROOT };
        let material = secret(&vec![0x77; bytes]);
        let reference = backend.import_key(CALL, identity(3), spec, &material).await.expect("imports");
        assert!(
            !reference.windows(bytes).any(|part| part == material.expose()) || backend.description().name == "fake"
        );
        let wrapped = backend.wrap(CALL, key(3, &reference), &secret(b"x"), b"").await.expect("wraps");
        assert!(backend.unwrap(CALL, key(3, &reference), &wrapped, b"").await.is_ok());
        let short = backend.import_key(CALL, identity(3), spec, &secret(&vec![0x77; bytes - 1])).await;
        assert!(matches!(short, Err(BackendError::InvalidInput(_))), "{short:?}");
    }
}

/// A standard key's material comes back to the byte; a root key's never does.
pub async fn keeps_roots_and_gives_standard_keys_back(backend: &dyn CryptoBackend) {
    let reference = root(backend, 1).await;
    let kept = backend.export_key(CALL, key(1, &reference)).await;
    assert!(matches!(kept, Err(BackendError::Unsupported(_))), "{kept:?}");
    for len in [1, 32, 7_500.min(backend.description().max_material)] {
        let material = secret(&vec![0x3C; len]);
        let spec = KeySpec { algorithm: Algorithm::Secret, bits: len as u32 * 8, kind: KeyKind::Standard };
        let reference = backend.import_key(CALL, identity(4), spec, &material).await.expect("imports");
        let back = backend.export_key(CALL, key(4, &reference)).await.expect("exports");
        assert_eq!(back.expose(), material.expose());
    }
}

/// As many as asked for, and never the same again.
pub async fn gives_random_bytes(backend: &dyn CryptoBackend) {
    for len in [0, 1, 32, 4_096] {
        assert_eq!(backend.random(CALL, len).await.expect("bytes").len(), len as usize);
    }
    let (one, two) = (backend.random(CALL, 32).await.expect("bytes"), backend.random(CALL, 32).await.expect("bytes"));
    assert_ne!(one.expose(), two.expose());
}

/// Destroying is done, also a second time.
pub async fn destroys_what_is_there_and_what_is_not(backend: &dyn CryptoBackend) {
    let reference = root(backend, 5).await;
    for _ in 0..2 {
        backend.destroy_key(CALL, key(5, &reference)).await.expect("gone is gone");
    }
}
