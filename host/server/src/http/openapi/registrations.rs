//! Registrations and events: what services tell and are told.

use http::Method;
use keygate_core::error::ReasonCode as Code;
use serde_json::json;

use super::operation::Operation;
use super::requests::{EventAcknowledgement, Many, One, RegistrationRequest, ResourceCrnRequest};
use super::schemas::Schemas;
use super::shape;
use crate::http::answer::MediaType;
use crate::http::dto::Collection;
use crate::http::dto::registration::{LifecycleEventBody, RegistrationBody, ResourceCrnBody};

const TAG: &str = "Registrations";
const ONE: &str = "/api/v2/keys/{id}/registrations/{crn}";
const OF_KEY: &str = "/api/v2/keys/{id}/registrations";
const OF_ALL_KEYS: &str = "/api/v2/keys/registrations";
const TYPES: [&str; 2] = ["application/vnd.ibm.kms.registration_input+json", "application/json"];

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let registrations = schemas.answer::<Collection<RegistrationBody>>();
    let mut operations = writing(schemas);
    operations.extend([
        Operation::new(Method::DELETE, ONE, "deleteRegistration", TAG, "End a registration")
            .of_key()
            .prefer()
            .answers(
                200,
                "The registration as it was, with `Prefer: return=representation`",
                MediaType::Registration,
                &registrations,
            )
            .answers_empty(204, "Ended")
            .refuses(&[Code::InvalidParam, Code::RegistrationNotFound, Code::Conflict])
            .by_services(),
        Operation::new(Method::POST, OF_KEY, "actionOnRegistration", TAG, "Acknowledge that a key was deleted")
            .deprecated()
            .of_key()
            .prefer()
            .required_query("action", "What to do", json!({"type": "string", "enum": ["deactivate"]}))
            .body(
                &["application/vnd.ibm.kms.resource_crn+json", "application/json"],
                &schemas.request::<One<ResourceCrnRequest>>(),
            )
            .answers(
                200,
                "Whose it was, with `Prefer: return=representation`",
                MediaType::ResourceCrn,
                &schemas.answer::<Collection<ResourceCrnBody>>(),
            )
            .answers_empty(204, "Deactivated")
            .refuses(&[Code::RegistrationNotFound, Code::RegistrationState, Code::Conflict])
            .by_services(),
        listing(
            Operation::new(Method::GET, OF_KEY, "getRegistrations", TAG, "List the registrations of a key").of_key(),
            schemas,
        ),
        listing(
            Operation::new(
                Method::GET,
                OF_ALL_KEYS,
                "getRegistrationsAllKeys",
                TAG,
                "List the registrations of all keys",
            )
            .ring(),
            schemas,
        ),
        Operation::new(Method::POST, "/api/v2/event_ack", "eventAcknowledge", TAG, "Acknowledge events")
            .about("All of them are taken, or none.")
            .ring()
            .body(
                &["application/vnd.ibm.kms.event_acknowledge+json", "application/json"],
                &schemas.request::<Many<EventAcknowledgement>>(),
            )
            .answers_empty(204, "Acknowledged")
            .refuses(&[Code::NoBody, Code::EventNotFound, Code::Conflict])
            .by_services(),
        Operation::new(Method::GET, "/keygate/v1/events", "listEvents", TAG, "List events that are not acknowledged")
            .about("Keygate's own: it is no part of the Key Protect API.")
            .ring()
            .paged(200)
            .answers(
                200,
                "The events, oldest first",
                MediaType::LifecycleEvent,
                &schemas.answer::<Collection<LifecycleEventBody>>(),
            ),
    ]);
    operations
}

fn writing(schemas: &mut Schemas) -> Vec<Operation> {
    let registrations = schemas.answer::<Collection<RegistrationBody>>();
    let body = schemas.request::<One<RegistrationRequest>>();
    let new = |operation: Operation| {
        operation
            .of_key()
            .body(&TYPES, &body)
            .refuses(&[
                Code::NoBody,
                Code::InvalidParam,
                Code::KeyRootRequiredToRegister,
                Code::KeyInvalidState,
                Code::KeyVersionInvalid,
                Code::Conflict,
            ])
            .by_services()
            .answers(200, "The registration", MediaType::Registration, &registrations)
    };
    vec![
        new(Operation::new(Method::POST, ONE, "createRegistration", TAG, "Register a resource that a key protects"))
            .answers(201, "The registration, which is new", MediaType::Registration, &registrations)
            .refuses(&[Code::RegistrationDuplicate, Code::RegistrationQuota]),
        new(Operation::new(Method::PATCH, ONE, "updateRegistration", TAG, "Change a registration"))
            .refuses(&[Code::RegistrationNotFound]),
        new(Operation::new(Method::PUT, ONE, "replaceRegistration", TAG, "Replace a registration"))
            .refuses(&[Code::RegistrationNotFound]),
    ]
}

fn listing(operation: Operation, schemas: &mut Schemas) -> Operation {
    let of_all_keys = operation.path() == OF_ALL_KEYS;
    operation
        .paged(200)
        .query(
            "urlEncodedResourceCRNQuery",
            "Resources: a CRN in URL encoding, with `*` for segments",
            shape::crn_query(of_all_keys),
        )
        .query(
            "preventKeyDeletion",
            "Only those that do, or do not, keep their key from being deleted by force",
            json!({"type": "boolean"}),
        )
        .answers(200, "The registrations", MediaType::Registration, &schemas.answer::<Collection<RegistrationBody>>())
        .refuses(&[Code::InvalidParam])
}
