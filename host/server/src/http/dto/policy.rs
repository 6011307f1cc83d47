//! Policies of keys and of instances.

use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::instance::Instance;
use keygate_core::key::{Key, PolicyRecord, RotationPolicy};
use keygate_core::ops::input::Problems;
use keygate_core::ops::instance_policies::WriteInstancePolicy;
use keygate_core::ops::policies::{KeyPolicyKind, WritePolicies, WriteRotation};
use keygate_core::policy::{CreateImportAccess, InstancePolicy, InstancePolicyKind, PolicyAttributes};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::answer::MediaType;
use crate::http::body::Object;
use crate::http::openapi::shape;

/// How a key is rotated by itself.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Rotation")]
pub(crate) struct RotationBody {
    enabled: bool,
    interval_month: u8,
}

impl From<&RotationPolicy> for RotationBody {
    fn from(policy: &RotationPolicy) -> Self {
        Self { enabled: policy.enabled, interval_month: policy.interval_months }
    }
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DualAuthorization")]
struct EnabledBody {
    enabled: bool,
}

/// A key policy as clients see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "KeyPolicy")]
pub(crate) struct KeyPolicyBody {
    #[schemars(schema_with = "shape::uuid")]
    id: String,
    #[schemars(schema_with = "shape::crn")]
    crn: String,
    #[serde(rename = "type")]
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<RotationBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dual_auth_delete: Option<EnabledBody>,
    created_by: String,
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
    updated_by: String,
    #[schemars(schema_with = "shape::date")]
    last_update_date: String,
}

impl KeyPolicyBody {
    fn new(record: &PolicyRecord, instance: &Instance) -> Self {
        Self {
            id: record.id.to_string(),
            crn: instance.policy_crn(record.id),
            media_type: MediaType::Policy.as_str(),
            rotation: None,
            dual_auth_delete: None,
            created_by: record.created.by.clone(),
            creation_date: record.created.at.to_rfc3339(),
            updated_by: record.updated.by.clone(),
            last_update_date: record.updated.at.to_rfc3339(),
        }
    }

    /// The policies of a key, of these kinds.
    pub(crate) fn of(key: &Key, instance: &Instance, kinds: &[KeyPolicyKind]) -> Vec<Self> {
        let mut bodies = Vec::new();
        if let Some(policy) = key.rotation.as_ref().filter(|_| kinds.contains(&KeyPolicyKind::Rotation)) {
            bodies.push(Self { rotation: Some(policy.into()), ..Self::new(&policy.record, instance) });
        }
        if let Some(policy) = key.dual_auth.as_ref().filter(|_| kinds.contains(&KeyPolicyKind::DualAuthDelete)) {
            let enabled = Some(EnabledBody { enabled: policy.enabled });
            bodies.push(Self { dual_auth_delete: enabled, ..Self::new(&policy.record, instance) });
        }
        bodies
    }
}

/// An interval in months: 1 to 12.
pub(super) fn interval(policy: &Object<'_>, problems: &mut Problems) -> Option<u8> {
    let months: i64 = policy.get("interval_month", "an integer", problems)?;
    let fitting = u8::try_from(months).ok().filter(|months| (1..=12).contains(months));
    if fitting.is_none() {
        problems.field("interval_month", "The field 'interval_month' must be: between 1 and 12 (inclusive)");
    }
    fitting
}

/// Reads the body of `PUT /keys/{id}/policies`. `kind` is what the query names.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR`, `INVALID_FIELD_ERR`, `NUM_COLLECTION_RESOURCE_ERR` and
/// `BODY_QUERY_PARAM_MISMATCH_ERR`.
pub(crate) fn write_policies(body: &[u8], kind: Option<KeyPolicyKind>) -> Result<WritePolicies, Error> {
    let resources = Object::parse(body)?.resources()?;
    at_most(KeyPolicyKind::ALL.len(), resources.len())?;
    one_with_query(kind.is_some(), resources.len())?;
    let mut problems = Problems::default();
    let mut write = WritePolicies::default();
    for resource in &resources {
        let rotation: Option<Object<'_>> = resource.get("rotation", "an object", &mut problems);
        let dual_auth: Option<Object<'_>> = resource.get("dualAuthDelete", "an object", &mut problems);
        if rotation.is_none() && dual_auth.is_none() {
            let text = "each resource must have `rotation` or `dualAuthDelete`";
            problems.add(Reason::new(ReasonCode::BadBody, text).field("resources"));
        }
        let other = match kind {
            Some(KeyPolicyKind::Rotation) => dual_auth.is_some(),
            Some(KeyPolicyKind::DualAuthDelete) => rotation.is_some(),
            None => false,
        };
        if other {
            problems.add(mismatch());
        }
        if let Some(rotation) = rotation {
            let rotation = WriteRotation {
                enabled: rotation.get("enabled", "true or false", &mut problems),
                interval_months: interval(&rotation, &mut problems),
            };
            if write.rotation.replace(rotation).is_some() {
                problems.add(twice("rotation"));
            }
        }
        if let Some(dual_auth) = dual_auth {
            if !dual_auth.has("enabled") {
                problems.missing("enabled");
            }
            let enabled = dual_auth.get("enabled", "true or false", &mut problems).unwrap_or_default();
            if write.dual_auth_delete.replace(enabled).is_some() {
                problems.add(twice("dualAuthDelete"));
            }
        }
    }
    problems.finish()?;
    Ok(write)
}

fn mismatch() -> Reason {
    Reason::new(ReasonCode::BodyQueryParamMismatch, "The policy in the body must be the one that `policy` names")
        .query("policy")
}

fn twice(what: &str) -> Reason {
    Reason::new(ReasonCode::BadBody, format!("The policy `{what}` stands twice in `resources`")).field("resources")
}

/// Before any of them is read: there are no more policies than kinds of them.
fn at_most(kinds: usize, resources: usize) -> Result<(), Error> {
    if resources > kinds {
        let text = format!("`resources` has at most {kinds} policies, one of each kind");
        return Err(Reason::new(ReasonCode::BadBody, text).field("resources").into());
    }
    Ok(())
}

fn one_with_query(query: bool, resources: usize) -> Result<(), Error> {
    if query && resources != 1 {
        let text = "With the query parameter `policy`, the body must have exactly one resource";
        return Err(Reason::new(ReasonCode::CollectionSize, text).field("resources").into());
    }
    Ok(())
}

/// An instance policy as clients see it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InstancePolicy")]
pub(crate) struct InstancePolicyBody {
    policy_type: &'static str,
    policy_data: PolicyDataBody,
    #[serde(rename = "createdBy")]
    created_by: String,
    #[serde(rename = "creationDate")]
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
    #[serde(rename = "updatedBy")]
    updated_by: String,
    #[serde(rename = "lastUpdated")]
    #[schemars(schema_with = "shape::date")]
    last_updated: String,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PolicyData")]
struct PolicyDataBody {
    enabled: bool,
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "shape::policy_attributes")]
    attributes: Map<String, Value>,
}

impl From<&InstancePolicy> for InstancePolicyBody {
    fn from(policy: &InstancePolicy) -> Self {
        Self {
            policy_type: policy.kind.as_str(),
            policy_data: PolicyDataBody { enabled: policy.enabled, attributes: attributes(&policy.attributes) },
            created_by: policy.created.by.clone(),
            creation_date: policy.created.at.to_rfc3339(),
            updated_by: policy.updated.by.clone(),
            last_updated: policy.updated.at.to_rfc3339(),
        }
    }
}

fn attributes(attributes: &PolicyAttributes) -> Map<String, Value> {
    let mut map = Map::new();
    match attributes {
        PolicyAttributes::AllowedIp(ranges) if !ranges.is_empty() => {
            map.insert("allowed_ip".to_owned(), ranges.clone().into());
        }
        PolicyAttributes::Rotation { interval_months } => {
            map.insert("interval_month".to_owned(), (*interval_months).into());
        }
        PolicyAttributes::KeyCreateImportAccess(_) => {
            let pairs = attributes.pairs().into_iter();
            map.extend(pairs.map(|(name, value)| (name.to_owned(), Value::Bool(value == "true"))));
        }
        PolicyAttributes::AllowedNetwork { .. } => {
            map.extend(attributes.pairs().into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        }
        PolicyAttributes::AllowedIp(_) | PolicyAttributes::None => {}
    }
    map
}

/// Reads the body of `PUT /instance/policies`. `kind` is what the query names.
///
/// # Errors
/// `BAD_BODY_ERR`, `MISSING_FIELD_ERR`, `INVALID_FIELD_ERR`, `COLLECTION_TOTAL_MISMATCH_ERR`,
/// `NUM_COLLECTION_RESOURCE_ERR` and `BODY_QUERY_PARAM_MISMATCH_ERR`.
pub(crate) fn write_instance_policies(
    body: &[u8],
    kind: Option<InstancePolicyKind>,
) -> Result<Vec<WriteInstancePolicy>, Error> {
    let object = Object::parse(body)?;
    let resources = object.resources()?;
    at_most(InstancePolicyKind::ALL.len(), resources.len())?;
    one_with_query(kind.is_some(), resources.len())?;
    let mut problems = Problems::default();
    let metadata: Option<Object<'_>> = object.get("metadata", "an object", &mut problems);
    let total: Option<u64> = metadata.and_then(|metadata| metadata.get("collectionTotal", "an integer", &mut problems));
    if total.is_some_and(|total| total != resources.len() as u64) {
        let text = format!("`collectionTotal` must be the number of resources, {}", resources.len());
        problems.add(Reason::new(ReasonCode::CollectionTotalMismatch, text).field("collectionTotal"));
    }
    let mut policies: Vec<WriteInstancePolicy> = Vec::new();
    for resource in &resources {
        let Some(policy) = instance_policy(resource, &mut problems) else { continue };
        if kind.is_some_and(|kind| kind != policy.kind) {
            problems.add(mismatch());
        }
        if policies.iter().any(|other| other.kind == policy.kind) {
            problems.add(twice(policy.kind.as_str()));
        }
        policies.push(policy);
    }
    problems.finish()?;
    Ok(policies)
}

fn instance_policy(resource: &Object<'_>, problems: &mut Problems) -> Option<WriteInstancePolicy> {
    // The other way to write it (`manage-dual-authorization`).
    if !resource.has("policy_type") && resource.has("dualAuthDelete") {
        let data: Object<'_> = resource.get("dualAuthDelete", "an object", problems)?;
        only(&data, &["enabled"], problems);
        let enabled = enabled(&data, problems)?;
        let (kind, attributes) = (InstancePolicyKind::DualAuthDelete, PolicyAttributes::None);
        return Some(WriteInstancePolicy { kind, enabled, attributes });
    }
    only(resource, &["policy_type", "policy_data", "type"], problems);
    for name in ["policy_type", "policy_data"] {
        if !resource.has(name) {
            problems.missing(name);
        }
    }
    let kind = resource.text("policy_type", problems)?;
    let Some(kind) = InstancePolicyKind::parse(&kind) else {
        problems.field("policy_type", format!("The field 'policy_type' must be one of {}", kinds()));
        return None;
    };
    let data: Object<'_> = resource.get("policy_data", "an object", problems)?;
    only(&data, &["enabled", "attributes"], problems);
    let enabled = enabled(&data, problems)?;
    let given = data.has("attributes");
    let attributes: Object<'_> = data.get("attributes", "an object", problems).unwrap_or_default();
    let attributes = policy_attributes(kind, enabled, given, &attributes, problems)?;
    Some(WriteInstancePolicy { kind, enabled, attributes })
}

/// The kinds, for a message.
pub(crate) fn kinds() -> String {
    InstancePolicyKind::ALL.map(InstancePolicyKind::as_str).join(", ")
}

fn enabled(data: &Object<'_>, problems: &mut Problems) -> Option<bool> {
    if !data.has("enabled") {
        problems.missing("enabled");
    }
    data.get("enabled", "true or false", problems)
}

/// Here, unlike elsewhere, an unknown field is refused (`api-contract`, c: `BAD_BODY_ERR`): a policy with a slip in it
/// would not protect.
fn only(object: &Object<'_>, known: &[&str], problems: &mut Problems) {
    for name in object.names().filter(|name| !known.iter().any(|known| known.eq_ignore_ascii_case(name))) {
        let text = format!("The field '{name}' is none of this policy");
        problems.add(Reason::new(ReasonCode::BadBody, text).field(name));
    }
}

fn policy_attributes(
    kind: InstancePolicyKind,
    enabled: bool,
    given: bool,
    attributes: &Object<'_>,
    problems: &mut Problems,
) -> Option<PolicyAttributes> {
    match kind {
        InstancePolicyKind::DualAuthDelete | InstancePolicyKind::Metrics => {
            if given {
                let text = format!("The policy `{}` has no attributes", kind.as_str());
                problems.add(Reason::new(ReasonCode::BadBody, text).field("attributes"));
            }
            Some(PolicyAttributes::None)
        }
        InstancePolicyKind::AllowedNetwork => allowed_network(attributes, problems),
        InstancePolicyKind::AllowedIp => {
            only(attributes, &["allowed_ip"], problems);
            if enabled && !attributes.has("allowed_ip") {
                problems.missing("allowed_ip");
            }
            Some(PolicyAttributes::AllowedIp(attributes.texts("allowed_ip", problems)))
        }
        InstancePolicyKind::KeyCreateImportAccess => Some(create_import_access(enabled, attributes, problems)),
        InstancePolicyKind::Rotation => {
            only(attributes, &["interval_month"], problems);
            if !enabled {
                return Some(PolicyAttributes::None);
            }
            if !attributes.has("interval_month") {
                problems.missing("interval_month");
            }
            interval(attributes, problems).map(|interval_months| PolicyAttributes::Rotation { interval_months })
        }
    }
}

fn allowed_network(attributes: &Object<'_>, problems: &mut Problems) -> Option<PolicyAttributes> {
    only(attributes, &["allowed_network"], problems);
    if !attributes.has("allowed_network") {
        problems.missing("allowed_network");
    }
    match attributes.text("allowed_network", problems)?.as_str() {
        "private-only" => Some(PolicyAttributes::AllowedNetwork { private_only: true }),
        "public-and-private" => Some(PolicyAttributes::AllowedNetwork { private_only: false }),
        _ => {
            let text = "The field 'allowed_network' must be public-and-private or private-only";
            problems.field("allowed_network", text);
            None
        }
    }
}

fn create_import_access(enabled: bool, attributes: &Object<'_>, problems: &mut Problems) -> PolicyAttributes {
    const NAMES: [&str; 5] =
        ["create_root_key", "create_standard_key", "import_root_key", "import_standard_key", "enforce_token"];
    only(attributes, &NAMES, problems);
    if !enabled {
        return PolicyAttributes::None;
    }
    let default = CreateImportAccess::default();
    let mut flag = |name: &str, default: bool| attributes.get(name, "true or false", problems).unwrap_or(default);
    PolicyAttributes::KeyCreateImportAccess(CreateImportAccess {
        create_root_key: flag("create_root_key", default.create_root_key),
        create_standard_key: flag("create_standard_key", default.create_standard_key),
        import_root_key: flag("import_root_key", default.import_root_key),
        import_standard_key: flag("import_standard_key", default.import_standard_key),
        enforce_token: flag("enforce_token", default.enforce_token),
    })
}
