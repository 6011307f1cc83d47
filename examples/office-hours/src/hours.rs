//! The minutes of a week, and which of them are office hours.

use keygate_plugin_sdk::SettingsError;

const MINUTE_MS: u64 = 60_000;
const DAY: u64 = 24 * 60;
const WEEK: u64 = 7 * DAY;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// 1970-01-01 was a Thursday.
const EPOCH_DAY: u64 = 3;
/// No place on Earth is further from UTC.
const MOST_OFFSET: u64 = 14 * 60;

/// When it is open.
pub(crate) struct Week {
    /// The minute of the week at which each opening begins, Monday 00:00 being 0, on the local clock.
    openings: Vec<u64>,
    /// How long each lasts, in minutes.
    length: u64,
    /// What is added to UTC for the local clock, in minutes; a week more than it is where it is less than nothing.
    ahead: u64,
}

impl Week {
    pub(crate) fn new(hours: &str, days: &[String], utc_offset: &str) -> Result<Self, SettingsError> {
        let (from, to) = hours
            .split_once('-')
            .and_then(|(from, to)| Some((clock(from)?, clock(to)?)))
            .filter(|(from, to)| *from < DAY && *to <= DAY && from != to)
            .ok_or_else(|| SettingsError::new("hours", "expected two times such as `08:00-18:00`, not the same"))?;
        let length = if from < to { to - from } else { to + DAY - from };
        let place = |day: &String| DAYS.iter().position(|known| known == day);
        let openings: Option<Vec<u64>> =
            days.iter().map(|day| place(day).map(|place| place as u64 * DAY + from)).collect();
        let openings = openings
            .filter(|openings| !openings.is_empty())
            .ok_or_else(|| SettingsError::new("days", "expected some of mon, tue, wed, thu, fri, sat, sun"))?;
        let ahead = offset(utc_offset)
            .ok_or_else(|| SettingsError::new("utc_offset", "expected `+HH:MM` or `-HH:MM`, at most 14 hours"))?;
        Ok(Self { openings, length, ahead })
    }

    pub(crate) fn is_open(&self, unix_ms: u64) -> bool {
        let now = (unix_ms / MINUTE_MS + EPOCH_DAY * DAY + self.ahead) % WEEK;
        self.openings.iter().any(|opening| (now + WEEK - opening) % WEEK < self.length)
    }
}

/// When the minute ends.
pub(crate) fn next_minute(unix_ms: u64) -> u64 {
    (unix_ms / MINUTE_MS).saturating_add(1).saturating_mul(MINUTE_MS)
}

/// `HH:MM` in minutes; up to 24:00.
fn clock(text: &str) -> Option<u64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u64>().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= DAY).then_some(hours * 60 + minutes)
}

fn offset(text: &str) -> Option<u64> {
    let minutes = clock(text.get(1..)?).filter(|minutes| *minutes <= MOST_OFFSET)?;
    match text.as_bytes().first()? {
        b'+' => Some(minutes),
        b'-' => Some(WEEK - minutes),
        _ => None,
    }
}
