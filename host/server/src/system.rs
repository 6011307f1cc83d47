//! The outer world, where it is looked at: the wall clock and the operating system's generator. Nothing else in the
//! gateway asks either of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keygate_core::clock::Timestamp;
use keygate_core::ports::{Clock, Entropy, EntropyError};

/// The operating system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        // A clock before 1970 reads as 1970: every access token is then from the future of its own expiry check, and
        // every timer waits, which is the safe side.
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_unix_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that can be moved forward, for dev mode: every timer of the API can then be tried without waiting for it. Never
/// for production: who can move the clock ends every wait and every lifetime there is.
#[derive(Debug, Default)]
pub struct DevClock {
    /// How far ahead of the wall clock, in milliseconds.
    ahead: AtomicU64,
}

impl DevClock {
    /// Moves it forward, and returns the time it is then. There is no way back, and no way past the year 9999.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        let _ = self.ahead.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |ahead| Some(ahead.saturating_add(by)));
        self.now()
    }
}

impl Clock for DevClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_millis(self.ahead.load(Ordering::SeqCst)))
    }
}

/// The operating system's generator (`getrandom(2)`).
#[derive(Clone, Copy, Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(bytes).map_err(|e| EntropyError(format!("the operating system's generator: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_past_the_day_this_was_written() {
        assert!(SystemClock.now() > Timestamp::parse_rfc3339("2025-01-01T00:00:00Z").unwrap());
    }

    #[test]
    fn a_dev_clock_goes_with_the_wall_clock_and_jumps_ahead_when_told() {
        let clock = DevClock::default();
        let hours = |n: u64| Duration::from_secs(3600 * n);
        assert!(clock.now().since(SystemClock.now()) < hours(1));
        let then = clock.advance(hours(4));
        assert!(then.since(SystemClock.now()) > hours(3));
        clock.advance(hours(20));
        let ahead = clock.now().since(SystemClock.now());
        assert!(ahead > hours(23) && ahead <= hours(24), "{ahead:?}");
        assert_eq!(clock.advance(Duration::MAX).to_rfc3339(), "9999-12-31T23:59:59Z", "the end of time");
        assert_eq!(clock.advance(hours(1)), clock.now(), "and nothing after it");
    }

    #[test]
    fn entropy_differs_from_call_to_call() {
        let (mut a, mut b) = ([0_u8; 32], [0_u8; 32]);
        OsEntropy.fill(&mut a).unwrap();
        OsEntropy.fill(&mut b).unwrap();
        assert_ne!(a, b);
        assert_ne!(a, [0; 32]);
    }
}
