//! Ciphertexts of the HSM backend (`softhsm`), format 1. What it wrapped under a key opens here after the key has moved.
//! The format is in that crate's documentation; it is read, never written.

use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result, SecretBytes};
use sha2::{Digest as _, Sha256};

use crate::{aad, gcm};

/// What such a ciphertext begins with.
pub(crate) const FORMAT: u8 = 0xD1;
const PURPOSE: &str = "keygate/softhsm/wrap/1";
const PURPOSE_OF_LONG: &str = "keygate/softhsm/wrap/1/sha-256";
/// What stands in front of every plaintext.
const FRONT: u8 = 1;
/// The longest additional data that is not hashed, in bytes.
const LONGEST: usize = 1_024;
/// The size of an iv, in bytes. The format has room for up to 16; the door to tokens has always given 12.
const IV: usize = 12;

/// Opens what stands behind the first byte. One error for all causes.
pub(crate) fn unwrap(material: &[u8], identity: &KeyIdentity, rest: &[u8], aad: &[u8]) -> Result<SecretBytes> {
    let refused = || Error::AuthenticationFailed;
    let (&size, rest) = rest.split_first().ok_or_else(refused)?;
    let (iv, sealed) = rest.split_first_chunk::<IV>().filter(|_| usize::from(size) == IV).ok_or_else(refused)?;
    let mut framed = gcm::open(material, iv, &bound_to(identity, aad), sealed).ok_or_else(refused)?;
    if framed.first() != Some(&FRONT) {
        return Err(refused());
    }
    framed.remove(0);
    Ok(framed)
}

fn bound_to(identity: &KeyIdentity, aad: &[u8]) -> Vec<u8> {
    let [instance, key, version] = aad::identity(identity);
    let joined = aad::join(PURPOSE, [instance, key, version, aad]);
    if joined.len() <= LONGEST {
        return joined;
    }
    aad::join(PURPOSE_OF_LONG, [Sha256::digest(&joined).as_slice()])
}

#[cfg(test)]
#[path = "foreign_tests.rs"]
mod tests;
