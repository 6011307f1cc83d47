//! What the bodies of requests hold. The readers do not use these types: they read any case of a name, keep secrets in
//! buffers that are wiped, and tell all that is wrong at once. A test holds each against its reader, in both directions.
#![expect(dead_code, reason = "they describe bodies, and nobody makes one of them")]

use schemars::JsonSchema;
use serde_json::Value;

use super::shape;

/// What stands over the resources of a body. It must not be empty; what is in it is not looked at.
#[derive(JsonSchema)]
#[schemars(rename = "RequestMetadata", rename_all = "camelCase", extend("minProperties" = 1))]
pub(super) struct Metadata {
    /// Such as `application/vnd.ibm.kms.key+json`.
    collection_type: Option<Value>,
    /// The number of resources.
    collection_total: Option<Value>,
}

/// A body with one resource.
#[derive(JsonSchema)]
#[schemars(rename = "One{T}")]
pub(super) struct One<T> {
    metadata: Metadata,
    #[schemars(length(equal = 1))]
    resources: Vec<T>,
}

/// A body with one resource or more.
#[derive(JsonSchema)]
#[schemars(rename = "Many{T}")]
pub(super) struct Many<T> {
    metadata: Metadata,
    #[schemars(length(min = 1, max = 1000))]
    resources: Vec<T>,
}

/// A key to make.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum NewKey {
    Root(NewRootKey),
    UnderToken(NewRootKeyUnderToken),
    Standard(NewStandardKey),
}

/// A key to make, with policies of its own.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct NewKeyWithPolicies {
    #[schemars(flatten)]
    key: NewKey,
    /// Of a root key that is generated only.
    rotation: Option<NewRotation>,
    dual_auth_delete: Option<Enabled>,
}

/// What every new key can have.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
struct Labels {
    /// `application/vnd.ibm.kms.key+json`; not looked at.
    #[schemars(rename = "type", schema_with = "shape::anything")]
    media_type: Option<String>,
    /// 1 to 240 bytes.
    #[schemars(length(min = 1, max = 240))]
    name: String,
    /// At most 240 characters.
    #[schemars(length(max = 240))]
    description: Option<String>,
    /// Other names of the key, each unique in the instance. At most `limits.aliases_per_key`.
    #[schemars(schema_with = "shape::aliases")]
    aliases: Option<Vec<String>>,
    #[schemars(schema_with = "shape::tags")]
    tags: Option<Vec<String>>,
    /// When the key becomes Deactivated. It must lie ahead.
    #[schemars(schema_with = "shape::optional_date")]
    expiration_date: Option<String>,
}

/// A root key, generated or imported.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct NewRootKey {
    #[schemars(flatten)]
    labels: Labels,
    /// The material stays in the gateway: a root key.
    #[schemars(extend("enum" = [false, null]))]
    extractable: Option<bool>,
    /// Material to import: 16, 24 or 32 bytes. Left out, the gateway makes some.
    #[schemars(schema_with = "shape::optional_root_material")]
    payload: Option<String>,
}

/// A root key whose material comes under an import token.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct NewRootKeyUnderToken {
    #[schemars(flatten)]
    labels: Labels,
    /// The material stays in the gateway: a root key.
    #[schemars(extend("enum" = [false, null]))]
    extractable: Option<bool>,
    #[schemars(flatten)]
    material: SealedMaterial,
}

/// A standard key, generated or imported.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct NewStandardKey {
    #[schemars(flatten)]
    labels: Labels,
    /// The material can be read: a standard key.
    #[schemars(extend("const" = true))]
    extractable: bool,
    /// Material to import: 1 to 7,500 bytes. Left out, the gateway makes some.
    #[schemars(schema_with = "shape::optional_standard_material")]
    payload: Option<String>,
}

/// How a new key is to be rotated by itself, whatever the instance says.
#[derive(JsonSchema)]
pub(super) struct NewRotation {
    /// True unless said otherwise.
    enabled: Option<bool>,
    /// Every so many months of 30 days.
    #[schemars(range(min = 1, max = 12))]
    interval_month: u8,
}

/// On or off.
#[derive(JsonSchema)]
pub(super) struct Enabled {
    enabled: bool,
}

/// Material under the instance's import token.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct SealedMaterial {
    /// The material, encrypted to the token's public key.
    #[schemars(schema_with = "shape::required_base64")]
    payload: String,
    /// The token's nonce, encrypted under the material.
    #[schemars(schema_with = "shape::required_base64")]
    encrypted_nonce: String,
    /// What that encryption began with: 12 bytes; 16 with `RSAES_OAEP_SHA_1`.
    #[schemars(schema_with = "shape::iv")]
    iv: String,
    #[schemars(schema_with = "shape::algorithm")]
    encryption_algorithm: Option<String>,
}

/// Material in clear, or none.
#[derive(JsonSchema)]
pub(super) struct PlainMaterial {
    /// 16, 24 or 32 bytes.
    #[schemars(schema_with = "shape::optional_root_material")]
    payload: Option<String>,
}

/// Material for a new version of an imported key. A generated key takes none.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum RotateRequest {
    Plain(PlainMaterial),
    UnderToken(SealedMaterial),
    Nothing(()),
}

/// Nothing is needed; an imported key can get a new version with the material that is given.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum RestoreRequest {
    Collection(One<RestoredMaterial>),
    Material(RestoredMaterial),
    Nothing(()),
}

/// Material for a key that is restored.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum RestoredMaterial {
    Plain(RestoredPlainMaterial),
    UnderToken(SealedMaterial),
}

/// Material in clear, or none.
#[derive(JsonSchema)]
pub(super) struct RestoredPlainMaterial {
    /// Of a standard key 1 to 7,500 bytes; of a root key 16, 24 or 32.
    #[schemars(schema_with = "shape::optional_standard_material")]
    payload: Option<String>,
}

/// What to wrap.
#[derive(JsonSchema)]
pub(super) struct WrapRequest {
    /// Left out, 32 random bytes are made, wrapped, and answered. At most `limits.max_plaintext` bytes.
    #[schemars(schema_with = "shape::optional_plaintext")]
    plaintext: Option<String>,
    /// Additional authentication data: the same are needed to unwrap. At most `limits.aad_entries`.
    #[schemars(schema_with = "shape::aad")]
    aad: Option<Vec<String>>,
}

/// What to unwrap or rewrap.
#[derive(JsonSchema)]
pub(super) struct CiphertextRequest {
    /// As it came from wrap, rewrap or unwrap.
    #[schemars(schema_with = "shape::required_base64")]
    ciphertext: String,
    /// As they were when it was wrapped.
    #[schemars(schema_with = "shape::aad")]
    aad: Option<Vec<String>>,
}

/// Where a key is to go.
#[derive(JsonSchema)]
pub(super) struct PatchRequest {
    /// A key ring of the instance.
    #[schemars(rename = "keyRingID", schema_with = "shape::key_ring")]
    key_ring_id: String,
}

/// A policy of a key.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum KeyPolicyRequest {
    Rotation {
        rotation: RotationRequest,
    },
    DualAuth {
        #[schemars(rename = "dualAuthDelete")]
        dual_auth_delete: Enabled,
    },
}

/// Policies of a key, each of another kind.
#[derive(JsonSchema)]
pub(super) struct KeyPoliciesRequest {
    metadata: Metadata,
    #[schemars(length(min = 1, max = 2))]
    resources: Vec<KeyPolicyRequest>,
}

/// How a key is to be rotated by itself. At least one of the two is given; what is not stays as it is.
#[derive(JsonSchema)]
#[schemars(extend("minProperties" = 1))]
pub(super) struct RotationRequest {
    enabled: Option<bool>,
    /// Every so many months of 30 days.
    #[schemars(range(min = 1, max = 12))]
    interval_month: Option<u8>,
}

/// What stands over instance policies.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase", extend("minProperties" = 1))]
pub(super) struct InstancePoliciesMetadata {
    collection_type: Option<Value>,
    /// The number of resources.
    collection_total: Option<u64>,
}

/// Instance policies, each of another kind.
#[derive(JsonSchema)]
pub(super) struct InstancePoliciesRequest {
    metadata: InstancePoliciesMetadata,
    #[schemars(length(min = 1, max = 6))]
    resources: Vec<InstancePolicyRequest>,
}

/// An instance policy. Unlike elsewhere, a field that is not known is refused.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub(super) enum InstancePolicyRequest {
    Plain(PlainPolicy),
    AllowedNetwork(AllowedNetworkPolicy),
    AllowedIp(AllowedIpPolicy),
    KeyCreateImportAccess(CreateImportPolicy),
    Rotation(RotationPolicy),
    DualAuth {
        #[schemars(rename = "dualAuthDelete")]
        dual_auth_delete: EnabledOnly,
    },
}

/// On or off, and nothing else.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct EnabledOnly {
    enabled: bool,
}

/// A policy that is on or off.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PlainPolicy {
    #[schemars(extend("enum" = ["dualAuthDelete", "metrics"]))]
    policy_type: String,
    policy_data: EnabledOnly,
    #[schemars(rename = "type", schema_with = "shape::anything")]
    media_type: Option<String>,
}

/// By which endpoint requests may come.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AllowedNetworkPolicy {
    #[schemars(extend("const" = "allowedNetwork"))]
    policy_type: String,
    policy_data: AllowedNetworkData,
    #[schemars(rename = "type", schema_with = "shape::anything")]
    media_type: Option<String>,
}

/// From which addresses requests may come.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AllowedIpPolicy {
    #[schemars(extend("const" = "allowedIP"))]
    policy_type: String,
    policy_data: PolicyData<AllowedIp>,
    #[schemars(rename = "type", schema_with = "shape::anything")]
    media_type: Option<String>,
}

/// What keys may be made and imported.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CreateImportPolicy {
    #[schemars(extend("const" = "keyCreateImportAccess"))]
    policy_type: String,
    policy_data: PolicyData<CreateImport>,
    #[schemars(rename = "type", schema_with = "shape::anything")]
    media_type: Option<String>,
}

/// How new root keys are rotated by themselves.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct RotationPolicy {
    #[schemars(extend("const" = "rotation"))]
    policy_type: String,
    policy_data: PolicyData<Interval>,
    #[schemars(rename = "type", schema_with = "shape::anything")]
    media_type: Option<String>,
}

/// On or off, and what must be said in both cases.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AllowedNetworkData {
    enabled: bool,
    attributes: AllowedNetwork,
}

/// On or off, and what more the policy says; what it must say while it is on, it may leave out while it is off.
#[derive(JsonSchema)]
#[schemars(rename = "{T}Data", deny_unknown_fields)]
pub(super) struct PolicyData<T> {
    enabled: bool,
    attributes: Option<T>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AllowedNetwork {
    #[schemars(extend("enum" = ["public-and-private", "private-only"]))]
    allowed_network: String,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct AllowedIp {
    /// Ranges of IPv4 and IPv6 addresses, such as `192.0.2.0/24` and `2001:db8::/32`.
    #[schemars(length(min = 1, max = 1000))]
    allowed_ip: Vec<String>,
}

/// What is not said is true, but `enforce_token`, which is false.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct CreateImport {
    create_root_key: Option<bool>,
    create_standard_key: Option<bool>,
    import_root_key: Option<bool>,
    import_standard_key: Option<bool>,
    /// Material must come under an import token.
    enforce_token: Option<bool>,
}

#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Interval {
    /// Every so many months of 30 days.
    #[schemars(range(min = 1, max = 12))]
    interval_month: u8,
}

/// Keys to move.
#[derive(JsonSchema)]
pub(super) struct MigrationRequest {
    /// The backend that they leave.
    from: String,
    /// The backend that they go to. The instance makes new keys there already.
    to: String,
}

/// An import token to make.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct ImportTokenRequest {
    /// How long it holds, in seconds. 600 unless said otherwise.
    #[schemars(range(min = 300, max = 86_400))]
    expiration: Option<u32>,
    /// How often it can be fetched. Once unless said otherwise.
    #[schemars(range(min = 1, max = 500))]
    max_allowed_retrievals: Option<u16>,
}

/// What a service says of a resource.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct RegistrationRequest {
    /// At most 240 characters.
    #[schemars(length(max = 240))]
    description: Option<String>,
    /// Whether the key must not be deleted, even by force.
    #[schemars(schema_with = "shape::truth")]
    prevent_key_deletion: Option<bool>,
    /// The service's own note, at most 4,096 bytes; shown to services only.
    #[schemars(length(max = 4096))]
    registration_metadata: Option<String>,
    /// The key version that protects the resource.
    #[schemars(schema_with = "shape::optional_uuid")]
    key_version_id: Option<String>,
}

/// Which registration.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct ResourceCrnRequest {
    /// The CRN of the resource.
    #[schemars(schema_with = "shape::resource")]
    resource_crn: String,
}

/// That a service did what an event asks of it.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct EventAcknowledgement {
    #[schemars(schema_with = "shape::required_uuid")]
    event_id: String,
    /// What became of the key at the service, such as `DEK_ENABLED`.
    #[schemars(regex(pattern = "^[A-Z_]{1,64}$"))]
    adopter_key_state: String,
    /// When.
    #[schemars(schema_with = "shape::date")]
    timestamp: String,
    key_state_data: Option<KeyStateData>,
}

/// The key version that is in use at the service.
#[derive(JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub(super) struct KeyStateData {
    #[schemars(schema_with = "shape::optional_uuid")]
    key_version: Option<String>,
    /// After a rotation; it counts before `keyVersion`.
    #[schemars(schema_with = "shape::optional_uuid")]
    rewrapped_key_version: Option<String>,
}

/// The form that buys an access token.
#[derive(JsonSchema)]
pub(super) struct TokenForm {
    #[schemars(extend("const" = "urn:ibm:params:oauth:grant-type:apikey"))]
    grant_type: String,
    /// An API key.
    #[schemars(length(min = 1))]
    apikey: String,
}
