//! Runs crypto backends and policy rules as WebAssembly components in sandboxes.
//!
//! wasmtime lives in this crate and nowhere else: what comes out are the ports of `keygate-core`. A [`Runtime`] loads a
//! [`Generation`] of plugins from a [`manifest::Manifest`], makes it live, and hands out a policy gate and backends that
//! follow whichever generation is live.
//!
//! One call, one sandbox: a fresh store and a fresh instance, a deadline and a memory cap before it can run, and only the
//! capabilities that the plugin's entry grants. Whatever goes wrong in there is a typed [`keygate_core::error::Fault`] of
//! that one call.

mod backend;
mod bindings;
mod cache;
mod chain;
mod contract;
mod engine;
mod faults;
mod files;
mod host;
pub mod inspect;
mod limits;
mod load_error;
mod loader;
pub mod manifest;
pub mod measure;
mod registry;
mod runtime;
mod sandbox;
mod share;
pub mod signature;
mod snapshot;

pub use chain::explain::{Explained, Explanation, Weight};
pub use engine::{EngineError, RuntimeConfig};
pub use host::HostServices;
pub use host::pkcs11::{NoTokens, Tokens};
pub use host::secrets::{Secret, SecretError, SecretSource};
pub use load_error::{LoadError, LoadStep};
pub use registry::{Generation, PluginInfo, Retired};
pub use runtime::Runtime;
