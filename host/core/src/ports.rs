//! The doors of the domain: what somebody outside must provide.

use std::sync::Arc;
use std::time::Duration;

use crate::access::Decision;
use crate::access::question::Question;
use crate::audit::AuditEvent;
use crate::backend::CryptoBackend;
use crate::clock::Timestamp;

pub use crate::audit::AuditError;
pub use crate::entropy::{Entropy, EntropyError};
pub use crate::future::BoxFuture;
pub use crate::store::KeyStore;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Gives backends by name.
pub trait Backends: Send + Sync {
    /// The backend of this name in the generation that is live now. Whoever holds the answer keeps that generation.
    fn backend(&self, name: &str) -> Option<Arc<dyn CryptoBackend>>;

    /// The names of all, in alphabetical order.
    fn names(&self) -> Vec<String>;
}

/// Decides. Deny by default: no rule said allow, no access.
pub trait PolicyGate: Send + Sync {
    /// Asks the chain; each rule may take `timeout`, beside its own limit. Never fails: a rule's failure is a denial.
    fn decide<'a>(&'a self, question: &'a Question, timeout: Option<Duration>) -> BoxFuture<'a, Decision>;
}

/// Keeps what happened.
pub trait AuditSink: Send + Sync {
    /// Makes sure, as far as anybody can, that one more event can be kept. Asked before a request is worked on, so that
    /// nothing is done that cannot be recorded.
    ///
    /// # Errors
    /// When an event could not be kept now. Nothing may be done then.
    fn reserve(&self) -> Result<(), AuditError>;

    /// Records an event. When this returns, the event is kept as safely as this sink keeps events.
    ///
    /// # Errors
    /// When it cannot be kept. The answer to the request must not leave then.
    fn record<'a>(&'a self, event: &'a AuditEvent) -> BoxFuture<'a, Result<(), AuditError>>;
}
