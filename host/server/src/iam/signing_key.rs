//! The key that signs access tokens: ECDSA on P-256 (ES256), made by the gateway and kept by it.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, EncodingKey};
use serde_json::json;
use zeroize::Zeroizing;

use crate::files::{PrivateFileError, read_private, write_private_new};

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

/// Why there is no signing key.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeyError {
    /// Its file cannot be used.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// Its file holds something else.
    #[error("{0} holds no ECDSA key on P-256 in PKCS#8 PEM")]
    NotAKey(String),
    /// None could be made.
    #[error("no key could be made")]
    Generate,
}

impl SigningKeyError {
    /// What to do about it.
    pub fn mend(&self) -> String {
        match self {
            Self::File(error) => error.mend(),
            Self::NotAKey(file) => {
                format!("move {file} away: the gateway makes a new one at its next start, and all access tokens end")
            }
            Self::Generate => "look at the health of the machine's entropy source".to_owned(),
        }
    }
}

/// A key pair, and the name that tokens know it by.
pub struct SigningKey {
    pub(super) encoding: EncodingKey,
    pub(super) decoding: DecodingKey,
    pub(super) kid: String,
    x: String,
    y: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

impl SigningKey {
    /// Opens the key in this file; makes one, with mode 0600, if there is no such file.
    ///
    /// # Errors
    /// When the file cannot be read or made, can be read by others, or holds something else.
    pub fn open_or_create(path: &Path) -> Result<Self, SigningKeyError> {
        match Self::open(path) {
            Err(SigningKeyError::File(PrivateFileError::Missing(_))) => {}
            other => return other,
        }
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
            .map_err(|_| SigningKeyError::Generate)?;
        write_private_new(path, to_pem(document.as_ref()).as_bytes())?;
        // Read back: what counts is what the next start will find.
        Self::open(path)
    }

    /// Opens the key in this file.
    ///
    /// # Errors
    /// When there is none, others can read it, or it holds something else.
    pub fn open(path: &Path) -> Result<Self, SigningKeyError> {
        let pem = read_private(path)?;
        let der = std::str::from_utf8(&pem).ok().and_then(from_pem);
        der.and_then(|der| Self::from_pkcs8(&der)).ok_or_else(|| SigningKeyError::NotAKey(path.display().to_string()))
    }

    fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).ok()?;
        // The uncompressed point: 4, then x, then y, 32 bytes each.
        let point: &[u8; 65] = pair.public_key().as_ref().try_into().ok()?;
        let (x, y) = point.get(1..)?.split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        // RFC 7638: the hash of the required members in alphabetical order, without blanks.
        let members = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes());
        Some(Self {
            encoding: EncodingKey::from_ec_der(der),
            decoding: DecodingKey::from_ec_der(point),
            kid: URL_SAFE_NO_PAD.encode(digest),
            x,
            y,
        })
    }

    /// The public half as a JSON Web Key Set (RFC 7517), for `GET /identity/keys`.
    pub fn jwks(&self) -> serde_json::Value {
        json!({"keys": [{
            "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y, "kid": self.kid, "use": "sig", "alg": "ES256",
        }]})
    }
}

fn to_pem(der: &[u8]) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(body.len() * 2 + 128));
    pem.push_str(BEGIN);
    pem.push('\n');
    for (i, c) in body.chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            pem.push('\n');
        }
        pem.push(c);
    }
    pem.push('\n');
    pem.push_str(END);
    pem.push('\n');
    pem
}

fn from_pem(pem: &str) -> Option<Zeroizing<Vec<u8>>> {
    let body = pem.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let mut text = Zeroizing::new(String::with_capacity(body.len()));
    text.extend(body.chars().filter(|c| !c.is_ascii_whitespace()));
    STANDARD.decode(text.as_str()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        let made = SigningKey::open_or_create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = SigningKey::open_or_create(&path).unwrap();
        assert_eq!(made.jwks(), again.jwks());
        assert_eq!(made.kid.len(), 43);
        let other = SigningKey::open_or_create(&dir.path().join("other.pem")).unwrap();
        assert_ne!(other.kid, made.kid);
    }

    #[test]
    fn the_key_set_holds_the_public_half_only() {
        let dir = tempfile::tempdir().unwrap();
        let key = SigningKey::open_or_create(&dir.path().join("key.pem")).unwrap();
        let jwks = key.jwks();
        let names: Vec<_> = jwks["keys"][0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }

    #[test]
    fn a_file_with_something_else_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_private_new(&path, b"not a key").unwrap();
        assert!(matches!(SigningKey::open_or_create(&path), Err(SigningKeyError::NotAKey(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"not a key");
    }
}
