//! Which keys.

use crate::clock::Timestamp;
use crate::ids::{KeyId, KeyRingId};
use crate::key::{KeyKind, KeyState};

use super::{DateProperty, DateTest, Listed, Search};

/// Which keys a list has. What is asked for in several ways must hold in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFilter {
    /// In one of these states; none of them is no key.
    pub states: Vec<KeyState>,
    /// Of this kind; `None` is any.
    pub kind: Option<KeyKind>,
    /// In this ring; `None` is any.
    pub ring: Option<KeyRingId>,
    /// All of these hold.
    pub conditions: Vec<Condition>,
    /// Found by this; `None` is any.
    pub search: Option<Search>,
    /// Any but this one, which was looked up and stands before the list.
    pub except: Option<KeyId>,
    /// The instant at which states are meant: see [`super::settled`].
    pub at: Timestamp,
}

impl Default for KeyFilter {
    /// What a list shows when nothing is asked: all but deleted keys (`api-v2: GET /keys`, `state`).
    fn default() -> Self {
        Self {
            states: KeyState::ALL.into_iter().filter(|state| *state != KeyState::Destroyed).collect(),
            kind: None,
            ring: None,
            conditions: Vec::new(),
            search: None,
            except: None,
            at: Timestamp::default(),
        }
    }
}

impl KeyFilter {
    /// Whether a key is among them. Its state must be the one that it has at `self.at`.
    pub fn matches(&self, key: &Listed<'_>) -> bool {
        self.is_searchable(key)
            && self.except != Some(key.id)
            && self.conditions.iter().all(|condition| condition.holds(key))
            && self.search.as_ref().is_none_or(|search| search.finds(key))
    }

    /// Whether a key is one of those that a search looks through: state, kind and ring are as asked. There may be
    /// [`super::SEARCHABLE_KEYS`] of these.
    pub fn is_searchable(&self, key: &Listed<'_>) -> bool {
        self.kind.is_none_or(|kind| kind == key.kind)
            && self.states.contains(&key.state)
            && self.ring.as_ref().is_none_or(|ring| ring.as_str() == key.ring)
    }
}

/// One thing that `filter` asks, other than the states and the first kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// One of its dates passes.
    Date(DateProperty, DateTest),
    /// It is of this kind. Stands only where a filter asks for the other kind too, so that no key is of both.
    Kind(KeyKind),
}

impl Condition {
    /// Whether it holds of a key.
    pub fn holds(&self, key: &Listed<'_>) -> bool {
        match self {
            Self::Date(property, test) => test.passes(key.date(*property)),
            Self::Kind(kind) => *kind == key.kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::listed;
    use super::super::settled;
    use super::*;

    #[test]
    fn a_filter_that_asks_nothing_shows_all_but_deleted_keys() {
        for state in KeyState::ALL {
            let key = Listed { state, ..listed() };
            assert_eq!(KeyFilter::default().matches(&key), state != KeyState::Destroyed, "{state:?}");
        }
    }

    #[test]
    fn everything_asked_must_hold() {
        let key = listed();
        let ring = |text| KeyRingId::parse(text).ok();
        let date = |text: &str| super::super::parse_filter(text).unwrap().conditions;
        let search = |text| Search::parse(text).ok();
        let fine = KeyFilter {
            states: vec![key.state],
            kind: Some(key.kind),
            ring: ring("blue"),
            conditions: date("lastRotateDate=none"),
            search: search("sample"),
            except: Some(KeyId::from_bytes([9; 16])),
            at: Timestamp::default(),
        };
        assert!(fine.matches(&key));
        let wrong = [
            KeyFilter { states: vec![KeyState::Suspended], ..fine.clone() },
            KeyFilter { states: Vec::new(), ..fine.clone() },
            KeyFilter { kind: Some(KeyKind::Standard), ..fine.clone() },
            KeyFilter { ring: ring("red"), ..fine.clone() },
            KeyFilter { conditions: date("deletionDate=none creationDate=none"), ..fine.clone() },
            KeyFilter { search: search("other"), ..fine.clone() },
            KeyFilter { except: Some(key.id), ..fine.clone() },
        ];
        for filter in wrong {
            assert!(!filter.matches(&key), "{filter:?}");
        }
    }

    #[test]
    fn a_search_is_as_broad_as_state_kind_and_ring_leave_it() {
        let key = listed();
        let narrow = KeyFilter {
            conditions: super::super::parse_filter("creationDate=none").unwrap().conditions,
            search: Search::parse("other").ok(),
            except: Some(key.id),
            ..KeyFilter::default()
        };
        assert!(narrow.is_searchable(&key) && !narrow.matches(&key));
        assert!(!KeyFilter { kind: Some(KeyKind::Standard), ..narrow }.is_searchable(&key));
    }

    #[test]
    fn an_active_key_is_deactivated_from_its_expiration_on() {
        let at = Timestamp::from_unix_ms;
        assert_eq!(settled(KeyState::Active, Some(at(1000)), at(999)), KeyState::Active);
        assert_eq!(settled(KeyState::Active, Some(at(1000)), at(1000)), KeyState::Deactivated);
        assert_eq!(settled(KeyState::Active, None, at(u64::MAX)), KeyState::Active);
        for state in [KeyState::PreActivation, KeyState::Suspended, KeyState::Deactivated, KeyState::Destroyed] {
            assert_eq!(settled(state, Some(at(1000)), at(1001)), state);
        }
    }
}
