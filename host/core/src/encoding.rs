//! Base64 that leaves no copies behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::{SecretBytes, SecretText};

/// Decodes standard base64 (RFC 4648, section 4, with padding) into a buffer that is wiped. Ends of lines in it are
/// passed over: `base64` wraps what is long, and the service's own decoder takes that.
///
/// # Errors
/// When the text is not base64.
pub fn decode_secret(text: &str) -> Result<SecretBytes, NotBase64> {
    // Both are sized up front: a vector that grew would leave the old copy in freed memory.
    let mut line = zeroize::Zeroizing::new(Vec::with_capacity(text.len()));
    line.extend(text.bytes().filter(is_of_line));
    let mut buffer = zeroize::Zeroizing::new(vec![0_u8; base64::decoded_len_estimate(line.len())]);
    let len = STANDARD.decode_slice(line.as_slice(), &mut buffer).map_err(|_| NotBase64)?;
    buffer.truncate(len);
    Ok(SecretBytes::new(std::mem::take(&mut *buffer)))
}

/// Encodes to standard base64, into a text that is wiped.
pub fn encode_secret(bytes: &SecretBytes) -> SecretText {
    let mut text = String::with_capacity(base64::encoded_len(bytes.len(), true).unwrap_or(0));
    STANDARD.encode_string(bytes.expose(), &mut text);
    SecretText::new(text)
}

/// Decodes standard base64 of something that is no secret, in the same way.
///
/// # Errors
/// When the text is not base64.
pub fn decode(text: &str) -> Result<Vec<u8>, NotBase64> {
    let line: Vec<u8> = text.bytes().filter(is_of_line).collect();
    STANDARD.decode(line).map_err(|_| NotBase64)
}

fn is_of_line(byte: &u8) -> bool {
    !matches!(byte, b'\r' | b'\n')
}

/// Encodes to standard base64.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The text is not base64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64 (RFC 4648, with padding)")]
pub struct NotBase64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_the_round_trip_and_keeps_its_length() {
        for len in 0..70 {
            let bytes = SecretBytes::new((0..len).map(|b| b as u8).collect());
            let text = encode_secret(&bytes);
            assert_eq!(decode_secret(text.expose()).unwrap().expose(), bytes.expose());
        }
        assert!(decode_secret("not base64!").is_err());
        assert!(decode_secret("QQ").is_err(), "padding is required");
    }

    #[test]
    fn ends_of_lines_are_passed_over_and_other_blanks_are_not() {
        for wrapped in ["QUJD\nREVG\n", "\r\nQUJDREVG", "Q\nU\rJDREVG"] {
            assert_eq!(decode_secret(wrapped).unwrap().expose(), b"ABCDEF");
            assert_eq!(decode(wrapped).unwrap(), b"ABCDEF");
        }
        assert!(decode_secret("QUJD REVG").is_err() && decode("QUJD\tREVG").is_err());
    }
}
