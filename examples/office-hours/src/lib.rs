//! Office hours: outside them, nobody unwraps.
//!
//! ```toml
//! [[plugins]]
//! name = "office-hours"
//! file = "target/plugins/examples/office-hours.wasm"
//! sha256_file = "target/plugins/examples/office-hours.wasm.sha256"
//! world = "policy-rule"
//! grants = { log = true }
//! settings = { hours = "08:00-18:00", days = ["mon", "tue", "wed", "thu", "fri"], utc_offset = "+01:00" }
//!
//! [policy]
//! chain = ["access", "office-hours"]
//! ```
//!
//! Hours that end before they begin go on past midnight and belong to the day on which they began. The offset is a fixed
//! one: where clocks are put forward in spring, give the offset of the season, or use a rule that knows time zones.

mod hours;

use keygate_plugin_sdk::rule::{Description, Facts, Request, Rule, Verdict};
use keygate_plugin_sdk::{SettingsError, export_rule, settings};
use serde::Deserialize;

use crate::hours::Week;

/// What is shut outside office hours. The gateway does not even ask about anything else.
const ACTION: &str = "kms.secrets.unwrap";

/// The rule: when it is open, and what callers are told.
pub struct OfficeHours {
    week: Week,
    message: String,
}

/// What the operator can set.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    hours: String,
    days: Vec<String>,
    utc_offset: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hours: "08:00-18:00".to_owned(),
            days: ["mon", "tue", "wed", "thu", "fri"].map(str::to_owned).to_vec(),
            utc_offset: "+00:00".to_owned(),
        }
    }
}

impl Rule for OfficeHours {
    fn configure(text: &str) -> Result<Self, SettingsError> {
        let Settings { hours, days, utc_offset } = settings::from_json(text)?;
        let week = Week::new(&hours, &days, &utc_offset)?;
        let days = days.join(", ");
        let message = format!("Keys unwrap from {hours} on {days} only (UTC{utc_offset}).");
        Ok(Self { week, message })
    }

    fn describe(&self) -> Description {
        Description {
            name: "office-hours".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            actions: vec![ACTION.to_owned()],
        }
    }

    fn evaluate(&self, request: &Request) -> Result<Verdict, String> {
        let now = request.now_unix_ms;
        let verdict = if request.action != ACTION || self.week.is_open(now) {
            // No objection. It is for another rule to say yes.
            Verdict::abstain()
        } else {
            Verdict::deny_forbidden("OFFICE_HOURS_ERR", &self.message)
        };
        // True for everybody and every key, until the next minute begins.
        Ok(verdict.remembered_by(Facts::ACTION | Facts::TIME).until(hours::next_minute(now)))
    }
}

export_rule!(OfficeHours);

#[cfg(test)]
mod tests {
    use keygate_plugin_sdk::rule::Decision;
    use keygate_plugin_sdk::testing::request;

    use super::*;

    /// Saturday, 22 August 2026, 00:00 UTC.
    const SATURDAY: u64 = 1_787_356_800_000;
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    fn denies(rule: &OfficeHours, now_unix_ms: u64) -> bool {
        let request = Request { now_unix_ms, ..request(ACTION) };
        matches!(rule.evaluate(&request).unwrap().decision, Decision::Deny(_))
    }

    #[test]
    fn it_is_open_from_the_first_minute_to_the_last_and_on_working_days() {
        let rule = OfficeHours::configure("{}").unwrap();
        let monday = SATURDAY + 2 * DAY;
        for (after, shut) in [(8 * HOUR - 1, true), (8 * HOUR, false), (18 * HOUR - 1, false), (18 * HOUR, true)] {
            assert_eq!(denies(&rule, monday + after), shut, "{after}");
            assert!(denies(&rule, SATURDAY + after), "{after}");
        }
    }

    #[test]
    fn the_offset_moves_the_hours() {
        let rule = OfficeHours::configure(r#"{"utc_offset": "+05:30"}"#).unwrap();
        let monday = SATURDAY + 2 * DAY;
        assert!(!denies(&rule, monday + 2 * HOUR + HOUR / 2), "08:00 there is 02:30 here");
        assert!(denies(&rule, monday + 2 * HOUR + HOUR / 2 - 1));
        let rule = OfficeHours::configure(r#"{"hours": "20:00-22:00", "utc_offset": "-08:00"}"#).unwrap();
        assert!(!denies(&rule, monday + 5 * DAY + 4 * HOUR), "Saturday here is Friday evening there");
    }

    #[test]
    fn hours_past_midnight_belong_to_the_day_on_which_they_began() {
        let rule = OfficeHours::configure(r#"{"hours": "22:00-06:00", "days": ["sun"]}"#).unwrap();
        let sunday = SATURDAY + DAY;
        assert!(!denies(&rule, sunday + 23 * HOUR) && !denies(&rule, sunday + 29 * HOUR), "the night of Sunday");
        assert!(
            denies(&rule, sunday + HOUR) && denies(&rule, sunday + 30 * HOUR),
            "the night before, and the day after"
        );
    }

    #[test]
    fn a_verdict_is_good_until_the_next_minute() {
        let rule = OfficeHours::configure("{}").unwrap();
        let request = Request { now_unix_ms: SATURDAY + 61_000, ..request(ACTION) };
        let memo = rule.evaluate(&request).unwrap().memo.unwrap();
        assert_eq!(memo.valid_until_unix_ms, Some(SATURDAY + 120_000));
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_by_name() {
        let bad = [
            (r#"{"hours": "8-18"}"#, "hours"),
            (r#"{"hours": "08:00-24:01"}"#, "hours"),
            (r#"{"hours": "08:00-08:00"}"#, "hours"),
            (r#"{"days": []}"#, "days"),
            (r#"{"days": ["monday"]}"#, "days"),
            (r#"{"utc_offset": "CET"}"#, "utc_offset"),
            (r#"{"utc_offset": "+15:00"}"#, "utc_offset"),
        ];
        for (text, path) in bad {
            assert!(OfficeHours::configure(text).is_err_and(|error| error.path == path), "{text}");
        }
        assert!(OfficeHours::configure(r#"{"hour": "08:00-18:00"}"#).is_err_and(|e| e.message.contains("hour")));
    }
}
