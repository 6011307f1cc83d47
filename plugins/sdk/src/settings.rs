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
/// What the parser says, with the place as `line:column`; where a name is not known, with the nearest that is.
#[cfg(feature = "json")]
pub fn from_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, SettingsError> {
    serde_json::from_str(text).map_err(|error| {
        let place = format!("{}:{}", error.line(), error.column());
        let message = error.to_string();
        // The parser repeats the place at the end of its message.
        let message = message.split(" at line ").next().unwrap_or(&message);
        let hint = nearest(message).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        SettingsError::new(place, format!("{message}{hint}"))
    })
}

/// Of a message such as "unknown field `a`, expected one of `b`, `c`": the name that is most like the first, if any is.
#[cfg(feature = "json")]
fn nearest(message: &str) -> Option<&str> {
    let (unknown, known) = message.strip_prefix("unknown ")?.split_once("expected ")?;
    let given = unknown.split('`').nth(1)?;
    let known = known.split('`').skip(1).step_by(2);
    let (distance, near) = known.map(|known| (distance(given, known), known)).min()?;
    (distance <= 3 && distance < near.len()).then_some(near)
}

/// How many letters must be put in, taken out or replaced to make one name of the other (Levenshtein).
#[cfg(feature = "json")]
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, from) in from.bytes().enumerate() {
        let mut diagonal = row.first().copied().unwrap_or_default();
        let mut left = line + 1;
        for (to, cell) in core::iter::once(None).chain(to.bytes().map(Some)).zip(&mut row) {
            let above = *cell;
            if let Some(to) = to {
                left = (diagonal + usize::from(!from.eq_ignore_ascii_case(&to))).min(above + 1).min(left + 1);
            }
            *cell = left;
            diagonal = above;
        }
    }
    row.last().copied().unwrap_or_default()
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

    #[cfg(feature = "json")]
    #[test]
    fn a_name_that_is_not_known_has_a_nearest_one() {
        for (from, to, letters) in
            [("", "", 0), ("abc", "abc", 0), ("kitten", "sitting", 3), ("", "ab", 2), ("ab", "", 2)]
        {
            assert_eq!(distance(from, to), letters, "{from} {to}");
        }
        assert_eq!(nearest("unknown field `keck`, expected `kek`"), Some("kek"));
        assert_eq!(nearest("unknown variant `TOKN`, expected one of `wrapped`, `token`"), Some("token"));
        assert_eq!(nearest("unknown field `colour`, expected `kek`"), None);
        assert_eq!(nearest("unknown field `x`, there are no fields"), None);
        assert_eq!(nearest("missing field `kek`"), None);
    }

    #[test]
    fn long_messages_are_cut() {
        assert_eq!(SettingsError::whole("x".repeat(2_000)).message.len(), MAX_MESSAGE);
    }
}
