//! RSA key pairs of 4096 bits, to receive what others encrypt, and to encrypt to what others have. OAEP and nothing else.
//!
//! The private operation is constant-time by the design of its crate's big numbers, blinded with randomness of the host or of a token,
//! checked against faults, and has one failure for all causes: what RUSTSEC-2023-0071 and Manger's attack on OAEP need is
//! not there to be seen. A sandbox that computes in software shares a processor with others all the same; an operator
//! who fears them keeps import tokens on an HSM backend whose token makes the pairs itself.

use keygate_plugin_sdk::backend::{Error, Result, SecretBytes};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, Oaep, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::Random;
use crate::primes;
use crate::random::Blinding;

/// The size of the modulus, in bits.
const BITS: u32 = 4_096;
/// The size of the modulus, in bytes.
const MODULUS: usize = 512;
/// The size of both primes, one behind the other, in bytes: how a pair is kept.
pub const PRIMES: usize = 512;

/// Of a public key as SubjectPublicKeyInfo (RFC 5280, RFC 3279): what stands before the modulus. With 4096 bits and the
/// one exponent there are no two ways to write it in DER.
const SPKI_HEAD: [u8; 33] = *b"\x30\x82\x02\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\
    \x03\x82\x02\x0f\x00\x30\x82\x02\x0a\x02\x82\x02\x01\x00";
/// What stands behind it: the exponent.
const SPKI_TAIL: [u8; 5] = *b"\x02\x03\x01\x00\x01";

/// Encrypts to a public key of 4096 bits and exponent 65,537 (SubjectPublicKeyInfo, DER) with RSAES-OAEP. `None` where it is
/// no such key, or `plaintext` is longer than the hash allows.
///
/// # Errors
/// What the generator, which gives the seed, failed with.
pub fn encrypt(
    random: &mut Random<impl FnMut(u32) -> Result<SecretBytes>>,
    hash: Hash,
    public: &[u8],
    plaintext: &[u8],
) -> Result<Option<Vec<u8>>> {
    let modulus = public.strip_prefix(&SPKI_HEAD).and_then(|rest| rest.strip_suffix(&SPKI_TAIL));
    let Some(modulus) = modulus.filter(|modulus| modulus.len() == MODULUS) else { return Ok(None) };
    let Ok(modulus) = BoxedUint::from_be_slice(modulus, BITS) else { return Ok(None) };
    if modulus.bits() != BITS {
        return Ok(None);
    }
    let Ok(key) = RsaPublicKey::new(modulus, BoxedUint::from(primes::EXPONENT)) else { return Ok(None) };
    let mut seed = Blinding::draw(random)?;
    let sealed = match hash {
        Hash::Sha1 => key.encrypt(&mut seed, Oaep::<Sha1>::new(), plaintext),
        Hash::Sha256 => key.encrypt(&mut seed, Oaep::<Sha256>::new(), plaintext),
    };
    Ok(sealed.ok())
}

/// The hash of an OAEP, for mask generation too. No label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    /// SHA-1: here it needs no resistance to collisions.
    Sha1,
    /// SHA-256.
    Sha256,
}

/// A key pair. Wiped when dropped.
pub struct RsaPair(RsaPrivateKey);

impl RsaPair {
    /// Makes one. Takes a second or two in a sandbox.
    ///
    /// # Errors
    /// What the generator failed with.
    pub fn generate(random: &mut Random<impl FnMut(u32) -> Result<SecretBytes>>) -> Result<Self> {
        let p = primes::random(random)?;
        let q = loop {
            let q = primes::random(random)?;
            if primes::apart(&p, &q) {
                break q;
            }
        };
        let key = RsaPrivateKey::from_p_q(p, q, BoxedUint::from(primes::EXPONENT));
        key.map(Self).map_err(|error| Error::Internal(format!("no RSA key was made: {error}")))
    }

    /// A pair that was kept as its primes.
    ///
    /// # Errors
    /// `invalid-key-ref` where they are no such pair's.
    pub fn from_primes(primes: &[u8]) -> Result<Self> {
        let (p, q) = primes.split_at_checked(PRIMES / 2).ok_or(Error::InvalidKeyRef)?;
        let number = |bytes| BoxedUint::from_be_slice(bytes, BITS / 2).map_err(|_| Error::InvalidKeyRef);
        let key = RsaPrivateKey::from_p_q(number(p)?, number(q)?, BoxedUint::from(primes::EXPONENT));
        let key = key.map_err(|_| Error::InvalidKeyRef)?;
        if key.n().bits() == BITS { Ok(Self(key)) } else { Err(Error::InvalidKeyRef) }
    }

    /// The two primes, to be sealed.
    pub fn primes(&self) -> SecretBytes {
        let mut bytes = SecretBytes::new(Vec::with_capacity(PRIMES));
        for prime in self.0.primes() {
            let prime = Zeroizing::new(prime.to_be_bytes());
            bytes.extend_from_slice(&prime);
        }
        bytes
    }

    /// The public half: SubjectPublicKeyInfo, DER.
    pub fn public(&self) -> Vec<u8> {
        let modulus = self.0.n().to_be_bytes();
        [SPKI_HEAD.as_slice(), &modulus, &SPKI_TAIL].concat()
    }

    /// Opens what was encrypted to the public half with RSAES-OAEP. `None` for all causes that lie in the ciphertext.
    ///
    /// # Errors
    /// What the generator, which blinds the operation, failed with.
    pub fn decrypt(
        &self,
        random: &mut Random<impl FnMut(u32) -> Result<SecretBytes>>,
        hash: Hash,
        ciphertext: &[u8],
    ) -> Result<Option<SecretBytes>> {
        let mut blinding = Blinding::draw(random)?;
        let opened = match hash {
            Hash::Sha1 => self.0.decrypt_blinded(&mut blinding, Oaep::<Sha1>::new(), ciphertext),
            Hash::Sha256 => self.0.decrypt_blinded(&mut blinding, Oaep::<Sha256>::new(), ciphertext),
        };
        Ok(opened.ok().map(SecretBytes::new))
    }
}
