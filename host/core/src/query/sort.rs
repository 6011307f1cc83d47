//! `sort`: the order of a list.

use std::cmp::Ordering;

use super::{DateProperty, Listed, present_first};

/// What keys can be ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Property {
    /// `id`.
    Id,
    /// `state`, by number.
    State,
    /// `extractable`: root keys before standard keys.
    Extractable,
    /// `imported`: those made here before those that came from outside.
    Imported,
    /// A date, to the millisecond.
    Date(DateProperty),
}

impl Property {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Id,
        Self::State,
        Self::Extractable,
        Self::Imported,
        Self::Date(DateProperty::Creation),
        Self::Date(DateProperty::LastUpdate),
        Self::Date(DateProperty::LastRotate),
        Self::Date(DateProperty::Deletion),
        Self::Date(DateProperty::Expiration),
    ];

    /// The API's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::State => "state",
            Self::Extractable => "extractable",
            Self::Imported => "imported",
            Self::Date(date) => date.as_str(),
        }
    }
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The greatest first; `-` before the property.
    Descending,
}

impl Direction {
    const fn of(self, order: Ordering) -> Ordering {
        match self {
            Self::Ascending => order,
            Self::Descending => order.reverse(),
        }
    }
}

/// The order of a list: by the first property, then by the next where that is the same, and by id at last. So it is total,
/// and a list falls into the same pages every time.
///
/// Keys that lack a date come last, whichever way the others go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sort(Vec<(Property, Direction)>);

impl Default for Sort {
    /// By id, ascending.
    fn default() -> Self {
        Self(vec![(Property::Id, Direction::Ascending)])
    }
}

impl Sort {
    /// Reads `[-]property(,[-]property)*`.
    ///
    /// # Errors
    /// For a property that there is not, and for one that stands twice. Says how to mend it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut order: Vec<(Property, Direction)> = Vec::new();
        for term in text.split(',') {
            let (direction, name) = match term.strip_prefix('-') {
                Some(name) => (Direction::Descending, name),
                None => (Direction::Ascending, term),
            };
            let Some(property) = Property::ALL.into_iter().find(|property| property.as_str() == name) else {
                let all: Vec<&str> = Property::ALL.into_iter().map(Property::as_str).collect();
                let all = all.join(", ");
                return Err(format!("\"{name}\" is not one of {all}; write them with commas and no blanks"));
            };
            if order.iter().any(|(seen, _)| *seen == property) {
                return Err(format!("'{name}' stands twice; write it once"));
            }
            order.push((property, direction));
        }
        Ok(Self(order))
    }

    /// What it goes by, the first first.
    pub fn properties(&self) -> &[(Property, Direction)] {
        &self.0
    }

    /// Whether it is the order of ids, which is the one that stores keep keys in.
    pub fn is_by_id(&self) -> bool {
        matches!(self.0.first(), None | Some((Property::Id, Direction::Ascending)))
    }

    /// Which of two keys comes first. Equal only for keys with the same id.
    pub fn compare(&self, a: &Listed<'_>, b: &Listed<'_>) -> Ordering {
        let by_property = |(property, direction): &(Property, Direction)| match property {
            Property::Id => direction.of(a.id.cmp(&b.id)),
            Property::State => direction.of(a.state.number().cmp(&b.state.number())),
            Property::Extractable => direction.of(a.kind.is_extractable().cmp(&b.kind.is_extractable())),
            Property::Imported => direction.of(a.imported.cmp(&b.imported)),
            Property::Date(date) => present_first(a.date(*date), b.date(*date), |a, b| direction.of(a.cmp(&b))),
        };
        self.0.iter().map(by_property).find(|order| order.is_ne()).unwrap_or_else(|| a.id.cmp(&b.id))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::listed;
    use super::*;
    use crate::clock::Timestamp;
    use crate::ids::KeyId;
    use crate::key::{KeyKind, KeyState};
    use proptest::prelude::*;

    fn id(number: u8) -> KeyId {
        KeyId::from_bytes([number; 16])
    }

    /// The numbers of the keys in the order of a sort.
    fn sorted(sort: &str, keys: &[Listed<'_>]) -> Vec<u8> {
        let sort = Sort::parse(sort).unwrap();
        let mut keys = keys.to_vec();
        keys.sort_by(|a, b| sort.compare(a, b));
        keys.iter().map(|key| key.id.as_bytes()[0]).collect()
    }

    #[test]
    fn keys_are_ordered_by_each_property_both_ways() {
        let at = Timestamp::from_unix_ms;
        let (none, some) = (|number| Listed { id: id(number), ..listed() }, |ms| Some(at(ms)));
        let table = [
            ("id", [none(1), none(2), none(3)]),
            (
                "state",
                [
                    Listed { state: KeyState::Active, ..none(3) },
                    Listed { state: KeyState::Suspended, ..none(2) },
                    Listed { state: KeyState::Destroyed, ..none(1) },
                ],
            ),
            (
                "creationDate",
                [
                    Listed { created: at(1), ..none(3) },
                    Listed { created: at(2), ..none(1) },
                    Listed { created: at(3), ..none(2) },
                ],
            ),
            (
                "lastUpdateDate",
                [
                    Listed { updated: at(1), ..none(3) },
                    Listed { updated: at(2), ..none(1) },
                    Listed { updated: at(3), ..none(2) },
                ],
            ),
            (
                "lastRotateDate",
                [
                    Listed { rotated: some(1), ..none(3) },
                    Listed { rotated: some(2), ..none(1) },
                    Listed { rotated: some(3), ..none(2) },
                ],
            ),
            (
                "deletionDate",
                [
                    Listed { deleted: some(1), ..none(3) },
                    Listed { deleted: some(2), ..none(1) },
                    Listed { deleted: some(3), ..none(2) },
                ],
            ),
            (
                "expirationDate",
                [
                    Listed { expires: some(1), ..none(3) },
                    Listed { expires: some(2), ..none(1) },
                    Listed { expires: some(3), ..none(2) },
                ],
            ),
        ];
        for (property, keys) in table {
            let mut expected: Vec<u8> = keys.iter().map(|key| key.id.as_bytes()[0]).collect();
            assert_eq!(sorted(property, &keys), expected, "{property}");
            expected.reverse();
            assert_eq!(sorted(&format!("-{property}"), &keys), expected, "-{property}");
        }
        let kinds = [
            Listed { kind: KeyKind::Standard, imported: true, ..none(1) },
            Listed { kind: KeyKind::Root, imported: false, ..none(2) },
        ];
        for property in ["extractable", "imported"] {
            assert_eq!(sorted(property, &kinds), [2, 1], "{property}");
            assert_eq!(sorted(&format!("-{property}"), &kinds), [1, 2], "-{property}");
        }
    }

    #[test]
    fn the_next_property_decides_where_the_first_does_not() {
        let key = |number, state, created| Listed {
            id: id(number),
            state,
            created: Timestamp::from_unix_ms(created),
            ..listed()
        };
        let keys = [
            key(1, KeyState::Suspended, 1),
            key(2, KeyState::Active, 1),
            key(3, KeyState::Active, 2),
            key(4, KeyState::Active, 2),
        ];
        assert_eq!(sorted("state,-creationDate", &keys), [3, 4, 2, 1]);
        assert_eq!(sorted("-state,creationDate,-id", &keys), [1, 2, 4, 3]);
    }

    #[test]
    fn keys_without_the_date_come_last_both_ways() {
        let key = |number, rotated: Option<u64>| Listed {
            id: id(number),
            rotated: rotated.map(Timestamp::from_unix_ms),
            ..listed()
        };
        let keys = [key(4, None), key(1, None), key(3, Some(2)), key(2, Some(1))];
        assert_eq!(sorted("lastRotateDate", &keys), [2, 3, 1, 4]);
        assert_eq!(sorted("-lastRotateDate", &keys), [3, 2, 1, 4]);
    }

    #[test]
    fn what_is_no_order_is_refused() {
        for bad in [
            "",
            ",",
            "id,",
            ",id",
            "name",
            "Id",
            "--id",
            "+id",
            "- id",
            "id, state",
            " id",
            "id,id",
            "id,-id",
            "-",
            "creationdate",
            "keyRingID",
        ] {
            assert!(Sort::parse(bad).is_err(), "{bad:?} was taken for an order");
        }
        assert!(Sort::parse("name").unwrap_err().contains("lastRotateDate"));
        assert!(Sort::parse("id,-id").unwrap_err().contains("twice"));
    }

    #[test]
    fn the_order_of_ids_is_known_as_such() {
        assert!(Sort::default().is_by_id());
        assert_eq!(Sort::parse("id").unwrap(), Sort::default());
        assert!(Sort::parse("id,-state").unwrap().is_by_id(), "no two keys have the same id");
        for other in ["-id", "state,id", "creationDate"] {
            assert!(!Sort::parse(other).unwrap().is_by_id(), "{other}");
        }
    }

    fn any_date() -> impl Strategy<Value = Option<Timestamp>> {
        prop::option::of((0_u64..3).prop_map(Timestamp::from_unix_ms))
    }

    fn any_key() -> impl Strategy<Value = Listed<'static>> {
        (0_u8..3, 0_usize..5, any::<bool>(), any::<bool>(), any_date(), any_date(), any_date()).prop_map(
            |(number, state, root, imported, rotated, deleted, expires)| Listed {
                id: id(number),
                state: KeyState::ALL[state],
                kind: if root { KeyKind::Root } else { KeyKind::Standard },
                imported,
                rotated,
                deleted,
                expires,
                ..listed()
            },
        )
    }

    fn any_sort() -> impl Strategy<Value = Sort> {
        let way = |descending| if descending { Direction::Descending } else { Direction::Ascending };
        (Just(Property::ALL.to_vec()).prop_shuffle(), prop::collection::vec(any::<bool>(), 1..9))
            .prop_map(move |(properties, ways)| Sort(properties.into_iter().zip(ways.into_iter().map(way)).collect()))
    }

    proptest! {
        #[test]
        fn every_order_is_total(sort in any_sort(), a in any_key(), b in any_key(), c in any_key()) {
            let (ab, bc, ac) = (sort.compare(&a, &b), sort.compare(&b, &c), sort.compare(&a, &c));
            prop_assert_eq!(sort.compare(&b, &a), ab.reverse());
            prop_assert_eq!(sort.compare(&a, &a), Ordering::Equal);
            prop_assert!(a.id == b.id || ab.is_ne());
            if ab == bc || bc.is_eq() { prop_assert_eq!(ac, ab); }
            if ab.is_eq() { prop_assert_eq!(ac, bc); }
        }

        #[test]
        fn an_order_that_is_written_is_read_again(sort in any_sort()) {
            let term = |(property, direction): &(Property, Direction)| match direction {
                Direction::Ascending => property.as_str().to_owned(),
                Direction::Descending => format!("-{}", property.as_str()),
            };
            let text: Vec<String> = sort.properties().iter().map(term).collect();
            prop_assert_eq!(Sort::parse(&text.join(",")).unwrap(), sort);
        }

        #[test]
        fn no_text_is_a_panic(text in prop_oneof![".{0,40}", "(-?(id|state|creationDate)?,?){0,6}"]) {
            let _ = Sort::parse(&text);
        }
    }
}
