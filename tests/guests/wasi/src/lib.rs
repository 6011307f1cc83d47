//! A rule that uses WASI 0.2 and tells in its denials what it found there. **It protects nothing: never load it outside a
//! test.**
//!
//! The setting `do` says what: see [`Deed`].

#[cfg(target_arch = "wasm32")]
mod rule;
#[cfg(target_arch = "wasm32")]
mod wasi;

use serde::Deserialize;

/// What the rule does when it is asked.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Denies, and tells what the clocks, the generator, the environment and standard input said.
    #[default]
    Tell,
    /// Writes lines to standard output and error, the last without an end, and allows.
    Print,
    /// Writes to standard error what an interpreter writes of an error that nobody caught, and traps.
    Fail,
    /// Ends itself as a failure.
    Exit,
    /// Asks for the network, which `wasi-minimal` does not include.
    Network,
    /// Waits for a second.
    Sleep,
    /// Asks for 1 GiB of random bytes.
    RandomHuge,
}

/// The settings.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What to do.
    #[serde(rename = "do")]
    pub deed: Deed,
}
