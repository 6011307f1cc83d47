//! The domain of Keygate: keys, their states, the operations on them, and the ports through which those reach a store,
//! a crypto backend, the policy chain and the audit log.
//!
//! Nothing in here knows a framework. There is no clock, no entropy, no environment and no I/O: all of that is handed in
//! through [`ports`]. The compiler holds the line, because this crate depends on none of the crates that could cross it.
//!
//! A request takes one road through the rooms, written once in [`pipeline`]; each use case in [`ops`] fills in what is
//! particular to it.

pub mod access;
pub mod audit;
pub mod backend;
pub mod clock;
pub mod crn;
pub mod encoding;
pub mod entropy;
pub mod envelope;
pub mod error;
#[cfg(any(test, feature = "fakes"))]
pub mod fakes;
pub mod fault;
pub mod future;
pub mod ids;
pub mod import_token;
pub mod instance;
pub mod key;
pub mod limits;
pub mod migration;
pub mod ops;
pub mod pipeline;
pub mod policy;
pub mod ports;
pub mod query;
pub mod registration;
pub mod ring;
pub mod secret;
pub mod state;
pub mod store;
