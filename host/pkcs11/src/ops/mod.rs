//! What is done with a session, an operation a function. Bounds were checked before.

pub(crate) mod cipher;
pub(crate) mod create;
pub(crate) mod learned;
pub(crate) mod template;
pub(crate) mod wrap;

use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};

use crate::key::{Digest, Wrapping};

/// CKM_AES_KEY_WRAP_KWP, for which the binding has no name.
const KWP: u64 = 0x210B;

pub(crate) fn oaep(digest: Digest) -> Mechanism<'static> {
    let (hash, mask) = match digest {
        Digest::Sha1 => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        Digest::Sha256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Digest::Sha384 => (MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Digest::Sha512 => (MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty()))
}

/// The mechanism, and its number where the binding has no name for it.
pub(crate) fn wrapping(how: Wrapping) -> (Mechanism<'static>, Option<u64>) {
    match how {
        Wrapping::AesKeyWrap => (Mechanism::AesKeyWrap, None),
        Wrapping::AesKeyWrapPad => (Mechanism::AesKeyWrapPad, None),
        Wrapping::AesKeyWrapKwp => (Mechanism::AesKeyWrapPad, Some(KWP)),
        Wrapping::AesCbcPad(iv) => (Mechanism::AesCbcPad(iv), None),
        Wrapping::RsaOaep(digest) => (oaep(digest), None),
    }
}
