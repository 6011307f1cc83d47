//! Stores behind the [`KeyStore`](keygate_core::store::KeyStore) port, and what is needed to trust them.
//!
//! [`RedbStore`] keeps everything in one file on a local disk and is all that one gateway needs. [`conformance`] is the
//! suite that every engine passes, this one and any later one alike; [`FaultyStore`] stands in for a store on a bad day.
//!
//! What is stored: keys' metadata, key versions with their key-refs, aliases, key rings, policies of instances, import
//! tokens, registrations and events, and the last migration of each instance. Key-refs are safe in clear by the contract
//! of the backends that make them, so nothing in here is a secret; the file is its owner's all the same (mode 0600).

pub mod conformance;
pub mod faulty;
pub mod redb;

mod codec;
mod index;
mod schema;

pub use faulty::FaultyStore;
pub use redb::{Holder, OpenError, RedbOptions, RedbStore, StoreStats};
