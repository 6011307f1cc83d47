//! The circuit breaker of a token.
//!
//! Closed: calls go through; failures in a row are counted. Open: calls are refused at once, so that nobody waits for a
//! token that is not there. Half-open: when the time is up one call goes through as a trial; it closes the breaker or opens
//! it for twice as long. The token's warden makes a trial of its own when no caller comes, so that a gateway that gets no
//! traffic because it is not ready gets ready again.

use std::time::Duration;

use keygate_core::clock::Timestamp;

use crate::config::BreakerConfig;

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// Calls are refused.
    Open,
    /// One call is on trial.
    HalfOpen,
}

/// A permission to make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Permit {
    Normal,
    Trial,
    /// Refused; may be asked again after this.
    Refused(Duration),
}

#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    since: Timestamp,
    failures: u32,
    open_for: Duration,
    pub(crate) opened: u64,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig, now: Timestamp) -> Self {
        let open_for = config.open_for;
        Self { config, state: BreakerState::Closed, since: now, failures: 0, open_for, opened: 0 }
    }

    pub(crate) fn state(&self) -> (BreakerState, Timestamp) {
        (self.state, self.since)
    }

    /// How much longer it is open. A clock that went back does not keep it open for longer than it should be.
    fn left(&mut self, now: Timestamp) -> Duration {
        if now < self.since {
            self.since = now;
        }
        self.open_for.saturating_sub(now.since(self.since))
    }

    pub(crate) fn admit(&mut self, now: Timestamp) -> Permit {
        match self.state {
            BreakerState::Closed => Permit::Normal,
            BreakerState::HalfOpen => Permit::Refused(self.config.open_for),
            BreakerState::Open => match self.left(now) {
                Duration::ZERO => {
                    self.go(BreakerState::HalfOpen, now);
                    Permit::Trial
                }
                left => Permit::Refused(left),
            },
        }
    }

    /// Whether a trial is due.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        self.state == BreakerState::Open && self.left(now).is_zero()
    }

    pub(crate) fn success(&mut self, trial: bool, now: Timestamp) {
        self.failures = 0;
        // Calls that went in before it opened say nothing about now; the trial does.
        if trial && self.state == BreakerState::HalfOpen {
            self.open_for = self.config.open_for;
            self.go(BreakerState::Closed, now);
        }
    }

    pub(crate) fn failure(&mut self, trial: bool, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            BreakerState::Closed if self.failures >= self.config.failures => self.open(now),
            BreakerState::HalfOpen if trial => {
                self.open_for = (self.open_for * 2).min(self.config.open_at_most);
                self.open(now);
            }
            _ => {}
        }
    }

    /// The trial was never made: the next call may be one.
    pub(crate) fn no_trial(&mut self, now: Timestamp) {
        if self.state == BreakerState::HalfOpen {
            self.state = BreakerState::Open;
            let ago = u64::try_from(self.open_for.as_millis()).unwrap_or(u64::MAX);
            self.since = Timestamp::from_unix_ms(now.unix_ms().saturating_sub(ago));
        }
    }

    fn open(&mut self, now: Timestamp) {
        self.opened += 1;
        self.go(BreakerState::Open, now);
    }

    fn go(&mut self, state: BreakerState, now: Timestamp) {
        self.state = state;
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000 + ms)
    }

    fn broken() -> Breaker {
        let config = BreakerConfig { failures: 3, ..BreakerConfig::default() };
        let mut breaker = Breaker::new(config, at(0));
        for _ in 0..3 {
            assert_eq!(breaker.admit(at(0)), Permit::Normal);
            breaker.failure(false, at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(BreakerConfig { failures: 2, ..BreakerConfig::default() }, at(0));
        for _ in 0..10 {
            breaker.failure(false, at(0));
            breaker.success(false, at(0));
        }
        assert_eq!(breaker.state().0, BreakerState::Closed);
        assert_eq!(broken().state(), (BreakerState::Open, at(0)));
    }

    #[test]
    fn one_trial_goes_through_when_the_time_is_up_and_closes_it() {
        let mut breaker = broken();
        assert_eq!(breaker.admit(at(400)), Permit::Refused(Duration::from_millis(600)));
        assert_eq!(breaker.admit(at(1_000)), Permit::Trial);
        assert!(matches!(breaker.admit(at(1_000)), Permit::Refused(_)), "one trial at a time");
        breaker.success(false, at(1_000));
        assert_eq!(breaker.state().0, BreakerState::HalfOpen, "an old call's success is no trial");
        breaker.success(true, at(1_001));
        assert_eq!(breaker.state(), (BreakerState::Closed, at(1_001)));
        assert_eq!(breaker.admit(at(1_001)), Permit::Normal);
    }

    #[test]
    fn a_failed_trial_doubles_the_wait_up_to_its_bound() {
        let mut breaker = broken();
        let mut now = 0;
        for wait in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            assert!(matches!(breaker.admit(at(now + wait - 1)), Permit::Refused(_)));
            now += wait;
            assert_eq!(breaker.admit(at(now)), Permit::Trial);
            breaker.failure(true, at(now));
        }
        assert_eq!(breaker.opened, 8);
    }

    #[test]
    fn a_trial_that_was_never_made_leaves_the_next_one_its_chance() {
        let mut breaker = broken();
        assert_eq!(breaker.admit(at(1_000)), Permit::Trial);
        breaker.no_trial(at(1_000));
        assert!(breaker.is_due(at(1_000)));
        assert_eq!(breaker.admit(at(1_000)), Permit::Trial);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_keep_it_open() {
        let mut breaker = broken();
        assert!(matches!(breaker.admit(Timestamp::from_unix_ms(0)), Permit::Refused(_)));
        assert_eq!(breaker.admit(Timestamp::from_unix_ms(1_000)), Permit::Trial);
    }
}
