//! What policies may not exceed. The parser and the checker of the language go down into an expression with a call for
//! each level, and a sandbox's stack ends somewhere: so depth and length are looked at before they are asked.

use crate::problems::Problems;

/// Most bytes of all texts together.
pub(crate) const MAX_TEXT: usize = 768 << 10;
/// Most policies.
pub(crate) const MAX_POLICIES: usize = 2_000;
/// Brackets in brackets.
const MAX_DEPTH: usize = 20;
/// Operators, and whatever else makes an expression deep, of one policy. An operator counts by its characters, about two.
const MAX_OPERATORS: usize = 100;
/// An `if` goes deeper than an operator.
const IF: usize = 6;

/// Looks for what is too deep or too long. It reads no more than the words need: strings and comments are skipped.
pub(crate) fn check(source: usize, text: &str, problems: &mut Problems) {
    let bytes = text.as_bytes();
    let (mut depth, mut operators, mut at) = (0_usize, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                at += bytes[at..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - at);
                continue;
            }
            b'"' => at = string_end(bytes, at),
            b'(' | b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    problems.add(
                        source,
                        at,
                        format!("brackets go deeper than {MAX_DEPTH} levels: simplify the policy"),
                    );
                    return;
                }
            }
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            b';' if depth == 0 => operators = 0,
            b'+' | b'-' | b'*' => operators += 3,
            b'&' | b'|' | b'!' | b'<' | b'>' | b'=' | b'.' => operators += 1,
            b'i' if word(bytes, at, "if") => operators += IF,
            b'i' | b'h' | b'l' if ["in", "is", "has", "like"].iter().any(|name| word(bytes, at, name)) => {
                operators += 2
            }
            _ => {}
        }
        if operators > 2 * MAX_OPERATORS {
            let message = format!("this policy has more than {MAX_OPERATORS} operators: make several of it");
            problems.add(source, at, message);
            return;
        }
        at += 1;
    }
}

/// Whether this word stands here, and not a part of another.
fn word(bytes: &[u8], at: usize, word: &str) -> bool {
    let wordy = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let before = at.checked_sub(1).and_then(|before| bytes.get(before));
    let rest = bytes.get(at..).unwrap_or_default();
    rest.starts_with(word.as_bytes()) && !wordy(before) && !wordy(rest.get(word.len()))
}

/// Where a string ends that starts here.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}
