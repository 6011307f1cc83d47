//! A plugin's own failure, as the rest of the house sees it.

/// What kind of failure of its own a plugin had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// It did not finish in time.
    Deadline,
    /// It wanted more memory than it may have.
    Memory,
    /// It used up its stack.
    Stack,
    /// It trapped: a panic, most often.
    Trap,
    /// It gave back more, or something else, than the contract allows.
    Output,
    /// It called the host more, or with more, than it may.
    HostCall,
    /// No sandbox could be made.
    Instantiate,
}

impl FaultKind {
    /// One word, for logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Stack => "stack",
            Self::Trap => "trap",
            Self::Output => "output",
            Self::HostCall => "host-call",
            Self::Instantiate => "instantiate",
        }
    }
}

/// A plugin's own failure. It fails the call it happened in, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plugin `{plugin}` failed in `{call}` ({}): {message}", kind.as_str())]
pub struct Fault {
    /// The plugin's name in `plugins.toml`.
    pub plugin: String,
    /// The function that was called.
    pub call: &'static str,
    /// What kind.
    pub kind: FaultKind,
    /// For the operator.
    pub message: String,
}
