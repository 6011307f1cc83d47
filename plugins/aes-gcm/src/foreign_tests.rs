//! Ciphertexts of the HSM backend, made with another implementation from that crate's documentation.

use super::*;
use crate::transport::tests::vectors;
use crate::wrapping;
use crate::xaes::tests::unhex;

/// What that backend keeps readable itself: with the root key of 32 bytes, under 15 and under 2,000 bytes of AAD.
const ITS_OWN: [&str; 2] = [
    "d10c4c4b4a494847464544434241cb97dcbf2820034bca4ae39d1b26a034ab37a3805eb0e89c6f60",
    "d10c4c4b4a494847464544434241cb97dcbf2820034bca4abe08677d0ac259d776d4efd1aa1659e2",
];

fn identity() -> KeyIdentity {
    KeyIdentity {
        instance_id: "11111111-1111-4111-8111-111111111111".into(),
        key_id: "22222222-2222-4222-8222-222222222222".into(),
        version_id: "33333333-3333-4333-8333-333333333333".into(),
    }
}

fn material(bytes: u8) -> Vec<u8> {
    (0..bytes).collect()
}

fn open(bytes: u8, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
    wrapping::unwrap(&material(bytes), &identity(), wrapped, aad)
}

#[test]
fn format_1_of_the_other_backend_is_read_with_keys_of_every_size() {
    let vectors = vectors();
    for bytes in [16, 24, 32] {
        let wrapped = &vectors[format!("wrapped.{bytes}").as_str()];
        assert_eq!(*open(bytes, wrapped, b"additional data").unwrap(), b"plaintext");
    }
    for (wrapped, aad) in ITS_OWN.iter().zip([b"additional data".as_slice(), &[7; 2_000]]) {
        assert_eq!(*open(32, &unhex(wrapped), aad).unwrap(), b"plaintext");
    }
}

#[test]
fn what_is_damaged_or_of_another_key_is_refused() {
    let vectors = vectors();
    let good = &vectors["wrapped.32"];
    let refused = |wrapped: &[u8]| {
        assert_eq!(open(32, wrapped, b"additional data"), Err(Error::AuthenticationFailed), "{wrapped:?}");
    };
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        refused(&bad);
    }
    for len in 0..good.len() {
        refused(&good[..len]);
    }
    refused(&[good.as_slice(), b"\0"].concat());
    refused(&vectors["wrapped.16"]);
    refused(&vectors["unframed.32"]);
    assert_eq!(open(32, good, b"other data"), Err(Error::AuthenticationFailed));
    let other = KeyIdentity { version_id: "44444444-4444-4444-8444-444444444444".into(), ..identity() };
    let moved = wrapping::unwrap(&material(32), &other, good, b"additional data");
    assert_eq!(moved, Err(Error::AuthenticationFailed));
}
