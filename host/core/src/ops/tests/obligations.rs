//! What rules oblige the host to, kept by every use case that can. The table of what can be kept where is the domain's own
//! ([`Duty::actions`]); here each line of it is driven once, so that no use case forgets. Notes
//! are no use case's: the pipeline keeps them, of every action alike.

use super::common::{DAY, by, fact};
use super::*;
use crate::access::obligations::{Duty, Note};
use crate::access::{Action, DenialKind};
use crate::audit::{Outcome, RecordedVerdict};
use crate::error::Cause;
use crate::fakes::world::Script;
use crate::key::KeyState;
use crate::ops::create::Overrides;
use crate::ops::material::SealedMaterial;
use crate::ops::{authorize, delete, read, rings};

fn oblige(world: &World, obligations: &[(&'static str, &'static str, &str)]) {
    world.gate.say(Script::Oblige(obligations.iter().copied().map(owned).collect()));
}

fn owned((rule, name, value): (&'static str, &'static str, &str)) -> (&'static str, &'static str, String) {
    (rule, name, value.to_owned())
}

fn denial<T: std::fmt::Debug>(result: Result<T, Error>) -> (DenialKind, String, String) {
    match result {
        Err(Error::Denied(denial)) => (denial.kind, denial.code, denial.message),
        other => panic!("not denied: {other:?}"),
    }
}

fn too_large<T: std::fmt::Debug>(result: Result<T, Error>) {
    let (kind, code, message) = denial(result);
    assert_eq!((kind, code.as_str()), (DenialKind::Forbidden, "DATA_TOO_LARGE_ERR"));
    assert!(message.contains("`small`") && message.contains("at most 16 bytes"), "{message}");
}

fn create_either(world: &World, overriding: bool, input: CreateKey) -> Result<Key, Error> {
    let input = CreateKey { overrides: overriding.then(Overrides::default), ..input };
    block_on(create::create(&world.gateway, &cx(FIRST), overriding, Ok(input))).map(|created| created.key)
}

fn imported(bytes: &[u8]) -> CreateKey {
    CreateKey { payload: plain(bytes), ..root("k") }
}

fn ring(world: &World, id: &str) {
    block_on(rings::create(&world.gateway, &cx(FIRST), id)).unwrap();
}

fn set(world: &World, user: &str, key: &Key) -> Result<Key, Error> {
    block_on(authorize::set(&world.gateway, &by(user), &by_id(key)))
}

fn unset(world: &World, user: &str, key: &Key) -> Result<Key, Error> {
    block_on(authorize::unset(&world.gateway, &by(user), &by_id(key)))
}

fn delete(world: &World, user: &str, key: &Key) -> Result<Key, Error> {
    block_on(delete::delete(&world.gateway, &by(user), &by_id(key), Ok(true)))
}

fn rotate_to(world: &World, key: &Key, bytes: &[u8]) -> Result<Key, Error> {
    let input = rotate::Rotate { payload: plain(bytes) };
    block_on(rotate::rotate(&world.gateway, &cx(FIRST), &by_id(key), Ok(input)))
}

const TWO: (&str, &str, &str) = ("two", "require-dual-authorization", "");
const SMALL: (&str, &str, &str) = ("small", "max-data-bytes", "16");
const PROD: (&str, &str, &str) = ("sorted", "new-key-ring", "prod");
const TAGS: (&str, &str, &str) = ("sorted", "new-key-tags", r#"["pci","eu"]"#);

/// Drives one line of the table: with the obligation the host does something else than without.
fn is_kept(action: Action, duty: Duty) {
    let world = World::new();
    let overriding = action == Action::CreateWithOverrides;
    match (action, duty) {
        (Action::Create | Action::CreateWithOverrides, Duty::MaxDataBytes) => {
            oblige(&world, &[SMALL]);
            too_large(create_either(&world, overriding, imported(&[1; 32])));
            assert!(create_either(&world, overriding, imported(&[1; 16])).is_ok());
            assert!(create_either(&world, overriding, root("generated")).is_ok(), "it brings no data");
        }
        (Action::Create | Action::CreateWithOverrides, Duty::NewKeyRing) => {
            ring(&world, "prod");
            oblige(&world, &[PROD]);
            let key = create_either(&world, overriding, root("k")).unwrap();
            assert_eq!(world.stored(&key).unwrap().ring.as_str(), "prod");
        }
        (Action::Create | Action::CreateWithOverrides, Duty::NewKeyTags) => {
            oblige(&world, &[TAGS]);
            let key =
                create_either(&world, overriding, CreateKey { tags: texts(&["eu", "mine"]), ..root("k") }).unwrap();
            assert_eq!(world.stored(&key).unwrap().tags, ["eu", "mine", "pci"]);
        }
        (Action::Rotate, Duty::MaxDataBytes) => {
            let key = world.create(imported(&[1; 32])).unwrap().key;
            oblige(&world, &[SMALL]);
            too_large(rotate_to(&world, &key, &[2; 24]));
            assert_eq!(world.stored(&key).as_ref(), Some(&key));
            assert!(rotate_to(&world, &key, &[2; 16]).is_ok());
        }
        (Action::Wrap, Duty::MaxDataBytes) => {
            let key = world.root_key();
            oblige(&world, &[SMALL]);
            too_large(world.wrap(&key, &[0; 17], &[]));
            assert!(world.wrap(&key, &[0; 16], &[]).is_ok());
        }
        (Action::Delete, Duty::RequireDualAuthorization) => {
            let key = world.root_key();
            oblige(&world, &[TWO]);
            assert_eq!(code(delete(&world, "first", &key)), ReasonCode::AuthorizationsNotMet);
            assert_eq!(world.stored(&key), Some(key));
        }
        (Action::SetKeyForDeletion, Duty::RequireDualAuthorization) => {
            let key = world.root_key();
            assert_eq!(code(set(&world, "first", &key)), ReasonCode::NotDualAuth);
            oblige(&world, &[TWO]);
            assert!(set(&world, "first", &key).unwrap().authorization.is_some());
        }
        (Action::UnsetKeyForDeletion, Duty::RequireDualAuthorization) => {
            let key = world.root_key();
            oblige(&world, &[TWO]);
            set(&world, "first", &key).unwrap();
            assert!(unset(&world, "second", &key).unwrap().authorization.is_none());
        }
        (_, Duty::AuditNote) => {}
        _ => panic!("nobody has written down how {} is kept in {}", duty.name(), action.iam()),
    }
}

#[test]
fn every_obligation_that_can_be_kept_in_an_action_is() {
    let mut lines = 0;
    for &duty in Duty::ALL {
        for &action in duty.actions() {
            is_kept(action, duty);
            lines += usize::from(duty != Duty::AuditNote);
        }
    }
    assert_eq!(lines, 11);
}

#[test]
fn the_rules_are_asked_about_the_ring_that_one_of_them_puts_a_key_into() {
    let (there, elsewhere) = (|script| Box::new(script), || Box::new(Script::Oblige(vec![owned(PROD)])));
    let other = ("other", "new-key-ring", "default");
    for (inside, kept) in [
        (Script::Allow, Ok("prod")),
        (Script::Oblige(vec![owned(PROD)]), Ok("prod")),
        (Script::Deny, Err("UNAUTHORIZED_ERR")),
        (Script::Oblige(vec![owned(other)]), Err("UNKNOWN_OBLIGATION_ERR")),
    ] {
        let world = World::new();
        ring(&world, "prod");
        world.gate.say(Script::Ring("prod", there(inside.clone()), elsewhere()));
        let before = world.gate.asked().len();
        let created = create_either(&world, false, root("k"));
        let asked: Vec<_> = world.gate.asked().drain(before..).map(|question| question.target.key_ring).collect();
        assert_eq!(asked, ["default", "prod"].map(|ring| Some(ring.to_owned())), "{inside:?}");
        match kept {
            Ok(ring) => assert_eq!(world.stored(&created.unwrap()).unwrap().ring.as_str(), ring, "{inside:?}"),
            Err(code) => assert_eq!(denial(created).1, code, "{inside:?}"),
        }
        let event = world.audit.events().pop().unwrap();
        let question = &event.decision.as_ref().unwrap().question;
        assert_eq!(question.target.key_ring.as_deref(), Some("prod"), "the question that was decided is kept");
        let first = event.decision.as_ref().unwrap().redirected.as_ref().unwrap();
        assert_eq!(first.named.as_deref(), Some("default"), "and so is what was asked for");
    }
}

#[test]
fn what_the_first_allow_depended_on_holds_beside_what_the_second_does() {
    let world = World::new();
    ring(&world, "prod");
    let outside = [PROD, SMALL, TAGS].map(owned).to_vec();
    let inside = vec![owned(("inside", "new-key-tags", r#"["prod"]"#)), owned(("inside", "audit-note", "sorted"))];
    world.gate.say(Script::Ring("prod", Box::new(Script::Oblige(inside)), Box::new(Script::Oblige(outside))));
    too_large(create_either(&world, false, imported(&[1; 32])));
    let key = create_either(&world, false, imported(&[1; 16])).unwrap();
    let stored = world.stored(&key).unwrap();
    assert_eq!((stored.ring.as_str(), stored.tags.as_slice()), ("prod", &texts(&["prod", "pci", "eu"])[..]));
    let event = world.audit.events().pop().unwrap();
    assert_eq!(event.decision.unwrap().notes, [Note { rule: "inside".into(), text: "sorted".into() }]);
}

#[test]
fn rules_are_told_where_a_new_key_goes_and_whether_its_material_comes_out() {
    let world = World::new();
    let standard = |payload: bool, returned: bool| CreateKey {
        kind: KeyKind::Standard,
        payload: payload.then(|| plain(&[1; 16])).flatten(),
        return_payload: returned,
        ..root("k")
    };
    for (input, returned) in [
        (root("k"), "false"),
        (CreateKey { return_payload: true, ..root("k") }, "false"),
        (standard(false, false), "false"),
        (standard(false, true), "true"),
        // The caller has it already.
        (standard(true, true), "false"),
    ] {
        create_either(&world, false, input).unwrap();
        assert_eq!(fact(&world.gate.facts(), "new-key.returned"), Some(returned));
        assert_eq!(world.gate.asked().pop().unwrap().target.key_ring.as_deref(), Some("default"));
    }
}

#[test]
fn a_key_that_a_rule_puts_under_dual_authorization_is_deleted_as_one_of_that_policy_is() {
    let world = World::new();
    let key = world.root_key();
    oblige(&world, &[TWO]);
    set(&world, "first", &key).unwrap();
    assert_eq!(code(delete(&world, "first", &key)), ReasonCode::AuthorizationsNotMet, "not by the same user");
    world.clock.travel(7 * DAY);
    assert_eq!(code(delete(&world, "second", &key)), ReasonCode::AuthorizationsNotMet, "it has lapsed");
    set(&world, "first", &key).unwrap();
    let deleted = delete(&world, "second", &key).unwrap();
    assert_eq!((deleted.state, &deleted.authorization), (KeyState::Destroyed, &None));
    assert_eq!(code(delete(&world, "second", &key)), ReasonCode::KeyDeleted);
}

#[test]
fn an_authorization_of_a_key_under_no_policy_lapses_by_itself() {
    let world = World::new();
    let key = world.root_key();
    oblige(&world, &[TWO]);
    set(&world, "first", &key).unwrap();
    world.clock.travel(7 * DAY);
    let tended = block_on(crate::ops::life::tend(&world.gateway));
    assert_eq!((tended.done, tended.failed.len()), (1, 0));
    assert!(world.stored(&key).unwrap().authorization.is_none());
}

#[test]
fn what_only_the_backend_can_open_counts_as_the_longest_that_it_could_be() {
    let world = World::new();
    let sealed = |iv| SealedMaterial {
        algorithm: "RSAES_OAEP_SHA_256".to_owned(),
        encrypted_key: vec![1; 512],
        encrypted_nonce: vec![1; 28],
        iv: vec![0; iv],
    };
    let input = || CreateKey { payload: Some(Material::UnderToken(sealed(12))), ..root("k") };
    oblige(&world, &[SMALL]);
    too_large(world.create(input()));
    oblige(&world, &[("small", "max-data-bytes", "32")]);
    assert_eq!(code(world.create(input())), ReasonCode::ImportTokenNotFound, "past the bound");
}

#[test]
fn the_bound_is_told_before_anything_about_the_key() {
    let world = World::new();
    oblige(&world, &[SMALL]);
    let input = wrap::Wrap { plaintext: Some(secret(&[0; 64])), aad: Vec::new() };
    too_large(block_on(wrap::wrap(&world.gateway, &cx(FIRST), &KeySelector::parse("no-such-key"), Ok(input))));
}

#[test]
fn a_ring_and_tags_of_a_rule_are_held_to_what_a_clients_own_are() {
    let world = World::new();
    oblige(&world, &[PROD]);
    assert_eq!(code(world.create(root("k"))), ReasonCode::KeyRingNotFound);
    oblige(&world, &[TAGS]);
    let many: Vec<_> = (0..29).map(|n| n.to_string()).collect();
    let result = world.create(CreateKey { tags: many.clone(), ..root("k") });
    assert_eq!(code(result), ReasonCode::InvalidField, "31 of them");
    assert!(world.create(CreateKey { tags: many[..28].to_vec(), ..root("k") }).is_ok());
}

#[test]
fn a_rules_ring_goes_before_the_one_that_the_request_names() {
    let world = World::new();
    ring(&world, "prod");
    ring(&world, "dev");
    oblige(&world, &[PROD]);
    let key = block_on(create::create(&world.gateway, &in_ring("dev"), false, Ok(root("k")))).unwrap().key;
    assert_eq!(key.ring.as_str(), "prod");
    assert_eq!(fact(&world.last_event().request, "keyRingId"), Some("prod"));
}

#[test]
fn notes_stand_in_the_audit_event_and_with_it_what_was_asked() {
    let world = World::new();
    let key = world.root_key();
    oblige(&world, &[("watcher", "audit-note", "after hours"), ("other", "audit-note", "second")]);
    block_on(read::metadata(&world.gateway, &cx(FIRST), &by_id(&key))).unwrap();
    let decision = world.last_event().decision.unwrap();
    let note = |rule: &str, text: &str| Note { rule: rule.to_owned(), text: text.to_owned() };
    assert_eq!(decision.notes, [note("watcher", "after hours"), note("other", "second")]);
    assert_eq!((decision.verdict, decision.at), (RecordedVerdict::Allow, world.now()));
    assert_eq!(Some(&*decision.question), world.gate.asked().last());
    assert_eq!(decision.question.target.key.as_ref().unwrap().id, key.id.to_string());
}

#[test]
fn an_allow_that_is_not_kept_is_recorded_as_the_denial_that_it_became() {
    let world = World::new();
    let key = world.root_key();
    for (obligation, expected) in [(TWO, "UNKNOWN_OBLIGATION_ERR"), (SMALL, "DATA_TOO_LARGE_ERR")] {
        oblige(&world, &[obligation]);
        let (_, code, _) = denial(world.wrap(&key, &[0; 17], &[]));
        let event = world.last_event();
        assert_eq!(
            (code.as_str(), event.decision.unwrap().verdict),
            (expected, RecordedVerdict::Deny(expected.to_owned()))
        );
        assert!(matches!(event.outcome, Outcome::Failure(Cause::Denied { code, .. }) if code == expected));
    }
}
