//! From what wasmtime says to what went wrong.

use std::time::Duration;

use keygate_core::error::{Fault, FaultKind};
use wasmtime::{PoolConcurrencyLimitError, Trap, WasmBacktrace};

use crate::engine::WASM_STACK;
use crate::limits::Refused;
use crate::sandbox::{State, Time};

/// The guest asked the host for more than it may have. Traps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct HostCallRefused(pub(crate) String);

/// The guest ended itself. Traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it ended itself before it answered (`wasi:cli/exit`, as a {})", if *failed { "failure" } else { "success" })]
pub(crate) struct Exited {
    /// Whether it said that it failed.
    pub(crate) failed: bool,
}

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

/// What may pass between the admission of a call and the birth of its sandbox, without the request being to blame for it.
const ENTERING: Duration = Duration::from_millis(2);

/// The fault of a sandbox in which `function` was called.
pub(crate) fn failed(failure: &Failure, state: &State, function: &'static str) -> CallError {
    let (kind, message) = classify(failure, state, function);
    CallError::Fault(state.facts.fault(function, kind, message))
}

/// The same when the sandbox could not even be made. That the pool is exhausted is nobody's fault.
pub(crate) fn uninstantiated(failure: &Failure, state: &State, function: &'static str) -> CallError {
    match classify_instantiation(failure, state, function) {
        Some((kind, message)) => CallError::Fault(state.facts.fault(function, kind, message)),
        None => CallError::Busy,
    }
}

/// Which kind of fault a failure inside a sandbox is, and what to tell the operator.
fn classify(failure: &Failure, state: &State, function: &str) -> (FaultKind, String) {
    let error = match failure {
        Failure::Elapsed => return (FaultKind::Deadline, late(state, function)),
        Failure::Error(error) => error,
    };
    if let Some(refused) = error.downcast_ref::<HostCallRefused>() {
        return (FaultKind::HostCall, with_last_words(refused.0.clone(), state));
    }
    if let Some(exited) = error.downcast_ref::<Exited>() {
        return (FaultKind::Trap, with_last_words(exited.to_string(), state));
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => return (FaultKind::Deadline, late(state, function)),
        Some(Trap::StackOverflow) => {
            return (FaultKind::Stack, format!("it used up its stack of {} KiB", WASM_STACK >> 10));
        }
        Some(trap) => return trapped(*trap, state),
        None => {}
    }
    // An error that is no trap comes from passing values. With a backtrace, the guest was on the stack: it called the
    // host. Without, it had returned: the values are its answer.
    if error.downcast_ref::<WasmBacktrace>().is_some() {
        (FaultKind::HostCall, aside(format!("a call to the host was out of bounds: {}", error.root_cause()), state))
    } else {
        (FaultKind::Output, aside(format!("its answer was out of bounds: {}", error.root_cause()), state))
    }
}

/// A panic, an abort and a failed allocation all trap as `unreachable`; what the guest did before tells them apart.
fn trapped(trap: Trap, state: &State) -> (FaultKind, String) {
    let (kind, what) = match (trap, memory(state)) {
        (Trap::UnreachableCodeReached, Some(refused)) => (FaultKind::Memory, refused),
        // Compiled languages keep a second stack in linear memory; its end is no trap of its own.
        (Trap::MemoryOutOfBounds, _) => {
            let what = format!("{trap} (a plugin that uses up a stack of its own ends so, too)");
            (FaultKind::Trap, aside(what, state))
        }
        (other, _) => (FaultKind::Trap, aside(other.to_string(), state)),
    };
    (kind, with_last_words(what, state))
}

/// What the guest said last, beside what went wrong: a panic's message, or the end of a traceback.
///
/// Not a backend's: what it has at hand is key material, and a panic or a traceback can quote that. A fault goes into the
/// log and further.
fn with_last_words(what: String, state: &State) -> String {
    match state.last_words().filter(|_| !state.facts.world.is_backend()) {
        Some(words) => format!("{what}; its last words: {}", cut(&words, MAX_QUOTE)),
        None => what,
    }
}

/// That it took too long: how long, of how much, and whose limit that was.
fn late(state: &State, function: &str) -> String {
    let Time { born, until } = state.time;
    let (took, had, own) = (born.elapsed(), until - born, state.facts.limits.deadline_of(function));
    let limit = state.facts.limits.deadline_name(function);
    // Entering takes a moment of what there was.
    if had + ENTERING >= own {
        format!("it did not finish in time: {} of {} (`limits.{limit}`)", seconds(took), seconds(own))
    } else {
        let (took, had, own) = (seconds(took), seconds(had), seconds(own));
        // Each call gets anew what its request gets in all; the request's own end is not known here.
        format!(
            "it did not finish in time: {took} of the {had} that its request gives a call (`limits.{limit}` is {own})"
        )
    }
}

/// A time in seconds, to the millisecond.
fn seconds(time: Duration) -> String {
    let text = format!("{:.3}", time.as_secs_f64());
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

/// That memory did not grow, beside what went wrong: a guest can live with it and fail of something else.
fn aside(what: String, state: &State) -> String {
    match memory(state) {
        Some(refused) => format!("{what} (before, {refused})"),
        None => what,
    }
}

fn memory(state: &State) -> Option<String> {
    let most = state.guard.memory;
    Some(match state.guard.refused.as_ref()? {
        Refused::TooMuch(wanted) => format!("it wanted {wanted} bytes of memory; `limits.memory` is {most}"),
        Refused::Failed(why) => format!("its memory could not grow: {why}; `limits.memory` is {most}"),
    })
}

fn classify_instantiation(failure: &Failure, state: &State, function: &str) -> Option<(FaultKind, String)> {
    let Failure::Error(error) = failure else { return Some(classify(failure, state, function)) };
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return None;
    }
    if error.is::<Trap>() || error.is::<HostCallRefused>() || error.is::<Exited>() {
        return Some(classify(failure, state, function));
    }
    Some(match memory(state) {
        Some(refused) => (FaultKind::Memory, refused),
        None => (FaultKind::Instantiate, format!("{error:#}")),
    })
}

/// The first `most` bytes of a text, cut where a character ends.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

#[cfg(test)]
mod tests {
    use wasmtime::ResourceLimiter;

    use super::*;
    use crate::bindings::open::keygate::host::log::{Host as _, Level};
    use crate::host::tests::{idle, idle_rule};

    #[test]
    fn a_rules_last_words_are_quoted_and_a_backends_are_not() {
        for (mut store, quoted) in [(idle_rule(), true), (idle(), false)] {
            store.data_mut().emit(Level::Error, "panicked at material 0xA5".to_owned(), Vec::new()).unwrap();
            for error in [
                Trap::UnreachableCodeReached.into(),
                wasmtime::Error::new(Exited { failed: true }),
                wasmtime::Error::new(HostCallRefused("no".to_owned())),
            ] {
                let (_, told) = classify(&Failure::Error(error), store.data(), "wrap");
                assert_eq!(told.contains("its last words: panicked at material 0xA5"), quoted, "{told}");
                assert!(!told.contains("0xA5") || quoted, "{told}");
            }
        }
    }

    #[test]
    fn memory_is_blamed_for_an_abort_and_mentioned_beside_anything_else() {
        let mut store = idle();
        let kind_of = |trap: Trap, state: &State| classify(&Failure::Error(trap.into()), state, "wrap");
        let (kind, told) = kind_of(Trap::UnreachableCodeReached, store.data());
        assert_eq!(kind, FaultKind::Trap);
        assert!(!told.contains("limits.memory"), "{told}");

        assert!(!store.data_mut().guard.memory_growing(0, 165, None).unwrap());
        let (kind, told) = kind_of(Trap::UnreachableCodeReached, store.data());
        assert_eq!((kind, told.as_str()), (FaultKind::Memory, "it wanted 165 bytes of memory; `limits.memory` is 100"));
        for (trap, kind) in [(Trap::IntegerDivisionByZero, FaultKind::Trap), (Trap::MemoryOutOfBounds, FaultKind::Trap)]
        {
            let (found, told) = kind_of(trap, store.data());
            assert_eq!(found, kind, "{told}");
            assert!(told.contains("(before, it wanted 165 bytes of memory; `limits.memory` is 100)"), "{told}");
        }
        assert_eq!(kind_of(Trap::StackOverflow, store.data()).0, FaultKind::Stack);
        let error = wasmtime::Error::msg("too long");
        let (kind, told) = classify(&Failure::Error(error), store.data(), "wrap");
        assert_eq!(kind, FaultKind::Output);
        assert!(told.starts_with("its answer was out of bounds: too long (before, "), "{told}");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 2), "ab");
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("", 0), "");
    }
}
