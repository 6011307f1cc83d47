//! Signatures of components: Ed25519 (RFC 8032) over the bytes of the file, kept beside it in `FILE.sig` as one line of
//! base64.
//!
//! Keys are what OpenSSL makes and reads: private ones PKCS#8 in PEM (`openssl genpkey -algorithm ed25519`), public ones
//! SPKI in PEM (`openssl pkey -pubout`). Who can sign is the operator's to say, in `[[trusted_keys]]`.

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_core::ports::Entropy;
use zeroize::Zeroizing;

/// The length of a signature, in bytes.
const SIGNATURE: usize = 64;
/// What stands before the 32 bytes of an Ed25519 key in SPKI (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "PRIVATE KEY";

/// Why there is no key, or no signature that holds. Says how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The text is not a public key.
    #[error("this is not an Ed25519 public key in PEM ({0}); make one of the private key with `openssl pkey -pubout`")]
    NotPublic(&'static str),
    /// The text is not a private key.
    #[error("this is not an Ed25519 private key in PEM ({0}); make one with `openssl genpkey -algorithm ed25519`")]
    NotPrivate(&'static str),
    /// The text is not a signature.
    #[error("this is not a signature: {0}; make one with `keygate plugin sign`")]
    Malformed(&'static str),
    /// It is a signature, of other bytes or by another key: which of the two cannot be told.
    #[error("the signature is another key's, or the file was changed after it was signed")]
    Mismatch,
    /// The host's generator failed. Says why.
    #[error("no randomness for a key: {0}")]
    NoEntropy(String),
}

/// A public key that signatures are checked with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Reads a key: SPKI in PEM.
    ///
    /// # Errors
    /// [`SignatureError::NotPublic`].
    pub fn from_pem(text: &str) -> Result<Self, SignatureError> {
        let der = pem(text, PUBLIC).map_err(SignatureError::NotPublic)?;
        let key = der.strip_prefix(&SPKI).and_then(|key| <[u8; 32]>::try_from(key).ok());
        key.map(Self).ok_or(SignatureError::NotPublic("it is another kind of key"))
    }

    /// The key as [`Self::from_pem`] reads it.
    pub fn to_pem(&self) -> String {
        to_pem(&[&SPKI[..], &self.0].concat(), PUBLIC).as_str().to_owned()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", STANDARD.encode(self.0))
    }
}

/// A new key pair, in PEM.
pub struct NewKey {
    /// To be kept from everybody: a file with mode 0600.
    pub private: Zeroizing<String>,
    /// For `[[trusted_keys]]`.
    pub public: String,
}

/// Makes a key pair to sign with.
///
/// # Errors
/// [`SignatureError::NoEntropy`].
pub fn generate(entropy: &dyn Entropy) -> Result<NewKey, SignatureError> {
    let mut seed = Zeroizing::new([0; 32]);
    entropy.fill(&mut *seed).map_err(|e| SignatureError::NoEntropy(e.to_string()))?;
    let failed = |_| SignatureError::NoEntropy("the key could not be made".to_owned());
    let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(failed)?;
    let private =
        pair.to_pkcs8v1().map_err(|_| SignatureError::NoEntropy("the key could not be written".to_owned()))?;
    Ok(NewKey { private: to_pem(private.as_ref(), PRIVATE), public: public_half(&pair)?.to_pem() })
}

/// Signs a component. The answer is what belongs into `FILE.sig`, with the end of its line.
///
/// # Errors
/// [`SignatureError::NotPrivate`].
pub fn sign(component: &[u8], private_key: &str) -> Result<String, SignatureError> {
    Ok(format!("{}\n", STANDARD.encode(pair(private_key)?.sign(component))))
}

/// The public half of a private key.
///
/// # Errors
/// [`SignatureError::NotPrivate`].
pub fn public_key(private_key: &str) -> Result<PublicKey, SignatureError> {
    public_half(&pair(private_key)?)
}

/// Checks what stands in `FILE.sig` against the bytes of the file.
///
/// # Errors
/// [`SignatureError::Malformed`] and [`SignatureError::Mismatch`].
pub fn verify(component: &[u8], signature: &[u8], key: &PublicKey) -> Result<(), SignatureError> {
    let signature = parse(signature)?;
    UnparsedPublicKey::new(&ED25519, key.0).verify(component, &signature).map_err(|_| SignatureError::Mismatch)
}

/// Where the signature of a component is, unless somebody says otherwise: beside it.
pub fn default_path(component: &Path) -> PathBuf {
    let mut name = component.as_os_str().to_owned();
    name.push(".sig");
    PathBuf::from(name)
}

fn parse(text: &[u8]) -> Result<[u8; SIGNATURE], SignatureError> {
    let malformed = |why| Err(SignatureError::Malformed(why));
    let bytes = match STANDARD.decode(text.trim_ascii()) {
        Ok(bytes) => bytes,
        Err(_) if text.len() == SIGNATURE => return malformed("it is 64 raw bytes, which belong into base64"),
        Err(_) => return malformed("it is not one line of base64"),
    };
    match <[u8; SIGNATURE]>::try_from(bytes) {
        Ok(signature) => Ok(signature),
        Err(_) => malformed("it does not have 64 bytes"),
    }
}

fn pair(private_key: &str) -> Result<Ed25519KeyPair, SignatureError> {
    let der = pem(private_key, PRIVATE).map_err(SignatureError::NotPrivate)?;
    Ed25519KeyPair::from_pkcs8(&der).map_err(|_| SignatureError::NotPrivate("it is another kind of key"))
}

fn public_half(pair: &Ed25519KeyPair) -> Result<PublicKey, SignatureError> {
    let failed = SignatureError::NotPrivate("its public half cannot be told");
    let der = pair.public_key().as_der().map_err(|_| failed.clone())?;
    let key = der.as_ref().strip_prefix(&SPKI).and_then(|key| <[u8; 32]>::try_from(key).ok());
    key.map(PublicKey).ok_or(failed)
}

/// The bytes of the first block of a PEM text, which must have this label.
fn pem(text: &str, label: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let (_, block) = text.split_once("-----BEGIN ").ok_or("it has no line `-----BEGIN ...-----`")?;
    let (found, rest) = block.split_once("-----").ok_or("its first line has no end")?;
    if found != label {
        return Err(match found {
            PRIVATE => "it is a private key, which belongs to nobody but who signs",
            PUBLIC => "it is a public key",
            "ENCRYPTED PRIVATE KEY" => "it is encrypted; decrypt it first with `openssl pkey`",
            _ => "its label is another one",
        });
    }
    let (body, _) = rest.split_once("-----END ").ok_or("it has no line `-----END ...-----`")?;
    let body: Zeroizing<Vec<u8>> = Zeroizing::new(body.bytes().filter(|b| !b.is_ascii_whitespace()).collect());
    STANDARD.decode(&*body).map(Zeroizing::new).map_err(|_| "what is between its lines is not base64")
}

fn to_pem(der: &[u8], label: &str) -> Zeroizing<String> {
    let body = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(body.len() + 128));
    text.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = more;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use keygate_core::ports::EntropyError;

    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn the_first_test_of_rfc_8032_gives_its_signature() {
        // Section 7.1, TEST 1: the empty message.
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let seed: Vec<u8> = (0..32).map(|i| u8::from_str_radix(&seed[2 * i..2 * i + 2], 16).unwrap()).collect();
        let pkcs8 = [&[0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20][..], &seed].concat();
        let private = to_pem(&pkcs8, PRIVATE);
        let signature = STANDARD.decode(sign(b"", &private).unwrap().trim()).unwrap();
        assert_eq!(signature[..8], [0xe5, 0x56, 0x43, 0x00, 0xc3, 0x60, 0xac, 0x72]);
        assert_eq!(signature[56..], [0x65, 0x51, 0x41, 0x43, 0x8e, 0x7a, 0x10, 0x0b]);
    }

    #[test]
    fn what_was_signed_is_verified_and_nothing_else() {
        let (mine, other) = (generate(&Fixed(1)).unwrap(), generate(&Fixed(2)).unwrap());
        let key = PublicKey::from_pem(&mine.public).unwrap();
        assert_eq!(public_key(&mine.private).unwrap(), key);
        assert_eq!(key.to_pem(), mine.public);
        let signature = sign(b"component", &mine.private).unwrap();
        assert_eq!(signature.len(), 89, "64 bytes in base64, and the end of the line");
        verify(b"component", signature.as_bytes(), &key).unwrap();
        assert_eq!(verify(b"componens", signature.as_bytes(), &key), Err(SignatureError::Mismatch));
        let stranger = PublicKey::from_pem(&other.public).unwrap();
        assert_eq!(verify(b"component", signature.as_bytes(), &stranger), Err(SignatureError::Mismatch));
    }

    #[test]
    fn signatures_and_keys_that_are_none_say_what_they_are() {
        let key = generate(&Fixed(1)).unwrap();
        let public = PublicKey::from_pem(&key.public).unwrap();
        for (text, told) in [
            (&[0xff; 64][..], "64 raw bytes"),
            (b"not base64!", "not one line of base64"),
            (b"AAAA", "does not have 64 bytes"),
            (b"", "does not have 64 bytes"),
        ] {
            let refused = verify(b"", text, &public).unwrap_err().to_string();
            assert!(refused.contains(told) && refused.contains("`keygate plugin sign`"), "{refused}");
        }
        for (text, told) in [
            (key.private.as_str(), "it is a private key"),
            ("ssh-ed25519 AAAA", "no line `-----BEGIN"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "another kind of key"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "not base64"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA", "no line `-----END"),
        ] {
            let refused = PublicKey::from_pem(text).unwrap_err().to_string();
            assert!(refused.contains(told), "{refused}");
        }
        let refused = sign(b"", &key.public).unwrap_err().to_string();
        assert!(refused.contains("it is a public key") && refused.contains("openssl genpkey"), "{refused}");
    }
}
