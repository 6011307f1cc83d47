//! Why a call on a token failed: the cases of `keygate:host/pkcs11.error`, less the grant, which is not this crate's.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// Why a call on a token failed. Never holds a PIN, a plaintext or key material.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such object in the token, or the handle's object is gone.
    #[error("the token holds no such key")]
    NotFound,
    /// An object with this id is there already, or is being made now.
    #[error("the token holds an object with this CKA_ID already")]
    AlreadyExists,
    /// The token says that the ciphertext, its tag or its AAD do not match.
    #[error("the token says that the ciphertext, its tag or its AAD do not match")]
    AuthenticationFailed,
    /// An argument is out of its bounds. Says which.
    #[error("invalid input: {0}")]
    InvalidInput(String),
    /// The token has not this mechanism, parameter or key size. Says which.
    #[error("the token cannot do it: {0}")]
    Unsupported(String),
    /// No session came free in time.
    #[error("no session of the token came free in time")]
    Busy {
        /// When to try again, where known.
        retry_after: Option<Duration>,
    },
    /// The token or its module is not there, or did not answer in time.
    #[error("the token is not available: {detail}")]
    Unavailable {
        /// What is wrong and how to mend it.
        detail: String,
        /// When to try again, where known.
        retry_after: Option<Duration>,
    },
    /// The module refused with a return value that has no case of its own.
    #[error("{0}")]
    Rejected(Rejection),
}

impl Error {
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::Unavailable { detail: detail.into(), retry_after: None }
    }

    pub(crate) fn invalid(what: impl Into<String>) -> Self {
        Self::InvalidInput(what.into())
    }
}

/// A return value of the module that has no case of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The function, such as `C_Encrypt`.
    pub function: Cow<'static, str>,
    /// The CK_RV.
    pub rv: u64,
    /// Its name, such as `CKR_DEVICE_ERROR`, or `vendor-defined`.
    pub name: &'static str,
    /// What the operator can do.
    pub mend: &'static str,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} answered {} (0x{:X}); {}", self.function, self.name, self.rv, self.mend)
    }
}

/// Why a token cannot even be started. What to do stands in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("token `{token}`: {problem}")]
    Config {
        /// The operator's name for the token.
        token: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// The module cannot be loaded or initialised.
    #[error("PKCS#11 module {path}: {problem}")]
    Module {
        /// The file.
        path: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
    /// The operating system gave no thread.
    #[error("token `{token}`: no thread could be started ({problem}); raise the limit of tasks of the gateway's user")]
    Threads {
        /// The operator's name for the token.
        token: String,
        /// What the system said.
        problem: String,
    },
}

/// What went wrong inside, before it is known what to tell.
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// A function of the module answered so.
    Rv { function: Cow<'static, str>, rv: u64 },
    /// This is the answer.
    Is(Error),
    /// The link to the token cannot be made. Counts for the breaker.
    NoLink(String),
    /// Its session is the token's last or not to be had; somebody else may do the work.
    NoSession,
    /// The worker has been written off while it was in the module; nobody waits for it.
    WrittenOff,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Is(error)
    }
}

impl From<cryptoki::error::Error> for Failure {
    fn from(error: cryptoki::error::Error) -> Self {
        use cryptoki::error::Error as E;
        match error {
            E::Pkcs11(rv, function) => {
                Self::Rv { function: Cow::Owned(format!("C_{function:?}")), rv: crate::rv::number(rv) }
            }
            E::NullFunctionPointer => Self::Rv { function: "a function".into(), rv: crate::rv::FUNCTION_NOT_SUPPORTED },
            // What the binding could not read of the module's answer. Its texts hold numbers and names, no values.
            other => Self::NoLink(format!("the module's answer makes no sense: {other}")),
        }
    }
}
