//! Tokens. Granted as `pkcs11 = ["TOKEN", ...]`; backends only. The contract, with every bound, is `keygate:host/pkcs11`.
//!
//! Natively, `testing::token` answers where the SDK's feature `token` is on; without it no token is granted.

use zeroize::Zeroizing;

pub use crate::bindings::backend::keygate::host::pkcs11::{
    Digest, Error, IvSource, KeyTemplate, Rejection, Sealed, TokenInfo, Usage, Wrapping,
};

#[cfg(target_arch = "wasm32")]
use crate::bindings::backend::keygate::host::pkcs11 as door;
#[cfg(all(not(target_arch = "wasm32"), not(feature = "token")))]
use crate::testing::no_token as door;
#[cfg(all(not(target_arch = "wasm32"), feature = "token"))]
use crate::testing::token as door;

/// The outcome of a call on a token.
pub type Result<T> = core::result::Result<T, Error>;

/// The most bytes of [`Token::random`].
pub const MAX_RANDOM: u32 = 4_096;
/// The longest plaintext and the longest AAD of [`Key::seal`], in bytes each.
pub const MAX_SEAL: usize = 65_536;

/// The longest text of [`Key::mac`], in bytes.
pub const MAX_MAC: usize = 1_024;

/// A token, open and logged in. Cheap: the sessions behind it are the host's and outlive the sandbox.
pub struct Token(door::Token);

impl Token {
    /// Opens a granted token by the operator's name for it.
    ///
    /// # Errors
    /// `not-granted`; `unavailable` while it is away.
    pub fn open(name: &str) -> Result<Self> {
        door::Token::open(name).map(Self)
    }

    /// What it is, and the names of its mechanisms.
    ///
    /// # Errors
    /// A token that is away.
    pub fn info(&self) -> Result<TokenInfo> {
        self.0.info()
    }

    /// The secret or private key with this CKA_ID, of 1 to 64 bytes.
    ///
    /// # Errors
    /// `not-found`.
    pub fn find_key(&self, id: &[u8]) -> Result<Key> {
        self.0.find_key(id).map(Key)
    }

    /// Makes an AES key of 128, 192 or 256 bits inside the token.
    ///
    /// # Errors
    /// `already-exists` where the template has an id that the token knows.
    pub fn generate_key(&self, template: &KeyTemplate, bits: u32) -> Result<Key> {
        self.0.generate_key(template, bits).map(Key)
    }

    /// Makes an RSA key pair of 2,048, 3,072 or 4,096 bits inside the token. Slow.
    ///
    /// # Errors
    /// As [`Token::generate_key`].
    pub fn generate_key_pair(&self, template: &KeyTemplate, bits: u32) -> Result<Key> {
        self.0.generate_key_pair(template, bits).map(Key)
    }

    /// Brings an AES key of 16, 24 or 32 bytes into the token.
    ///
    /// # Errors
    /// As [`Token::generate_key`].
    pub fn import_key(&self, template: &KeyTemplate, material: &[u8]) -> Result<Key> {
        self.0.import_key(template, material).map(Key)
    }

    /// Destroys the object with this CKA_ID.
    ///
    /// # Errors
    /// `not-found`.
    pub fn destroy_key(&self, id: &[u8]) -> Result<()> {
        self.0.destroy_key(id)
    }

    /// `len` bytes of the token's generator, at most [`MAX_RANDOM`].
    ///
    /// # Errors
    /// A token that is away.
    pub fn random(&self, len: u32) -> Result<Zeroizing<Vec<u8>>> {
        self.0.random(len).map(Zeroizing::new)
    }
}

/// A handle of a key in a token. Gives no bytes of a secret or private key.
pub struct Key(door::Key);

impl Key {
    /// Seals with CKM_AES_GCM, under an iv that the host or the token makes.
    ///
    /// # Errors
    /// `invalid-input` beyond [`MAX_SEAL`].
    pub fn seal(&self, iv: IvSource, plaintext: &[u8], aad: &[u8]) -> Result<Sealed> {
        self.0.seal(iv, plaintext, aad)
    }

    /// Opens what [`Key::seal`] made.
    ///
    /// # Errors
    /// `authentication-failed`.
    pub fn open(&self, sealed: &Sealed, aad: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.0.open(sealed, aad).map(Zeroizing::new)
    }

    /// The same, of what is no secret, such as a wrapped key: the host may remember it and spare the token the call.
    ///
    /// # Errors
    /// `authentication-failed`.
    pub fn open_public(&self, sealed: &Sealed, aad: &[u8]) -> Result<Vec<u8>> {
        self.0.open_public(sealed, aad)
    }

    /// Computes CKM_AES_CMAC: 16 bytes.
    ///
    /// # Errors
    /// `invalid-input` beyond [`MAX_MAC`].
    pub fn mac(&self, data: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.0.mac(data).map(Zeroizing::new)
    }

    /// Decrypts with CKM_AES_CBC_PAD.
    ///
    /// # Errors
    /// `authentication-failed` for wrong padding. Nothing else is authenticated.
    pub fn decrypt_cbc(&self, iv: &[u8], ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.0.decrypt_cbc(iv, ciphertext).map(Zeroizing::new)
    }

    /// Decrypts with CKM_RSA_PKCS_OAEP.
    ///
    /// # Errors
    /// `unsupported` where the token has not this hash.
    pub fn decrypt_oaep(&self, digest: Digest, ciphertext: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        self.0.decrypt_oaep(digest, ciphertext).map(Zeroizing::new)
    }

    /// Wraps another key with this one, which must have been made in the token and must not be exportable.
    ///
    /// # Errors
    /// `invalid-input` where it is not so.
    pub fn wrap_key(&self, how: &Wrapping, target: &Self) -> Result<Vec<u8>> {
        self.0.wrap_key(how, &target.0)
    }

    /// Unwraps a key into the token.
    ///
    /// # Errors
    /// `authentication-failed` where the bytes are not what this key wrapped.
    pub fn unwrap_key(&self, how: &Wrapping, wrapped: &[u8], template: &KeyTemplate) -> Result<Self> {
        self.0.unwrap_key(how, wrapped, template).map(Self)
    }

    /// Lets go of what the host keeps of such an unwrapping: for keys that are destroyed. Asks the token nothing.
    ///
    /// # Errors
    /// `invalid-input` for a template that is none.
    pub fn forget_unwrapped(&self, how: &Wrapping, wrapped: &[u8], template: &KeyTemplate) -> Result<()> {
        self.0.forget_unwrapped(how, wrapped, template)
    }

    /// Wraps this key to an RSA public key (SubjectPublicKeyInfo, DER). Takes the grant `pkcs11-transport`.
    ///
    /// # Errors
    /// `not-granted` without that grant.
    pub fn wrap_to(&self, digest: Digest, recipient: &[u8]) -> Result<Vec<u8>> {
        self.0.wrap_to(digest, recipient)
    }

    /// The public half of a key pair as SubjectPublicKeyInfo, DER.
    ///
    /// # Errors
    /// `unsupported` on a secret key.
    pub fn public_key(&self) -> Result<Vec<u8>> {
        self.0.public_key()
    }
}
