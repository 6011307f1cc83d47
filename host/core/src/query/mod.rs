//! The grammar of lists: which keys, and in what order (`api-contract`, i). Pure: text in, questions out, and answers for
//! one key at a time. Whoever holds the keys decides how to get at them fast.

mod dates;
mod filter;
mod grammar;
mod input;
mod search;
mod sort;

#[cfg(test)]
mod samples;

use std::cmp::Ordering;

use crate::clock::Timestamp;
use crate::ids::KeyId;
use crate::key::{Key, KeyKind, KeyState};

pub use dates::{Comparison, DateLiteral, DateTest};
pub use filter::{Condition, KeyFilter};
pub use grammar::{Filter, parse_filter};
pub use input::KeyQueryInput;
pub use search::{Lookup, Scopes, Search, search_text};
pub use sort::{Direction, Property, Sort};

/// How many keys a search looks through. Where state, kind and ring let more through, it is too broad
/// (`KEY_SEARCH_TOO_BROAD`).
pub const SEARCHABLE_KEYS: usize = 5_000;

/// What lists look at of a key. Small, so that a store can keep it beside the key or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed<'a> {
    /// Its id.
    pub id: KeyId,
    /// Its state at the instant of the query: see [`settled`].
    pub state: KeyState,
    /// What for.
    pub kind: KeyKind,
    /// Whether the material came from outside.
    pub imported: bool,
    /// The ring it is in.
    pub ring: &'a str,
    /// When it was made.
    pub created: Timestamp,
    /// When anything about it was changed last.
    pub updated: Timestamp,
    /// When it was rotated last, if ever.
    pub rotated: Option<Timestamp>,
    /// When it was deleted, while it is.
    pub deleted: Option<Timestamp>,
    /// When it is to become Deactivated, if ever.
    pub expires: Option<Timestamp>,
    /// Its name and aliases, as [`search_text`] writes them.
    pub names: &'a str,
}

impl<'a> Listed<'a> {
    /// Of a whole key, as it is at an instant. `names` is what [`search_text`] makes of its name and aliases.
    pub fn of(key: &'a Key, names: &'a str, at: Timestamp) -> Self {
        Self {
            id: key.id,
            state: key.state_at(at),
            kind: key.kind,
            imported: key.imported,
            ring: key.ring.as_str(),
            created: key.created_at,
            updated: key.updated_at,
            rotated: key.rotated_at,
            deleted: key.deletion.as_ref().map(|deletion| deletion.at),
            expires: key.expires_at,
            names,
        }
    }
}

impl Listed<'_> {
    /// One of its dates, if it has that.
    pub const fn date(&self, property: DateProperty) -> Option<Timestamp> {
        match property {
            DateProperty::Creation => Some(self.created),
            DateProperty::LastUpdate => Some(self.updated),
            DateProperty::LastRotate => self.rotated,
            DateProperty::Deletion => self.deleted,
            DateProperty::Expiration => self.expires,
        }
    }
}

/// A date that a key has, or can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DateProperty {
    /// `creationDate`.
    Creation,
    /// `lastUpdateDate`.
    LastUpdate,
    /// `lastRotateDate`.
    LastRotate,
    /// `deletionDate`.
    Deletion,
    /// `expirationDate`.
    Expiration,
}

impl DateProperty {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Creation, Self::LastUpdate, Self::LastRotate, Self::Deletion, Self::Expiration];

    /// The API's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creation => "creationDate",
            Self::LastUpdate => "lastUpdateDate",
            Self::LastRotate => "lastRotateDate",
            Self::Deletion => "deletionDate",
            Self::Expiration => "expirationDate",
        }
    }

    /// The date with this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|property| property.as_str() == name)
    }
}

/// The state of a key at an instant: an Active one whose time has come is Deactivated, whether or not the store was told
/// already. The same as [`crate::key::Key::state_at`].
pub fn settled(state: KeyState, expires: Option<Timestamp>, at: Timestamp) -> KeyState {
    match expires {
        Some(expires) if state == KeyState::Active && expires <= at => KeyState::Deactivated,
        _ => state,
    }
}

/// States as lists of them are written: `0,1,5`. One digit each, no blanks, at least one.
fn parse_states(text: &str) -> Option<Vec<KeyState>> {
    let state = |text: &str| match text.as_bytes() {
        [digit @ b'0'..=b'9'] => KeyState::from_number(digit - b'0'),
        _ => None,
    };
    text.split(',').map(state).collect()
}

/// A truth value in any case.
fn parse_truth(text: &str) -> Option<bool> {
    match () {
        () if text.eq_ignore_ascii_case("true") => Some(true),
        () if text.eq_ignore_ascii_case("false") => Some(false),
        () => None,
    }
}

/// What is `extractable`, and what is not.
const fn kind_of(extractable: bool) -> KeyKind {
    if extractable { KeyKind::Standard } else { KeyKind::Root }
}

/// The order of two things of which some keys have none: those come last, whichever way the others go.
fn present_first<T>(a: Option<T>, b: Option<T>, compare: impl FnOnce(T, T) -> Ordering) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) => compare(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}
