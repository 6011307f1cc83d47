//! Durations with units.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A duration that was written with its unit: `"30s"`, `"4h"`, `"7d"`, `"1h 30m"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    pub(super) const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor).map(Self)
    }
}

struct SpanVisitor;

// No message repeats what stands there: it may be something else, a secret even, in the wrong place.

fn bare<E: Error>() -> E {
    E::custom("this duration has no unit; write \"30s\", \"4h\" or \"7d\"")
}

impl Visitor<'_> for SpanVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration with a unit, such as \"30s\", \"4h\" or \"7d\"")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
        let text = text.trim();
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(bare());
        }
        humantime::parse_duration(text).map_err(|_| E::custom("this is no duration; write \"30s\", \"4h\" or \"7d\""))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Duration, E> {
        Err(bare())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Duration, E> {
        Err(bare())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Duration, E> {
        Err(bare())
    }
}
