//! Wrap, unwrap, rewrap.

use super::*;
use crate::ids::Alias;
use crate::ops::unwrap::{Ciphertext, Unwrapped};
use crate::ops::{rewrap, unwrap};

fn unwrap(world: &World, key: &Key, ciphertext: &str, aad: &[&str]) -> Result<Unwrapped, Error> {
    let input = Ciphertext { ciphertext: ciphertext.to_owned(), aad: texts(aad) };
    block_on(unwrap::unwrap(&world.gateway, &cx(FIRST), &by_id(key), Ok(input)))
}

#[test]
fn what_was_wrapped_comes_back_and_only_with_its_aad() {
    let world = World::new();
    let key = world.root_key();
    let wrapped = world.wrap(&key, b"data key", &["a", "b"]).unwrap();
    assert!(wrapped.plaintext.is_none(), "a plaintext of the caller's is not sent back");
    assert_eq!(wrapped.version, key.current_version);
    let back = unwrap(&world, &key, &wrapped.ciphertext, &["a", "b"]).unwrap();
    assert_eq!(back.plaintext.expose(), b"data key");
    assert!(back.rewrapped.is_none());
    for wrong in [&["a"][..], &["b", "a"], &["ab"], &[], &["a", "b", ""]] {
        let refused = unwrap(&world, &key, &wrapped.ciphertext, wrong);
        assert_eq!(code(refused), ReasonCode::UnprocessableCiphertext, "{wrong:?}");
    }
}

#[test]
fn a_data_key_is_made_when_none_is_given() {
    let world = World::new();
    let key = world.root_key();
    let wrapped = block_on(wrap::wrap(&world.gateway, &cx(FIRST), &by_id(&key), Ok(wrap::Wrap::default()))).unwrap();
    let made = wrapped.plaintext.expect("a data key");
    assert_eq!(made.len(), 32);
    let back = unwrap(&world, &key, &wrapped.ciphertext, &[]).unwrap();
    assert_eq!(back.plaintext.expose(), made.expose());
}

#[test]
fn another_key_does_not_unwrap_it() {
    let world = World::new();
    let (one, other) = (world.root_key(), world.root_key());
    let wrapped = world.wrap(&one, b"x", &[]).unwrap();
    assert_eq!(code(unwrap(&world, &other, &wrapped.ciphertext, &[])), ReasonCode::UnprocessableCiphertext);
}

#[test]
fn what_is_no_ciphertext_is_told_apart_from_what_is_a_wrong_one() {
    let world = World::new();
    let key = world.root_key();
    assert_eq!(code(unwrap(&world, &key, "no base64!", &[])), ReasonCode::InvalidField);
    assert_eq!(code(unwrap(&world, &key, "", &[])), ReasonCode::InvalidField);
    assert_eq!(code(unwrap(&world, &key, "AAAA", &[])), ReasonCode::UnprocessableCiphertext);
}

#[test]
fn an_old_ciphertext_comes_back_under_the_new_version_too() {
    let world = World::new();
    let key = world.root_key();
    let old = world.wrap(&key, b"data key", &["aad"]).unwrap();
    let rotated = world.rotate(&key).unwrap();
    assert_ne!(rotated.current_version, key.current_version);
    let back = unwrap(&world, &key, &old.ciphertext, &["aad"]).unwrap();
    assert_eq!(back.version, old.version);
    let renewed = back.rewrapped.expect("a ciphertext under the newest version");
    assert_eq!(renewed.version, rotated.current_version);
    let again = unwrap(&world, &key, &renewed.ciphertext, &["aad"]).unwrap();
    assert_eq!(again.plaintext.expose(), b"data key");
    assert!(again.rewrapped.is_none());
}

#[test]
fn rewrap_moves_to_the_newest_version_and_works_without_a_rotation() {
    let world = World::new();
    let key = world.root_key();
    let old = world.wrap(&key, b"data key", &[]).unwrap();
    let rewrap = |ciphertext: &str| {
        let input = Ciphertext { ciphertext: ciphertext.to_owned(), aad: Vec::new() };
        block_on(rewrap::rewrap(&world.gateway, &cx(FIRST), &by_id(&key), Ok(input))).unwrap()
    };
    let (from, same) = rewrap(&old.ciphertext);
    assert_eq!((from, same.version), (key.current_version, key.current_version));
    assert_ne!(same.ciphertext, old.ciphertext);
    let rotated = world.rotate(&key).unwrap();
    let (from, newer) = rewrap(&old.ciphertext);
    assert_eq!((from, newer.version), (key.current_version, rotated.current_version));
    assert_eq!(unwrap(&world, &key, &newer.ciphertext, &[]).unwrap().plaintext.expose(), b"data key");
}

#[test]
fn bounds_are_told_by_their_fields_all_at_once() {
    let world = World::new();
    let key = world.root_key();
    let long = "x".repeat(256);
    let result = world.wrap(&key, &vec![0; world.gateway.limits.max_plaintext + 1], &[&long]);
    let Err(Error::Refused(reasons)) = result else { panic!("not refused") };
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(reasons.iter().all(|reason| reason.code == ReasonCode::InvalidField && reason.target.is_some()));
    assert!(world.wrap(&key, &vec![0; world.gateway.limits.max_plaintext], &["x".repeat(255).as_str()]).is_ok());
    assert_eq!(code(world.wrap(&key, b"", &[])), ReasonCode::InvalidField);
}

#[test]
fn a_key_is_found_by_its_alias_too() {
    let world = World::new();
    let input = CreateKey { aliases: texts(&["my-key"]), ..root("k") };
    let key = world.create(input).unwrap().key;
    let alias = KeySelector::Alias(Alias::parse("my-key").unwrap());
    let wrapped = block_on(wrap::wrap(&world.gateway, &cx(FIRST), &alias, Ok(wrap::Wrap::default()))).unwrap();
    assert_eq!(wrapped.version, key.current_version);
}

#[test]
fn standard_keys_do_not_wrap() {
    let world = World::new();
    let key = world.create(CreateKey { kind: KeyKind::Standard, ..root("s") }).unwrap().key;
    assert_eq!(code(world.wrap(&key, b"x", &[])), ReasonCode::KeyRootRequired);
    assert_eq!(code(world.rotate(&key)), ReasonCode::KeyRootRequired);
}
