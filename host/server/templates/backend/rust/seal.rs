//! Authenticated encryption. The cipher is the RustCrypto project's: never write one.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use keygate_plugin_sdk::backend::{Error, Result, SecretBytes};
use keygate_plugin_sdk::host::random;
use sha2::Sha256;

/// XChaCha20-Poly1305: a random nonce, then the ciphertext with its tag.
const NONCE: usize = 24;

/// Seals under a key of 32 bytes.
pub(crate) fn seal(key: &[u8], plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>> {
    let mut sealed = random::bytes(NONCE as u32).to_vec();
    let (cipher, nonce) = cipher(key, &sealed).ok_or_else(|| Error::Internal("the key has not 32 bytes".to_owned()))?;
    let ciphertext = cipher.encrypt(&nonce, Payload { msg: plaintext, aad });
    sealed.extend(ciphertext.map_err(|_| Error::InvalidInput("the plaintext is too long".to_owned()))?);
    Ok(sealed)
}

/// Opens what [`seal`] made with the same key and `aad`, and nothing else.
pub(crate) fn open(key: &[u8], sealed: &[u8], aad: &[u8]) -> Option<SecretBytes> {
    let (nonce, ciphertext) = sealed.split_at_checked(NONCE)?;
    let (cipher, nonce) = cipher(key, nonce)?;
    cipher.decrypt(&nonce, Payload { msg: ciphertext, aad }).ok().map(SecretBytes::new)
}

/// A cipher's key of 32 bytes out of material of any size (HMAC-SHA-256 as a pseudorandom function).
pub(crate) fn derive(material: &[u8]) -> SecretBytes {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(material) else { unreachable!("HMAC takes a key of any length") };
    mac.update(b"{{name}} data key 1");
    SecretBytes::new(mac.finalize().into_bytes().to_vec())
}

fn cipher(key: &[u8], nonce: &[u8]) -> Option<(XChaCha20Poly1305, XNonce)> {
    let key: &Key = key.try_into().ok()?;
    Some((XChaCha20Poly1305::new(key), XNonce::try_from(nonce).ok()?))
}

/// The beginning of the example in draft-irtf-cfrg-xchacha-03, appendix A.3.1: shows that the cipher is the right one.
pub(crate) fn known_answer() -> Result<()> {
    let key: Vec<u8> = (0x80..0xa0).collect();
    let nonce: Vec<u8> = (0x40..0x58).collect();
    let aad = [0x50, 0x51, 0x52, 0x53, 0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7];
    let right = cipher(&key, &nonce)
        .and_then(|(cipher, nonce)| cipher.encrypt(&nonce, Payload { msg: b"Ladies and Gentl", aad: &aad }).ok())
        .is_some_and(|found| found.starts_with(&[0xbd, 0x6d, 0x17, 0x9d, 0x3e, 0x83, 0xd4, 0x3b]));
    if right { Ok(()) } else { Err(Error::Internal("the known answer is another".to_owned())) }
}
