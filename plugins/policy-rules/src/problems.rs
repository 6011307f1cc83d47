//! What is wrong with policies, and where.

use keygate_plugin_sdk::SettingsError;

use crate::settings::Source;

/// The longest message the host takes, in bytes.
const MAX_MESSAGE: usize = 1_024;
/// The longest a single mistake may be told, so that others find room.
const MAX_ONE: usize = 420;

/// Mistakes, with their places.
#[derive(Debug, Default)]
pub(crate) struct Problems {
    /// Number of the source, offset in bytes, what.
    found: Vec<(usize, usize, String)>,
}

impl Problems {
    /// Adds one; of several at the same place the first counts (Cedar tells a wrong attribute once for each action).
    pub(crate) fn add(&mut self, source: usize, offset: usize, message: impl Into<String>) {
        if !self.found.iter().any(|(known, at, _)| (*known, *at) == (source, offset)) {
            self.found.push((source, offset, clean(&message.into())));
        }
    }

    /// All of them as one error: the path is the place of the first; the others are told with theirs, as far as there is room.
    ///
    /// # Errors
    /// If there are any.
    pub(crate) fn into_result(mut self, sources: &[Source]) -> Result<(), SettingsError> {
        self.found.sort();
        let mut found = self.found.iter();
        let Some((source, offset, message)) = found.next() else { return Ok(()) };
        let path = place(sources, *source, *offset);
        let mut text = cut(message, MAX_ONE);
        let mut left = found.len();
        for (source, offset, message) in found {
            let line = format!("\n{}: {}", place(sources, *source, *offset), cut(message, MAX_ONE));
            if text.len() + line.len() + 32 > MAX_MESSAGE {
                break;
            }
            text.push_str(&line);
            left -= 1;
        }
        if left > 0 {
            text.push_str(&format!("\n... and {left} more"));
        }
        Err(SettingsError::new(path, text))
    }
}

/// `file:line:column`, from 1 up; columns count characters.
pub(crate) fn place(sources: &[Source], source: usize, offset: usize) -> String {
    let Some(source) = sources.get(source) else { return String::new() };
    let (line, column) = position(&source.text, offset);
    format!("{}:{line}:{column}", source.file)
}

/// Line and column of an offset.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    (line, before.get(start..).map_or(0, |rest| rest.chars().count()) + 1)
}

/// One line, and nothing in it that a terminal would act on.
fn clean(message: &str) -> String {
    message.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn cut(message: &str, bytes: usize) -> String {
    if message.len() <= bytes {
        return message.to_owned();
    }
    let mut end = bytes;
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}...", &message[..end])
}
