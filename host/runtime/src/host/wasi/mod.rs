//! `wasi-minimal`: as much of WASI 0.2 as toolchains put into every component, and nothing that reaches outside.
//!
//! | interface | what a plugin gets |
//! |---|---|
//! | `wasi:cli/environment` | no variables, no arguments, no directory |
//! | `wasi:cli/stdin` | ends at once |
//! | `wasi:cli/stdout`, `stderr` | lines in the plugin's log: `info` and `warn` (a backend's `stderr`: `debug`), within the bounds of `keygate:host/log` |
//! | `wasi:cli/terminal-*` | there is no terminal |
//! | `wasi:cli/exit` | ends the call as a fault |
//! | `wasi:clocks/wall-clock`, `monotonic-clock` | of a rule: the question's `now`, which does not move; of a backend: the gateway's clock |
//! | `wasi:random/*` | of a rule: the same bytes every time; of a backend: the gateway's generator, in measured portions |
//! | `wasi:io/*` | what the above needs; nobody can wait for anything |
//! | `wasi:filesystem/preopens` | no directories |
//! | any other of `wasi:*` | functions that trap and say their names |
//!
//! Functions are linked under the very version that a component imports, one by one as it names them: every 0.2.x is
//! taken, and what a later 0.2.x adds is a function that traps.

mod functions;
mod output;

use blake3::{Hasher, OutputReader};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, ResourceType};

use crate::faults::HostCallRefused;
use crate::manifest::World;
use crate::sandbox::{Phase, State};
use output::Lines;

/// The grant's name.
pub(crate) const GRANT: &str = "wasi-minimal";

/// The least time that the clocks tell apart, in nanoseconds: the host's clock counts milliseconds.
const TICK: u64 = 1_000_000;

/// An `input-stream`. There is one, and it has ended.
struct InputStream;
/// An `output-stream`, by the numbers below.
struct OutputStream;
/// A `pollable`, by the numbers below.
struct Pollable;
/// An `error` of a stream. None is ever made.
struct StreamFailure;
/// Any other resource. None is ever made.
struct Nothing;

/// What a resource's number says. Nothing is kept for them, so nothing is to be dropped.
const STDOUT: u32 = 1;
const STDERR: u32 = 2;
const NEVER: u32 = 0;
const READY: u32 = 1;

/// What a sandbox has of WASI.
#[derive(Default)]
pub(crate) struct Wasi {
    /// The question's `now`, in milliseconds; 0 before and outside a question.
    now: u64,
    /// The latest that the monotonic clock said, in nanoseconds.
    latest: u64,
    /// The bytes of a rule's generator, once it was asked for some.
    fixed: Option<Box<OutputReader>>,
    stdout: Lines,
    stderr: Lines,
}

impl State {
    /// From here on the guest serves its call. A rule's generator begins anew: whether its settings were taken in this
    /// sandbox or before a snapshot must not be seen.
    pub(crate) fn begin(&mut self) {
        self.phase = Phase::Working;
        self.wasi.fixed = None;
    }

    /// The last that the guest said, with what it has written and not ended.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.spoken.last_words(&self.wasi.stderr.unended())
    }

    /// Stops a rule's clocks at the time of a question, in milliseconds since 1970.
    pub(crate) fn stand_at(&mut self, now: u64) {
        self.wasi.now = now;
    }

    /// Milliseconds since 1970, as the guest may know them.
    fn wall_clock(&self) -> u64 {
        match (self.facts.world, self.phase) {
            (World::PolicyRule, _) => self.wasi.now,
            (_, Phase::Configuring) => 0,
            (_, Phase::Working) => self.facts.services.clock.now().unix_ms(),
        }
    }

    /// Nanoseconds that never go back.
    fn monotonic_clock(&mut self) -> u64 {
        let now = self.wall_clock().saturating_mul(TICK);
        self.wasi.latest = self.wasi.latest.max(now);
        self.wasi.latest
    }

    /// The next bytes of a rule's generator, which are the same in every sandbox.
    fn fixed_bytes(&mut self, bytes: &mut [u8]) {
        let phase: &[u8] = match self.phase {
            Phase::Configuring => b"configure",
            Phase::Working => b"work",
        };
        let stream = self.wasi.fixed.get_or_insert_with(|| {
            Box::new(Hasher::new_derive_key("keygate 2026-11 random bytes of rules").update(phase).finalize_xof())
        });
        stream.fill(bytes);
    }
}

/// The interface of an import that is WASI 0.2, without its version.
pub(crate) fn interface(import: &str) -> Option<&str> {
    let (interface, version) = import.split_once('@')?;
    let patch = version.strip_prefix("0.2.")?;
    (interface.starts_with("wasi:") && !patch.is_empty() && patch.bytes().all(|b| b.is_ascii_digit()))
        .then_some(interface)
}

/// Whether a component wants randomness of WASI.
pub(crate) fn wants_random(engine: &Engine, component: &Component) -> bool {
    component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:random/"))
}

/// Links a component with all that it imports of WASI 0.2.
pub(super) fn link(linker: &mut Linker<State>, component: &Component) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    // A resource is imported where it is made, and named again by every interface that uses it.
    let mut met: Vec<ResourceType> = Vec::new();
    for (name, import) in component.component_type().imports(&engine) {
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (interface(name), &import.ty) else {
            continue;
        };
        let mut into = linker.instance(name)?;
        for (item, export) in instance.exports(&engine) {
            match export.ty {
                ComponentItem::Resource(resource) if !met.contains(&resource) => {
                    met.push(resource);
                    into.resource(item, resource_type(interface, item), |_, _| Ok(()))?;
                }
                ComponentItem::ComponentFunc(_) if !functions::define(&mut into, interface, item)? => {
                    let refused =
                        HostCallRefused(format!("it called `{item}` of `{name}`, which `{GRANT}` does not include"));
                    into.func_new(item, move |_, _, _, _| Err(refused.clone().into()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn resource_type(interface: &str, name: &str) -> ResourceType {
    match (interface, name) {
        ("wasi:io/streams", "input-stream") => ResourceType::host::<InputStream>(),
        ("wasi:io/streams", "output-stream") => ResourceType::host::<OutputStream>(),
        ("wasi:io/poll", "pollable") => ResourceType::host::<Pollable>(),
        ("wasi:io/error", "error") => ResourceType::host::<StreamFailure>(),
        _ => ResourceType::host::<Nothing>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::tests::{idle, idle_rule};

    #[test]
    fn every_patch_of_version_0_2_is_taken_and_nothing_else() {
        assert_eq!(interface("wasi:cli/stdout@0.2.0"), Some("wasi:cli/stdout"));
        assert_eq!(interface("wasi:cli/stdout@0.2.31"), Some("wasi:cli/stdout"));
        for other in ["wasi:cli/stdout", "wasi:cli/stdout@0.3.0", "wasi:cli/stdout@0.2.0-rc-2023-11-10", "x:y/z@0.2.0"]
        {
            assert_eq!(interface(other), None, "{other}");
        }
    }

    #[test]
    fn a_rules_clock_is_the_questions_and_its_bytes_are_the_same_every_time() {
        let mut seen = Vec::new();
        for settings_first in [true, false] {
            let mut store = idle_rule();
            let state = store.data_mut();
            assert_eq!((state.wall_clock(), state.monotonic_clock()), (0, 0));
            let mut bytes = [0; 16];
            if settings_first {
                state.fixed_bytes(&mut bytes);
            }
            state.begin();
            state.stand_at(1_800);
            assert_eq!((state.wall_clock(), state.monotonic_clock()), (1_800, 1_800 * TICK));
            let configured = bytes;
            state.fixed_bytes(&mut bytes);
            assert_ne!(bytes, configured);
            seen.push(bytes);
        }
        assert_eq!(seen[0], seen[1], "what happened in `configure` is seen at work");
    }

    #[test]
    fn a_backends_clock_goes_and_stands_at_zero_while_it_takes_its_settings() {
        let mut store = idle();
        let state = store.data_mut();
        assert_eq!(state.wall_clock(), 0);
        state.begin();
        state.stand_at(1_800);
        assert_eq!(state.wall_clock(), 5, "the gateway's clock says 5");
        state.wasi.latest = 7 * TICK;
        assert_eq!(state.monotonic_clock(), 7 * TICK, "it went back");
    }
}
