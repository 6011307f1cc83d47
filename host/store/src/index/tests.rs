//! What passes over the index say is checked by the suite, against the keys themselves; here is what only a look inside
//! shows.

use keygate_core::key::KeyKind;
use keygate_core::store::{KeyFilter, PageRequest, Sort};

use super::*;
use crate::conformance::samples::{EVERYTHING, full_key, instance, key, key_id, ring};

const ALL: usize = usize::MAX;

fn entry(number: u32, in_ring: &str) -> Entry {
    let (mut key, _) = key(instance(1), number, KeyKind::Root);
    key.ring = ring(in_ring).unwrap();
    Entry::of(&key)
}

fn index_of(numbers: std::ops::Range<u32>) -> Index {
    Index::of(numbers.map(|number| (instance(1), key_id(number), Some(entry(number, "default")))))
}

fn orders() -> [Sort; 2] {
    [Sort::default(), Sort::parse("-creationDate").unwrap()]
}

#[test]
fn nothing_is_left_of_keys_that_are_gone() {
    let mut index = Index::default();
    let full = |number| Entry::of(&full_key(instance(1), number).unwrap().0);
    for number in 0..10 {
        index.put(instance(1), key_id(number), full(number));
        index.put(instance(2), key_id(number), entry(number, "red"));
        index.put(instance(1), key_id(number), entry(number, "blue"));
        index.put(instance(1), key_id(number), full(number));
    }
    assert_eq!(index.due.len(), 10 * full(1).due.len());
    assert!(full(1).due.len() > 1);
    let rings = |index: &Index, at| -> Vec<String> {
        index.instances[&instance(at)].rings.iter().map(|ring| ring.to_string()).collect()
    };
    assert_eq!(rings(&index, 1), ["other-ring"], "a name is kept while a key is in the ring, and once");
    for number in 0..10 {
        index.remove(instance(1), key_id(number));
        index.remove(instance(1), key_id(number));
    }
    assert!(index.due.is_empty() && !index.instances.contains_key(&instance(1)), "{index:?}");
    assert_eq!((index.len(), rings(&index, 2)), (10, vec!["red".to_owned()]));
}

#[test]
fn an_index_of_many_is_the_same_as_one_of_one_after_the_other() {
    let full = |number| Entry::of(&full_key(instance(1), number).unwrap().0);
    let entries = || (0..20).map(|number| if number % 3 == 0 { full(number) } else { entry(number, "red") }).zip(0..);
    let mut one_by_one = Index::default();
    for (entry, number) in entries() {
        one_by_one.put(instance(1 + number as u8 % 2), key_id(number), entry);
    }
    let at_once =
        Index::of(entries().map(|(entry, number)| (instance(1 + number as u8 % 2), key_id(number), Some(entry))));
    assert_eq!(at_once.due, one_by_one.due);
    assert_eq!(at_once.len(), one_by_one.len());
    for index in [&at_once, &one_by_one] {
        for at in [1, 2].map(instance) {
            let (keys, other) = (&index.instances[&at], &one_by_one.instances[&at]);
            assert_eq!((&keys.entries, &keys.rings), (&other.entries, &other.rings));
            // The name of a ring is kept once.
            let names = keys.entries.values().flatten().map(|entry| &entry.ring);
            assert!(names.into_iter().all(|name| Arc::ptr_eq(name, keys.rings.get(name).unwrap())));
        }
    }
}

#[test]
fn a_pass_ends_with_its_budget() {
    let index = index_of(0..10);
    let filter = KeyFilter::default();
    assert_eq!(index.count(instance(1), &filter, 10), Ok(10));
    assert_eq!(index.count(instance(1), &filter, 9), Err(Stop::Budget));
    for sort in orders() {
        assert_eq!(index.select(instance(1), &filter, &sort, EVERYTHING, 9), Err(Stop::Budget), "{sort:?}");
        assert_eq!(index.select(instance(1), &filter, &sort, EVERYTHING, 10).map(|ids| ids.len()), Ok(10));
    }
    // By id it ends with the page, however many keys come after.
    let page = PageRequest { offset: 2, limit: 3 };
    let ids = index.select(instance(1), &filter, &Sort::default(), page, 5);
    assert_eq!(ids, Ok([2, 3, 4].map(key_id).to_vec()));
    assert_eq!(index.select(instance(1), &filter, &Sort::default(), page, 4), Err(Stop::Budget));
}

#[test]
fn a_key_that_cannot_be_read_stops_what_may_be_about_it() {
    let damaged = key_id(5);
    let readable = |number| (key_id(number) != damaged).then(|| entry(number, "default"));
    let index = Index::of((0..10).map(|number| (instance(1), key_id(number), readable(number))));
    let filter = KeyFilter::default();
    assert_eq!(index.count(instance(1), &filter, ALL), Err(Stop::Damaged(damaged)));
    for sort in orders() {
        assert_eq!(index.select(instance(1), &filter, &sort, EVERYTHING, ALL), Err(Stop::Damaged(damaged)));
    }
    let before = PageRequest { offset: 0, limit: 5 };
    assert_eq!(index.select(instance(1), &filter, &Sort::default(), before, ALL).map(|ids| ids.len()), Ok(5));
    let default = ring("default").unwrap();
    for (key, is_in) in [(damaged, Err(Stop::Damaged(damaged))), (key_id(4), Ok(true)), (key_id(40), Ok(false))] {
        for only in [None, Some(key)] {
            assert_eq!(index.in_ring(instance(1), &default, only).has(key), is_in, "{key}, {only:?}");
        }
    }
    // Whoever leaves it out does not ask about it.
    let without = KeyFilter { except: Some(damaged), ..filter.clone() };
    assert_eq!(index.count(instance(1), &without, ALL), Ok(9));
    assert_eq!(index.count(instance(2), &filter, ALL), Ok(0));
}
