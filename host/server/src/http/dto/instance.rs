//! Instances, crypto instances and authorizations. Keygate's own, so its fields are written in snake case.

use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::InstanceId;
use keygate_core::instance::{Authorization, Binding, CryptoInstance};
use keygate_core::ops::input::Problems;
use keygate_core::ops::instances::{InstanceChange, InstanceView, NewInstance};
use keygate_runtime::PluginInfo;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::body::Object;
use crate::http::openapi::shape;

/// Where instances are provisioned.
const INSTANCES: &str = "/keygate/v1/instances";

/// Reads the body of `POST /keygate/v1/instances`.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR`, for fields that are not known, too.
pub(crate) fn create(body: &[u8]) -> Result<NewInstance, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    object.only(&["name", "region", "account", "backend", "crypto_instance"], &mut problems);
    for name in ["name", "region", "account"].into_iter().filter(|name| !object.has(name)) {
        problems.missing(name);
    }
    let [name, region, account] =
        ["name", "region", "account"].map(|name| object.text(name, &mut problems).unwrap_or_default());
    let binding = binding(&object, &mut problems);
    if binding.is_none() && !object.has("backend") && !object.has("crypto_instance") {
        let text = "An instance is bound to a `backend` or to a `crypto_instance`";
        problems.add(Reason::new(ReasonCode::MissingField, text).field("backend"));
    }
    problems.finish()?;
    match binding {
        Some(binding) => Ok(NewInstance { name, region, account, binding }),
        None => Err(Error::refused(ReasonCode::MissingField, "The field `backend` is required")),
    }
}

/// Reads the body of `PATCH /keygate/v1/instances/{id}`.
///
/// # Errors
/// `NO_BODY_ERR`, `BAD_BODY_ERR` and `INVALID_FIELD_ERR`, for fields that are not known, too.
pub(crate) fn change(body: &[u8]) -> Result<InstanceChange, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    object.only(&["name", "backend", "crypto_instance"], &mut problems);
    let change = InstanceChange { name: object.text("name", &mut problems), binding: binding(&object, &mut problems) };
    problems.finish()?;
    // A field that is null says nothing.
    if change.name.is_none() && change.binding.is_none() {
        let text = "A body is required that says what to change: `name`, `backend` or `crypto_instance`";
        return Err(Error::refused(ReasonCode::NoBody, text));
    }
    Ok(change)
}

/// What an instance is bound to. A crypto instance is named by its id, or by its connection information as it was given.
fn binding(object: &Object<'_>, problems: &mut Problems) -> Option<Binding> {
    if object.has("backend") && object.has("crypto_instance") {
        problems.field("crypto_instance", "An instance is bound to a backend or to a crypto instance, not to both");
        return None;
    }
    if object.has("backend") {
        return object.text("backend", problems).map(Binding::Backend);
    }
    if !object.has("crypto_instance") {
        return None;
    }
    let quietly = &mut Problems::default();
    let id = match object.text("crypto_instance", quietly) {
        Some(text) => Some(text),
        None => object.get::<Object<'_>>("crypto_instance", "an object", quietly).and_then(|given| {
            let whole = given.has("resources").then(|| given.only_resource().ok()).flatten();
            whole.unwrap_or(given).text("id", quietly)
        }),
    };
    let id = id.and_then(|text| text.parse::<InstanceId>().ok());
    if id.is_none() {
        let text = "`crypto_instance` is the id of a crypto instance, a UUID, or its connection information as \
                    GET /crypto_v1/instances/{id} gives it";
        problems.field("crypto_instance", text);
    }
    id.map(Binding::Crypto)
}

/// An instance.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Instance")]
pub(crate) struct InstanceBody {
    #[schemars(schema_with = "shape::uuid")]
    id: String,
    name: String,
    #[schemars(schema_with = "shape::crn")]
    crn: String,
    region: String,
    account: String,
    /// What new keys are made on; empty while the crypto instance is not configured.
    backend: String,
    /// The crypto instance that it is bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::uuid")]
    crypto_instance: Option<String>,
    /// Whether it may use the crypto instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    authorized: Option<bool>,
    /// `configuration`, or `api` for one that was provisioned.
    #[schemars(extend("enum" = ["configuration", "api"]))]
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    created_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::date")]
    updated_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<String>,
}

impl From<&InstanceView> for InstanceBody {
    fn from(view: &InstanceView) -> Self {
        let InstanceView { instance, record, authorized } = view;
        let record = record.as_ref();
        Self {
            id: instance.id.to_string(),
            name: instance.name.clone(),
            crn: instance.crn(),
            region: instance.region.clone(),
            account: instance.account.clone(),
            backend: instance.backend.clone(),
            crypto_instance: instance.crypto_instance.map(|id| id.to_string()),
            authorized: *authorized,
            source: if record.is_some() { "api" } else { "configuration" },
            created_at: record.map(|record| record.created.at.to_rfc3339()),
            created_by: record.map(|record| record.created.by.clone()),
            updated_at: record.map(|record| record.updated.at.to_rfc3339()),
            updated_by: record.map(|record| record.updated.by.clone()),
        }
    }
}

/// An authorization.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Authorization")]
pub(crate) struct AuthorizationBody {
    /// The instance.
    #[schemars(schema_with = "shape::uuid")]
    source: String,
    /// The crypto instance that it may use.
    #[schemars(schema_with = "shape::uuid")]
    target: String,
    /// Always `Reader`.
    #[schemars(extend("const" = "Reader"))]
    role: &'static str,
    #[schemars(schema_with = "shape::date")]
    created_at: String,
    created_by: String,
}

impl From<&Authorization> for AuthorizationBody {
    fn from(authorization: &Authorization) -> Self {
        Self {
            source: authorization.source.to_string(),
            target: authorization.target.to_string(),
            role: "Reader",
            created_at: authorization.created.at.to_rfc3339(),
            created_by: authorization.created.by.clone(),
        }
    }
}

/// The connection information of a crypto instance.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CryptoInstance")]
pub(crate) struct CryptoInstanceBody {
    #[schemars(schema_with = "shape::uuid")]
    id: String,
    name: String,
    #[schemars(schema_with = "shape::crn")]
    crn: String,
    region: String,
    account: String,
    backend: CryptoBackendBody,
    /// Where Key Protect instances are provisioned with this, as `crypto_instance`.
    instances_url: &'static str,
}

/// What stands for it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CryptoInstanceBackend")]
struct CryptoBackendBody {
    name: String,
    plugin: String,
    /// The SHA-256 of the plugin's component, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    /// The plugin's own version.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The labels of the tokens that the plugin may use.
    token_labels: Vec<String>,
}

impl CryptoInstanceBody {
    /// With the plugins that are live.
    pub(crate) fn new(crypto: &CryptoInstance, plugins: &[PluginInfo]) -> Self {
        let plugin = plugins.iter().find(|plugin| plugin.name == crypto.plugin);
        Self {
            id: crypto.id.to_string(),
            name: crypto.name.clone(),
            crn: crypto.crn(),
            region: crypto.region.clone(),
            account: crypto.account.clone(),
            backend: CryptoBackendBody {
                name: crypto.backend.clone(),
                plugin: crypto.plugin.clone(),
                digest: plugin.map(|plugin| plugin.digest.clone()),
                version: plugin.map(|plugin| plugin.version.clone()),
                token_labels: crypto.token_labels.clone(),
            },
            instances_url: INSTANCES,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "fadedbee-0000-4000-8000-000000000009";

    fn codes<T>(result: Result<T, Error>) -> Vec<(&'static str, String)> {
        let Err(Error::Refused(reasons)) = result else { return Vec::new() };
        reasons.iter().map(|reason| (reason.code.as_str(), format!("{:?}", reason.target))).collect()
    }

    #[test]
    fn a_crypto_instance_is_named_by_its_id_or_by_what_is_told_of_it() {
        let whole = format!(r#"{{"metadata":{{"collectionTotal":1}},"resources":[{{"id":"{ID}","name":"x"}}]}}"#);
        for given in [format!("\"{ID}\""), format!(r#"{{"id":"{ID}","name":"x","crn":"y"}}"#), whole] {
            let body = format!(r#"{{"name":"n","region":"r","account":"a","crypto_instance":{given}}}"#);
            let binding = create(body.as_bytes()).unwrap().binding;
            assert_eq!(binding, Binding::Crypto(ID.parse().unwrap()), "{given}");
        }
        for given in ["\"x\"", "{}", "7", "[]", r#"{"id":7}"#] {
            let found = codes(change(format!(r#"{{"crypto_instance":{given}}}"#).as_bytes()));
            assert!(found[0].0 == "INVALID_FIELD_ERR" && found[0].1.contains("crypto_instance"), "{given}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_known_or_not_enough_is_refused() {
        assert_eq!(codes(change(b"{}"))[0].0, "NO_BODY_ERR");
        assert_eq!(codes(change(b"[]"))[0].0, "BAD_BODY_ERR");
        assert_eq!(codes(change(br#"{"region":"x"}"#))[0].0, "INVALID_FIELD_ERR");
        assert_eq!(codes(create(br#"{"nam":"x"}"#)).len(), 5, "one that is not known, and four that are missing");
        let both = format!(r#"{{"backend":"b","crypto_instance":"{ID}"}}"#);
        assert_eq!(codes(change(both.as_bytes()))[0].0, "INVALID_FIELD_ERR");
        assert!(change(br#"{"name":"x"}"#).unwrap().binding.is_none());
    }
}
