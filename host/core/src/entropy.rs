//! Where identifiers come from.

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
