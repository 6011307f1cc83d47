//! Local time: the parts of an instant as the clock on the wall of the configured zone shows them.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Transitions are worked out when the settings are read, for the years in which the gateway may be asked.
const FIRST: i64 = 1_577_836_800; // 2020-01-01T00:00:00Z
const LAST: i64 = 4_102_444_800; // 2100-01-01T00:00:00Z

/// A zone, as a list of offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone {
    /// From this instant on (Unix milliseconds), local time is this much (milliseconds) ahead of UTC. Ascending; the first
    /// entry is for all time before, too.
    spans: Vec<(i64, i64)>,
}

/// An instant, on the wall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) year: i64,
    pub(crate) month: i64,
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    /// Monday is 1.
    pub(crate) weekday: i64,
    /// When the next minute, hour, day begins: Unix milliseconds. Never late; a change of the offset counts as all of them.
    pub(crate) next_minute: i64,
    pub(crate) next_hour: i64,
    pub(crate) next_day: i64,
}

impl Zone {
    /// A zone of this name (`Europe/Berlin`, `UTC`), or offset (`+01:00`).
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        if name == "UTC" || name == "Z" {
            return Ok(Self { spans: vec![(0, 0)] });
        }
        if name.starts_with(['+', '-']) {
            return fixed(name).map(|offset| Self { spans: vec![(0, offset)] }).ok_or_else(|| {
                format!("`{}` is no offset: expected such as \"+01:00\" or \"-05:30\"", name.escape_debug())
            });
        }
        let database = TimeZoneDatabase::bundled();
        match database.get(name) {
            Ok(zone) => Ok(Self::of(&zone)),
            Err(_) => {
                let names: Vec<String> = database.available().map(|name| name.to_string()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let lower = name.to_ascii_lowercase();
                let near = names
                    .iter()
                    .map(|known| (strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase()), *known))
                    .min();
                let hint = near
                    .filter(|near| near.0 <= 4)
                    .map_or(String::new(), |near| format!("; did you mean \"{}\"?", near.1));
                Err(format!(
                    "`{}` is no time zone: expected a name of the IANA database such as \"Europe/Berlin\", \"UTC\", or an \
                     offset such as \"+01:00\"{hint}",
                    name.escape_debug()
                ))
            }
        }
    }

    fn of(zone: &TimeZone) -> Self {
        let first = Timestamp::from_second(FIRST).unwrap_or_default();
        let mut spans = vec![(FIRST * 1_000, i64::from(zone.to_offset(first).seconds()) * 1_000)];
        for transition in zone.following(first) {
            let at = transition.timestamp().as_second();
            if at >= LAST {
                break;
            }
            spans.push((at * 1_000, i64::from(transition.offset().seconds()) * 1_000));
        }
        spans.shrink_to_fit();
        Self { spans }
    }

    /// What the wall shows.
    pub(crate) fn local(&self, unix_ms: u64) -> Local {
        let now = i64::try_from(unix_ms).unwrap_or(i64::MAX).min(250_000 * 365 * DAY);
        let after = self.spans.partition_point(|(from, _)| *from <= now);
        let offset = self.spans.get(after.saturating_sub(1)).map_or(0, |(_, offset)| *offset);
        let change = self.spans.get(after).filter(|_| after > 0).or(self.spans.first().filter(|first| first.0 > now));
        let change = change.map_or(i64::MAX, |(from, _)| *from);
        let wall = now + offset;
        let (days, within) = (wall.div_euclid(DAY), wall.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let next = |unit: i64| (now + unit - wall.rem_euclid(unit)).min(change);
        Local {
            year,
            month,
            day,
            hour: within / HOUR,
            minute: within % HOUR / MINUTE,
            // 1970-01-01 was a Thursday.
            weekday: (days + 3).rem_euclid(7) + 1,
            next_minute: next(MINUTE),
            next_hour: next(HOUR),
            next_day: next(DAY),
        }
    }
}

/// An offset such as `+01:00`, in milliseconds.
fn fixed(text: &str) -> Option<i64> {
    let digits =
        |text: &str| (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i64>().ok())?;
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 18 || minutes > 59 {
        return None;
    }
    let offset = hours * HOUR + minutes * MINUTE;
    Some(if text.starts_with('-') { -offset } else { offset })
}

/// Year, month and day of a number of days since 1970-01-01 (Howard Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall(zone: &str, unix_ms: u64) -> String {
        let at = Zone::parse(zone).unwrap().local(unix_ms);
        format!("{:04}-{:02}-{:02} {:02}:{:02} {}", at.year, at.month, at.day, at.hour, at.minute, at.weekday)
    }

    #[test]
    fn the_wall_shows_local_time_in_summer_and_in_winter() {
        // 2026-07-01T10:30:00Z, a Wednesday; 2026-11-22T23:59:59.999Z, a Sunday.
        assert_eq!(wall("Europe/Berlin", 1_782_901_800_000), "2026-07-01 12:30 3");
        assert_eq!(wall("Europe/Berlin", 1_795_391_999_999), "2026-11-23 00:59 1");
        assert_eq!(wall("UTC", 1_795_391_999_999), "2026-11-22 23:59 7");
        assert_eq!(wall("America/New_York", 1_782_901_800_000), "2026-07-01 06:30 3");
        assert_eq!(wall("Asia/Kolkata", 1_782_901_800_000), "2026-07-01 16:00 3");
        assert_eq!(wall("-05:30", 0), "1969-12-31 18:30 3");
    }

    #[test]
    fn a_change_of_the_clock_is_seen_at_its_instant() {
        // 2026-03-29T01:00:00Z: two o'clock becomes three in Berlin.
        assert_eq!(wall("Europe/Berlin", 1_774_745_999_999), "2026-03-29 01:59 7");
        assert_eq!(wall("Europe/Berlin", 1_774_746_000_000), "2026-03-29 03:00 7");
        // Lord Howe Island moves by half an hour.
        let zone = Zone::parse("Australia/Lord_Howe").unwrap();
        let before = zone.local(1_774_746_000_000);
        assert!(before.next_day <= 1_774_746_000_000 + DAY);
    }

    #[test]
    fn everything_agrees_with_jiff_through_a_century() {
        for name in
            ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Africa/Casablanca", "Asia/Tehran"]
        {
            let (zone, theirs) = (Zone::parse(name).unwrap(), TimeZoneDatabase::bundled().get(name).unwrap());
            let mut at = FIRST;
            while at < LAST - 86_400 {
                let ours = zone.local(at.unsigned_abs() * 1_000);
                let wall = theirs.to_datetime(Timestamp::from_second(at).unwrap());
                let weekday = i64::from(wall.weekday().to_monday_one_offset());
                let found = (ours.year, ours.month, ours.day, ours.hour, ours.minute, ours.weekday);
                let expected = (
                    wall.year().into(),
                    wall.month().into(),
                    wall.day().into(),
                    wall.hour().into(),
                    wall.minute().into(),
                    weekday,
                );
                assert_eq!(found, expected, "{name} {at}");
                for (next, unit) in [(ours.next_minute, MINUTE), (ours.next_hour, HOUR), (ours.next_day, DAY)] {
                    assert!(next > at * 1_000 && next <= at * 1_000 + unit, "{name} {at}");
                }
                at += 86_413 * 3;
            }
        }
    }

    #[test]
    fn the_parts_hold_until_the_next_begins() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        for at in [1_774_700_000_000, 1_774_745_000_000, 1_793_000_000_000, 0, 7] {
            let now = zone.local(at);
            let last = |next: i64| zone.local((next - 1).unsigned_abs());
            assert_eq!((last(now.next_day).day, last(now.next_day).weekday), (now.day, now.weekday));
            assert_eq!(last(now.next_hour).hour, now.hour);
            assert_eq!(last(now.next_minute).minute, now.minute);
        }
    }

    #[test]
    fn what_is_no_zone_is_refused_with_the_nearest() {
        let refused = |name: &str| Zone::parse(name).unwrap_err();
        assert!(refused("Europe/Berln").contains("did you mean \"Europe/Berlin\"?"), "{}", refused("Europe/Berln"));
        for bad in ["", "+1:00", "+19:00", "+01:60", "+0100", "\u{7}", "-"] {
            assert!(refused(bad).contains("expected"), "{bad}");
        }
        for odd in [u64::MAX, 0, 9_999_999_999_999_999] {
            assert!(Zone::parse("Europe/Berlin").unwrap().local(odd).weekday <= 7);
        }
    }
}
