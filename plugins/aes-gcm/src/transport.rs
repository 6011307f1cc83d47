//! Keys that go to another backend or come from one, sealed so that nobody between the two can read them. The format is
//! `seal-for-transport`'s in `wit/crypto/backend.wit`.

use aes_kw::KeyInit;
use aes_kw::KwpAes256;
use keygate_plugin_rsa::{Hash, RsaPair};
use keygate_plugin_sdk::backend::{Error, Result, SecretBytes};
use keygate_plugin_sdk::host::random;

use crate::backend::host_random;
use crate::keyref::OpenKey;
use crate::spec::{Algorithm, Purpose};

const FORMAT: u8 = 1;
const SHA1: u8 = 1;
const SHA256: u8 = 2;
/// The part that is encrypted to the RSA key, in bytes.
const MODULUS: usize = 512;
/// The size of the key between the two, in bytes.
const BETWEEN: usize = 32;
/// What RFC 5649 puts in front of a key, in bytes.
const SEMIBLOCK: usize = 8;
/// The longest result of `seal-for-transport`, in bytes.
const MOST: usize = 1_024;

/// Seals a key to another backend's transport key.
pub(crate) fn seal(hash: Hash, key: &OpenKey, recipient: &[u8]) -> Result<Vec<u8>> {
    match (key.purpose, key.algorithm) {
        (Purpose::Root | Purpose::Standard, Algorithm::Aes) => {}
        (Purpose::Standard, _) => {
            return Err(Error::Unsupported("a standard key that is no AES key: export and import it".to_owned()));
        }
        _ => return Err(Error::InvalidKeyRef),
    }
    let between = random::bytes(BETWEEN as u32);
    let encrypted = keygate_plugin_rsa::encrypt(&mut host_random(), hash, recipient, &between)?.ok_or_else(|| {
        Error::InvalidInput("the recipient: expected an RSA public key of 4096 bits as SubjectPublicKeyInfo".to_owned())
    })?;
    let hash = match hash {
        Hash::Sha1 => SHA1,
        Hash::Sha256 => SHA256,
    };
    let mut sealed = [&[FORMAT, hash], encrypted.as_slice()].concat();
    sealed.extend_from_slice(&wrap(&between, &key.material)?);
    Ok(sealed)
}

/// Opens what another backend sealed. One error for all causes that lie in `sealed`.
pub(crate) fn open(pair: &RsaPair, sealed: &[u8]) -> Result<SecretBytes> {
    let refused = || Error::AuthenticationFailed;
    if sealed.len() > MOST {
        return Err(refused());
    }
    let (&[format, hash], rest) = sealed.split_first_chunk::<2>().ok_or_else(refused)?;
    let hash = match (format, hash) {
        (FORMAT, SHA1) => Hash::Sha1,
        (FORMAT, SHA256) => Hash::Sha256,
        _ => return Err(Error::Unsupported("this format of a sealed key: it is of a later version".to_owned())),
    };
    let (encrypted, wrapped) = rest.split_first_chunk::<MODULUS>().ok_or_else(refused)?;
    // Whether it is the first or the second that does not open is nobody's to know: no oracle for either.
    let between = pair.decrypt(&mut host_random(), hash, encrypted)?.ok_or_else(refused)?;
    unwrap(&between, wrapped).ok_or_else(refused)
}

/// AES-KWP (RFC 5649).
fn wrap(between: &[u8], material: &[u8]) -> Result<Vec<u8>> {
    let mut out = vec![0; material.len().next_multiple_of(SEMIBLOCK) + SEMIBLOCK];
    let wrapped = KwpAes256::new_from_slice(between).is_ok_and(|kwp| kwp.wrap_key(material, &mut out).is_ok());
    if wrapped { Ok(out) } else { Err(Error::Internal("the key could not be wrapped".to_owned())) }
}

/// Back.
fn unwrap(between: &[u8], wrapped: &[u8]) -> Option<SecretBytes> {
    // Less than two semiblocks is no wrapped key of any size.
    let len = wrapped.len().checked_sub(SEMIBLOCK).filter(|len| *len >= SEMIBLOCK)?;
    let mut out = SecretBytes::new(vec![0; len]);
    let size = KwpAes256::new_from_slice(between).ok()?.unwrap_key(wrapped, &mut out).ok()?.len();
    out.truncate(size);
    Some(out)
}

#[cfg(test)]
#[path = "transport_tests.rs"]
pub(crate) mod tests;
