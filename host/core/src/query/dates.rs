//! What a filter can ask of a date.

use std::cmp::Ordering;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::clock::Timestamp;

const NANOS_PER_SECOND: i128 = 1_000_000_000;
const NANOS_PER_MILLI: i128 = 1_000_000;

/// A date as a filter gives it. Years from 0 to 9999: unlike a key's own dates it can lie before 1970, which is where
/// the zero dates of some languages are.
///
/// Keys know their dates to the millisecond, and answers show whole seconds. So a date on a whole second, as anybody has
/// it who copied it from an answer, means that second from its beginning to its end: such a date is equal to all within
/// it, and is neither before nor after them. A date with a fraction is an instant. (That goes by the value and not by how
/// it is written: `.000Z` is what JavaScript makes of a date without a fraction.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateLiteral {
    /// Since 1970-01-01T00:00:00Z.
    nanos: i128,
}

impl DateLiteral {
    /// Reads an RFC 3339 date with any fraction and offset (`api-contract`, fact 7). Of a fraction nine digits count.
    ///
    /// # Errors
    /// With what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let date = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
            let hint = if text.contains(' ') { " (in a URL, a '+' is written '%2B')" } else { "" };
            format!("\"{text}\" is not a date in RFC 3339 form, such as \"2026-11-22T09:15:00Z\"{hint}")
        })?;
        Ok(Self { nanos: date.unix_timestamp_nanos() })
    }

    /// Where an instant lies from it.
    fn order_of(self, at: Timestamp) -> Ordering {
        if self.nanos % NANOS_PER_SECOND == 0 {
            i128::from(at.unix_seconds()).cmp(&(self.nanos / NANOS_PER_SECOND))
        } else {
            (i128::from(at.unix_ms()) * NANOS_PER_MILLI).cmp(&self.nanos)
        }
    }
}

/// How a key's date must lie to one that is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// `lt`: before.
    Before,
    /// `lte`: not after.
    NotAfter,
    /// No operator: the same.
    Equal,
    /// `gte`: not before.
    NotBefore,
    /// `gt`: after.
    After,
}

impl Comparison {
    /// Those that have an operator.
    pub const OPERATORS: [(Self, &'static str); 4] =
        [(Self::Before, "lt"), (Self::NotAfter, "lte"), (Self::NotBefore, "gte"), (Self::After, "gt")];

    const fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Before => order.is_lt(),
            Self::NotAfter => order.is_le(),
            Self::Equal => order.is_eq(),
            Self::NotBefore => order.is_ge(),
            Self::After => order.is_gt(),
        }
    }
}

/// What a filter asks of one of a key's dates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateTest {
    /// `none`: the key has no such date.
    Absent,
    /// The key has one, and it lies like this.
    Is(Comparison, DateLiteral),
}

impl DateTest {
    /// Whether a key's date passes. One that a key has not is neither before nor after anything.
    pub fn passes(self, date: Option<Timestamp>) -> bool {
        match (self, date) {
            (Self::Absent, date) => date.is_none(),
            (Self::Is(..), None) => false,
            (Self::Is(comparison, literal), Some(date)) => comparison.holds(literal.order_of(date)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn order(key: &str, literal: &str) -> Ordering {
        DateLiteral::parse(literal).unwrap().order_of(at(key))
    }

    #[test]
    fn a_date_without_a_fraction_is_its_whole_second() {
        let key = "2026-02-15T00:00:00.678Z";
        for same in ["2026-02-15T00:00:00Z", "2026-02-15T00:00:00.000Z", "2026-02-15T02:00:00+02:00"] {
            assert_eq!(order(key, same), Ordering::Equal, "{same}");
        }
        assert_eq!(order(key, "2026-02-15T00:00:01Z"), Ordering::Less);
        assert_eq!(order(key, "2026-02-14T23:59:59Z"), Ordering::Greater);
    }

    #[test]
    fn a_date_with_a_fraction_is_an_instant() {
        let key = "2026-02-15T00:00:00.678Z";
        assert_eq!(order(key, "2026-02-15T00:00:00.678Z"), Ordering::Equal);
        assert_eq!(order(key, "2026-02-15T00:00:00.678000001Z"), Ordering::Less);
        assert_eq!(order(key, "2026-02-15T01:00:00.677999999+01:00"), Ordering::Greater);
        assert_eq!(order(key, "2026-02-15T00:00:00.6Z"), Ordering::Greater);
    }

    #[test]
    fn a_date_before_1970_is_before_every_key() {
        for early in ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "0000-01-01T00:00:00-23:59"] {
            assert_eq!(order("1970-01-01T00:00:00Z", early), Ordering::Greater, "{early}");
        }
    }

    #[test]
    fn what_is_no_date_is_refused_and_a_lost_plus_explained() {
        for bad in ["", "none", "2026-02-15", "2026-02-30T00:00:00Z", "2026-02-15T00:00:00", "2026-02-15T00:00:00.Z"] {
            let message = DateLiteral::parse(bad).unwrap_err();
            assert!(message.contains("RFC 3339") && !message.contains("%2B"), "{message}");
        }
        assert!(DateLiteral::parse("2026-02-15T00:00:00 01:00").unwrap_err().contains("%2B"));
    }

    #[test]
    fn a_date_that_a_key_has_not_passes_none_only() {
        let date = DateLiteral::parse("2026-02-15T00:00:00Z").unwrap();
        for (comparison, _) in Comparison::OPERATORS {
            assert!(!DateTest::Is(comparison, date).passes(None));
        }
        assert!(!DateTest::Is(Comparison::Equal, date).passes(None));
        assert!(DateTest::Absent.passes(None));
        assert!(!DateTest::Absent.passes(Some(Timestamp::default())));
    }

    proptest! {
        #[test]
        fn every_date_is_before_or_equal_or_after(ms in 0_u64..4_000_000, nanos in -1_000_000_000_i128..4_000_000_000_000) {
            let (date, literal) = (Some(Timestamp::from_unix_ms(ms)), DateLiteral { nanos });
            let passes = |comparison| DateTest::Is(comparison, literal).passes(date);
            let (before, equal, after) =
                (passes(Comparison::Before), passes(Comparison::Equal), passes(Comparison::After));
            prop_assert_eq!(u8::from(before) + u8::from(equal) + u8::from(after), 1);
            prop_assert_eq!(passes(Comparison::NotAfter), before || equal);
            prop_assert_eq!(passes(Comparison::NotBefore), after || equal);
        }

        #[test]
        fn a_date_copied_from_an_answer_finds_its_key(ms in 0_u64..=253_402_300_799_999) {
            let date = Timestamp::from_unix_ms(ms);
            let copied = DateLiteral::parse(&date.to_rfc3339()).unwrap();
            prop_assert!(DateTest::Is(Comparison::Equal, copied).passes(Some(date)));
            let exact = DateLiteral::parse(&date.to_rfc3339_millis()).unwrap();
            prop_assert!(DateTest::Is(Comparison::Equal, exact).passes(Some(date)));
        }

        #[test]
        fn no_text_is_a_panic(text in ".{0,40}", near in "[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}[.Z+:0-9-]{0,12}") {
            let _ = DateLiteral::parse(&text);
            let _ = DateLiteral::parse(&near);
        }
    }
}
