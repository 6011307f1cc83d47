//! Ciphertexts of the software backend (`aes-gcm`), format 1. What it wrapped under a key opens here after the key has come
//! by transport. The format is in that crate's documentation; it is read, never written.
//!
//! It is XAES-256-GCM: a key for each message, from CMAC in the counter mode of NIST SP 800-108. The token computes the CMACs
//! with the root key; AES-256-GCM under what comes out is done here. So this sandbox has the key of the one message that it opens, and
//! the root key stays in the token.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, KeyInit, Tag};
use keygate_plugin_sdk::backend::{Error, KeyIdentity, Result, SecretBytes};
use keygate_plugin_sdk::host::pkcs11;

use crate::aad;
use crate::hsm::{Hsm, Root};
use crate::keyref::TAG;

/// What such a ciphertext begins with.
pub(crate) const FORMAT: u8 = 0xB1;
const PURPOSE: &str = "keygate/aes-gcm/wrap/1";
/// The part of the nonce that chooses the message's key, in bytes.
const KEY_PART: usize = 12;
/// The part that is the nonce under that key, in bytes.
const NONCE_PART: usize = 12;
/// The size of a CMAC, in bytes.
const MAC: usize = 16;

/// Opens what stands behind the first byte. One error for all causes that lie in the ciphertext; a key that no other backend
/// sent never wrapped anything there.
pub(crate) fn unwrap(
    hsm: &Hsm<'_>,
    root: &Root,
    identity: &KeyIdentity,
    rest: &[u8],
    aad: &[u8],
) -> Result<SecretBytes> {
    if !root.arrived {
        return Err(Error::AuthenticationFailed);
    }
    let [instance, key, version] = aad::identity(identity);
    let bound_to = aad::plain(PURPOSE, &[instance, key, version, aad]);
    let opened = open(&root.key, rest, &bound_to);
    opened.map_err(|error| hsm.explain("to derive a message's key", error))?.ok_or(Error::AuthenticationFailed)
}

/// Opens a nonce of 24 bytes and what was sealed under it. `None` where it does not open; the token's failure otherwise.
pub(crate) fn open(root: &pkcs11::Key, bytes: &[u8], aad: &[u8]) -> pkcs11::Result<Option<SecretBytes>> {
    let parts = bytes.split_first_chunk::<KEY_PART>().and_then(|(key_part, rest)| {
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_PART>()?;
        let (ciphertext, tag) = sealed.split_last_chunk::<TAG>()?;
        Some((key_part, nonce, ciphertext, tag))
    });
    let Some((key_part, nonce, ciphertext, tag)) = parts else { return Ok(None) };
    let message_key = derive(root, key_part)?;
    let Ok(cipher) = Aes256Gcm::new_from_slice(&message_key) else { return Ok(None) };
    let mut opened = SecretBytes::new(ciphertext.to_vec());
    let buffer = InOutBuf::from(opened.as_mut_slice());
    let genuine = cipher.decrypt_inout_detached(&(*nonce).into(), aad, buffer, &Tag::from(*tag)).is_ok();
    Ok(genuine.then_some(opened))
}

/// NIST SP 800-108r1, counter mode, with CMAC: `counter (2 bytes) || "X" || 0 || context` for counters 1 and 2.
fn derive(root: &pkcs11::Key, context: &[u8; KEY_PART]) -> pkcs11::Result<SecretBytes> {
    let mut message_key = SecretBytes::new(Vec::with_capacity(2 * MAC));
    for counter in [1, 2] {
        let mut block = [0; 4 + KEY_PART];
        let (head, tail) = block.split_at_mut(4);
        head.copy_from_slice(&[0, counter, b'X', 0]);
        tail.copy_from_slice(context);
        message_key.extend_from_slice(&root.mac(&block)?);
    }
    Ok(message_key)
}
