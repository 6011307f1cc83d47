//! What assignments cover, and what moving a key takes.

use super::*;
use crate::question::Question;

#[test]
fn ring_scope() {
    let scoped = RoleAssignment { key_ring: Some("payments".into()), ..assignment("Manager") };
    for action in ["kms.secrets.create", "kms.secrets.list", "kms.secrets.wrap", "kms.keyrings.create"] {
        let mut request = request(action, PrincipalKind::User, vec![scoped.clone()]);
        assert_eq!(ask(&request), Outcome::Unauthorized, "{action} in another ring");
        request.target.key_ring = None;
        assert_eq!(ask(&request), Outcome::Unauthorized, "{action} without a ring");
        request.target.key_ring = Some("payments".into());
        assert_eq!(ask(&request), Outcome::Allowed, "{action} in the ring");
    }
}

#[test]
fn type_scope() {
    let keys = RoleAssignment { resource_type: Some("key".into()), ..assignment("Manager") };
    let rings = RoleAssignment { resource_type: Some("keyring".into()), ..assignment("Manager") };
    for action in ["kms.secrets.create", "kms.secrets.list", "kms.secrets.wrap"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![keys.clone()])), Outcome::Allowed, "{action}");
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![rings.clone()])), Outcome::Unauthorized, "{action}");
    }
    for action in ["kms.keyrings.create", "kms.instancepolicies.write", "kms.importtoken.create"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![keys.clone()])), Outcome::Unauthorized, "{action}");
    }
}

#[test]
fn key_scope() {
    let this = RoleAssignment { resource_id: Some(KEY.into()), ..assignment("Manager") };
    let other = RoleAssignment { resource_id: Some(OTHER_KEY.into()), ..assignment("Manager") };
    assert_eq!(ask(&about_key("kms.secrets.wrap", this.clone())), Outcome::Allowed, "by an alias, too");
    assert_eq!(ask(&about_key("kms.secrets.wrap", other.clone())), Outcome::Unauthorized);

    let typed = RoleAssignment { resource_type: Some("key".into()), ..this.clone() };
    assert_eq!(ask(&about_key("kms.secrets.wrap", typed)), Outcome::Allowed);

    let mut missing = about_key("kms.secrets.wrap", this.clone());
    missing.target.key = None;
    missing.target.key_name = Some(KEY.into());
    assert_eq!(ask(&missing), Outcome::Allowed, "may learn that the key is gone");
    missing.target.key_name = Some(OTHER_KEY.into());
    assert_eq!(ask(&missing), Outcome::Unauthorized);

    // A key that exists counts by its id alone: nobody can name a key so that another one's assignment fits.
    let mut named_like = about_key("kms.secrets.wrap", other);
    named_like.target.key_name = Some(OTHER_KEY.into());
    assert_eq!(ask(&named_like), Outcome::Unauthorized);

    for action in ["kms.secrets.list", "kms.secrets.head", "kms.secrets.create", "kms.keyrings.list"] {
        assert_eq!(ask(&request(action, PrincipalKind::User, vec![this.clone()])), Outcome::Unauthorized, "{action}");
        assert_eq!(ask(&about_key(action, this.clone())), Outcome::Unauthorized, "{action} names no key");
    }
}

#[test]
fn scopes_narrow_together_and_do_not_lend_each_other_roles() {
    let reader = assignment("Reader");
    let manager_there = RoleAssignment { instance_id: Some(OTHER_INSTANCE.into()), ..assignment("Manager") };
    let both = vec![reader, manager_there];
    assert_eq!(ask(&request("kms.secrets.wrap", PrincipalKind::User, both.clone())), Outcome::Allowed);
    assert_eq!(ask(&request("kms.secrets.delete", PrincipalKind::User, both)), Outcome::Unauthorized);

    let narrow = RoleAssignment {
        instance_id: Some(INSTANCE.into()),
        key_ring: Some("payments".into()),
        resource_id: Some(KEY.into()),
        ..assignment("Manager")
    };
    let mut wrap = about_key("kms.secrets.wrap", narrow);
    assert_eq!(ask(&wrap), Outcome::Unauthorized, "the key is in ring `default`");
    wrap.target.key_ring = Some("payments".into());
    assert_eq!(ask(&wrap), Outcome::Allowed);
}

/// Somebody who wants to move the key from ring `default` to another.
fn moving(assignments: Vec<RoleAssignment>, ring: &str) -> Request {
    let mut request = about_key("kms.secrets.patch", assignment("Manager"));
    request.principal.assignments = assignments;
    with(request, &[("new-ring", ring)])
}

#[test]
fn moving_a_key_takes_the_role_on_the_key_and_on_the_ring_it_goes_to() {
    let manager = assignment("Manager");
    let on_ring = |role: &str, ring: &str| RoleAssignment { key_ring: Some(ring.into()), ..assignment(role) };
    let on_key = RoleAssignment { resource_id: Some(KEY.into()), ..manager.clone() };
    let on_key_in = |id: &str, ring: &str| RoleAssignment { resource_id: Some(id.into()), ..on_ring("Manager", ring) };
    let keys_of = |ring: &str| RoleAssignment { resource_type: Some("key".into()), ..on_ring("Manager", ring) };
    let rings = RoleAssignment { resource_type: Some("keyring".into()), ..manager.clone() };
    let in_instance =
        |id: &str, ring: &str| RoleAssignment { instance_id: Some(id.into()), ..on_ring("Manager", ring) };
    let cases = [
        (vec![manager.clone()], true, "on everything"),
        (vec![on_ring("Manager", "default")], false, "on the old ring alone"),
        (vec![on_ring("Manager", "payments")], false, "on the new ring alone"),
        (vec![on_ring("Manager", "default"), on_ring("Manager", "payments")], true, "on both"),
        (vec![on_ring("Manager", "default"), on_ring("Manager", "other")], false, "on a third ring"),
        (vec![on_ring("Manager", "default"), on_ring("Writer", "payments")], false, "too low a role on the new ring"),
        (vec![on_ring("Writer", "default"), on_ring("Manager", "payments")], false, "too low a role on the key"),
        (vec![on_key.clone()], false, "on the key alone"),
        (vec![on_key.clone(), on_ring("Manager", "payments")], true, "on the key and the ring"),
        (vec![on_key.clone(), on_key_in(KEY, "payments")], true, "on the key and on it in the ring"),
        (vec![on_key.clone(), on_key_in(OTHER_KEY, "payments")], false, "on another key in the ring"),
        (vec![on_key.clone(), on_key_in(KEY, "default")], false, "on the key where it is, twice"),
        (vec![keys_of("default"), keys_of("payments")], true, "on the keys of both rings"),
        (vec![on_key.clone(), rings], false, "on something that is not known"),
        (vec![on_key.clone(), in_instance(INSTANCE, "payments")], true, "on the ring, here"),
        (vec![on_key, in_instance(OTHER_INSTANCE, "payments")], false, "on a ring of that name elsewhere"),
    ];
    for (assignments, allowed, why) in cases {
        let (outcome, memo) = ask_all(&moving(assignments, "payments"));
        assert_eq!(outcome, if allowed { Outcome::Allowed } else { Outcome::Unauthorized }, "{why}");
        assert!(memo.reads == basis() | Facts::ATTRIBUTES || outcome == Outcome::Unauthorized, "{why}");
    }
}

#[test]
fn a_patch_without_a_ring_takes_the_role_on_the_key() {
    let on_key = RoleAssignment { resource_id: Some(KEY.into()), ..assignment("Manager") };
    assert_eq!(ask(&about_key("kms.secrets.patch", on_key.clone())), Outcome::Allowed, "the host refuses the body");
    assert_eq!(ask(&moving(vec![on_key], "")), Outcome::Unauthorized, "a ring without a name is a ring");
}

#[test]
fn only_a_patch_asks_for_the_new_ring() {
    let here = RoleAssignment { key_ring: Some("default".into()), ..assignment("Manager") };
    let disable = about_key("kms.secrets.disable", here);
    assert_eq!(ask(&with(disable, &[("new-ring", "payments")])), Outcome::Allowed);
}

#[test]
fn a_forced_ring_deletion_takes_the_right_to_move_keys_too() {
    let delete = |assignment: RoleAssignment| request("kms.keyrings.delete", PrincipalKind::User, vec![assignment]);
    let here = RoleAssignment { key_ring: Some("default".into()), ..assignment("Manager") };
    let there = RoleAssignment { key_ring: Some("payments".into()), ..assignment("Manager") };
    for force in ["true", "false"] {
        let facts = [("force", force)];
        assert_eq!(ask(&with(delete(assignment("Manager")), &facts)), Outcome::Allowed);
        assert_eq!(ask(&with(delete(here.clone()), &facts)), Outcome::Allowed);
        assert_eq!(ask(&with(delete(there.clone()), &facts)), Outcome::Unauthorized);
        assert_eq!(ask(&with(delete(assignment("Writer")), &facts)), Outcome::Unauthorized);
        let mut unreadable = with(delete(assignment("Manager")), &facts);
        unreadable.target.key_ring = None;
        assert_eq!(ask(&unreadable), Outcome::Allowed, "the host refuses the path");
    }

    // Today whoever may delete a ring may also move its keys. This is the question that is asked should it ever differ.
    let keys = RoleAssignment { resource_id: Some(KEY.into()), ..assignment("Manager") };
    let cases =
        [(assignment("Manager"), true), (here, true), (there, false), (assignment("Writer"), false), (keys, false)];
    for (assignment, expected) in cases {
        let request = delete(assignment.clone());
        assert_eq!(crate::scope::may_move(&Question::new(&request), Some("default")), expected, "{assignment:?}");
    }
}
