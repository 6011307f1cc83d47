//! Implementations of the ports that live in memory, for tests.
pub mod backend;
pub mod store;
pub mod world;
