//! What a token does with RSA: OAEP both ways, and the public half as DER.

use core::convert::Infallible;

use rsa::rand_core::{TryCryptoRng, TryRng};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BoxedUint, Oaep, RsaPrivateKey, RsaPublicKey};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

use crate::host::pkcs11::{Digest, Error, Result};

/// The public exponent.
const EXPONENT: u64 = 65_537;
/// AlgorithmIdentifier of rsaEncryption (RFC 3279), DER.
const ALGORITHM: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// The random bytes of [`crate::testing`].
struct Seeded;

impl TryRng for Seeded {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> core::result::Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> core::result::Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> core::result::Result<(), Infallible> {
        for part in bytes.chunks_mut(4_096) {
            part.copy_from_slice(&crate::testing::random(part.len() as u32));
        }
        Ok(())
    }
}

impl TryCryptoRng for Seeded {}

pub(super) fn generate(bits: u32) -> Result<RsaPrivateKey> {
    RsaPrivateKey::new(&mut Seeded, bits as usize).map_err(|error| Error::InvalidInput(error.to_string()))
}

/// A key of two primes of the same length, one behind the other.
pub(super) fn from_primes(primes: &[u8]) -> Result<RsaPrivateKey> {
    let bad = || Error::InvalidInput("these are not the primes of an RSA key".to_owned());
    let (p, q) = primes.split_at(primes.len() / 2);
    let number = |bytes: &[u8]| BoxedUint::from_be_slice(bytes, bytes.len() as u32 * 8).map_err(|_| bad());
    RsaPrivateKey::from_p_q(number(p)?, number(q)?, BoxedUint::from(EXPONENT)).map_err(|_| bad())
}

pub(super) fn primes(key: &RsaPrivateKey) -> Vec<u8> {
    key.primes().iter().flat_map(|prime| prime.to_be_bytes().to_vec()).collect()
}

/// SubjectPublicKeyInfo.
pub(super) fn public(key: &RsaPrivateKey) -> Vec<u8> {
    let modulus = der(2, &[&[0], key.n().to_be_bytes().as_ref()].concat());
    let pair = der(0x30, &[modulus.as_slice(), b"\x02\x03\x01\x00\x01"].concat());
    let bits = der(3, &[&[0], pair.as_slice()].concat());
    der(0x30, &[ALGORITHM, &bits].concat())
}

/// Of more than 255 bytes or fewer than 128, as all are here.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let [high, low] = (len as u16).to_be_bytes();
    let head = if len < 128 { vec![tag, low] } else { vec![tag, 0x82, high, low] };
    [head.as_slice(), content].concat()
}

/// The modulus of a key of 4096 bits out of its SubjectPublicKeyInfo.
fn read_public(public: &[u8]) -> Result<RsaPublicKey> {
    let bad = || Error::InvalidInput("`recipient`: not an RSA key of 4096 bits".to_owned());
    let modulus = public.get(33..545).filter(|_| public.len() == 550).ok_or_else(bad)?;
    let modulus = BoxedUint::from_be_slice(modulus, 4_096).map_err(|_| bad())?;
    RsaPublicKey::new(modulus, BoxedUint::from(EXPONENT)).map_err(|_| bad())
}

/// RSAES-OAEP to a public key, no label.
///
/// # Errors
/// A key that is none of 4,096 bits.
pub fn encrypt_oaep(digest: Digest, public: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
    let key = read_public(public)?;
    let sealed = match digest {
        Digest::Sha1 => key.encrypt(&mut Seeded, Oaep::<Sha1>::new(), plaintext),
        Digest::Sha256 => key.encrypt(&mut Seeded, Oaep::<Sha256>::new(), plaintext),
        Digest::Sha384 => key.encrypt(&mut Seeded, Oaep::<Sha384>::new(), plaintext),
        Digest::Sha512 => key.encrypt(&mut Seeded, Oaep::<Sha512>::new(), plaintext),
    };
    sealed.map_err(|error| Error::InvalidInput(error.to_string()))
}

pub(super) fn decrypt_oaep(digest: Digest, key: &RsaPrivateKey, ciphertext: &[u8]) -> Result<Vec<u8>> {
    let opened = match digest {
        Digest::Sha1 => key.decrypt_blinded(&mut Seeded, Oaep::<Sha1>::new(), ciphertext),
        Digest::Sha256 => key.decrypt_blinded(&mut Seeded, Oaep::<Sha256>::new(), ciphertext),
        Digest::Sha384 => key.decrypt_blinded(&mut Seeded, Oaep::<Sha384>::new(), ciphertext),
        Digest::Sha512 => key.decrypt_blinded(&mut Seeded, Oaep::<Sha512>::new(), ciphertext),
    };
    opened.map_err(|_| Error::AuthenticationFailed)
}
