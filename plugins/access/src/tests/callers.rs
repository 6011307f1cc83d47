//! Services, users, and whose a resource is.

use super::*;

const REGISTRATIONS: [&str; 4] =
    ["kms.registrations.create", "kms.registrations.merge", "kms.registrations.write", "kms.registrations.delete"];

fn registering(action: &str, kind: PrincipalKind, service: Option<&str>, resource: Option<&str>) -> Request {
    let mut request = about_key(action, assignment("Reader"));
    request.principal.kind = kind;
    request.principal.service_name = service.map(str::to_owned);
    match resource {
        Some(resource) => with(request, &[("resource.service", resource)]),
        None => request,
    }
}

#[test]
fn a_service_registers_resources_of_its_own() {
    let cases = [
        (Some("cloud-object-storage"), Some("cloud-object-storage"), Outcome::Allowed),
        (Some("cloud-object-storage"), Some("databases-for-redis"), Outcome::NotOwner),
        (Some("cloud-object-storage"), Some("Cloud-Object-Storage"), Outcome::NotOwner),
        (Some("cloud-object-storage"), Some("cloud-object-storage "), Outcome::NotOwner),
        (Some("cloud-object-storage"), Some("cloud-object"), Outcome::NotOwner),
        (Some("cloud-object-storage"), Some(""), Outcome::NotOwner),
        (Some(""), Some(""), Outcome::NotOwner),
        (None, Some("cloud-object-storage"), Outcome::NotOwner),
        (None, Some(""), Outcome::NotOwner),
        // A CRN that cannot be read: the host refuses it.
        (Some("cloud-object-storage"), None, Outcome::Allowed),
    ];
    for action in REGISTRATIONS {
        for (service, resource, expected) in &cases {
            let (outcome, memo) = ask_all(&registering(action, PrincipalKind::Service, *service, *resource));
            assert_eq!(outcome, *expected, "{action} {service:?} {resource:?}");
            assert_eq!(memo.reads, basis() | Facts::ATTRIBUTES);
        }
    }
}

#[test]
fn a_user_is_told_so_and_never_whose_the_resource_is() {
    for action in REGISTRATIONS {
        for resource in [Some("cloud-object-storage"), Some("databases-for-redis"), None] {
            let asked = registering(action, PrincipalKind::User, Some("cloud-object-storage"), resource);
            assert_eq!(ask_all(&asked), (Outcome::ServiceOnly, Memo { reads: basis(), valid_until_unix_ms: None }));
        }
    }
}

#[test]
fn lists_and_acknowledgements_ask_for_no_owner() {
    let list = registering("kms.registrations.list", PrincipalKind::User, None, Some("databases-for-redis"));
    assert_eq!(ask(&list), Outcome::Allowed);
    let event = request("kms.secrets.eventack", PrincipalKind::Service, vec![assignment("Reader")]);
    assert_eq!(ask(&with(event, &[("resource.service", "databases-for-redis")])), Outcome::Allowed);
}

#[test]
fn whoever_has_no_role_or_comes_from_outside_is_told_nothing_of_it() {
    for action in REGISTRATIONS {
        for kind in [PrincipalKind::User, PrincipalKind::Service] {
            let mut asked = registering(action, kind, Some("cloud-object-storage"), Some("databases-for-redis"));
            let outside = under(asked.clone(), "allowedIP", &[("allowed_ip", "10.0.0.0/8")]);
            assert_eq!(ask(&outside), Outcome::Unauthorized, "{action} {kind:?}");
            let public = under(asked.clone(), "allowedNetwork", &[("allowed_network", "private-only")]);
            assert_eq!(ask(&public), Outcome::Unauthorized, "{action} {kind:?}");
            asked.principal.assignments.clear();
            assert_eq!(ask(&asked), Outcome::Unauthorized, "{action} {kind:?}");
        }
    }
}
