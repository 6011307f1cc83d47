//! The functions of WASI 0.2 that `wasi-minimal` has.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift, LinkerInstance, Lower, Resource};
use wasmtime::{Result, StoreContextMut};

use super::{InputStream, NEVER, Nothing, OutputStream, Pollable, READY, STDERR, STDOUT, StreamFailure, TICK};
use crate::faults::{Exited, HostCallRefused};
use crate::host::random;
use crate::manifest::World;
use crate::sandbox::State;

/// How much a stream takes at once, in bytes.
const PERMIT: u64 = 4_096;

/// The store of a call.
type Store<'a> = StoreContextMut<'a, State>;
/// Where functions are put.
type Into<'a, 'b> = &'a mut LinkerInstance<'b, State>;

/// `wasi:io/streams.stream-error`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum StreamError {
    #[component(name = "last-operation-failed")]
    #[allow(dead_code, reason = "part of the type; no operation fails here")]
    LastOperationFailed(Resource<StreamFailure>),
    #[component(name = "closed")]
    Closed,
}

/// `wasi:clocks/wall-clock.datetime`.
#[derive(ComponentType, Lift, Lower)]
#[component(record)]
struct Datetime {
    seconds: u64,
    nanoseconds: u32,
}

/// Links a function, if it is one of ours.
pub(super) fn define(into: Into<'_, '_>, interface: &str, name: &str) -> Result<bool> {
    let Some(interface) = interface.strip_prefix("wasi:") else { return Ok(false) };
    match interface.split_once('/') {
        Some(("cli", interface)) => cli(into, interface, name),
        Some(("clocks", interface)) => clocks(into, interface, name),
        Some(("random", interface)) => randomness(into, interface, name),
        Some(("io", "error")) if name == "[method]error.to-debug-string" => {
            into.func_wrap(name, |_: Store<'_>, (_,): (Resource<StreamFailure>,)| Ok((String::new(),)))?;
            Ok(true)
        }
        Some(("io", "poll")) => poll(into, name),
        Some(("io", "streams")) => match name.strip_prefix("[method]input-stream.") {
            Some(method) => input(into, method, name),
            None => output(into, name),
        },
        Some(("filesystem", "preopens")) if name == "get-directories" => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((Vec::<(Resource<Nothing>, String)>::new(),)))?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn cli(into: Into<'_, '_>, interface: &str, name: &str) -> Result<bool> {
    match (interface, name) {
        ("environment", "get-environment") => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((Vec::<(String, String)>::new(),)))?;
        }
        ("environment", "get-arguments") => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((Vec::<String>::new(),)))?;
        }
        ("environment", "initial-cwd") => into.func_wrap(name, |_: Store<'_>, (): ()| Ok((None::<String>,)))?,
        ("exit", "exit") => into.func_wrap(name, |_: Store<'_>, (status,): (Result<(), ()>,)| {
            Err::<(), _>(Exited { failed: status.is_err() }.into())
        })?,
        ("exit", "exit-with-code") => {
            into.func_wrap(name, |_: Store<'_>, (code,): (u8,)| Err::<(), _>(Exited { failed: code != 0 }.into()))?
        }
        ("stdin", "get-stdin") => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((Resource::<InputStream>::new_own(0),)))?;
        }
        ("stdout", "get-stdout") => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((Resource::<OutputStream>::new_own(STDOUT),)))?;
        }
        ("stderr", "get-stderr") => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((Resource::<OutputStream>::new_own(STDERR),)))?;
        }
        ("terminal-stdin", "get-terminal-stdin")
        | ("terminal-stdout", "get-terminal-stdout")
        | ("terminal-stderr", "get-terminal-stderr") => {
            into.func_wrap(name, |_: Store<'_>, (): ()| Ok((None::<Resource<Nothing>>,)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn clocks(into: Into<'_, '_>, interface: &str, name: &str) -> Result<bool> {
    let datetime = |ms: u64| {
        let nanoseconds = u32::try_from(ms % 1_000 * TICK).unwrap_or_default();
        Datetime { seconds: ms / 1_000, nanoseconds }
    };
    match (interface, name) {
        ("wall-clock", "now") => {
            into.func_wrap(name, move |store: Store<'_>, (): ()| Ok((datetime(store.data().wall_clock()),)))?;
        }
        ("wall-clock", "resolution") => into.func_wrap(name, move |_: Store<'_>, (): ()| Ok((datetime(1),)))?,
        ("monotonic-clock", "now") => {
            into.func_wrap(name, |mut store: Store<'_>, (): ()| Ok((store.data_mut().monotonic_clock(),)))?;
        }
        ("monotonic-clock", "resolution") => into.func_wrap(name, |_: Store<'_>, (): ()| Ok((TICK,)))?,
        ("monotonic-clock", "subscribe-instant") => {
            into.func_wrap(name, |mut store: Store<'_>, (when,): (u64,)| {
                Ok((pollable(when <= store.data_mut().monotonic_clock()),))
            })?;
        }
        ("monotonic-clock", "subscribe-duration") => {
            into.func_wrap(name, |_: Store<'_>, (length,): (u64,)| Ok((pollable(length == 0),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn pollable(ready: bool) -> Resource<Pollable> {
    Resource::new_own(if ready { READY } else { NEVER })
}

/// What is waited for and is not there yet will never be: the only thing that could come is a later time, and a sandbox
/// is no place to sleep in.
fn asleep() -> HostCallRefused {
    HostCallRefused(format!("it waited for time to pass (`wasi:io/poll`), which `{}` does not include", super::GRANT))
}

fn poll(into: Into<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "[method]pollable.ready" => {
            into.func_wrap(name, |_: Store<'_>, (it,): (Resource<Pollable>,)| Ok((it.rep() == READY,)))?;
        }
        "[method]pollable.block" => {
            into.func_wrap(
                name,
                |_: Store<'_>, (it,): (Resource<Pollable>,)| {
                    if it.rep() == READY { Ok(()) } else { Err(asleep().into()) }
                },
            )?
        }
        "poll" => into.func_wrap(name, |_: Store<'_>, (all,): (Vec<Resource<Pollable>>,)| {
            let ready: Vec<u32> = (0_u32..).zip(&all).filter(|(_, it)| it.rep() == READY).map(|(at, _)| at).collect();
            if ready.is_empty() { Err(asleep().into()) } else { Ok((ready,)) }
        })?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn randomness(into: Into<'_, '_>, interface: &str, name: &str) -> Result<bool> {
    match (interface, name) {
        ("random", "get-random-bytes") | ("insecure", "get-insecure-random-bytes") => {
            into.func_wrap(name, |mut store: Store<'_>, (len,): (u64,)| Ok((bytes(store.data_mut(), len)?,)))?;
        }
        ("random", "get-random-u64") | ("insecure", "get-insecure-random-u64") => {
            into.func_wrap(name, |mut store: Store<'_>, (): ()| Ok((number(store.data_mut())?,)))?;
        }
        // Renamed between patches of 0.2.
        ("insecure-seed", "insecure-seed" | "get-insecure-seed") => {
            into.func_wrap(name, |mut store: Store<'_>, (): ()| {
                Ok(((number(store.data_mut())?, number(store.data_mut())?),))
            })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// Random bytes, which a decision that is to be replayed must not depend on.
fn bytes(state: &mut State, len: u64) -> std::result::Result<Arc<Vec<u8>>, HostCallRefused> {
    let len = random::portion(state, len)?;
    if state.facts.world == World::PolicyRule {
        let mut bytes = vec![0; len];
        state.fixed_bytes(&mut bytes);
        return Ok(Arc::new(bytes));
    }
    random::draw(state, len)
}

fn number(state: &mut State) -> std::result::Result<u64, HostCallRefused> {
    let bytes = bytes(state, 8)?;
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// Standard input has ended before it began.
fn input(into: Into<'_, '_>, method: &str, name: &str) -> Result<bool> {
    match method {
        "read" | "blocking-read" => {
            into.func_wrap(name, |_: Store<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<Vec<u8>, _>(StreamError::Closed),))
            })?;
        }
        "skip" | "blocking-skip" => {
            into.func_wrap(name, |_: Store<'_>, (_, _): (Resource<InputStream>, u64)| {
                Ok((Err::<u64, _>(StreamError::Closed),))
            })?;
        }
        "subscribe" => into.func_wrap(name, |_: Store<'_>, (_,): (Resource<InputStream>,)| Ok((pollable(true),)))?,
        _ => return Ok(false),
    }
    Ok(true)
}

fn output(into: Into<'_, '_>, name: &str) -> Result<bool> {
    match name {
        "[method]output-stream.check-write" => {
            into.func_wrap(name, |_: Store<'_>, (_,): (Resource<OutputStream>,)| {
                Ok((Ok::<u64, StreamError>(PERMIT),))
            })?;
        }
        "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush" => {
            into.func_wrap(name, |mut store: Store<'_>, (stream, bytes): (Resource<OutputStream>, Vec<u8>)| {
                store.data_mut().written(stream.rep(), &bytes)?;
                Ok((Ok::<(), StreamError>(()),))
            })?;
        }
        "[method]output-stream.flush" | "[method]output-stream.blocking-flush" => {
            into.func_wrap(name, |_: Store<'_>, (_,): (Resource<OutputStream>,)| Ok((Ok::<(), StreamError>(()),)))?;
        }
        "[method]output-stream.subscribe" => {
            into.func_wrap(name, |_: Store<'_>, (_,): (Resource<OutputStream>,)| Ok((pollable(true),)))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
