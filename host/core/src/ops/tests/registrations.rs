//! Registrations: made, merged, replaced, ended, listed.

use super::*;
use crate::crn::ResourceCrn;
use crate::key::KeyState;
use crate::ops::registrations::{self, ListRegistrations, RegistrationInput, RegistrationView};
use crate::ops::{delete, events, read, restore, rings};
use crate::registration::{LifecycleKind, RegistrationState};
use crate::store::{Page, PageRequest};

pub(super) const COS: &str = "cloud-object-storage";
const ALL: PageRequest = PageRequest { offset: 0, limit: 5_000 };

pub(super) fn bucket(name: &str) -> String {
    format!("crn:v1:bluemix:public:{COS}:global:a/0a:feddecaf-0000-0000-0000-1234567890ab:bucket:{name}")
}

fn described(text: &str) -> RegistrationInput {
    RegistrationInput { description: Some(text.to_owned()), ..RegistrationInput::default() }
}

type Made = Result<(RegistrationView, bool), Error>;

pub(super) fn register(world: &World, key: &Key, crn: &str, input: RegistrationInput) -> Made {
    register_on(&world.gateway, &by_id(key), crn, input)
}

fn register_on(gateway: &Gateway, selector: &KeySelector, crn: &str, input: RegistrationInput) -> Made {
    block_on(registrations::create(gateway, &service(COS), selector, crn, Ok(input)))
}

fn merge(world: &World, key: &Key, crn: &str, input: RegistrationInput) -> Made {
    block_on(registrations::merge(&world.gateway, &service(COS), &by_id(key), crn, Ok(input)))
}

fn write(world: &World, key: &Key, crn: &str, input: RegistrationInput) -> Made {
    block_on(registrations::write(&world.gateway, &service(COS), &by_id(key), crn, Ok(input)))
}

fn remove(world: &World, key: &Key, crn: &str) -> Result<RegistrationView, Error> {
    block_on(registrations::delete(&world.gateway, &service(COS), &by_id(key), crn))
}

fn deactivate(world: &World, key: &Key, crn: &str) -> Result<RegistrationView, Error> {
    block_on(registrations::deactivate(&world.gateway, &service(COS), &by_id(key), Ok(crn.to_owned())))
}

fn find(world: &World, key: &Key, crn: &str) -> Option<crate::registration::Registration> {
    block_on(world.gateway.store.registration(FIRST, key.id, &ResourceCrn::parse(crn).unwrap())).unwrap()
}

fn force_delete(world: &World, key: &Key) -> Result<Key, Error> {
    block_on(delete::delete(&world.gateway, &cx(FIRST), &by_id(key), Ok(true)))
}

fn look(world: &World, key: &Key) -> Key {
    block_on(read::metadata(&world.gateway, &cx(FIRST), &by_id(key))).unwrap()
}

fn pending(world: &World) -> Vec<LifecycleKind> {
    let page = block_on(events::list(&world.gateway, &cx(FIRST), Ok(ALL))).unwrap();
    page.items.into_iter().map(|event| event.kind).collect()
}

#[test]
fn a_resource_is_registered_once_and_again_only_alike() {
    let world = World::new();
    let key = world.root_key();
    let (view, is_new) = register(&world, &key, &bucket("b"), described("mine")).unwrap();
    assert!(is_new);
    assert_eq!((view.key_name.as_str(), view.registration.description.as_deref()), ("k", Some("mine")));
    assert_eq!(view.registration.version, key.current_version);
    assert_eq!(view.registration.state, RegistrationState::Active);
    assert!(!view.registration.prevent_key_deletion);
    assert_eq!(world.gate.facts(), [("resource.service".to_owned(), COS.to_owned())]);

    world.clock.travel(HOUR);
    let said = RegistrationInput { prevent_key_deletion: Some(false), ..described("mine") };
    assert_eq!(register(&world, &key, &bucket("b"), said).unwrap(), (view, false));
    let others = [
        described("yours"),
        RegistrationInput::default(),
        RegistrationInput { prevent_key_deletion: Some(true), ..described("mine") },
        RegistrationInput { note: Some("n".to_owned()), ..described("mine") },
    ];
    for other in others {
        assert_eq!(code(register(&world, &key, &bucket("b"), other)), ReasonCode::RegistrationDuplicate);
    }
    assert!(register(&world, &key, &bucket("c"), described("yours")).unwrap().1, "another resource");
    assert!(register(&world, &world.root_key(), &bucket("b"), described("yours")).unwrap().1, "another key");
}

#[test]
fn registering_changes_nothing_about_the_key_but_its_revision() {
    let world = World::new();
    let now = crate::ports::Clock::now(world.clock.as_ref());
    let key = world.create(CreateKey { expires_at: Some(now.plus(HOUR)), ..root("k") }).unwrap().key;
    register(&world, &key, &bucket("b"), RegistrationInput::default()).unwrap();
    assert_eq!(look(&world, &key), Key { revision: 2, ..key.clone() });

    world.clock.travel(HOUR);
    merge(&world, &key, &bucket("b"), described("late")).unwrap();
    let stored = block_on(world.gateway.store.key(FIRST, key.id)).unwrap().unwrap();
    assert_eq!(stored, Key { revision: 3, ..key }, "that it expired is for somebody else to record");
}

#[test]
fn what_is_no_crn_is_refused_after_the_chain_was_asked_without_it() {
    let world = World::new();
    let key = world.root_key();
    let star = bucket("*");
    for bad in ["", "crn", "bucket", "crn:v1:bluemix:public:cos", "crn:v1:a:b:c:d:e:f:g:h:i", star.as_str()] {
        let refused = [
            register(&world, &key, bad, RegistrationInput::default()).map(|_| ()),
            merge(&world, &key, bad, RegistrationInput::default()).map(|_| ()),
            write(&world, &key, bad, RegistrationInput::default()).map(|_| ()),
            remove(&world, &key, bad).map(|_| ()),
        ];
        assert!(world.gate.facts().is_empty(), "{bad:?}");
        for refused in refused {
            let Err(Error::Refused(reasons)) = refused else { panic!("{bad:?} was taken for a CRN") };
            assert_eq!(reasons[0].code, ReasonCode::InvalidParam, "{bad:?}");
            let target = crate::error::Target::Param("urlEncodedResourceCRN".to_owned());
            assert_eq!(reasons[0].target, Some(target), "{bad:?}");
        }
        assert_eq!(code(deactivate(&world, &key, bad)), ReasonCode::InvalidField, "{bad:?}");
    }
}

#[test]
fn only_active_root_keys_take_registrations() {
    let world = World::new();
    let now = crate::ports::Clock::now(world.clock.as_ref());
    let standard = world.create(CreateKey { kind: KeyKind::Standard, ..root("s") }).unwrap().key;
    let refused = register(&world, &standard, &bucket("b"), RegistrationInput::default());
    assert_eq!(code(refused), ReasonCode::KeyRootRequiredToRegister);
    let deleted = world.root_key();
    force_delete(&world, &deleted).unwrap();
    let expired = world.create(CreateKey { expires_at: Some(now.plus(HOUR)), ..root("k") }).unwrap().key;
    world.clock.travel(HOUR);
    for key in [&deleted, &expired] {
        let refused = register(&world, key, &bucket("b"), RegistrationInput::default());
        assert_eq!(code(refused), ReasonCode::KeyInvalidState);
    }
    let nowhere = KeySelector::parse("no-such-key");
    let refused = register_on(&world.gateway, &nowhere, &bucket("b"), described("d"));
    assert_eq!(code(refused), ReasonCode::KeyNotFound);
}

#[test]
fn what_a_service_says_has_bounds() {
    let world = World::new();
    let key = world.root_key();
    let long = RegistrationInput { note: Some("n".repeat(4097)), ..described(&"d".repeat(241)) };
    let Err(Error::Refused(reasons)) = register(&world, &key, &bucket("b"), long) else { panic!("not refused") };
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    let most = RegistrationInput { note: Some("n".repeat(4096)), ..described(&"é".repeat(240)) };
    assert!(register(&world, &key, &bucket("b"), most).is_ok());
}

#[test]
fn a_merge_changes_what_is_given_and_a_replacement_all() {
    let world = World::new();
    let key = world.root_key();
    let all =
        RegistrationInput { prevent_key_deletion: Some(true), note: Some("note".to_owned()), ..described("first") };
    let made = register(&world, &key, &bucket("b"), all).unwrap().0.registration;
    world.clock.travel(HOUR);
    let (merged, is_new) = merge(&world, &key, &bucket("b"), described("second")).unwrap();
    let merged = merged.registration;
    assert!(!is_new);
    assert_eq!((merged.description.as_deref(), merged.note.as_deref()), (Some("second"), Some("note")));
    assert!(merged.prevent_key_deletion);
    assert_eq!((&merged.created, merged.updated.at), (&made.created, made.updated.at.plus(HOUR)));

    let written = write(&world, &key, &bucket("b"), RegistrationInput::default()).unwrap().0.registration;
    assert_eq!((written.description.clone(), written.note.clone(), written.prevent_key_deletion), (None, None, false));
    assert_eq!((written.version, &written.created), (made.version, &made.created));
    assert_eq!(find(&world, &key, &bucket("b")), Some(written));
}

#[test]
fn registrations_that_are_not_there_are_not_changed() {
    let world = World::new();
    let (key, other) = (world.root_key(), world.root_key());
    register(&world, &other, &bucket("b"), RegistrationInput::default()).unwrap();
    let refused = [
        merge(&world, &key, &bucket("b"), described("d")).map(|_| ()),
        write(&world, &key, &bucket("b"), described("d")).map(|_| ()),
        remove(&world, &key, &bucket("b")).map(|_| ()),
        deactivate(&world, &key, &bucket("b")).map(|_| ()),
    ];
    for refused in refused {
        assert_eq!(code(refused), ReasonCode::RegistrationNotFound);
    }
    assert_eq!(look(&world, &key).revision, 1);
}

#[test]
fn a_registration_moves_to_newer_versions_of_its_key_only() {
    let world = World::new();
    let key = world.root_key();
    register(&world, &key, &bucket("b"), described("d")).unwrap();
    let second = world.rotate(&key).unwrap().current_version;
    world.clock.travel(HOUR);
    let third = world.rotate(&key).unwrap();
    let at = |version| RegistrationInput { version: Some(version), ..described("d") };
    let moved = write(&world, &key, &bucket("b"), at(second)).unwrap().0.registration;
    assert_eq!(moved.version, second);
    assert!(write(&world, &key, &bucket("b"), at(second)).is_ok(), "where it is already");
    assert_eq!(code(write(&world, &key, &bucket("b"), at(key.current_version))), ReasonCode::KeyVersionInvalid);
    let foreign = world.root_key().current_version;
    assert_eq!(code(write(&world, &key, &bucket("b"), at(foreign))), ReasonCode::KeyVersionInvalid);
    let moved = merge(&world, &key, &bucket("b"), at(third.current_version)).unwrap().0.registration;
    assert_eq!((moved.version, moved.version_created_at), (third.current_version, third.current_version_created_at));

    assert_eq!(code(register(&world, &key, &bucket("c"), at(second))), ReasonCode::KeyVersionInvalid);
    assert!(register(&world, &key, &bucket("c"), at(third.current_version)).unwrap().1);
}

#[test]
fn a_registration_that_is_deleted_takes_what_is_pending_along() {
    let world = World::new();
    let key = world.root_key();
    register(&world, &key, &bucket("b"), described("d")).unwrap();
    register(&world, &key, &bucket("c"), described("d")).unwrap();
    world.rotate(&key).unwrap();
    assert_eq!(pending(&world), [LifecycleKind::Rotated; 2]);
    let gone = remove(&world, &key, &bucket("b")).unwrap().registration;
    assert_eq!(gone.crn.as_str(), bucket("b"));
    assert_eq!(pending(&world), [LifecycleKind::Rotated], "the other one's stays");
    assert_eq!(code(remove(&world, &key, &bucket("b"))), ReasonCode::RegistrationNotFound);
    assert!(register(&world, &key, &bucket("b"), described("again")).unwrap().1);
}

#[test]
fn the_deletion_of_a_key_is_acknowledged_once() {
    let world = World::new();
    let key = world.root_key();
    register(&world, &key, &bucket("b"), described("d")).unwrap();
    assert_eq!(code(deactivate(&world, &key, &bucket("b"))), ReasonCode::RegistrationState, "it is Active");
    world.rotate(&key).unwrap();
    force_delete(&world, &key).unwrap();
    assert_eq!(find(&world, &key, &bucket("b")).unwrap().state, RegistrationState::Suspended);
    assert_eq!(pending(&world), [LifecycleKind::Rotated, LifecycleKind::Deleted]);
    let ended = deactivate(&world, &key, &bucket("b")).unwrap().registration;
    assert_eq!(ended.state, RegistrationState::Deactivated);
    assert_eq!(find(&world, &key, &bucket("b")), Some(ended));
    assert_eq!(pending(&world), [LifecycleKind::Rotated], "the deletion is acknowledged, and nothing else");
    assert_eq!(code(deactivate(&world, &key, &bucket("b"))), ReasonCode::RegistrationState);
}

#[test]
fn a_registration_that_ended_with_its_key_begins_anew_with_it() {
    let world = World::new();
    let key = world.root_key();
    let old = RegistrationInput { note: Some("old".to_owned()), ..described("old") };
    register(&world, &key, &bucket("b"), old).unwrap();
    force_delete(&world, &key).unwrap();
    deactivate(&world, &key, &bucket("b")).unwrap();
    world.clock.travel(HOUR);
    block_on(restore::restore(&world.gateway, &cx(FIRST), &by_id(&key), Ok(restore::Restore::default()))).unwrap();
    let (view, is_new) = register(&world, &key, &bucket("b"), described("new")).unwrap();
    let again = view.registration;
    assert!(is_new);
    assert_eq!((again.state, again.note, again.description.as_deref()), (RegistrationState::Active, None, Some("new")));
    assert_eq!(again.created.at, key.created_at.plus(HOUR));
    assert_eq!(look(&world, &key).state, KeyState::Active);
}

#[test]
fn a_key_that_is_deleted_meanwhile_takes_no_registration() {
    let world = World::new();
    let key = world.root_key();
    let selector = by_id(&key);
    let gateway = world.meanwhile(move |gateway| {
        block_on(delete::delete(gateway, &cx(FIRST), &selector, Ok(false))).unwrap();
    });
    let late = register_on(&gateway, &by_id(&key), &bucket("b"), described("d"));
    assert_eq!(code(late), ReasonCode::KeyInvalidState);
    assert_eq!(find(&world, &key, &bucket("b")), None);
}

#[test]
fn a_key_that_moves_to_another_ring_meanwhile_is_not_the_one_that_was_asked_about() {
    let world = World::new();
    block_on(rings::create(&world.gateway, &cx(FIRST), "prod")).unwrap();
    let key = world.root_key();
    let id = key.id;
    let gateway = world.meanwhile(move |gateway| {
        let key = block_on(gateway.store.key(FIRST, id)).unwrap().unwrap();
        let moved = Key { ring: KeyRingId::parse("prod").unwrap(), revision: key.revision + 1, ..key };
        block_on(gateway.store.commit(vec![crate::store::Change::UpdateKey { key: moved }])).unwrap();
    });
    let late = register_on(&gateway, &by_id(&key), &bucket("b"), described("d"));
    assert_eq!(code(late), ReasonCode::Conflict);
    assert_eq!(find(&world, &key, &bucket("b")), None);
}

#[test]
fn many_register_with_one_key_at_once_while_it_is_deleted_and_none_is_missed() {
    for _ in 0..20 {
        let world = World::new();
        let key = world.root_key();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (world, key) = (&world, &key);
                scope.spawn(move || {
                    for n in 0..5 {
                        let crn = bucket(&format!("{thread}-{n}"));
                        match register(world, key, &crn, RegistrationInput::default()) {
                            Ok((_, is_new)) => assert!(is_new),
                            Err(error) => assert_eq!(error.reason_code(), Some(ReasonCode::KeyInvalidState)),
                        }
                    }
                });
            }
            scope.spawn(|| while force_delete(&world, &key).is_err() {});
        });
        let page = list(&world, None, None);
        let suspended = |view: &RegistrationView| view.registration.state == RegistrationState::Suspended;
        assert!(page.items.iter().all(suspended), "a registration slipped in after the deletion");
        assert_eq!(pending(&world).len(), page.total);
    }
}

fn list(world: &World, key: Option<&Key>, resources: Option<&str>) -> Page<RegistrationView> {
    try_list(world, &cx(FIRST), key, resources).unwrap()
}

fn try_list(
    world: &World,
    cx: &RequestContext,
    key: Option<&Key>,
    resources: Option<&str>,
) -> Result<Page<RegistrationView>, Error> {
    let resources = resources.map(str::to_owned);
    let query = ListRegistrations { resources, prevent_key_deletion: None, page: ALL };
    let selector = key.map(by_id);
    block_on(registrations::list(&world.gateway, cx, selector.as_ref(), Ok(query)))
}

fn crns(page: &Page<RegistrationView>) -> Vec<&str> {
    page.items.iter().map(|view| view.registration.crn.as_str()).collect()
}

#[test]
fn registrations_are_listed_by_key_ring_resource_and_retention() {
    let world = World::new();
    block_on(rings::create(&world.gateway, &cx(FIRST), "prod")).unwrap();
    let one = world.create(root("one")).unwrap().key;
    let other = block_on(create::create(&world.gateway, &in_ring("prod"), false, Ok(root("other")))).unwrap().key;
    let retained = RegistrationInput { prevent_key_deletion: Some(true), ..RegistrationInput::default() };
    register(&world, &one, &bucket("a"), RegistrationInput::default()).unwrap();
    register(&world, &one, &bucket("b"), retained).unwrap();
    register(&world, &other, &bucket("ba"), RegistrationInput::default()).unwrap();

    let all = list(&world, None, None);
    assert_eq!(crns(&all), [bucket("a"), bucket("b"), bucket("ba")]);
    let names: Vec<_> = all.items.iter().map(|view| view.key_name.as_str()).collect();
    assert_eq!(names, ["one", "one", "other"]);
    assert_eq!(crns(&list(&world, Some(&one), None)), [bucket("a"), bucket("b")]);
    assert_eq!(crns(&list(&world, None, Some(""))).len(), 3, "an empty query is none");
    assert_eq!(crns(&list(&world, None, Some(&bucket("b*")))), [bucket("b"), bucket("ba")]);
    assert_eq!(crns(&list(&world, Some(&one), Some(&bucket("b*")))), [bucket("b")]);
    assert_eq!(crns(&try_list(&world, &in_ring("prod"), None, None).unwrap()), [bucket("ba")]);

    let query = |prevents, page| ListRegistrations { resources: None, prevent_key_deletion: Some(prevents), page };
    let list = |query| block_on(registrations::list(&world.gateway, &cx(FIRST), None, Ok(query))).unwrap();
    assert_eq!(crns(&list(query(true, ALL))), [bucket("b")]);
    let page = list(query(false, PageRequest { offset: 1, limit: 1 }));
    assert_eq!((crns(&page), page.total), (vec![bucket("ba").as_str()], 2));
}

#[test]
fn a_query_over_all_keys_names_its_service_instance() {
    let world = World::new();
    let key = world.root_key();
    register(&world, &key, &bucket("a"), RegistrationInput::default()).unwrap();
    let open = format!("crn:v1:bluemix:public:{COS}:global:*:*:*:*");
    assert_eq!(code(try_list(&world, &cx(FIRST), None, Some(&open))), ReasonCode::InvalidParam);
    assert_eq!(crns(&list(&world, Some(&key), Some(&open))), [bucket("a")], "of one key it may");
    for bad in ["crn:v1:bluemix:public:cos", "x", "crn:v1:bluemix:public:cos:global:a/0a:i:b*x:*"] {
        assert_eq!(code(try_list(&world, &cx(FIRST), None, Some(bad))), ReasonCode::InvalidParam, "{bad}");
        assert_eq!(code(try_list(&world, &cx(FIRST), Some(&key), Some(bad))), ReasonCode::InvalidParam, "{bad}");
    }
    let elsewhere = try_list(&world, &cx(SECOND), Some(&key), None);
    assert_eq!(code(elsewhere), ReasonCode::KeyNotFound);
}

#[test]
fn a_key_has_so_many_registrations_and_one_that_is_there_already_is_not_one_more() {
    let mut world = World::new();
    world.gateway.limits.registrations_per_key = 2;
    let (key, other) = (world.root_key(), world.root_key());
    let nothing = RegistrationInput::default;
    for name in ["a", "b"] {
        register(&world, &key, &bucket(name), nothing()).unwrap();
    }
    assert_eq!(code(register(&world, &key, &bucket("c"), nothing())), ReasonCode::RegistrationQuota);
    assert!(register(&world, &key, &bucket("a"), nothing()).is_ok(), "the same again");
    assert!(register(&world, &other, &bucket("c"), nothing()).is_ok(), "each key has its own");
    let crn = bucket("a");
    block_on(registrations::delete(&world.gateway, &service(COS), &by_id(&key), &crn)).unwrap();
    assert!(register(&world, &key, &bucket("c"), nothing()).is_ok());
}
