//! A plugin's settings: JSON text from its entry in `plugins.toml`.

use crate::cut;

/// The longest message of a [`SettingsError`] that the host takes, in bytes.
const MAX_MESSAGE: usize = 1_024;

/// Settings that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError {
    /// Where: a dotted path such as `token.keep`, `line:column` in a text, empty when it is the whole.
    pub path: String,
    /// What is wrong with it and what was expected, for the operator.
    pub message: String,
}

impl SettingsError {
    /// An error at `path`. A message over 1,024 bytes is cut.
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: cut(message.into(), MAX_MESSAGE) }
    }

    /// An error about the whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self::new("", message)
    }
}

/// For a plugin that has no settings: takes `{}` and nothing else.
///
/// # Errors
/// Anything else is refused, as the contract asks: a setting that is ignored is one that the operator believes in.
pub fn none(text: &str) -> Result<(), SettingsError> {
    // JSON's white space, RFC 8259 section 2.
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut rest = text.as_bytes().iter().filter(|byte| !blank(byte));
    match (rest.next(), rest.next(), rest.next()) {
        (Some(b'{'), Some(b'}'), None) => Ok(()),
        _ => Err(SettingsError::whole("this plugin has no settings: remove them, or leave the table empty")),
    }
}

/// Reads settings into `T`. Use `#[serde(deny_unknown_fields)]` on `T`: an unknown setting must be an error.
///
/// # Errors
/// What the parser says, with the place as `line:column`.
#[cfg(feature = "json")]
pub fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SettingsError> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("{}:{}", error.line(), error.column());
        let message = error.to_string();
        // The parser repeats the place at the end of its message.
        let message = message.split(" at line ").next().unwrap_or(&message);
        SettingsError::new(place, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_takes_the_empty_object_only() {
        for good in ["{}", " {\n}\t", "{ }"] {
            assert_eq!(none(good), Ok(()), "{good:?}");
        }
        for bad in ["", "{", "}", "[]", "null", "{}{}", "{}x", "{\"a\":1}", "}{"] {
            assert!(none(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(SettingsError::whole("x".repeat(2_000)).message.len(), MAX_MESSAGE);
    }
}
