//! Ciphertexts: data sealed under a root key. The format is in the crate's documentation.

use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result, SecretBytes};

use crate::aad;
use crate::foreign;
use crate::xaes::{self, NONCE, TAG};

const FORMAT: u8 = 0xB1;
const PURPOSE: &str = "keygate/aes-gcm/wrap/1";

/// How much longer than its plaintext a ciphertext is, in bytes.
pub(crate) const OVERHEAD: usize = 1 + NONCE + TAG;

/// Seals `plaintext` under a root key's material.
pub(crate) fn wrap(
    material: &[u8],
    nonce: &[u8; NONCE],
    identity: &KeyIdentity,
    plaintext: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>> {
    let mut wrapped = Vec::with_capacity(OVERHEAD + plaintext.len());
    wrapped.push(FORMAT);
    wrapped.extend_from_slice(nonce);
    wrapped.extend_from_slice(plaintext);
    xaes::seal(material, nonce, &bound_to(identity, aad), &mut wrapped, 1 + NONCE)
        .map_err(|_| Error::Internal("the plaintext could not be sealed".to_owned()))?;
    Ok(wrapped)
}

/// Opens what [`wrap`] made, and what the HSM backend made with the same key before it came here. One error for all causes.
pub(crate) fn unwrap(material: &[u8], identity: &KeyIdentity, wrapped: &[u8], aad: &[u8]) -> Result<SecretBytes> {
    let rest = match wrapped.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some((&foreign::FORMAT, rest)) => return foreign::unwrap(material, identity, rest, aad),
        _ => return Err(Error::AuthenticationFailed),
    };
    let (nonce, sealed) = rest.split_first_chunk::<NONCE>().ok_or(Error::AuthenticationFailed)?;
    xaes::open(material, nonce, &bound_to(identity, aad), sealed).map_err(|_| Error::AuthenticationFailed)
}

fn bound_to(identity: &KeyIdentity, aad: &[u8]) -> Vec<u8> {
    let [instance, key, version] = aad::identity(identity);
    aad::join(PURPOSE, [instance, key, version, aad])
}
