//! The doors of the domain: what somebody outside must provide.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::access::{AccessRequest, Decision};
use crate::audit::AuditEvent;
use crate::backend::CryptoBackend;
use crate::clock::Timestamp;

pub use crate::backend::CryptoBackend as Backend;
pub use crate::store::KeyStore;

/// A future behind a pointer, so that ports can be trait objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

/// Gives entropy, for identifiers. Key material and nonces come from backends.
pub trait Entropy: Send + Sync {
    /// Fills `bytes` from a cryptographically secure generator.
    ///
    /// # Errors
    /// When there is none.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// There is no entropy. Says why, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no entropy: {0}")]
pub struct EntropyError(pub String);

/// Gives backends by name.
pub trait Backends: Send + Sync {
    /// The backend of this name in the generation that is live now. Whoever holds the answer keeps that generation.
    fn backend(&self, name: &str) -> Option<Arc<dyn CryptoBackend>>;

    /// The names of all, in alphabetical order.
    fn names(&self) -> Vec<String>;
}

/// Decides. Deny by default: no rule said allow, no access.
pub trait PolicyGate: Send + Sync {
    /// Asks the chain. Never fails: a rule's failure is a denial.
    fn decide<'a>(&'a self, request: &'a AccessRequest<'a>) -> BoxFuture<'a, Decision>;
}

/// Keeps what happened.
pub trait AuditSink: Send + Sync {
    /// Records an event. When this returns, the event is kept as safely as this sink keeps events.
    ///
    /// # Errors
    /// When it cannot be kept. The answer to the request must not leave then.
    fn record<'a>(&'a self, event: &'a AuditEvent) -> BoxFuture<'a, Result<(), AuditError>>;
}

/// An audit event could not be kept. Says why, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("audit: {0}")]
pub struct AuditError(pub String);
