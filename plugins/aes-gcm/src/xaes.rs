//! XAES-256-GCM (<https://c2sp.org/XAES-256-GCM>), and the same with AES-128 or AES-192 as the KDF's cipher.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, Tag};
use zeroize::{Zeroize, Zeroizing};

/// The size of a nonce, in bytes.
pub(crate) const NONCE: usize = 24;
/// The size of a tag, in bytes.
pub(crate) const TAG: usize = 16;

/// The part of the nonce that chooses the message's key.
const KEY_PART: usize = 12;

type Block = Array<u8, U16>;

/// Why nothing was sealed or opened. Opening has one reason for all causes, so that it is no oracle.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// Encrypts `out[from..]` where it is, and puts the tag behind it. `key` has 16, 24 or 32 bytes.
pub(crate) fn seal(key: &[u8], nonce: &[u8; NONCE], aad: &[u8], out: &mut Vec<u8>, from: usize) -> Result<(), Failed> {
    let (cipher, nonce) = message_cipher(key, nonce)?;
    let buffer = InOutBuf::from(out.get_mut(from..).ok_or(Failed)?);
    let tag = cipher.encrypt_inout_detached(&nonce.into(), aad, buffer).map_err(|_| Failed)?;
    out.extend_from_slice(&tag);
    Ok(())
}

/// Decrypts a ciphertext with its tag behind it. `key` has 16, 24 or 32 bytes.
pub(crate) fn open(key: &[u8], nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failed> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG>().ok_or(Failed)?;
    let (cipher, nonce) = message_cipher(key, nonce)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    cipher
        .decrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(buffer.as_mut_slice()), &Tag::from(*tag))
        .map_err(|_| Failed)?;
    Ok(buffer)
}

/// The cipher of one message, and the nonce under it.
fn message_cipher(key: &[u8], nonce: &[u8; NONCE]) -> Result<(Aes256Gcm, [u8; NONCE - KEY_PART]), Failed> {
    let (key_part, nonce) = nonce.split_first_chunk::<KEY_PART>().ok_or(Failed)?;
    let message_key = match key.len() {
        16 => derive::<Aes128>(key, key_part),
        24 => derive::<Aes192>(key, key_part),
        32 => derive::<Aes256>(key, key_part),
        _ => Err(Failed),
    }?;
    let cipher = Aes256Gcm::new_from_slice(message_key.as_slice()).map_err(|_| Failed)?;
    Ok((cipher, nonce.try_into().map_err(|_| Failed)?))
}

/// NIST SP 800-108r1, counter mode, with CMAC: `counter (2 bytes) || "X" || 0 || context (12 bytes)` for counters 1 and
/// 2. Each of these is one full block, so CMAC (SP 800-38B) is one encryption of it, xored with the first subkey.
fn derive<C>(key: &[u8], context: &[u8; KEY_PART]) -> Result<Zeroizing<[u8; 32]>, Failed>
where
    C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let cipher = C::new_from_slice(key).map_err(|_| Failed)?;
    let mut subkey = Block::default();
    cipher.encrypt_block(&mut subkey);
    double(&mut subkey);

    let mut blocks = [Block::default(), Block::default()];
    for (counter, block) in (1_u8..).zip(&mut blocks) {
        block[..4].copy_from_slice(&[0, counter, b'X', 0]);
        block[4..].copy_from_slice(context);
        for (byte, mask) in block.iter_mut().zip(&subkey) {
            *byte ^= mask;
        }
    }
    cipher.encrypt_blocks(&mut blocks);

    let mut message_key = Zeroizing::new([0; 32]);
    for (half, block) in message_key.chunks_exact_mut(16).zip(&mut blocks) {
        half.copy_from_slice(block);
        block.zeroize();
    }
    subkey.zeroize();
    Ok(message_key)
}

/// Doubles in GF(2^128), SP 800-38B section 6.1: the first subkey of CMAC. No branch depends on the value.
fn double(block: &mut Block) {
    let value = u128::from_be_bytes((*block).into());
    let carry = (value >> 127) * 0x87;
    *block = ((value << 1) ^ carry).to_be_bytes().into();
}

#[cfg(test)]
#[path = "xaes_tests.rs"]
pub(crate) mod tests;
