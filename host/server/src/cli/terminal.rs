//! Texts of components, rules and clients on somebody's terminal.

/// A text of somebody else's: on one line, and in the order in which it is written.
pub(super) fn plain(text: &str) -> String {
    let disturbing = |c: char| {
        c.is_control()
            || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if disturbing(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_moves_the_cursor_or_turns_what_is_around_it() {
        assert_eq!(
            plain("a\u{1b}[2Jb\nc\u{9b}d\u{202e}e\u{2066}f \u{e4}\u{5d0}"),
            "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}f \u{e4}\u{5d0}"
        );
    }
}
