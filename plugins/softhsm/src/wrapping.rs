//! Ciphertexts: data sealed under a root key. The format is in the crate's documentation.

use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result, SecretBytes};
use keygate_plugin_sdk::host::pkcs11;

use crate::aad;
use crate::foreign;
use crate::hsm::{Hsm, Root};
use crate::keyref::{append, split};

const FORMAT: u8 = 0xD1;
const PURPOSE: &str = "keygate/softhsm/wrap/1";
/// What stands in front of every plaintext: not every module encrypts nothing.
const FRONT: u8 = 1;

/// How much longer than its plaintext a ciphertext is at most, in bytes.
#[cfg(test)]
pub(crate) const OVERHEAD: usize = 2 + *crate::keyref::IV.end() + 1 + crate::keyref::TAG;

/// Seals `plaintext` under a root key.
pub(crate) fn wrap(
    hsm: &Hsm<'_>,
    root: &Root,
    identity: &KeyIdentity,
    plaintext: &[u8],
    aad: &[u8],
) -> Result<Vec<u8>> {
    let mut framed = SecretBytes::new(Vec::with_capacity(1 + plaintext.len()));
    framed.push(FRONT);
    framed.extend_from_slice(plaintext);
    let sealed = root
        .key
        .seal(hsm.iv(), &framed, &bound_to(identity, aad))
        .map_err(|error| hsm.explain("to seal with a root key", error))?;
    let mut wrapped = Vec::with_capacity(2 + sealed.iv.len() + sealed.ciphertext.len());
    wrapped.push(FORMAT);
    append(&mut wrapped, &sealed)?;
    Ok(wrapped)
}

/// Opens what [`wrap`] made, and what the software backend made with the same key before it came here. One error for all causes that lie in the ciphertext.
pub(crate) fn unwrap(
    hsm: &Hsm<'_>,
    root: &Root,
    identity: &KeyIdentity,
    wrapped: &[u8],
    aad: &[u8],
) -> Result<SecretBytes> {
    let rest = match wrapped.split_first() {
        Some((&FORMAT, rest)) => rest,
        Some((&foreign::FORMAT, rest)) => return foreign::unwrap(hsm, root, identity, rest, aad),
        _ => return Err(Error::AuthenticationFailed),
    };
    let sealed = split(rest).ok_or(Error::AuthenticationFailed)?;
    if sealed.ciphertext.len() > pkcs11::MAX_SEAL + crate::keyref::TAG {
        return Err(Error::AuthenticationFailed);
    }
    let mut framed = root.key.open(&sealed, &bound_to(identity, aad)).map_err(|error| match error {
        pkcs11::Error::AuthenticationFailed => Error::AuthenticationFailed,
        error => hsm.explain("to open with a root key", error),
    })?;
    if framed.first() != Some(&FRONT) {
        return Err(Error::AuthenticationFailed);
    }
    framed.remove(0);
    Ok(framed)
}

fn bound_to(identity: &KeyIdentity, aad: &[u8]) -> Vec<u8> {
    let [instance, key, version] = aad::identity(identity);
    aad::join(PURPOSE, [instance, key, version, aad])
}
