//! Imports: material encrypted to an import token, with the token's nonce encrypted under the material as the proof that
//! the two belong together.

use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit};
use aes::{Aes128, Aes192, Aes256};
use keygate_plugin_rsa::Hash;
use keygate_plugin_sdk::backend::{Error, ImportEnvelope, ImportRejection, Result};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::gcm;

/// The size of a block of AES, in bytes.
const BLOCK: usize = 16;
/// The longest nonce of an import token, in bytes (`keygate:crypto/types`).
const MAX_NONCE: usize = 64;

/// How an import was made: the algorithm says how the material is encrypted, and with it how the nonce is.
#[derive(Debug)]
pub(crate) enum Scheme {
    /// RSAES-OAEP with SHA-256, AES-GCM.
    Gcm([u8; 12]),
    /// RSAES-OAEP with SHA-1, AES-CBC.
    Cbc([u8; BLOCK]),
}

impl Scheme {
    /// What an envelope says it is. Looks at nothing secret, so that nobody pays for RSA to learn of a wrong iv.
    pub(crate) fn of(envelope: &ImportEnvelope) -> Result<Self> {
        if !(1..=MAX_NONCE).contains(&envelope.expected_nonce.len()) {
            return Err(Error::Internal("the host expects a nonce that is not 1 to 64 bytes long".to_owned()));
        }
        let iv = envelope.iv.as_slice();
        match envelope.algorithm.as_str() {
            "RSAES_OAEP_SHA_256" => iv.try_into().map(Self::Gcm).map_err(|_| rejected(ImportRejection::NonceIv)),
            "RSAES_OAEP_SHA_1" => iv.try_into().map(Self::Cbc).map_err(|_| rejected(ImportRejection::NonceIv)),
            _ => Err(Error::Unsupported(
                "this encryption algorithm: use RSAES_OAEP_SHA_256 (or RSAES_OAEP_SHA_1 with an iv of 16 bytes)"
                    .to_owned(),
            )),
        }
    }

    /// The hash of its OAEP.
    pub(crate) const fn hash(&self) -> Hash {
        match self {
            Self::Gcm(_) => Hash::Sha256,
            Self::Cbc(_) => Hash::Sha1,
        }
    }

    /// Whether the encrypted nonce is the expected one, encrypted under `material` (16, 24 or 32 bytes).
    pub(crate) fn check_nonce(&self, material: &[u8], envelope: &ImportEnvelope) -> Result<()> {
        let (sealed, expected) = (envelope.encrypted_nonce.as_slice(), envelope.expected_nonce.as_slice());
        let outcome = match (self, material.len()) {
            (Self::Gcm(iv), 16 | 24 | 32) => match gcm::open(material, iv, b"", sealed) {
                Some(nonce) if bool::from(nonce.ct_eq(expected)) => Ok(()),
                Some(_) => Err(ImportRejection::Nonce),
                None => Err(ImportRejection::NonceIv),
            },
            (Self::Cbc(iv), 16) => cbc::<Aes128>(material, iv, sealed, expected),
            (Self::Cbc(iv), 24) => cbc::<Aes192>(material, iv, sealed, expected),
            (Self::Cbc(iv), 32) => cbc::<Aes256>(material, iv, sealed, expected),
            _ => Err(ImportRejection::Material),
        };
        outcome.map_err(rejected)
    }
}

fn rejected(why: ImportRejection) -> Error {
    Error::ImportRejected(why)
}

type Outcome = core::result::Result<(), ImportRejection>;

/// Encrypts the expected nonce and compares. Nothing is decrypted and no padding looked at, so there is no padding
/// oracle; the one answer for all that differs is the price, because CBC cannot tell a wrong nonce from a wrong key.
fn cbc<C>(material: &[u8], iv: &[u8; BLOCK], sealed: &[u8], expected: &[u8]) -> Outcome
where
    C: KeyInit + BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>,
{
    let cipher = C::new_from_slice(material).map_err(|_| ImportRejection::Material)?;
    // PKCS#7: 1 to 16 bytes, each of which says how many there are.
    let padding = BLOCK - expected.len() % BLOCK;
    let mut padded = Zeroizing::new(Vec::with_capacity(expected.len() + padding));
    padded.extend_from_slice(expected);
    padded.resize(expected.len() + padding, padding as u8);

    let mut previous = Array::<u8, U16>::from(*iv);
    for block in padded.chunks_exact_mut(BLOCK) {
        for (chained, byte) in previous.iter_mut().zip(block.iter()) {
            *chained ^= byte;
        }
        cipher.encrypt_block(&mut previous);
        block.copy_from_slice(&previous);
    }
    if bool::from(padded.ct_eq(sealed)) { Ok(()) } else { Err(ImportRejection::NonceIv) }
}

#[cfg(test)]
#[path = "import_tests.rs"]
mod tests;
