//! The use cases, one a file. Each takes its input as a `Result`: a body that could not be decoded is told only after
//! the chain has said that the caller may ask at all.

pub mod create;
pub mod delete;
pub mod input;
pub mod list;
pub mod read;
pub mod rewrap;
pub mod rotate;
pub mod samples;
pub mod unwrap;
pub mod versions;
pub mod wrap;

mod material;

#[cfg(test)]
mod tests;
