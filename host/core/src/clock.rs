//! Time, as the domain sees it: an instant that somebody else looked up.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An instant: milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Timestamp(u64);

/// The last instant that RFC 3339 can write: 9999-12-31T23:59:59.999Z.
const LAST: u64 = 253_402_300_799_999;

impl Timestamp {
    /// The instant so many milliseconds after the epoch; later than the year 9999 becomes its last millisecond.
    pub const fn from_unix_ms(ms: u64) -> Self {
        Self(if ms > LAST { LAST } else { ms })
    }

    /// Milliseconds since the epoch.
    pub const fn unix_ms(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// How long it has been since `earlier`; zero when that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Reads an RFC 3339 date with any fraction and offset (`api-contract`, fact 7).
    ///
    /// # Errors
    /// When the text is no such date, or lies before 1970.
    pub fn parse_rfc3339(text: &str) -> Result<Self, &'static str> {
        let date = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| "not a date in RFC 3339 form")?;
        let ms = date.unix_timestamp_nanos().div_euclid(1_000_000);
        u64::try_from(ms).map(Self::from_unix_ms).map_err(|_| "a date before 1970")
    }

    /// RFC 3339 in UTC and whole seconds, as the API writes dates: `2026-11-22T09:15:00Z`.
    pub fn to_rfc3339(self) -> String {
        self.format(self.0 - self.0 % 1000)
    }

    /// RFC 3339 in UTC with milliseconds, for logs and audit events.
    pub fn to_rfc3339_millis(self) -> String {
        self.format(self.0)
    }

    /// The same with all three digits of the milliseconds, so that texts sort as the instants do:
    /// `2026-11-22T09:15:00.000Z`.
    pub fn to_rfc3339_three_digits(self) -> String {
        let seconds = self.to_rfc3339();
        format!("{}.{:03}Z", seconds.trim_end_matches('Z'), self.0 % 1000)
    }

    fn format(self, ms: u64) -> String {
        // Both conversions hold for every value up to `LAST`, which the constructors enforce.
        OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
            .ok()
            .and_then(|date| date.format(&Rfc3339).ok())
            .unwrap_or_else(|| "9999-12-31T23:59:59Z".to_owned())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_rfc3339_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_in_whole_seconds_and_read_with_any_fraction_and_offset() {
        let t = Timestamp::parse_rfc3339("2026-01-02T03:04:05.678901234+01:00").unwrap();
        assert_eq!(t.to_rfc3339(), "2026-01-02T02:04:05Z");
        assert_eq!(t.unix_ms() % 1000, 678);
        assert_eq!(t.to_rfc3339_three_digits(), "2026-01-02T02:04:05.678Z");
        assert_eq!(Timestamp::default().to_rfc3339_three_digits(), "1970-01-01T00:00:00.000Z");
        assert!(Timestamp::parse_rfc3339("2026-01-02").is_err());
        assert!(Timestamp::parse_rfc3339("1969-12-31T23:59:59Z").is_err());
    }

    #[test]
    fn the_end_of_time_is_the_year_9999() {
        let end = Timestamp::from_unix_ms(u64::MAX);
        assert_eq!(end.to_rfc3339(), "9999-12-31T23:59:59Z");
        assert_eq!(end.plus(Duration::from_secs(1)), end);
    }
}
