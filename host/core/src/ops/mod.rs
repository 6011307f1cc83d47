//! The use cases, one a file. Each takes its input as a `Result`: a body that could not be decoded is told only after
//! the chain has said that the caller may ask at all.

mod adopters;
pub mod aliases;
pub mod authorize;
mod cidr;
pub mod create;
pub mod delete;
pub mod disable;
pub mod enable;
pub mod events;
pub mod import_tokens;
pub mod input;
pub mod instance_policies;
pub mod instances;
pub mod life;
pub mod list;
pub mod migrate;
pub mod patch;
pub mod policies;
pub mod purge;
pub mod read;
pub mod registrations;
pub mod restore;
pub mod rewrap;
pub mod rings;
pub mod rotate;
pub mod samples;
pub mod sync;
pub mod unwrap;
pub mod versions;
pub mod wrap;

pub mod material;

#[cfg(test)]
mod tests;
