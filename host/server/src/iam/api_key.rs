//! API keys: 32 random bytes, which the gateway never keeps, and the hash of them, which it does.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keygate_core::ports::{Entropy, EntropyError};
use keygate_core::secret::SecretText;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// By what people and secret scanners know an API key of Keygate.
const PREFIX: &str = "kg_";
/// Of the secret part, in bytes.
const SECRET: usize = 32;
/// Of the checksum, in bytes. With it, the base64 comes out even: 36 bytes, 48 characters.
const CHECKSUM: usize = 4;

/// What the hashes of API keys are for; a hash made for anything else is another hash. Never to be changed: all
/// configured hashes would be void.
const HASH_CONTEXT: &str = "keygate 2026-11-22 api key hash";
const CHECKSUM_CONTEXT: &str = "keygate 2026-11-22 api key checksum";

/// An API key. Its text is `kg_` and 48 characters of base64url: 32 secret bytes, and 4 that show a slip of the pen.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ApiKey([u8; SECRET]);

impl ApiKey {
    /// A new one.
    ///
    /// # Errors
    /// When there is no entropy to be had.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut key = Self([0; SECRET]);
        entropy.fill(&mut key.0)?;
        Ok(key)
    }

    /// The key of these bytes, which must be as good as random.
    pub const fn from_bytes(bytes: [u8; SECRET]) -> Self {
        Self(bytes)
    }

    /// Reads a key's text. `None` if it is none, or was mistyped.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = Zeroizing::new([0_u8; SECRET + CHECKSUM]);
        let len = URL_SAFE_NO_PAD.decode_slice(text.strip_prefix(PREFIX)?, bytes.as_mut_slice()).ok()?;
        let (secret, checksum) = bytes.get(..len)?.split_first_chunk::<SECRET>()?;
        let key = Self(*secret);
        (checksum == key.checksum()).then_some(key)
    }

    /// The text, for the one time it is shown.
    pub fn text(&self) -> SecretText {
        let mut bytes = Zeroizing::new([0_u8; SECRET + CHECKSUM]);
        let (secret, checksum) = bytes.split_at_mut(SECRET);
        secret.copy_from_slice(&self.0);
        checksum.copy_from_slice(&self.checksum());
        let mut text = String::with_capacity(PREFIX.len() + 48);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_slice(), &mut text);
        SecretText::new(text)
    }

    /// What the configuration holds of it. The key cannot be found from it: 256 random bits need no slow hash.
    pub fn hash(&self) -> ApiKeyHash {
        ApiKeyHash(blake3::derive_key(HASH_CONTEXT, &self.0))
    }

    fn checksum(&self) -> [u8; CHECKSUM] {
        let [a, b, c, d, ..] = blake3::derive_key(CHECKSUM_CONTEXT, &self.0);
        [a, b, c, d]
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(..)")
    }
}

/// The hash of an API key: 64 hexadecimal digits in the configuration. Compared in constant time.
#[derive(Clone, Copy, Debug)]
pub struct ApiKeyHash([u8; 32]);

impl PartialEq for ApiKeyHash {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for ApiKeyHash {}

impl fmt::Display for ApiKeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl FromStr for ApiKeyHash {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        match blake3::Hash::from_hex(text) {
            Ok(hash) => Ok(Self(*hash.as_bytes())),
            Err(_) if text.starts_with(PREFIX) => Err(
                "this is an API key in clear, not the hash of one; make a new key, for this one is no longer secret",
            ),
            Err(_) => Err("this is not the hash of an API key (64 hexadecimal digits)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::OsEntropy;

    #[test]
    fn the_text_form_is_frozen() {
        let key = ApiKey::from_bytes([7; 32]);
        assert_eq!(key.text().expose(), "kg_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwflPD8Q");
        // Both from another implementation of BLAKE3.
        assert_eq!(key.hash().to_string(), "6fb1336ca8f3f4623ea408a26632801f3f46917374b11d2607b2441442e4cd4a");
    }

    #[test]
    fn a_key_survives_its_text_and_so_does_its_hash() {
        let key = ApiKey::generate(&OsEntropy).unwrap();
        let text = key.text();
        assert_eq!(text.expose().len(), 51);
        let read = ApiKey::parse(text.expose()).unwrap();
        assert_eq!(read.hash(), key.hash());
        assert_eq!(key.hash().to_string().parse::<ApiKeyHash>().unwrap(), key.hash());
        assert_ne!(ApiKey::generate(&OsEntropy).unwrap().hash(), key.hash());
    }

    #[test]
    fn every_slip_of_the_pen_is_seen() {
        let text = ApiKey::from_bytes([9; 32]).text();
        let text = text.expose();
        for i in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[i] = if bytes[i] == b'A' { b'B' } else { b'A' };
            assert!(ApiKey::parse(std::str::from_utf8(&bytes).unwrap()).is_none(), "at {i}");
        }
        for bad in ["", "kg_", &text[3..], &text[..50], &format!("{text}A"), &format!("{text}="), &format!(" {text}")] {
            assert!(ApiKey::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_in_the_place_of_a_hash_is_called_out_and_not_repeated() {
        let text = ApiKey::from_bytes([9; 32]).text();
        let error = text.expose().parse::<ApiKeyHash>().unwrap_err();
        assert!(error.contains("in clear"));
        assert!("00".parse::<ApiKeyHash>().is_err());
        assert_eq!(format!("{:?}", ApiKey::from_bytes([9; 32])), "ApiKey(..)");
    }
}
