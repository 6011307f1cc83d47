//! Write a Keygate plugin in Rust: one trait, one macro.
//!
//! A **backend** holds key material ([`backend::Backend`], [`export_backend!`]); a **rule** decides requests
//! ([`rule::Rule`], [`export_rule!`]). The contracts behind both are the WIT files in `wit/`; the types here are theirs.
//!
//! ```
//! use keygate_plugin_sdk::rule::{Description, Request, Rule, Verdict};
//! use keygate_plugin_sdk::{SettingsError, export_rule, settings};
//!
//! struct Nobody;
//!
//! impl Rule for Nobody {
//!     fn configure(text: &str) -> Result<Self, SettingsError> {
//!         settings::none(text).map(|()| Self)
//!     }
//!
//!     fn describe(&self) -> Description {
//!         Description { name: "nobody".into(), version: "0.1.0".into(), actions: vec![] }
//!     }
//!
//!     fn evaluate(&self, _request: &Request) -> Result<Verdict, String> {
//!         Ok(Verdict::deny_unauthorized("UNAUTHORIZED_ERR", "Nobody may do anything here."))
//!     }
//! }
//!
//! export_rule!(Nobody);
//! ```
//!
//! What the macros add, on `wasm32` only:
//! - the component's exports, which keep what `configure` returned and refuse to work before it;
//! - a panic hook that tells the host's log what happened, before the trap that says nothing;
//! - a small allocator ([`alloc`]) that keeps a lean plugin within one page of memory.
//!
//! Natively the macros only check that the trait is there, so that the same crate has unit tests without a sandbox:
//! [`testing`] then stands in for the host.

// The generated code and the macros name this crate by its full name, inside it too.
extern crate self as keygate_plugin_sdk;

pub mod alloc;
pub mod backend;
#[doc(hidden)]
pub mod bindings;
pub mod host;
mod macros;
#[cfg(target_arch = "wasm32")]
mod panics;
pub mod rule;
pub mod settings;
mod slot;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use settings::SettingsError;
#[doc(hidden)]
pub use slot::Slot;
#[doc(hidden)]
pub use wit_bindgen;

/// Shortens a text for the host to at most `bytes` bytes, between two characters: a longer one would be a fault.
pub(crate) fn cut(mut text: String, bytes: usize) -> String {
    if text.len() > bytes {
        text.truncate(text.floor_char_boundary(bytes));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_between_characters() {
        assert_eq!(cut("abc".into(), 3), "abc");
        assert_eq!(cut("abcd".into(), 3), "abc");
        assert_eq!(cut("ab\u{20ac}".into(), 4), "ab");
        assert_eq!(cut("ab\u{20ac}".into(), 5), "ab\u{20ac}");
    }
}
