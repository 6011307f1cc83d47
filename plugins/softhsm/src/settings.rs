//! What the operator may set: what differs between the modules of vendors.

use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::host::pkcs11::{Digest, IvSource, Wrapping};
use keygate_plugin_sdk::settings::from_json;
use serde::Deserialize;

/// The longest name of a token, in bytes (`keygate:host/pkcs11`).
const MAX_TOKEN: usize = 64;
/// The longest name of the wrapping keys: a purpose and a version stand around it in a CKA_ID of at most 64 bytes.
const MAX_NAME: usize = 32;
/// What the contract says a backend takes at least, in bytes.
const LEAST_PLAINTEXT: u32 = 4_096;
/// What a token takes at most, less the byte in front of each plaintext.
const MOST_PLAINTEXT: u32 = 65_535;

/// Where root keys are.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Keep {
    /// Each is an object in the token.
    Token,
    /// Each is in its key-ref, wrapped by a key of the token.
    Wrapped,
}

/// With which mechanism a key of the token wraps others.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// RFC 3394.
    #[serde(rename = "aes-key-wrap")]
    Kw,
    /// What the module makes of CKM_AES_KEY_WRAP_PAD.
    #[serde(rename = "aes-key-wrap-pad")]
    KwPad,
    /// RFC 5649.
    #[serde(rename = "aes-key-wrap-kwp")]
    Kwp,
}

impl Mechanism {
    /// For the token.
    pub(crate) const fn wrapping(self) -> Wrapping {
        match self {
            Self::Kw => Wrapping::AesKeyWrap,
            Self::KwPad => Wrapping::AesKeyWrapPad,
            Self::Kwp => Wrapping::AesKeyWrapKwp,
        }
    }

    /// As the standard spells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Kw => "CKM_AES_KEY_WRAP",
            Self::KwPad => "CKM_AES_KEY_WRAP_PAD",
            Self::Kwp => "CKM_AES_KEY_WRAP_KWP",
        }
    }
}

/// Where the iv of a new ciphertext comes from.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Iv {
    /// The host's generator.
    Host,
    /// The token.
    Token,
}

impl From<Iv> for IvSource {
    fn from(iv: Iv) -> Self {
        match iv {
            Iv::Host => Self::Host,
            Iv::Token => Self::Token,
        }
    }
}

/// A hash of OAEP.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Hash {
    /// For the HSM service's clients.
    Sha1,
    /// For everybody else.
    Sha256,
}

impl Hash {
    /// For the token.
    pub(crate) const fn digest(self) -> Digest {
        match self {
            Self::Sha1 => Digest::Sha1,
            Self::Sha256 => Digest::Sha256,
        }
    }

    /// As settings spell it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
        }
    }
}

/// Where the key pairs of import tokens are made and used.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ImportKeys {
    /// In the token; a pair is an object there.
    Token,
    /// In the token; a pair is in its key-ref, wrapped by a key of the token.
    Wrapped,
    /// In the sandbox, sealed by a key of the token.
    Sandbox,
    /// Nowhere: there are no import tokens on this backend.
    Off,
}

impl ImportKeys {
    /// Whether the token does the RSA.
    pub(crate) const fn in_token(self) -> bool {
        matches!(self, Self::Token | Self::Wrapped)
    }
}

/// Whether keys may go to other backends and come from them, sealed to an RSA key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// They may not.
    #[default]
    Off,
    /// With this hash of OAEP.
    Sha1,
    /// With this one.
    Sha256,
}

impl Transport {
    /// The hash.
    pub(crate) const fn hash(self) -> Option<Hash> {
        match self {
            Self::Off => None,
            Self::Sha1 => Some(Hash::Sha1),
            Self::Sha256 => Some(Hash::Sha256),
        }
    }
}

/// `settings` of the plugin's entry in `plugins.toml`.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The name of the granted token.
    pub(crate) token: String,
    #[serde(default = "defaults::keep")]
    pub(crate) keep: Keep,
    #[serde(default = "defaults::wrap")]
    pub(crate) wrap: Mechanism,
    #[serde(default = "defaults::iv")]
    pub(crate) iv: Iv,
    #[serde(default = "defaults::oaep")]
    pub(crate) oaep: Vec<Hash>,
    #[serde(default = "defaults::import_keys")]
    pub(crate) import_keys: ImportKeys,
    /// What the ids of the wrapping keys begin with.
    #[serde(default = "defaults::wrapping_key")]
    pub(crate) wrapping_key: String,
    /// The version of them that new key-refs are sealed under.
    #[serde(default = "defaults::wrapping_key_version")]
    pub(crate) wrapping_key_version: u32,
    /// Whether the plugin makes them where they are not there.
    #[serde(default = "defaults::make_wrapping_keys")]
    pub(crate) make_wrapping_keys: bool,
    /// In bytes.
    #[serde(default = "defaults::max_plaintext")]
    pub(crate) max_plaintext: u32,
    /// Whether keys may leave, sealed to another backend, and come from one.
    #[serde(default)]
    pub(crate) transport: Transport,
}

mod defaults {
    use super::{Hash, ImportKeys, Iv, Keep, MOST_PLAINTEXT, Mechanism};

    pub(super) const fn keep() -> Keep {
        Keep::Wrapped
    }

    pub(super) const fn wrap() -> Mechanism {
        Mechanism::Kw
    }

    pub(super) const fn iv() -> Iv {
        Iv::Host
    }

    pub(super) fn oaep() -> Vec<Hash> {
        vec![Hash::Sha256, Hash::Sha1]
    }

    pub(super) const fn import_keys() -> ImportKeys {
        ImportKeys::Token
    }

    pub(super) fn wrapping_key() -> String {
        "keygate".to_owned()
    }

    pub(super) const fn wrapping_key_version() -> u32 {
        1
    }

    pub(super) const fn make_wrapping_keys() -> bool {
        true
    }

    pub(super) const fn max_plaintext() -> u32 {
        MOST_PLAINTEXT
    }
}

impl Settings {
    /// Reads and checks them.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = from_json(text)?;
        let wrong = |path: &str, message: String| Err(SettingsError::new(path, message));
        if settings.token.is_empty() || settings.token.len() > MAX_TOKEN {
            let len = settings.token.len();
            return wrong("token", format!("the name of a granted token, 1 to {MAX_TOKEN} bytes, not {len}"));
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = &settings.wrapping_key;
        if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(plain) {
            return wrong("wrapping_key", format!("1 to {MAX_NAME} letters, digits, `-`, `_` and `.`, not `{name}`"));
        }
        if settings.wrapping_key_version == 0 {
            return wrong("wrapping_key_version", "versions are counted from 1 up".to_owned());
        }
        if !(LEAST_PLAINTEXT..=MOST_PLAINTEXT).contains(&settings.max_plaintext) {
            let given = settings.max_plaintext;
            return wrong("max_plaintext", format!("{LEAST_PLAINTEXT} to {MOST_PLAINTEXT} bytes, not {given}"));
        }
        if settings.oaep.is_empty() && settings.import_keys != ImportKeys::Off {
            return wrong("oaep", "name `sha256`, `sha1` or both, or set `import_keys` to `off`".to_owned());
        }
        if settings.import_keys == ImportKeys::Wrapped && settings.wrap == Mechanism::Kw {
            return wrong(
                "import_keys",
                "`aes-key-wrap` cannot wrap an RSA key, whose size is no multiple of 8: set `wrap` to \
                 `aes-key-wrap-kwp` or `aes-key-wrap-pad`, or `import_keys` to `token`"
                    .to_owned(),
            );
        }
        if settings.transport != Transport::Off && settings.wrap == Mechanism::Kw {
            return wrong(
                "transport",
                "keys from other backends come under AES-KWP (RFC 5649): set `wrap` to `aes-key-wrap-kwp`, or to \
                 `aes-key-wrap-pad` where the module means the same by it"
                    .to_owned(),
            );
        }
        Ok(settings)
    }

    /// Whether import tokens with this hash are served.
    pub(crate) fn takes(&self, hash: Hash) -> bool {
        self.import_keys != ImportKeys::Off && self.oaep.contains(&hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> SettingsError {
        Settings::parse(text).expect_err(text)
    }

    #[test]
    fn a_token_is_all_that_must_be_named() {
        let settings = Settings::parse(r#"{"token":"hsm"}"#).unwrap();
        assert_eq!((settings.token.as_str(), settings.keep, settings.wrap), ("hsm", Keep::Wrapped, Mechanism::Kw));
        assert_eq!((settings.iv, settings.import_keys, settings.max_plaintext), (Iv::Host, ImportKeys::Token, 65_535));
        assert!(settings.make_wrapping_keys && settings.transport == Transport::Off);
        let all = Settings::parse(
            r#"{"token":"a","keep":"token","wrap":"aes-key-wrap-kwp","iv":"token","oaep":["sha1"],
                "import_keys":"wrapped","wrapping_key":"k-1_x.y","wrapping_key_version":7,
                "make_wrapping_keys":false,"max_plaintext":16384,"transport":"sha1"}"#,
        )
        .unwrap();
        assert_eq!((all.keep, all.wrap, all.wrapping_key_version), (Keep::Token, Mechanism::Kwp, 7));
        assert!(all.takes(Hash::Sha1) && !all.takes(Hash::Sha256));
    }

    #[test]
    fn an_unknown_setting_names_the_nearest() {
        let error = refused(r#"{"token":"hsm","keeep":"token"}"#);
        assert!(error.message.contains("`keeep`") && error.message.contains("did you mean `keep`?"), "{error:?}");
        let error = refused(r#"{"token":"hsm","keep":"wraped"}"#);
        assert!(error.message.contains("did you mean `wrapped`?"), "{error:?}");
        assert!(refused("{}").message.contains("token"));
    }

    #[test]
    fn settings_that_cannot_work_say_where_and_how_to_mend_it() {
        for (text, path) in [
            (r#"{"token":""}"#, "token"),
            (r#"{"token":"a","wrapping_key":"a b"}"#, "wrapping_key"),
            (r#"{"token":"a","wrapping_key":"0123456789012345678901234567890123"}"#, "wrapping_key"),
            (r#"{"token":"a","wrapping_key_version":0}"#, "wrapping_key_version"),
            (r#"{"token":"a","max_plaintext":4095}"#, "max_plaintext"),
            (r#"{"token":"a","max_plaintext":65536}"#, "max_plaintext"),
            (r#"{"token":"a","oaep":[]}"#, "oaep"),
            (r#"{"token":"a","import_keys":"wrapped"}"#, "import_keys"),
            (r#"{"token":"a","transport":"sha256"}"#, "transport"),
        ] {
            assert_eq!(refused(text).path, path, "{text}");
        }
        assert!(Settings::parse(r#"{"token":"a","oaep":[],"import_keys":"off"}"#).is_ok());
    }
}
