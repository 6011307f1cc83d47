//! Durations and sizes, which always carry a unit.

use std::time::Duration;

/// Reads a duration such as `500ms`, `1s` or `2m 30s`.
///
/// # Errors
/// In words for the operator, when it is none.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("`{text}` is not a duration such as `500ms` or `2s`"))
}

/// Reads a size such as `64KiB`, `4MiB`, `1GiB` or `512B`, in bytes.
///
/// # Errors
/// In words for the operator, when it is none.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let wrong = || format!("`{text}` is not a size such as `64KiB` or `4MiB`");
    let text_end = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (digits, unit) = text.split_at(text_end);
    let shift = match unit.trim_start() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: usize = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_units() {
        assert_eq!(parse_size("4MiB"), Ok(4 << 20));
        assert_eq!(parse_size("64 KiB"), Ok(65_536));
        assert_eq!(parse_size("512B"), Ok(512));
        for bad in ["", "4", "MiB", "4MB", "-1KiB", "4.5MiB", "99999999999999999999GiB", "18014398509481984MiB"] {
            assert!(parse_size(bad).is_err(), "{bad:?} was taken for a size");
        }
    }

    #[test]
    fn durations_carry_units() {
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "500", "soon"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was taken for a duration");
        }
    }
}
