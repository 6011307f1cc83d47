//! What the black-box tests share: gateways that a test starts and ends, and clients of them.
//!
//! The tests see Keygate as its users do, over HTTP and by its command line. Suites of ports live beside their ports.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

pub mod configured;
pub mod gateway;
pub mod golden;

pub use gateway::{Client, Gateway};
