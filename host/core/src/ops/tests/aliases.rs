//! Aliases: given and taken away.

use super::*;
use crate::key::KeyAlias;
use crate::ops::{aliases, delete, read};

fn give(world: &World, key: &Key, alias: &str) -> Result<(Key, KeyAlias, bool), Error> {
    block_on(aliases::create(&world.gateway, &cx(FIRST), &by_id(key), alias))
}

fn take(world: &World, key: &Key, alias: &str) -> Result<(), Error> {
    block_on(aliases::delete(&world.gateway, &cx(FIRST), &by_id(key), alias))
}

fn read(world: &World, selector: &str) -> Result<Key, Error> {
    block_on(read::metadata(&world.gateway, &cx(FIRST), &KeySelector::parse(selector)))
}

#[test]
fn an_alias_names_its_key_from_then_on_and_is_given_once() {
    let world = World::new();
    let key = world.root_key();
    world.clock.travel(HOUR);
    let (named, given, is_new) = give(&world, &key, "prod").unwrap();
    assert!(is_new);
    assert_eq!(named.updated_at, key.updated_at.plus(HOUR));
    assert_eq!((given.given.at, given.given.by.as_str()), (named.updated_at, "IBMid-1"));
    assert_eq!(read(&world, "prod").unwrap(), named);

    world.clock.travel(HOUR);
    let other =
        RequestContext { principal: Principal { id: "IBMid-2".to_owned(), ..cx(FIRST).principal }, ..cx(FIRST) };
    let again = block_on(aliases::create(&world.gateway, &other, &KeySelector::parse("prod"), "prod")).unwrap();
    assert_eq!(again, (named, given, false), "the first stamp stays, and so does the key");
}

#[test]
fn a_key_can_be_named_by_one_alias_to_get_another_and_to_lose_it() {
    let world = World::new();
    give(&world, &world.root_key(), "one").unwrap();
    let by_alias = KeySelector::parse("one");
    block_on(aliases::create(&world.gateway, &cx(FIRST), &by_alias, "two")).unwrap();
    block_on(aliases::delete(&world.gateway, &cx(FIRST), &by_alias, "one")).unwrap();
    assert_eq!(code(read(&world, "one")), ReasonCode::KeyNotFound);
    let names: Vec<_> = read(&world, "two").unwrap().alias_names().map(ToString::to_string).collect();
    assert_eq!(names, ["two"]);
}

#[test]
fn what_cannot_be_an_alias_is_refused_by_its_place_in_the_path() {
    let world = World::new();
    let key = world.root_key();
    let uuid = key.id.to_string();
    for bad in ["a", "a b", "keys", "registrations", "é", "../x", "", &uuid, &"a".repeat(91)] {
        for refused in [give(&world, &key, bad).map(|_| ()), take(&world, &key, bad)] {
            let Err(Error::Refused(reasons)) = refused else { panic!("{bad:?} was taken for an alias") };
            assert_eq!(reasons[0].code, ReasonCode::InvalidPathParam, "{bad:?}");
            assert!(matches!(reasons[0].target, Some(crate::error::Target::PathParam(_))), "{bad:?}");
        }
    }
    assert_eq!(read(&world, &uuid).unwrap(), key);
}

#[test]
fn a_key_has_five_aliases_and_no_more_until_it_loses_one() {
    let world = World::new();
    let key = world.create(CreateKey { aliases: texts(&["a1", "a2"]), ..root("k") }).unwrap().key;
    for alias in ["a3", "a4", "a5"] {
        assert!(give(&world, &key, alias).unwrap().2);
    }
    assert_eq!(code(give(&world, &key, "a6")), ReasonCode::AliasQuota);
    assert!(!give(&world, &key, "a5").unwrap().2, "one that it has is no sixth");
    take(&world, &key, "a1").unwrap();
    assert!(give(&world, &key, "a6").unwrap().2);
}

#[test]
fn an_alias_is_one_key_s_in_its_instance() {
    let world = World::new();
    let (one, other) = (world.root_key(), world.root_key());
    give(&world, &one, "prod").unwrap();
    assert_eq!(code(give(&world, &other, "prod")), ReasonCode::AliasNotUnique);
    assert!(give(&world, &other, "Prod").unwrap().2, "the case counts");
    assert_eq!(code(take(&world, &other, "prod")), ReasonCode::AliasNotFound);
    take(&world, &one, "prod").unwrap();
    assert_eq!(code(take(&world, &one, "prod")), ReasonCode::AliasNotFound);
    assert!(give(&world, &other, "prod").unwrap().2);
}

#[test]
fn a_deleted_key_gets_no_alias_and_keeps_its_own_until_they_are_taken() {
    let world = World::new();
    let (deleted, other) = (world.root_key(), world.root_key());
    give(&world, &deleted, "prod").unwrap();
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(&deleted), Ok(false))).unwrap();
    assert_eq!(code(give(&world, &deleted, "more")), ReasonCode::KeyDeleted);
    assert_eq!(code(give(&world, &other, "prod")), ReasonCode::AliasNotUnique);
    take(&world, &deleted, "prod").unwrap();
    assert!(give(&world, &other, "prod").unwrap().2);
}

#[test]
fn keys_that_are_not_there_have_no_aliases() {
    let world = World::new();
    let key = world.root_key();
    let nowhere = KeySelector::parse("no-such-key");
    let given = block_on(aliases::create(&world.gateway, &cx(FIRST), &nowhere, "prod"));
    assert_eq!(code(given), ReasonCode::KeyNotFound);
    let taken = block_on(aliases::delete(&world.gateway, &cx(FIRST), &nowhere, "prod"));
    assert_eq!(code(taken), ReasonCode::AliasNotFound);
    let elsewhere = block_on(aliases::create(&world.gateway, &cx(SECOND), &by_id(&key), "prod"));
    assert_eq!(code(elsewhere), ReasonCode::KeyNotFound);
}

#[test]
fn an_alias_is_not_put_on_a_key_that_changed_meanwhile() {
    let world = World::new();
    let key = world.root_key();
    let deleting = by_id(&key);
    let gateway = world.meanwhile(move |gateway| {
        block_on(delete::delete(gateway, &cx(FIRST), &deleting, Ok(false))).unwrap();
    });
    let given = block_on(aliases::create(&gateway, &cx(FIRST), &by_id(&key), "prod"));
    assert_eq!(code(given), ReasonCode::Conflict);
    assert!(read(&world, &key.id.to_string()).unwrap().aliases.is_empty());
}
