//! What the black-box tests share: gateways that a test starts and ends, and clients of them.
//!
//! The tests see Keygate as its users do, over HTTP and by its command line. Suites of ports live beside their ports.

pub mod backends;
pub mod clients;
pub mod configured;
pub mod described;
pub mod gateway;
pub mod golden;
pub mod keeping;
pub mod moving;
pub mod softhsm;
pub mod softokn;
pub mod table;
pub mod transcript;

pub use gateway::{Client, Gateway};
pub use keeping::Keeping;
