//! A plugin that misbehaves on request, to test the sandbox. **It protects nothing: never load it outside a test.**
//!
//! The settings say where and how: `{"in": "wrap", "do": "loop"}`. Everywhere else, and without settings, it is a
//! minimal plugin that works: a toy backend ([`backend`]) or a rule that allows everything ([`rule`]). What it can do
//! is listed at [`Deed`].

pub mod backend;
pub mod deeds;
pub mod rule;
mod toy;

pub use deeds::{Deed, Settings};

#[cfg(feature = "backend")]
keygate_plugin_sdk::export_backend!(backend::Hostile);

#[cfg(feature = "rule")]
keygate_plugin_sdk::export_rule!(rule::Hostile);
