//! What the operator may set.

use keygate_plugin_rsa::Hash;
use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::settings::from_json;
use serde::Deserialize;

/// The longest name of a secret, in bytes (`keygate:host/secrets`).
const MAX_NAME: usize = 64;

/// Whether keys may go to other backends and come from them, sealed to an RSA key.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    /// They may not.
    #[default]
    Off,
    /// They leave with this hash of OAEP, and come with either.
    Sha1,
    /// They leave with this one, and come with either.
    Sha256,
}

impl Transport {
    /// The hash of what leaves.
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
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    /// The name of the granted secret that is the KEK.
    pub(crate) kek: String,
    /// Whether keys may leave, sealed to another backend, and come from one.
    pub(crate) transport: Transport,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kek: "kek".to_owned(), transport: Transport::Off }
    }
}

impl Settings {
    /// Reads and checks them.
    pub(crate) fn parse(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = from_json(text)?;
        if settings.kek.is_empty() || settings.kek.len() > MAX_NAME {
            return Err(SettingsError::new(
                "kek",
                format!("the name of a granted secret, 1 to {MAX_NAME} bytes, not {}", settings.kek.len()),
            ));
        }
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kek_has_a_default_name() {
        assert_eq!(Settings::parse("{}").unwrap().kek, "kek");
        assert_eq!(Settings::parse(r#"{"kek":"other"}"#).unwrap().kek, "other");
    }

    #[test]
    fn keys_stay_unless_it_is_said_how_they_go() {
        let hash = |text| Settings::parse(text).unwrap().transport.hash();
        assert_eq!(hash("{}"), None);
        assert_eq!(hash(r#"{"transport":"off"}"#), None);
        assert_eq!(hash(r#"{"transport":"sha1"}"#), Some(Hash::Sha1));
        assert_eq!(hash(r#"{"transport":"sha256"}"#), Some(Hash::Sha256));
        let error = Settings::parse(r#"{"transport":"sha265"}"#).unwrap_err();
        assert!(error.message.contains("did you mean `sha256`?"), "{error:?}");
    }

    #[test]
    fn bad_settings_say_where_and_what() {
        let unknown = Settings::parse("{\n  \"keck\": \"x\"\n}").unwrap_err();
        assert!(unknown.message.contains("keck") && unknown.message.contains("`kek`"), "{unknown:?}");
        assert!(unknown.path.starts_with("2:"), "{unknown:?}");
        assert_eq!(Settings::parse(r#"{"kek":""}"#).unwrap_err().path, "kek");
        assert_eq!(Settings::parse(&format!(r#"{{"kek":"{}"}}"#, "x".repeat(65))).unwrap_err().path, "kek");
        for bad in ["", "[]x", "null", r#"{"kek":1}"#, r#"{"kek":"a","kek":"b"}"#] {
            assert!(Settings::parse(bad).is_err(), "{bad:?}");
        }
    }
}
