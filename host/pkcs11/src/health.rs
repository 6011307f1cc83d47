//! How a token is: for `/readyz`, for metrics, for the operator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keygate_core::clock::Timestamp;

use crate::breaker::BreakerState;

/// An error and when it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: Timestamp,
    /// Function, code and mend. No secret.
    pub what: String,
}

/// How a token is, at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// The operator's name for the token.
    pub name: String,
    /// Whether there is a link: a login that was not lost since it was used last.
    pub linked: bool,
    /// The circuit breaker.
    pub breaker: BreakerState,
    /// Since when the breaker stands so.
    pub since: Timestamp,
    /// Workers with a call.
    pub in_use: usize,
    /// Workers that serve calls.
    pub workers: usize,
    /// Workers that hang inside the module.
    pub written_off: usize,
    /// Sessions of the link.
    pub sessions: usize,
    /// Calls that wait.
    pub queued: usize,
    /// Unwrapped keys that are kept as session objects.
    pub unwrapped: usize,
    /// The last error, if there was one.
    pub last_error: Option<LastError>,
    /// When the breaker lets the next trial through, if it is open.
    pub retry_after: Option<Duration>,
    /// What happened since the token was started.
    pub counts: Counts,
}

impl Health {
    /// Whether calls are served now.
    pub fn is_ready(&self) -> bool {
        self.breaker == BreakerState::Closed && self.workers > 0
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What happened since the token was started. All only go up, except `average_us`.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts { $($(#[$doc])* pub $name: u64,)* }

        #[derive(Debug, Default)]
        pub(crate) struct Counters { $(pub(crate) $name: AtomicU64,)* }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Calls that a worker served.
    calls,
    /// Of those, calls that the token or its module failed.
    failures,
    /// Calls that got no session in time, or met a full queue.
    busy,
    /// Calls refused because the breaker was not closed.
    refused,
    /// Calls that missed their deadline inside the module.
    late,
    /// Second attempts.
    retried,
    /// Links made.
    links,
    /// C_Initialize after the first.
    restarts,
    /// Workers written off.
    written_off,
    /// Workers that came back after they were written off.
    came_back,
    /// Times that the token gave a worker no session.
    no_session,
    /// Times that the breaker opened.
    opened,
    /// Uses of an unwrapped key that was kept.
    unwrap_hits,
    /// Uses that had to unwrap it.
    unwrap_misses,
    /// How long a call is inside the module, smoothed, in microseconds.
    average_us,
}
