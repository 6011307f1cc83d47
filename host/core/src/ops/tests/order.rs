//! The order of rooms: who may not ask learns nothing, and nobody learns what was not audited.

use super::*;
use crate::access::Action;
use crate::audit::{Outcome, Severity};
use crate::error::{Cause, Reason};
use crate::fakes::world::Script;
use crate::ids::KeyId;
use crate::ops::{aliases, delete, events, import_tokens, list, read, registrations, rings};

fn bad_body<T>() -> Result<T, Error> {
    Err(Reason::new(ReasonCode::BadBody, "broken").into())
}

fn flawed() -> RequestContext {
    RequestContext { flaws: vec![Reason::new(ReasonCode::InvalidHeader, "damaged")], ..cx(FIRST) }
}

#[test]
fn a_caller_without_rights_gets_one_answer_whatever_is_asked() {
    let world = World::new();
    let key = world.root_key();
    world.gate.say(Script::Deny);
    let nowhere = KeySelector::Id(KeyId::from_bytes([0xEE; 16]));
    let impossible = KeySelector::parse("!");
    let unknown = InstanceId::from_bytes([9; 16]);
    let gateway = &world.gateway;
    let errors = [
        block_on(read::metadata(gateway, &cx(FIRST), &by_id(&key))).unwrap_err(),
        block_on(read::metadata(gateway, &cx(FIRST), &nowhere)).unwrap_err(),
        block_on(read::metadata(gateway, &cx(FIRST), &impossible)).unwrap_err(),
        block_on(read::metadata(gateway, &cx(unknown), &by_id(&key))).unwrap_err(),
        block_on(wrap::wrap(gateway, &cx(FIRST), &by_id(&key), bad_body())).unwrap_err(),
        block_on(create::create(gateway, &cx(FIRST), false, bad_body())).unwrap_err(),
        block_on(delete::delete(gateway, &cx(FIRST), &nowhere, bad_body())).unwrap_err(),
        block_on(read::metadata(gateway, &flawed(), &by_id(&key))).unwrap_err(),
        block_on(list::list(gateway, &cx(FIRST), bad_body())).unwrap_err(),
        block_on(rings::list(gateway, &cx(FIRST), bad_body())).unwrap_err(),
        block_on(rings::create(gateway, &cx(FIRST), "no_ring")).unwrap_err(),
        block_on(rings::delete(gateway, &cx(FIRST), "default", bad_body())).unwrap_err(),
        block_on(aliases::create(gateway, &cx(FIRST), &nowhere, "!")).unwrap_err(),
        block_on(aliases::delete(gateway, &cx(FIRST), &by_id(&key), "!")).unwrap_err(),
        block_on(registrations::create(gateway, &cx(FIRST), &by_id(&key), "no crn", bad_body())).unwrap_err(),
        block_on(registrations::delete(gateway, &cx(FIRST), &nowhere, "no crn")).unwrap_err(),
        block_on(registrations::deactivate(gateway, &cx(FIRST), &by_id(&key), bad_body())).unwrap_err(),
        block_on(registrations::list(gateway, &cx(FIRST), Some(&nowhere), bad_body())).unwrap_err(),
        block_on(events::acknowledge(gateway, &cx(FIRST), bad_body())).unwrap_err(),
        block_on(events::list(gateway, &cx(FIRST), bad_body())).unwrap_err(),
        block_on(import_tokens::create(gateway, &cx(FIRST), bad_body())).unwrap_err(),
        block_on(import_tokens::fetch(gateway, &cx(unknown))).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(
            error.to_string(),
            "denied: The user does not have access to the specified resource (UNAUTHORIZED_ERR)"
        );
    }
}

#[test]
fn a_broken_body_is_told_to_who_may_ask() {
    let world = World::new();
    let key = world.root_key();
    let refused = block_on(wrap::wrap(&world.gateway, &cx(FIRST), &by_id(&key), bad_body()));
    assert_eq!(code(refused), ReasonCode::BadBody);
    let refused = block_on(read::metadata(&world.gateway, &flawed(), &by_id(&key)));
    assert_eq!(code(refused), ReasonCode::InvalidHeader);
}

#[test]
fn the_chain_is_asked_once_a_request_even_about_a_key_that_is_not_there() {
    let world = World::new();
    let key = world.root_key();
    block_on(read::metadata(&world.gateway, &cx(FIRST), &by_id(&key))).unwrap();
    let _ = block_on(read::metadata(&world.gateway, &cx(FIRST), &KeySelector::parse("no-such-key")));
    let asked: Vec<_> = world.gate.asked().into_iter().map(|q| (q.action, q.target.key.is_some())).collect();
    let expected = [(Action::Create, false), (Action::ReadMetadata, true), (Action::ReadMetadata, false)];
    assert_eq!(asked, expected.map(|(action, key)| (action.iam().to_owned(), key)));
}

#[test]
fn an_obligation_that_is_not_known_is_a_denial() {
    let world = World::new();
    world.gate.say(Script::Oblige(vec![("karaoke", "sing-a-song", String::new())]));
    let Err(Error::Denied(denial)) = world.create(root("k")) else { panic!("not denied") };
    assert_eq!(denial.code, "UNKNOWN_OBLIGATION_ERR");
    assert!(denial.message.contains("sing-a-song"));
}

#[test]
fn every_request_leaves_one_event_and_refusals_of_rights_are_critical() {
    let world = World::new();
    let key = world.root_key();
    world.wrap(&key, b"x", &[]).unwrap();
    assert_eq!(code(world.wrap(&key, b"", &[])), ReasonCode::InvalidField);
    world.gate.say(Script::Deny);
    world.wrap(&key, b"x", &[]).unwrap_err();
    let events = world.audit.events();
    assert_eq!(events.len(), 4);
    assert!(events.iter().all(|event| event.correlation_id == "c0ffee" && event.initiator.id == "IBMid-1"));
    assert_eq!(events[1].outcome, Outcome::Success);
    assert_eq!(events[1].key, Some(key.id));
    assert_eq!(events[2].outcome, Outcome::Failure(Cause::Refused(ReasonCode::InvalidField)));
    assert!(matches!(&events[3].outcome, Outcome::Failure(Cause::Denied { .. })));
    assert_eq!(events[2].severity, Severity::Normal);
    assert_eq!(events[3].severity, Severity::Critical);
}

#[test]
fn nobody_learns_of_what_could_not_be_audited() {
    let world = World::new();
    let key = world.root_key();
    world.audit.break_down();
    let refused = world.wrap(&key, b"x", &[]);
    assert!(matches!(refused, Err(Error::Unrecorded(_))), "{refused:?}");
}

#[test]
fn nothing_is_done_that_could_not_be_audited() {
    let world = World::new();
    world.audit.fill_up();
    let refused = world.create(root("k"));
    assert!(matches!(refused, Err(Error::Unavailable { ref what, .. }) if what == "audit"), "{refused:?}");
    let keys = block_on(world.gateway.store.count(FIRST, &crate::store::KeyFilter::default())).unwrap();
    assert_eq!((keys, world.gate.asked().len()), (0, 0));
}

#[test]
fn events_tell_of_kinds_and_versions_and_never_of_material() {
    let world = World::new();
    let key = world.create(CreateKey { payload: plain(&[0x5A; 32]), ..root("k") }).unwrap().key;
    world.wrap(&key, b"very secret", &["an aad"]).unwrap();
    for event in world.audit.events() {
        let text = format!("{event:?}");
        assert!(text.contains("keyVersionId") && text.contains("\"root\""), "{text}");
        for secret in ["very secret", "an aad", "ZZZZ", "90, 90"] {
            assert!(!text.contains(secret), "{secret:?} in {text}");
        }
    }
}
