//! What is about an instance, and about no key: its policies, key rings and import tokens.

use http::Method;
use keygate_core::error::ReasonCode as Code;
use keygate_core::policy::InstancePolicyKind;
use serde_json::json;

use super::operation::Operation;
use super::requests::{ImportTokenRequest, InstancePoliciesRequest};
use super::schemas::Schemas;
use crate::http::answer::MediaType;
use crate::http::dto::Collection;
use crate::http::dto::import_token::ImportTokenBody;
use crate::http::dto::policy::InstancePolicyBody;
use crate::http::handlers::policies::PortBody;
use crate::http::handlers::rings::RingBody;

pub(super) fn operations(schemas: &mut Schemas) -> Vec<Operation> {
    let mut operations = policies(schemas);
    operations.extend(import_tokens(schemas));
    operations.extend(rings(schemas));
    operations
}

fn policies(schemas: &mut Schemas) -> Vec<Operation> {
    const PATH: &str = "/api/v2/instance/policies";
    let kinds = json!({"type": "string", "enum": InstancePolicyKind::ALL.map(InstancePolicyKind::as_str)});
    vec![
        Operation::new(Method::GET, PATH, "getInstancePolicy", "Instance", "List the policies of the instance")
            .query("policy", "Only this policy", kinds.clone())
            .answers(200, "The policies", MediaType::Policy, &schemas.answer::<Collection<InstancePolicyBody>>()),
        Operation::new(Method::PUT, PATH, "putInstancePolicy", "Instance", "Write policies of the instance")
            .about("Each is replaced whole.")
            .query("policy", "The policy in the body, which is then the only one", kinds)
            .body(
                &["application/vnd.ibm.kms.policy+json", "application/json"],
                &schemas.request::<InstancePoliciesRequest>(),
            )
            .answers_empty(204, "Written")
            .refuses(&[
                Code::CollectionSize,
                Code::BodyQueryParamMismatch,
                Code::CollectionTotalMismatch,
                Code::ConfigRuleConflict,
                Code::Conflict,
            ]),
        Operation::new(
            Method::GET,
            "/api/v2/instance/allowed_ip_port",
            "getAllowedIPPort",
            "Instance",
            "The private endpoint's port, while an `allowedIP` policy is on",
        )
        .answers(
            200,
            "The port, or nothing",
            MediaType::AllowedIpMetadata,
            &schemas.answer::<Collection<PortBody>>(),
        ),
    ]
}

fn import_tokens(schemas: &mut Schemas) -> Vec<Operation> {
    const PATH: &str = "/api/v2/import_token";
    let token = schemas.answer::<ImportTokenBody>();
    let body = json!({"anyOf": [schemas.request::<ImportTokenRequest>(), {"type": "null"}]});
    vec![
        Operation::new(Method::POST, PATH, "createImportToken", "Import tokens", "Make the import token")
            .about("The one before is void at once.")
            .ring()
            .optional_body(&["application/vnd.ibm.kms.import_token+json", "application/json"], &body)
            .answers(200, "The token, without what is in it", MediaType::ImportToken, &token)
            .refuses(&[Code::NotSupported, Code::KeyMaterialMissing, Code::Conflict]),
        Operation::new(Method::GET, PATH, "getImportToken", "Import tokens", "Fetch the import token")
            .ring()
            .answers(
                200,
                "The token",
                MediaType::ImportToken,
                &json!({"allOf": [token, {"required": ["payload", "nonce"]}]}),
            )
            .refuses(&[Code::ImportTokenNotFound, Code::ImportTokenExpired, Code::Conflict]),
    ]
}

fn rings(schemas: &mut Schemas) -> Vec<Operation> {
    const PATH: &str = "/api/v2/key_rings/{id}";
    const TAG: &str = "Key rings";
    vec![
        Operation::new(Method::GET, "/api/v2/key_rings", "listKeyRings", TAG, "List key rings").paged(100).answers(
            200,
            "The key rings, `default` first",
            MediaType::KeyRing,
            &schemas.answer::<Collection<RingBody>>(),
        ),
        Operation::new(Method::POST, PATH, "createKeyRing", TAG, "Make a key ring")
            .about("A body is passed over.")
            .answers_empty(201, "Made")
            .answers_empty(204, "It was there already")
            .refuses(&[Code::InvalidPathParam, Code::KeyRingQuota, Code::Conflict]),
        Operation::new(Method::DELETE, PATH, "deleteKeyRing", TAG, "Delete a key ring")
            .flag("force", "Also one with deleted keys in it, which move to `default`")
            .answers_empty(204, "Deleted")
            .refuses(&[
                Code::InvalidPathParam,
                Code::KeyRingNotFound,
                Code::KeyRingNotEmpty,
                Code::KeyRingKeysNotDeleted,
                Code::Conflict,
            ]),
    ]
}
