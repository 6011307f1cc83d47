//! Keys and what is asked of them: the types of `keygate:host/pkcs11`.

use std::fmt;
use std::sync::Arc;

use crate::handles::{Identity, Known};
use crate::link::Counted;
use crate::token::Door;

/// What a key may be used for: CKA_ENCRYPT, CKA_DECRYPT, CKA_WRAP, CKA_UNWRAP and CKA_SIGN.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Usage {
    /// CKA_ENCRYPT.
    pub encrypt: bool,
    /// CKA_DECRYPT.
    pub decrypt: bool,
    /// CKA_WRAP.
    pub wrap: bool,
    /// CKA_UNWRAP.
    pub unwrap: bool,
    /// CKA_SIGN, of AES keys only: CMACs.
    pub mac: bool,
}

/// What kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// An AES secret key.
    Aes,
    /// An RSA private key, with its public half beside it.
    Rsa,
}

impl Algorithm {
    /// Reads `AES` or `RSA`.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "AES" => Some(Self::Aes),
            "RSA" => Some(Self::Rsa),
            _ => None,
        }
    }
}

/// How a key is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyTemplate {
    /// What kind.
    pub algorithm: Algorithm,
    /// CKA_ID: 1 to 64 bytes. Required of a persistent key, and of no other.
    pub id: Option<Vec<u8>>,
    /// What for.
    pub usage: Usage,
    /// A token object that stays, or a session object.
    pub persistent: bool,
    /// CKA_EXTRACTABLE: whether it may leave, wrapped by a key of this token. It is CKA_SENSITIVE in any case.
    pub exportable: bool,
}

/// Where an initialization vector comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvSource {
    /// The host's entropy: 12 bytes.
    Host,
    /// The token fills it in. Refused on a token that does not.
    Token,
}

/// A hash, for OAEP and its mask generation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// How a key is wrapped or unwrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wrapping {
    /// CKM_AES_KEY_WRAP (RFC 3394).
    AesKeyWrap,
    /// CKM_AES_KEY_WRAP_PAD, as the module understands it.
    AesKeyWrapPad,
    /// CKM_AES_KEY_WRAP_KWP (RFC 5649).
    AesKeyWrapKwp,
    /// CKM_AES_CBC_PAD with this iv.
    AesCbcPad([u8; 16]),
    /// CKM_RSA_PKCS_OAEP with this hash for both purposes and no label.
    RsaOaep(Digest),
}

/// An AEAD ciphertext with the iv that was used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// 12 to 16 bytes.
    pub iv: Vec<u8>,
    /// The ciphertext with the tag of 16 bytes behind it.
    pub ciphertext: Vec<u8>,
}

/// How a session key is unwrapped again when its object is gone.
pub(crate) struct Recipe {
    pub(crate) unwrapping: Key,
    pub(crate) how: Wrapping,
    pub(crate) wrapped: Vec<u8>,
    pub(crate) template: KeyTemplate,
}

/// A session object that cannot be made again.
pub(crate) struct Made {
    pub(crate) known: Known,
    pub(crate) _counted: Counted,
}

/// A handle of a key in a token. It outlives every loss of the token: it names the key by its CKA_ID, or by how it was
/// unwrapped, and the object's number is looked up for each call. A session key that was generated or imported cannot be
/// made again: after a loss it is [`crate::Error::NotFound`]. Gives no bytes of a secret or private key, ever.
#[derive(Clone)]
pub struct Key {
    pub(crate) door: Arc<Door>,
    pub(crate) identity: Identity,
    pub(crate) recipe: Option<Arc<Recipe>>,
    pub(crate) made: Option<Arc<Made>>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("token", &self.door.inner.config.name).field("identity", &self.identity).finish()
    }
}
