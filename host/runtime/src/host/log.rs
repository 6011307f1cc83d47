//! `keygate:host/log`: lines for the operator.

use std::collections::VecDeque;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::open::keygate::host::log as wit;
use crate::faults::cut;
use crate::sandbox::State;

/// The bounds of `wit/host/log.wit`.
const MAX_LINES: u32 = 64;
pub(super) const MAX_MESSAGE: usize = 4_096;
const MAX_FIELDS: usize = 16;
const MAX_NAME: usize = 64;
const MAX_VALUE: usize = 1_024;
/// How much of what was written to standard error is remembered, in bytes.
const MAX_COMPLAINTS: usize = 512;
/// What stands between its lines when they are told as one.
const JOIN: &str = " | ";

/// What a sandbox has said.
#[derive(Default)]
pub(crate) struct Spoken {
    lines: u32,
    /// How many lines were dropped because there were too many.
    pub(crate) dropped: u32,
    /// The last line of level `error`: what a panic hook says before the trap.
    pub(crate) last_error: Option<String>,
    /// The last lines written to standard error, where there is one: what interpreters say of an error that nobody
    /// caught.
    complaints: VecDeque<String>,
}

impl Spoken {
    /// Takes note of a line written to standard error.
    pub(super) fn complaint(&mut self, line: &str) {
        self.complaints.push_back(tidy(line, MAX_COMPLAINTS));
        while self.complaints.iter().map(|line| line.len() + JOIN.len()).sum::<usize>() > MAX_COMPLAINTS
            && self.complaints.len() > 1
        {
            self.complaints.pop_front();
        }
    }

    /// The last that the guest said before it failed: its last line of level `error`, or else the last lines of its
    /// standard error, of which the very last may have no end.
    pub(crate) fn last_words(&self, unended: &str) -> Option<String> {
        let complaints = || {
            let last = tidy(unended.trim(), MAX_COMPLAINTS);
            let lines = self.complaints.iter().map(|line| line.trim()).chain([last.as_str()]);
            let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
            (!lines.is_empty()).then(|| lines.join(JOIN))
        };
        self.last_error.clone().or_else(complaints)
    }
}

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wit::add_to_linker::<State, HasSelf<State>>(linker, |state| state)
}

impl wit::Host for State {
    fn emit(&mut self, level: wit::Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        if matches!(level, wit::Level::Error) {
            self.spoken.last_error = Some(tidy(&message, MAX_MESSAGE));
        }
        emit(self, level, &message, &fields);
        Ok(())
    }
}

/// Puts a line into the log, unless there were too many.
pub(super) fn emit(state: &mut State, level: wit::Level, message: &str, fields: &[(String, String)]) {
    if state.spoken.lines >= MAX_LINES {
        state.spoken.dropped += 1;
        return;
    }
    state.spoken.lines += 1;
    let Line { message, fields, cut } = Line::new(message, fields);
    let (plugin, request) = (state.facts.name.as_str(), state.request_id.as_str());
    match level {
        wit::Level::Debug => tracing::debug!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
        wit::Level::Info => tracing::info!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
        wit::Level::Warn => tracing::warn!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
        wit::Level::Error => tracing::error!(target: "keygate::plugin", plugin, request, cut, %fields, "{message}"),
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
            message: tidy(message, MAX_MESSAGE),
            fields: fields.map(|(name, value)| (tidy(name, MAX_NAME), tidy(value, MAX_VALUE))).collect(),
            cut: too_long,
        }
    }
}

/// A text that is plain and within its bound: escapes are longer than what they stand for.
pub(crate) fn tidy(text: &str, most: usize) -> String {
    let mut plain = plain(cut(text, most));
    plain.truncate(cut(&plain, most).len());
    plain
}

/// Whether a character does something to a text other than to stand in it: control characters, the ends of lines and
/// paragraphs, and the marks that turn the direction of writing, with which a line can be made to read as another.
pub(crate) fn disturbing(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text with its disturbing characters escaped.
fn plain(text: &str) -> String {
    if !text.chars().any(disturbing) {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if disturbing(c) {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
    }
    plain
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
        let odd = "one\ntwo\u{1b}[31m \u{9b}1m \u{202e}abc\u{2069} \u{2028} é";
        let plain = "one\\ntwo\\u{1b}[31m \\u{9b}1m \\u{202e}abc\\u{2069} \\u{2028} é";
        let line = Line::new(odd, &[(odd.to_owned(), odd.to_owned())]);
        assert_eq!(line.message, plain);
        assert_eq!(line.fields, serde_json::json!({ cut(plain, MAX_NAME): plain }));
    }

    #[test]
    fn escaping_does_not_make_a_line_longer_than_its_bounds() {
        let line = Line::new(&"\u{1b}".repeat(MAX_MESSAGE), &[("n".to_owned(), "\n".repeat(MAX_VALUE))]);
        assert_eq!(line.message.len(), MAX_MESSAGE);
        assert_eq!(line.fields["n"].as_str().unwrap().len(), MAX_VALUE);
    }
}
