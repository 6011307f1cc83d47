//! Cryptography for a puppet theatre: it has the shape of the real thing and none of its strength, so that the guest can
//! pass for a backend until it misbehaves.

use keygate_plugin_sdk::backend::KeyIdentity;

/// The size of a checksum, in bytes.
const SUM: usize = 8;
/// The size of a nonce, in bytes.
pub(crate) const NONCE: usize = 8;

/// FNV-1a over parts, each with its length in front. Catches accidents, not attackers.
fn sum(parts: &[&[u8]]) -> [u8; SUM] {
    let mut state: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.len().to_be_bytes().iter().chain(*part) {
            state = (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    state.to_be_bytes()
}

fn name(identity: &KeyIdentity) -> [&[u8]; 3] {
    [identity.instance_id.as_bytes(), identity.key_id.as_bytes(), identity.version_id.as_bytes()]
}

/// Flips the bits of `bytes` with those of key and nonce.
fn flip(key: &[u8], nonce: &[u8], bytes: &[u8]) -> Vec<u8> {
    let stream = key.iter().cycle().zip(nonce.iter().cycle());
    bytes.iter().zip(stream).map(|(byte, (key, nonce))| byte ^ key ^ nonce).collect()
}

/// A key-ref: the kind, the material in clear, and a checksum that binds both to the identity.
pub(crate) fn key_ref(kind: u8, identity: &KeyIdentity, material: &[u8]) -> Vec<u8> {
    let [a, b, c] = name(identity);
    let mut reference = vec![kind];
    reference.extend_from_slice(material);
    reference.extend_from_slice(&sum(&[&[kind], material, a, b, c]));
    reference
}

/// Kind and material of a key-ref that belongs to this identity.
pub(crate) fn open_key_ref<'a>(reference: &'a [u8], identity: &KeyIdentity) -> Option<(u8, &'a [u8])> {
    let (kind, rest) = reference.split_first()?;
    let (material, _) = rest.split_last_chunk::<SUM>()?;
    (!material.is_empty() && key_ref(*kind, identity, material) == reference).then_some((*kind, material))
}

/// The nonce, the flipped plaintext, a checksum.
pub(crate) fn wrap(material: &[u8], identity: &KeyIdentity, nonce: &[u8], plaintext: &[u8], aad: &[u8]) -> Vec<u8> {
    let [a, b, c] = name(identity);
    let mut wrapped = nonce.to_vec();
    wrapped.extend(flip(material, nonce, plaintext));
    wrapped.extend_from_slice(&sum(&[material, a, b, c, nonce, plaintext, aad]));
    wrapped
}

/// Undoes [`wrap`].
pub(crate) fn unwrap(material: &[u8], identity: &KeyIdentity, wrapped: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    let (nonce, rest) = wrapped.split_first_chunk::<NONCE>()?;
    let (flipped, _) = rest.split_last_chunk::<SUM>()?;
    let plaintext = flip(material, nonce, flipped);
    (wrap(material, identity, nonce, &plaintext, aad) == wrapped).then_some(plaintext)
}
