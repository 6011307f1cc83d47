//! The handlers: decode, call one use case, encode.

pub(super) mod actions;
pub(super) mod aliases;
pub(super) mod backends;
pub(super) mod dev;
pub(super) mod health;
pub(super) mod import_token;
pub(super) mod instances;
pub(super) mod keys;
pub(super) mod policies;
pub(super) mod registrations;
pub(super) mod reload;
pub(super) mod rings;
pub(super) mod token;
pub(super) mod versions;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use keygate_core::ids::KeySelector;

/// A key's name in a path. One that cannot even be decoded is nobody's.
type KeyPath = Result<Path<String>, PathRejection>;

/// Another name in a path.
type NamePath = Result<Path<String>, PathRejection>;

/// A key's name and that of a part of it.
type KeyPartPath = Result<Path<(String, String)>, PathRejection>;

fn selector(path: KeyPath) -> KeySelector {
    path.map_or_else(|_| KeySelector::Impossible(String::new()), |Path(text)| KeySelector::parse(&text))
}

fn selector_and_part(path: KeyPartPath) -> (KeySelector, String) {
    match path {
        Ok(Path((key, part))) => (KeySelector::parse(&key), part),
        Err(_) => (KeySelector::Impossible(String::new()), String::new()),
    }
}
