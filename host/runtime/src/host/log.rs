//! `keygate:host/log`: lines for the operator.

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::open::keygate::host::log as wit;
use crate::faults::cut;
use crate::sandbox::State;

/// The bounds of `wit/host/log.wit`.
const MAX_LINES: u32 = 64;
const MAX_MESSAGE: usize = 4_096;
const MAX_FIELDS: usize = 16;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 1_024;

/// What a sandbox has said.
#[derive(Default)]
pub(crate) struct Spoken {
    lines: u32,
    /// How many lines were dropped because there were too many.
    pub(crate) dropped: u32,
    /// The last line of level `error`: what a panic hook says before the trap.
    pub(crate) last_error: Option<String>,
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl wit::Host for State {
    fn emit(&mut self, level: wit::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if matches!(level, wit::Level::Error) {
            self.spoken.last_error = Some(plain(cut(&message, MAX_MESSAGE)));
        }
        if self.spoken.lines >= MAX_LINES {
            self.spoken.dropped += 1;
            return Ok(());
        }
        self.spoken.lines += 1;
        let Line { message, fields, cut } = Line::new(&message, &fields);
        let (plugin, request) = (self.facts.name.as_str(), self.request_id.as_str());
        match level {
            wit::Level::Debug => {
                tracing::debug!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}");
            }
            wit::Level::Info => tracing::info!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
            wit::Level::Warn => tracing::warn!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
            wit::Level::Error => tracing::error!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
        }
        Ok(())
    }
}

/// A line within its bounds, in which no character can end the line or move a terminal's cursor.
#[derive(Debug, PartialEq, Eq)]
struct Line {
    message: String,
    /// A JSON object.
    fields: serde_json::Value,
    cut: bool,
}

impl Line {
    fn new(message: &str, fields: &[(String, String)]) -> Self {
        let too_long = message.len() > MAX_MESSAGE
            || fields.len() > MAX_FIELDS
            || fields.iter().any(|(name, value)| name.len() > MAX_NAME || value.len() > MAX_VALUE);
        let fields = fields.iter().take(MAX_FIELDS);
        Self {
            message: plain(cut(message, MAX_MESSAGE)),
            fields: fields.map(|(name, value)| (plain(cut(name, MAX_NAME)), cut(value, MAX_VALUE))).collect(),
            cut: too_long,
        }
    }
}

/// The text with its control characters escaped.
pub(crate) fn plain(text: &str) -> String {
    if text.chars().any(char::is_control) {
        text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_to_its_bounds_and_says_so() {
        let fields: Vec<_> = (0..20).map(|i| (format!("{i:0>100}"), "v".repeat(2_000))).collect();
        let line = Line::new(&"m".repeat(5_000), &fields);
        assert!(line.cut);
        assert_eq!(line.message.len(), MAX_MESSAGE);
        let fields = line.fields.as_object().unwrap();
        assert!(
            fields.iter().all(|(name, value)| name.len() == MAX_NAME && value.as_str().unwrap().len() == MAX_VALUE)
        );
        assert!(!Line::new("short", &[]).cut);
    }

    #[test]
    fn a_line_stays_one_line() {
        assert_eq!(Line::new("one\ntwo\u{1b}[31m", &[]).message, "one\\ntwo\\u{1b}[31m");
    }
}
