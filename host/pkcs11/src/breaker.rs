//! The circuit breaker of a token.
//!
//! Closed: calls go through; failures in a row are counted. Open: calls are refused at once, so that nobody waits for a
//! token that is not there. Half-open: when the time is up one call goes through as a trial; it closes the breaker or opens
//! it for twice as long. The token's warden makes a trial of its own when no caller comes, so that a gateway that gets no
//! traffic because it is not ready gets ready again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use keygate_core::clock::Timestamp;
use keygate_core::ports::Clock;

use crate::config::BreakerConfig;
use crate::pending::lock;

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
    /// The trial of this number.
    Trial(u64),
    /// Refused; may be asked again after this.
    Refused(Duration),
}

/// Stands by a trial until it is over: one that comes to nothing, wherever it is dropped, leaves the next its chance.
pub(crate) struct Trial {
    pub(crate) number: u64,
    breaker: Arc<Mutex<Breaker>>,
    clock: Arc<dyn Clock>,
}

impl Trial {
    pub(crate) fn new(number: u64, breaker: &Arc<Mutex<Breaker>>, clock: &Arc<dyn Clock>) -> Self {
        Self { number, breaker: breaker.clone(), clock: clock.clone() }
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        lock(&self.breaker).no_trial(self.number, self.clock.now());
    }
}

#[derive(Debug)]
pub(crate) struct Breaker {
    config: BreakerConfig,
    state: BreakerState,
    since: Timestamp,
    failures: u32,
    open_for: Duration,
    /// After so long a trial that told nothing has failed.
    trial_at_most: Duration,
    /// The number of the last trial.
    trial: u64,
    pub(crate) opened: u64,
}

impl Breaker {
    pub(crate) fn new(config: BreakerConfig, trial_at_most: Duration, now: Timestamp) -> Self {
        let open_for = config.open_for;
        let state = BreakerState::Closed;
        Self { config, state, since: now, failures: 0, open_for, trial_at_most, trial: 0, opened: 0 }
    }

    pub(crate) fn state(&self) -> (BreakerState, Timestamp) {
        (self.state, self.since)
    }

    /// How long it stays open, if it is.
    pub(crate) fn opens_in(&mut self, now: Timestamp) -> Option<Duration> {
        (self.state == BreakerState::Open).then(|| self.left_of(self.open_for, now))
    }

    /// How much is left of this. A clock that went back does not make it longer than it should be.
    fn left_of(&mut self, of: Duration, now: Timestamp) -> Duration {
        if now < self.since {
            self.since = now;
        }
        of.saturating_sub(now.since(self.since))
    }

    /// Asks for a permission. `fit`: the call may be a trial, because it is neither slow nor of the kind that fails on a
    /// token that is merely full; the warden makes one within a moment where it is not.
    pub(crate) fn admit(&mut self, fit: bool, now: Timestamp) -> Permit {
        self.expire(now);
        match self.state {
            BreakerState::Closed => Permit::Normal,
            BreakerState::HalfOpen => Permit::Refused(self.config.open_for),
            BreakerState::Open => match self.left_of(self.open_for, now) {
                Duration::ZERO if fit => {
                    self.trial += 1;
                    self.go(BreakerState::HalfOpen, now);
                    Permit::Trial(self.trial)
                }
                left => Permit::Refused(left),
            },
        }
    }

    /// A trial of which nothing was heard has failed.
    fn expire(&mut self, now: Timestamp) {
        if self.state == BreakerState::HalfOpen && self.left_of(self.trial_at_most, now).is_zero() {
            self.failure(Some(self.trial), now);
        }
    }

    /// Whether a trial is due.
    pub(crate) fn is_due(&mut self, now: Timestamp) -> bool {
        self.expire(now);
        self.state == BreakerState::Open && self.left_of(self.open_for, now).is_zero()
    }

    /// Whether this is the trial that is under way.
    fn is_on(&self, trial: Option<u64>) -> bool {
        self.state == BreakerState::HalfOpen && trial == Some(self.trial)
    }

    pub(crate) fn success(&mut self, trial: Option<u64>, now: Timestamp) {
        self.failures = 0;
        // Calls that went in before it opened say nothing about now; the trial does.
        if self.is_on(trial) {
            self.open_for = self.config.open_for;
            self.go(BreakerState::Closed, now);
        }
    }

    pub(crate) fn failure(&mut self, trial: Option<u64>, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        match self.state {
            BreakerState::Closed if self.failures >= self.config.failures => self.open(now),
            BreakerState::HalfOpen if self.is_on(trial) => {
                self.open_for = self.open_for.saturating_mul(2).min(self.config.open_at_most);
                self.open(now);
            }
            _ => {}
        }
    }

    /// The trial was never made: the next call may be one.
    fn no_trial(&mut self, trial: u64, now: Timestamp) {
        if self.is_on(Some(trial)) {
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

    const HANG: Duration = Duration::from_secs(10);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_unix_ms(1_000_000 + ms)
    }

    fn broken() -> Breaker {
        let config = BreakerConfig { failures: 3, ..BreakerConfig::default() };
        let mut breaker = Breaker::new(config, HANG, at(0));
        for _ in 0..3 {
            assert_eq!(breaker.admit(true, at(0)), Permit::Normal);
            breaker.failure(None, at(0));
        }
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not() {
        let mut breaker = Breaker::new(BreakerConfig { failures: 2, ..BreakerConfig::default() }, HANG, at(0));
        for _ in 0..10 {
            breaker.failure(None, at(0));
            breaker.success(None, at(0));
        }
        assert_eq!(breaker.state().0, BreakerState::Closed);
        assert_eq!(broken().state(), (BreakerState::Open, at(0)));
    }

    #[test]
    fn one_trial_goes_through_when_the_time_is_up_and_closes_it() {
        let mut breaker = broken();
        assert_eq!(breaker.admit(true, at(400)), Permit::Refused(Duration::from_millis(600)));
        assert_eq!(breaker.admit(true, at(1_000)), Permit::Trial(1));
        assert!(matches!(breaker.admit(true, at(1_000)), Permit::Refused(_)), "one trial at a time");
        breaker.success(None, at(1_000));
        assert_eq!(breaker.state().0, BreakerState::HalfOpen, "an old call's success is no trial");
        breaker.success(Some(1), at(1_001));
        assert_eq!(breaker.state(), (BreakerState::Closed, at(1_001)));
        assert_eq!(breaker.admit(true, at(1_001)), Permit::Normal);
    }

    #[test]
    fn a_failed_trial_doubles_the_wait_up_to_its_bound() {
        let mut breaker = broken();
        let mut now = 0;
        for (trial, wait) in (1..).zip([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
            assert!(matches!(breaker.admit(true, at(now + wait - 1)), Permit::Refused(_)));
            now += wait;
            assert_eq!(breaker.admit(true, at(now)), Permit::Trial(trial));
            breaker.failure(Some(trial), at(now));
        }
        assert_eq!(breaker.opened, 8);
    }

    #[test]
    fn a_trial_that_was_never_made_leaves_the_next_one_its_chance() {
        let mut breaker = broken();
        assert_eq!(breaker.admit(true, at(1_000)), Permit::Trial(1));
        breaker.no_trial(1, at(1_000));
        assert!(breaker.is_due(at(1_000)));
        assert_eq!(breaker.admit(true, at(1_000)), Permit::Trial(2));
        breaker.no_trial(1, at(1_000));
        assert_eq!(breaker.state().0, BreakerState::HalfOpen, "an old trial says nothing of the next");
    }

    #[test]
    fn a_trial_that_nothing_is_heard_of_has_failed_and_the_next_comes() {
        let mut breaker = broken();
        assert_eq!(breaker.admit(true, at(1_000)), Permit::Trial(1));
        assert!(!breaker.is_due(at(10_999)));
        assert!(!breaker.is_due(at(11_000)), "it opens for twice as long");
        assert_eq!(breaker.state(), (BreakerState::Open, at(11_000)));
        breaker.success(Some(1), at(11_001));
        assert_eq!(breaker.state().0, BreakerState::Open, "the old trial is over");
        assert!(breaker.is_due(at(13_000)));
        assert_eq!(breaker.admit(true, at(13_000)), Permit::Trial(2));
    }

    #[test]
    fn a_call_that_is_not_fit_is_never_the_trial() {
        let mut breaker = broken();
        assert_eq!(breaker.admit(false, at(1_000)), Permit::Refused(Duration::ZERO));
        assert_eq!(breaker.admit(true, at(1_000)), Permit::Trial(1));
    }

    #[test]
    fn a_clock_that_goes_back_does_not_keep_it_open() {
        let mut breaker = broken();
        assert!(matches!(breaker.admit(true, Timestamp::from_unix_ms(0)), Permit::Refused(_)));
        assert_eq!(breaker.admit(true, Timestamp::from_unix_ms(1_000)), Permit::Trial(1));
    }
}
