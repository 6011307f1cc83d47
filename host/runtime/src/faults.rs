//! From what wasmtime says to what went wrong.

use keygate_core::error::{Fault, FaultKind};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::sandbox::State;

/// The guest asked the host for more than it may have. Traps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostCallRefused(pub(crate) String);

/// Why a call into a sandbox came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallError {
    /// No sandbox came free in time.
    Busy,
    /// The plugin failed.
    Fault(Fault),
}

/// What stands between a call and its answer: an error, or nothing in time.
pub(crate) enum Failure {
    /// The time was up, and the guest was not in its own code where an epoch would have stopped it.
    Elapsed,
    /// wasmtime says.
    Error(wasmtime::Error),
}

/// The longest text of a guest's that goes into a fault's message, in bytes.
const MAX_QUOTE: usize = 512;

/// The fault of a sandbox in which `function` was called.
pub(crate) fn failed(failure: &Failure, state: &State, function: &'static str) -> CallError {
    let (kind, message) = classify(failure, state);
    CallError::Fault(state.facts.fault(function, kind, message))
}

/// The same when the sandbox could not even be made. That the pool is exhausted is nobody's fault.
pub(crate) fn uninstantiated(failure: &Failure, state: &State, function: &'static str) -> CallError {
    match classify_instantiation(failure, state) {
        Some((kind, message)) => CallError::Fault(state.facts.fault(function, kind, message)),
        None => CallError::Busy,
    }
}

/// Which kind of fault a failure inside a sandbox is, and what to tell the operator.
fn classify(failure: &Failure, state: &State) -> (FaultKind, String) {
    let error = match failure {
        Failure::Elapsed => return (FaultKind::Deadline, "it did not finish in time".to_owned()),
        Failure::Error(error) => error,
    };
    if let Some(refused) = error.downcast_ref::<HostCallRefused>() {
        return (FaultKind::HostCall, refused.0.clone());
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return (FaultKind::Deadline, "it did not finish in time".to_owned()),
        Some(Trap::StackOverflow) => return (FaultKind::Stack, "it used up its stack".to_owned()),
        Some(trap) => return trapped(*trap, state),
        None => {}
    }
    if let Some(fault) = memory(state) {
        return fault;
    }
    // An error that is no trap comes from passing values. With a backtrace, the guest was on the stack: it called the
    // host. Without, it had returned: the values are its answer.
    if error.downcast_ref::<WasmBacktrace>().is_some() {
        (FaultKind::HostCall, format!("a call to the host was out of bounds: {}", error.root_cause()))
    } else {
        (FaultKind::Output, format!("its answer was out of bounds: {}", error.root_cause()))
    }
}

/// A panic, an abort and a failed allocation all trap as `unreachable`; what the guest did before tells them apart.
fn trapped(trap: Trap, state: &State) -> (FaultKind, String) {
    if let Some(fault) = memory(state) {
        return fault;
    }
    let trap = match trap {
        // Compiled languages keep a second stack in linear memory; its end is no trap of its own.
        Trap::MemoryOutOfBounds => format!("{trap} (a plugin that uses up a stack of its own ends so, too)"),
        other => other.to_string(),
    };
    match state.last_words() {
        Some(words) => (FaultKind::Trap, format!("{trap}; its last words: {}", cut(words, MAX_QUOTE))),
        None => (FaultKind::Trap, trap),
    }
}

fn memory(state: &State) -> Option<(FaultKind, String)> {
    let wanted = state.guard.refused?;
    let most = state.guard.memory;
    Some((FaultKind::Memory, format!("it wanted {wanted} bytes of memory; `limits.memory` is {most}")))
}

fn classify_instantiation(failure: &Failure, state: &State) -> Option<(FaultKind, String)> {
    let Failure::Error(error) = failure else { return Some(classify(failure, state)) };
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return None;
    }
    if let Some(fault) = memory(state) {
        return Some(fault);
    }
    if error.downcast_ref::<Trap>().is_some() {
        return Some(classify(failure, state));
    }
    Some((FaultKind::Instantiate, format!("{error:#}")))
}

/// The first `most` bytes of a text, cut where a character ends.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("", 0), "");
    }
}
