//! The settings, as they come from `plugins.toml`.

use keygate_plugin_sdk::SettingsError;
use serde_json::{Map, Value};

/// A text of policies, and what messages call it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    pub(crate) file: String,
    pub(crate) text: String,
}

/// The settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) sources: Vec<Source>,
    /// The name of a time zone, or an offset.
    pub(crate) zone: String,
}

/// What settings there are.
const KNOWN: [&str; 2] = ["policies", "zone"];

/// Most texts of policies.
const MAX_SOURCES: usize = 256;

/// Reads the settings.
///
/// # Errors
/// The first that cannot work, with its dotted path.
pub(crate) fn read(text: &str) -> Result<Settings, SettingsError> {
    let value: Value = serde_json::from_str(text).map_err(|error| {
        SettingsError::new(
            format!("{}:{}", error.line(), error.column()),
            format!("these settings are no JSON: {error}"),
        )
    })?;
    let Value::Object(table) = value else { return Err(SettingsError::whole("the settings must be a table")) };
    known(&table, &KNOWN, "")?;
    let zone = match table.get("zone") {
        None => "UTC".to_owned(),
        Some(Value::String(zone)) => zone.clone(),
        Some(_) => return Err(SettingsError::new("zone", "expected a text such as \"Europe/Berlin\" or \"+01:00\"")),
    };
    let Some(policies) = table.get("policies") else {
        return Err(SettingsError::new(
            "policies",
            "there are no policies: name their files (`settings_files = { policies = [\"rules/office-hours.cedar\"] }`), \
             or give them as a text (`settings = { policies = \"forbid (...);\" }`)",
        ));
    };
    let sources = match policies {
        Value::String(text) => vec![Source { file: "policies".to_owned(), text: text.clone() }],
        Value::Array(list) => list.iter().enumerate().map(|(at, one)| source(at, one)).collect::<Result<_, _>>()?,
        _ => return Err(SettingsError::new("policies", "expected a text of policies, or a list of them")),
    };
    if sources.is_empty() || sources.len() > MAX_SOURCES {
        return Err(SettingsError::new(
            "policies",
            format!("expected 1 to {MAX_SOURCES} texts, and there are {}", sources.len()),
        ));
    }
    for (at, source) in sources.iter().enumerate() {
        if sources[..at].iter().any(|before| before.file == source.file) {
            let name = source.file.escape_debug();
            return Err(SettingsError::new(
                format!("policies[{at}].file"),
                format!("{name} is there already: messages could not tell the two apart, so give each its own name"),
            ));
        }
    }
    Ok(Settings { sources, zone })
}

/// One entry of the list: a text, or a text with the name of the file it is from.
fn source(at: usize, entry: &Value) -> Result<Source, SettingsError> {
    match entry {
        Value::String(text) => Ok(Source { file: format!("policies[{at}]"), text: text.clone() }),
        Value::Object(table) => {
            known(table, &["file", "text"], &format!("policies[{at}]."))?;
            let text = |name: &str| match table.get(name) {
                Some(Value::String(text)) => Ok(text.clone()),
                _ => Err(SettingsError::new(format!("policies[{at}].{name}"), "expected a text")),
            };
            let file = text("file")?;
            if file.is_empty() || file.len() > 256 || file.chars().any(char::is_control) {
                let message = "expected a name of 1 to 256 bytes for messages, such as \"rules/office-hours.cedar\"";
                return Err(SettingsError::new(format!("policies[{at}].file"), message));
            }
            Ok(Source { file, text: text("text")? })
        }
        _ => {
            Err(SettingsError::new(format!("policies[{at}]"), "expected a text, or { file = \"...\", text = \"...\" }"))
        }
    }
}

/// Refuses a table that has something unknown in it.
fn known(table: &Map<String, Value>, names: &[&str], path: &str) -> Result<(), SettingsError> {
    match table.keys().find(|key| !names.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let hint = nearest(key, names).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            let (key, names) = (key.escape_debug(), names.join("`, `"));
            Err(SettingsError::new(format!("{path}{key}"), format!("unknown setting; there are `{names}`{hint}")))
        }
    }
}

/// The known name that is most like this one, if any is.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let near =
        known.iter().map(|known| (strsim::damerau_levenshtein(&name.to_ascii_lowercase(), known), *known)).min()?;
    (near.0 <= 3 && near.0 < near.1.len()).then_some(near.1)
}
