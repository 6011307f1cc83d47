//! The handlers: decode, call one use case, encode.

pub(super) mod actions;
pub(super) mod health;
pub(super) mod keys;
pub(super) mod token;
pub(super) mod versions;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use keygate_core::ids::KeySelector;

/// A key's name in a path. One that cannot even be decoded is nobody's.
type KeyPath = Result<Path<String>, PathRejection>;

fn selector(path: KeyPath) -> KeySelector {
    path.map_or_else(|_| KeySelector::Impossible(String::new()), |Path(text)| KeySelector::parse(&text))
}
