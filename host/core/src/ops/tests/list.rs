//! Lists of keys: searches with lookups, pages across both, and searches that are too broad.

use super::*;
use crate::ids::Alias;
use crate::key::KeyState;
use crate::ops::list::{self, ListKeys, Listing};
use crate::ops::{aliases, delete, rings};
use crate::query::Search;
use crate::store::{KeyFilter, PageRequest, Sort};

fn page(offset: usize, limit: usize) -> PageRequest {
    PageRequest { offset, limit }
}

fn search(text: &str) -> KeyFilter {
    KeyFilter { search: Some(Search::parse(text).unwrap()), ..KeyFilter::default() }
}

fn query(filter: KeyFilter, page: PageRequest) -> ListKeys {
    ListKeys { filter, sort: Sort::default(), page, count: true }
}

fn list_in(world: &World, cx: &RequestContext, query: ListKeys) -> Result<Listing, Error> {
    block_on(list::list(&world.gateway, cx, Ok(query)))
}

fn listed(world: &World, filter: KeyFilter, page: PageRequest) -> Listing {
    list_in(world, &cx(FIRST), query(filter, page)).unwrap()
}

fn names(listing: &Listing) -> Vec<&str> {
    listing.keys.iter().map(|key| key.name.as_str()).collect()
}

fn key(world: &World, name: &str, aliases: &[&str]) -> Key {
    world.create(CreateKey { aliases: texts(aliases), ..root(name) }).unwrap().key
}

/// Keys in the order of their ids; the last one has the alias that the names of the others hold.
fn searchable() -> (World, Vec<Key>) {
    let world = World::new();
    let keys = vec![
        key(&world, "prod-1", &[]),
        key(&world, "prod-2", &["x-prod"]),
        key(&world, "other", &[]),
        key(&world, "z", &["prod"]),
    ];
    (world, keys)
}

#[test]
fn a_key_that_is_named_whole_comes_first_and_once() {
    let (world, keys) = searchable();
    let all = listed(&world, search("prod"), page(0, 200));
    assert_eq!(names(&all), ["z", "prod-1", "prod-2"]);
    assert_eq!((all.total, all.incomplete), (Some(3), false));
    let by_id = listed(&world, search(&keys[2].id.to_string()), page(0, 200));
    assert_eq!((names(&by_id), by_id.total), (vec!["other"], Some(1)));
    assert_eq!(names(&listed(&world, search("name:prod"), page(0, 200))), ["prod-1", "prod-2"], "no alias, no lookup");
    assert_eq!(names(&listed(&world, search("not:prod"), page(0, 200))), ["other"]);
}

#[test]
fn pages_go_across_the_key_that_was_looked_up() {
    let (world, _) = searchable();
    let one_by_one: Vec<String> = (0..5)
        .flat_map(|offset| {
            names(&listed(&world, search("prod"), page(offset, 1))).iter().map(ToString::to_string).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(one_by_one, ["z", "prod-1", "prod-2"]);
    assert_eq!(names(&listed(&world, search("prod"), page(0, 2))), ["z", "prod-1"]);
    assert_eq!(names(&listed(&world, search("prod"), page(1, 2))), ["prod-1", "prod-2"]);
    let beyond = listed(&world, search("prod"), page(7, 2));
    assert_eq!((beyond.keys.len(), beyond.total), (0, Some(3)));
}

#[test]
fn the_order_is_for_those_after_it() {
    let (world, _) = searchable();
    let sort = Sort::parse("-id").unwrap();
    let listing = list_in(&world, &cx(FIRST), ListKeys { sort, ..query(search("prod"), page(0, 9)) }).unwrap();
    assert_eq!(names(&listing), ["z", "prod-2", "prod-1"]);
}

#[test]
fn a_key_that_the_filter_leaves_out_is_not_looked_up() {
    let (world, keys) = searchable();
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&keys[3]), Ok(false))).unwrap();
    assert_eq!(names(&listed(&world, search("prod"), page(0, 9))), ["prod-1", "prod-2"]);
    let deleted = KeyFilter { states: vec![KeyState::Destroyed], ..search("prod") };
    assert_eq!(names(&listed(&world, deleted, page(0, 9))), ["z"]);
    let standard = KeyFilter { kind: Some(KeyKind::Standard), ..search("x-prod") };
    assert!(listed(&world, standard, page(0, 9)).keys.is_empty());
}

#[test]
fn a_search_over_too_many_keys_is_refused_unless_it_names_one() {
    let (mut world, keys) = searchable();
    world.gateway.limits.searchable_keys = 4;
    assert!(!listed(&world, search("prod"), page(0, 9)).incomplete, "as many as may be");
    world.gateway.limits.searchable_keys = 3;
    let only = listed(&world, search("prod"), page(0, 9));
    assert_eq!((names(&only), only.total, only.incomplete), (vec!["z"], Some(1), true));
    let only = listed(&world, search(&keys[0].id.to_string()), page(0, 9));
    assert_eq!((names(&only), only.incomplete), (vec!["prod-1"], true));
    assert!(listed(&world, search("prod"), page(1, 9)).keys.is_empty(), "there is no second page of one key");
    for text in ["other", "not:prod", "name:prod", "no-such-alias", &keys[0].id.to_string()[..35]] {
        let refused = list_in(&world, &cx(FIRST), query(search(text), page(0, 9)));
        let Err(Error::Refused(reasons)) = refused else { panic!("{text} was searched") };
        assert_eq!(reasons[0].code, ReasonCode::SearchTooBroad, "{text}");
        assert_eq!(reasons[0].target, Some(crate::error::Target::QueryParam("search".to_owned())));
    }
    let listing = listed(&world, KeyFilter::default(), page(0, 9));
    assert_eq!(listing.keys.len(), 4, "lists without a search have no such bound");
}

#[test]
fn states_kinds_and_rings_narrow_what_is_searched() {
    let (mut world, keys) = searchable();
    world.gateway.limits.searchable_keys = 3;
    block_on(rings::create(&world.gateway, &cx(FIRST), "prod-ring")).unwrap();
    let narrow = list_in(&world, &in_ring("prod-ring"), query(search("name:prod"), page(0, 9))).unwrap();
    assert!(narrow.keys.is_empty() && !narrow.incomplete);
    let standard = KeyFilter { kind: Some(KeyKind::Standard), ..search("name:prod") };
    assert!(listed(&world, standard, page(0, 9)).keys.is_empty());
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&keys[2]), Ok(false))).unwrap();
    assert_eq!(names(&listed(&world, search("name:prod"), page(0, 9))), ["prod-1", "prod-2"]);
}

#[test]
fn a_list_in_a_ring_has_the_keys_of_that_ring() {
    let (world, _) = searchable();
    block_on(rings::create(&world.gateway, &cx(FIRST), "prod-ring")).unwrap();
    block_on(create::create(&world.gateway, &in_ring("prod-ring"), false, Ok(root("prod-3")))).unwrap();
    let listing = |ring: &str| list_in(&world, &in_ring(ring), query(search("prod"), page(0, 9))).unwrap();
    assert_eq!(names(&listing("prod-ring")), ["prod-3"], "the alias `prod` is of a key elsewhere");
    assert_eq!(names(&listing("default")), ["z", "prod-1", "prod-2"]);
    let nowhere = listing("no-such-ring");
    assert_eq!((nowhere.keys.len(), nowhere.total), (0, Some(0)));
    let wanted = KeyFilter { ring: KeyRingId::parse("default").ok(), ..KeyFilter::default() };
    let narrowed = list_in(&world, &in_ring("prod-ring"), query(wanted.clone(), page(0, 9))).unwrap();
    assert_eq!(names(&narrowed), ["prod-3"], "the request's ring counts");
    assert_eq!(block_on(list::count(&world.gateway, &in_ring("prod-ring"), Ok(wanted))).unwrap(), 1);
}

#[test]
fn totals_are_told_where_asked_for_and_disregard_the_page() {
    let (world, _) = searchable();
    let asked = listed(&world, KeyFilter::default(), page(1, 2));
    assert_eq!((asked.keys.len(), asked.total), (2, Some(4)));
    let query = ListKeys { count: false, ..query(search("prod"), page(0, 1)) };
    assert_eq!(list_in(&world, &cx(FIRST), query).unwrap().total, None);
}

#[test]
fn a_new_alias_is_found_at_once_and_a_lost_one_no_more() {
    let (world, keys) = searchable();
    block_on(aliases::create(&world.gateway, &cx(FIRST), &by_id(&keys[2]), "fresh")).unwrap();
    assert_eq!(names(&listed(&world, search("alias:fresh"), page(0, 9))), ["other"]);
    block_on(aliases::delete(&world.gateway, &cx(FIRST), &by_id(&keys[2]), "fresh")).unwrap();
    assert!(listed(&world, search("fresh"), page(0, 9)).keys.is_empty());
    assert!(Alias::parse("fresh").is_ok());
}

#[test]
fn a_key_that_expired_is_listed_and_looked_up_as_deactivated() {
    let world = World::new();
    let now = crate::ports::Clock::now(world.clock.as_ref());
    let input = CreateKey { aliases: texts(&["brief"]), expires_at: Some(now.plus(HOUR)), ..root("k") };
    world.create(input).unwrap();
    world.clock.travel(HOUR);
    let active = KeyFilter { states: vec![KeyState::Active], ..search("brief") };
    assert!(listed(&world, active, page(0, 9)).keys.is_empty());
    let found = listed(&world, search("brief"), page(0, 9));
    assert_eq!(found.keys[0].state, KeyState::Deactivated);
}
