//! One method of one path: what it takes and what it answers.

use std::collections::BTreeMap;

use http::Method;
use keygate_core::error::ReasonCode;
use serde_json::{Map, Value, json};

use super::answers::{self, Refusals};
use super::parameters;
use crate::http::answer::MediaType;
use crate::status;

/// Reasons to refuse any request of the API, but one that has no body to be of a type.
const EVERYWHERE: [ReasonCode; 7] = [
    ReasonCode::InvalidHeader,
    ReasonCode::BearerSubExtraction,
    // A body is read wherever one comes: it can break off, or be no gzip.
    ReasonCode::BadBody,
    ReasonCode::BodyTooLarge,
    ReasonCode::UnsupportedMediaType,
    ReasonCode::PolicyFault,
    ReasonCode::UnknownObligation,
];

/// An operation.
pub(super) struct Operation {
    method: Method,
    path: &'static str,
    object: Map<String, Value>,
    parameters: Vec<Value>,
    answers: BTreeMap<u16, Value>,
    refusals: Vec<ReasonCode>,
    denials: Vec<(u16, &'static str)>,
    is_open: bool,
}

impl Operation {
    /// A method of the API: it takes an access token and works in an instance.
    pub(super) fn new(method: Method, path: &'static str, id: &str, tag: &str, summary: &str) -> Self {
        let operation = Self::with_token(method, path, id, tag, summary);
        operation.shared("Instance").shared("CorrelationId").refuses(&[
            ReasonCode::InstanceNotFound,
            // Where it is one that uses the backend.
            ReasonCode::CryptoInstanceNotAuthorized,
        ])
    }

    /// One that takes an access token, and is about the gateway itself.
    pub(super) fn of_gateway(method: Method, path: &'static str, id: &str, tag: &str, summary: &str) -> Self {
        Self::with_token(method, path, id, tag, summary).shared("CorrelationId")
    }

    fn with_token(method: Method, path: &'static str, id: &str, tag: &str, summary: &str) -> Self {
        let mut operation = Self::open(method, path, id, tag, summary);
        operation.is_open = false;
        operation.refusals.extend(EVERYWHERE);
        if operation.method != Method::HEAD {
            operation.refusals.push(ReasonCode::NotAcceptable);
        }
        operation
    }

    /// One that anybody can ask for.
    pub(super) fn open(method: Method, path: &'static str, id: &str, tag: &str, summary: &str) -> Self {
        let object = [("operationId", id), ("summary", summary)].map(|(name, text)| (name.to_owned(), json!(text)));
        let mut object = Map::from_iter(object);
        object.insert("tags".to_owned(), json!([tag]));
        let mut parameters = Vec::new();
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            parameters.push(parameters::of_path(path, name));
        }
        Self {
            method,
            path,
            object,
            parameters,
            answers: BTreeMap::new(),
            refusals: Vec::new(),
            denials: Vec::new(),
            is_open: true,
        }
    }

    /// About one key, which the path names.
    pub(super) fn of_key(self) -> Self {
        self.ring().refuses(&[ReasonCode::InvalidPathParam, ReasonCode::KeyNotFound])
    }

    /// `X-Kms-Key-Ring` counts.
    pub(super) fn ring(self) -> Self {
        self.shared("KeyRing")
    }

    /// `Prefer` counts.
    pub(super) fn prefer(self) -> Self {
        self.shared("Prefer")
    }

    /// `limit`, `offset` and `totalCount`.
    pub(super) fn paged(self, default: u32) -> Self {
        self.query("limit", "How many resources a page has", parameters::limit(default))
            .query("offset", "How many resources to pass over", parameters::offset())
            .flag("totalCount", "Whether to count all that there are, in `metadata.totalCount`")
    }

    /// One more query parameter, which may be left out or empty.
    pub(super) fn query(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(parameters::of_query(name, description, false, schema));
        self.refuses(&[ReasonCode::InvalidQueryParam])
    }

    /// One that must be there.
    pub(super) fn required_query(mut self, name: &str, description: &str, schema: Value) -> Self {
        self.parameters.push(parameters::of_query(name, description, true, schema));
        self.refuses(&[ReasonCode::InvalidQueryParam])
    }

    /// A query parameter that is true or false, and false where it is left out.
    pub(super) fn flag(self, name: &str, description: &str) -> Self {
        self.query(name, description, json!({"type": "boolean", "default": false}))
    }

    /// Old clients use it.
    pub(super) fn deprecated(mut self) -> Self {
        self.object.insert("deprecated".to_owned(), json!(true));
        self
    }

    /// What more is to be known.
    pub(super) fn about(mut self, description: &str) -> Self {
        self.object.insert("description".to_owned(), json!(description));
        self
    }

    /// A body that must be there. The content type is not looked at; these are the ones that clients send.
    pub(super) fn body(self, types: &[&str], schema: &Value) -> Self {
        self.any_body(types, schema, true).refuses(&[ReasonCode::MissingField, ReasonCode::InvalidField])
    }

    /// A body that may be left out.
    pub(super) fn optional_body(self, types: &[&str], schema: &Value) -> Self {
        self.any_body(types, schema, false).refuses(&[ReasonCode::MissingField, ReasonCode::InvalidField])
    }

    /// A body whose faults have no reason codes.
    pub(super) fn any_body(mut self, types: &[&str], schema: &Value, required: bool) -> Self {
        let content = Map::from_iter(types.iter().map(|name| ((*name).to_owned(), json!({"schema": schema}))));
        self.object.insert("requestBody".to_owned(), json!({"required": required, "content": content}));
        self
    }

    /// An answer with a body of the API.
    pub(super) fn answers(self, status: u16, description: &str, media: MediaType, schema: &Value) -> Self {
        self.answers_with(status, description, media.as_str(), schema)
    }

    /// An answer with a body of any type.
    pub(super) fn answers_with(mut self, status: u16, description: &str, media: &str, schema: &Value) -> Self {
        self.answers.insert(status, answers::with_body(description, media, schema));
        self
    }

    /// An answer without a body.
    pub(super) fn answers_empty(mut self, status: u16, description: &str) -> Self {
        self.answers.insert(status, answers::without_body(description));
        self
    }

    /// An answer as it is.
    pub(super) fn answers_as(mut self, status: u16, response: Value) -> Self {
        self.answers.insert(status, response);
        self
    }

    /// Reasons of its own to refuse a request.
    pub(super) fn refuses(mut self, codes: &[ReasonCode]) -> Self {
        self.refusals.extend_from_slice(codes);
        self
    }

    /// A code of the rules that the gateway comes with.
    pub(super) fn denied(mut self, status: u16, code: &'static str) -> Self {
        self.denials.push((status, code));
        self
    }

    /// Only services may, and each only with resources of its own.
    pub(super) fn by_services(self) -> Self {
        self.denied(403, "SERVICE_ONLY_ERR").denied(403, "RESOURCE_OWNER_ERR")
    }

    /// `/keys/registrations` is a path of its own, which takes GET only, and so no key's.
    pub(super) fn beside_another_path(self) -> Self {
        self.refuses(&[ReasonCode::MethodNotAllowed])
    }

    /// The method.
    pub(super) fn method(&self) -> &Method {
        &self.method
    }

    /// The path.
    pub(super) fn path(&self) -> &'static str {
        self.path
    }

    /// The operation object of the document; its refusals go to the `shared` ones.
    pub(super) fn describe(mut self, shared: &mut Refusals) -> Value {
        let has_body = self.method != Method::HEAD;
        if self.is_open {
            self.object.insert("security".to_owned(), json!([]));
        } else {
            let mut refusals: BTreeMap<u16, Vec<&'static str>> =
                answers::without_reason().map(|status| (status, Vec::new())).into();
            // Any rule of the operator's can say no in either way, for a reason of its own.
            refusals.extend([(403, Vec::new()), (409, Vec::new())]);
            let refused = self.refusals.iter().map(|code| (status::of_reason(*code), code.as_str()));
            for (status, code) in refused.chain(self.denials.iter().copied()) {
                refusals.entry(status).or_default().push(code);
            }
            for (status, mut codes) in refusals {
                codes.sort_unstable();
                codes.dedup();
                self.answers.insert(status, shared.refer(status, codes, has_body));
            }
        }
        let answers = self.answers.into_iter().map(|(status, response)| (status.to_string(), response));
        self.object.insert("responses".to_owned(), Value::Object(answers.collect()));
        self.object.insert("parameters".to_owned(), Value::Array(self.parameters));
        Value::Object(self.object)
    }

    fn shared(mut self, name: &str) -> Self {
        self.parameters.push(json!({"$ref": format!("#/components/parameters/{name}")}));
        self
    }
}
