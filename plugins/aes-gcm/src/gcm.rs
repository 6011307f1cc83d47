//! AES-GCM as others use it, to open what they sealed. What this backend seals itself, it seals with `xaes`.

use aes::Aes192;
use aes::cipher::KeyInit;
use aes::cipher::consts::{U12, U16};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Tag};
use keygate_plugin_sdk::backend::SecretBytes;

use crate::xaes::TAG;

/// Opens a ciphertext with its tag behind it. `key` has 16, 24 or 32 bytes. One answer for all that is wrong.
pub(crate) fn open(key: &[u8], iv: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<SecretBytes> {
    match key.len() {
        16 => run::<Aes128Gcm>(key, iv, aad, sealed),
        24 => run::<AesGcm<Aes192, U12>>(key, iv, aad, sealed),
        32 => run::<Aes256Gcm>(key, iv, aad, sealed),
        _ => None,
    }
}

fn run<C>(key: &[u8], iv: &[u8; 12], aad: &[u8], sealed: &[u8]) -> Option<SecretBytes>
where
    C: KeyInit + AeadInOut<NonceSize = U12, TagSize = U16>,
{
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG>()?;
    let cipher = C::new_from_slice(key).ok()?;
    let mut opened = SecretBytes::new(ciphertext.to_vec());
    let buffer = InOutBuf::from(opened.as_mut_slice());
    cipher.decrypt_inout_detached(&(*iv).into(), aad, buffer, &Tag::from(*tag)).ok()?;
    Some(opened)
}
