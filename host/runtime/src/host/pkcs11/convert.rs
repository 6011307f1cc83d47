//! Between the contract's words and the door's.

use std::time::Duration;

use keygate_pkcs11::{Algorithm, Digest, Error, IvSource, KeyTemplate, Rejection, Sealed, TokenInfo, Usage, Wrapping};

use super::wit;

impl From<Error> for wit::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::NotFound,
            Error::AlreadyExists => Self::AlreadyExists,
            Error::AuthenticationFailed => Self::AuthenticationFailed,
            Error::InvalidInput(what) => Self::InvalidInput(what),
            Error::Unsupported(what) => Self::Unsupported(what),
            Error::Busy { retry_after } => Self::Busy(retry_after.map(milliseconds)),
            // The contract has no room for when to come again; the host keeps it beside.
            Error::Unavailable { detail, retry_after: _ } => Self::Unavailable(detail),
            Error::Rejected(Rejection { function, rv, name, mend: _ }) => {
                Self::Rejected(wit::Rejection { function: function.into_owned(), rv, name: name.to_owned() })
            }
        }
    }
}

/// At least one: "at once" would be no advice.
fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX).max(1)
}

impl From<TokenInfo> for wit::TokenInfo {
    fn from(info: TokenInfo) -> Self {
        Self { manufacturer: info.manufacturer, model: info.model, mechanisms: info.mechanisms }
    }
}

impl From<Sealed> for wit::Sealed {
    fn from(sealed: Sealed) -> Self {
        Self { iv: sealed.iv, ciphertext: sealed.ciphertext }
    }
}

impl From<wit::Sealed> for Sealed {
    fn from(sealed: wit::Sealed) -> Self {
        Self { iv: sealed.iv, ciphertext: sealed.ciphertext }
    }
}

impl From<wit::IvSource> for IvSource {
    fn from(source: wit::IvSource) -> Self {
        match source {
            wit::IvSource::Host => Self::Host,
            wit::IvSource::Token => Self::Token,
        }
    }
}

impl From<wit::Digest> for Digest {
    fn from(digest: wit::Digest) -> Self {
        match digest {
            wit::Digest::Sha1 => Self::Sha1,
            wit::Digest::Sha256 => Self::Sha256,
            wit::Digest::Sha384 => Self::Sha384,
            wit::Digest::Sha512 => Self::Sha512,
        }
    }
}

impl TryFrom<wit::Wrapping> for Wrapping {
    type Error = wit::Error;

    fn try_from(how: wit::Wrapping) -> Result<Self, wit::Error> {
        Ok(match how {
            wit::Wrapping::AesKeyWrap => Self::AesKeyWrap,
            wit::Wrapping::AesKeyWrapPad => Self::AesKeyWrapPad,
            wit::Wrapping::AesKeyWrapKwp => Self::AesKeyWrapKwp,
            wit::Wrapping::AesCbcPad(iv) => Self::AesCbcPad(
                iv.try_into().map_err(|_| wit::Error::InvalidInput("`iv` must have 16 bytes".to_owned()))?,
            ),
            wit::Wrapping::RsaOaep(digest) => Self::RsaOaep(digest.into()),
        })
    }
}

impl TryFrom<wit::KeyTemplate> for KeyTemplate {
    type Error = wit::Error;

    fn try_from(template: wit::KeyTemplate) -> Result<Self, wit::Error> {
        let wit::KeyTemplate { algorithm, id, usage, persistent, exportable } = template;
        let unknown = || wit::Error::Unsupported("an `algorithm` other than `AES` and `RSA`".to_owned());
        let algorithm = Algorithm::parse(&algorithm).ok_or_else(unknown)?;
        Ok(Self { algorithm, id, usage: usage.into(), persistent, exportable })
    }
}

impl From<wit::Usage> for Usage {
    fn from(usage: wit::Usage) -> Self {
        Self {
            encrypt: usage.contains(wit::Usage::ENCRYPT),
            decrypt: usage.contains(wit::Usage::DECRYPT),
            wrap: usage.contains(wit::Usage::WRAP),
            unwrap: usage.contains(wit::Usage::UNWRAP),
            mac: usage.contains(wit::Usage::MAC),
        }
    }
}
