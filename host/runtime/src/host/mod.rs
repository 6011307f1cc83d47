//! What the host can do for a plugin, one capability a file. A plugin is linked with what it is granted and nothing else;
//! names are looked at once more at each call.

pub(crate) mod clock;
pub(crate) mod log;
pub(crate) mod random;
pub(crate) mod secrets;

use std::sync::Arc;

use keygate_core::ports::{Clock, Entropy};
use wasmtime::component::Linker;

use crate::faults::HostCallRefused;
use crate::manifest::Grants;
use crate::sandbox::{Phase, State};
use secrets::SecretSource;

/// What the host has to grant from.
#[derive(Clone)]
pub struct HostServices {
    /// Secrets by name.
    pub secrets: Arc<dyn SecretSource>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// The version of `keygate:host` that this host offers.
pub(crate) const VERSION: &str = "0.1.0";

/// The capabilities that this host has, by the name of their interface and of their grant.
pub(crate) const CAPABILITIES: [&str; 4] = ["log", "random", "secrets", "clock"];

/// Links a plugin with what it is granted.
pub(crate) fn link(linker: &mut Linker<State>, grants: &Grants) -> wasmtime::Result<()> {
    if grants.has("log") {
        log::link(linker)?;
    }
    if grants.has("random") {
        random::link(linker)?;
    }
    if grants.has("secrets") {
        secrets::link(linker)?;
    }
    if grants.has("clock") {
        clock::link(linker)?;
    }
    Ok(())
}

/// Refuses what `configure` may not call: its outcome is kept for ever after and must come from the settings alone.
fn only_at_work(state: &State, function: &str) -> Result<(), HostCallRefused> {
    match state.phase {
        Phase::Working => Ok(()),
        Phase::Configuring => {
            Err(HostCallRefused(format!("it called `{function}` in `configure`, which may call nothing but `log`")))
        }
    }
}
