//! `POST /keys` and `POST /keys_with_policy_overrides`: make a root or a standard key, generated or imported.

use super::input::{self, Problems};
use super::material::{self, Material};
use super::{adopters, policies};
use crate::access::Action;
use crate::backend::{BackendKey, KeyIdentity};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::ids::{Alias, KeyId, KeyRingId};
use crate::key::{
    DualAuthPolicy, Key, KeyAlias, KeyKind, KeyState, KeyVersion, MAX_TAG_CHARS, MAX_TAGS, NOT_IN_TAGS, RotationPolicy,
    Stamp,
};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::secret::SecretBytes;
use crate::store::Change;

/// What to make.
#[derive(Debug)]
pub struct CreateKey {
    /// Required, 1 to 240 bytes.
    pub name: String,
    /// At most 240 characters.
    pub description: Option<String>,
    /// At most 5.
    pub aliases: Vec<String>,
    /// At most 30, each of 0 to 30 characters, without `<`, `>`, `,`, `:`, `&` and `|`.
    pub tags: Vec<String>,
    /// Root or standard.
    pub kind: KeyKind,
    /// RFC 3339, ahead of now.
    pub expires_at: Option<Timestamp>,
    /// The material of an imported key.
    pub payload: Option<Material>,
    /// Whether the answer is to hold a standard key's material (`Prefer: return=representation`).
    pub return_payload: bool,
    /// The key's own policies, in the place of all that the instance says (`api-v2: POST /keys_with_policy_overrides`).
    pub overrides: Option<Overrides>,
}

impl CreateKey {
    /// Whether the answer holds material that the caller does not have yet.
    fn returns_material(&self) -> bool {
        self.return_payload && self.kind == KeyKind::Standard && self.payload.is_none()
    }
}

/// Policies that a new key has whatever its instance says. One that is not given is one that the key has not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// How it is rotated by itself: whether that is switched on, and every how many months, 1 to 12.
    pub rotation: Option<(bool, u8)>,
    /// Whether two people must delete it.
    pub dual_auth_delete: Option<bool>,
}

/// The new key.
#[derive(Debug)]
pub struct Created {
    /// Its metadata.
    pub key: Key,
    /// A standard key's material, where asked for.
    pub payload: Option<SecretBytes>,
}

/// Makes a key. `overriding` says by which of the two ways it was asked for. The ring and the tags that a rule obliges to are
/// held to what a client's own are.
///
/// # Errors
/// `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR` for the body, `KEY_ROOT_REQ_ERR` for the rotation of a standard key,
/// `KEY_RING_NOT_FOUND_ERR`, `KEY_ALIAS_QUOTA_ERR`, `KEY_ALIAS_NOT_UNIQUE_ERR`, those of an import token, and what
/// backend, chain, store and audit log fail with.
pub async fn create(
    gateway: &Gateway,
    cx: &RequestContext,
    overriding: bool,
    input: Result<CreateKey, Error>,
) -> Result<Created, Error> {
    let named = cx.ring.clone().unwrap_or_default();
    let action = if overriding { Action::CreateWithOverrides } else { Action::Create };
    let mut ask = Ask::instance(action).making_in(&named);
    if let Ok(input) = &input {
        ask = ask.with("new-key.kind", if input.kind.is_extractable() { "standard" } else { "root" });
        ask = ask.with("new-key.returned", input.returns_material());
        ask = ask.material(input.payload.as_ref());
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let mut input = input?;
            admitted.obligations().add_new_key_tags(&mut input.tags);
            let aliases = validate(gateway, &input, admitted.now)?;
            let ring = admitted.obligations().new_key_ring().unwrap_or(&named).clone();
            // Asked again by the store, in the commit. Asked here so that no material is made for nothing.
            input::check_ring(gateway, cx.instance, &ring).await?;
            make(gateway, cx, &admitted, input, aliases, ring).await
        })
        .await
}

fn validate(gateway: &Gateway, input: &CreateKey, now: Timestamp) -> Result<Vec<Alias>, Error> {
    let mut problems = Problems::default();
    if input.name.is_empty() || input.name.len() > 240 {
        problems.field("name", "`name` has 1 to 240 bytes");
    }
    if input.description.as_ref().is_some_and(|text| text.chars().count() > 240) {
        problems.field("description", "`description` has at most 240 characters");
    }
    if input.tags.len() > MAX_TAGS || input.tags.iter().any(|tag| tag.chars().count() > MAX_TAG_CHARS) {
        problems.field("tags", format!("a key has at most {MAX_TAGS} tags of at most {MAX_TAG_CHARS} characters"));
    }
    if input.tags.iter().any(|tag| tag.contains(NOT_IN_TAGS)) {
        problems.field("tags", "a tag has none of `<`, `>`, `,`, `:`, `&` and `|`");
    }
    if input.expires_at.is_some_and(|at| at <= now) {
        problems.field("expirationDate", "`expirationDate` must lie ahead");
    }
    if let Some(material) = &input.payload {
        material.check(input.kind, &mut problems);
    }
    if input.overrides.is_some_and(|overrides| overrides.rotation.is_some()) {
        policies::check_rotatable(input.kind, input.payload.is_some(), &mut problems);
    }
    let aliases = input::check_aliases(&input.aliases, &gateway.limits, &mut problems);
    problems.finish()?;
    Ok(aliases)
}

async fn make(
    gateway: &Gateway,
    cx: &RequestContext,
    admitted: &Admitted,
    input: CreateKey,
    aliases: Vec<Alias>,
    ring: KeyRingId,
) -> Result<Done<Created>, Error> {
    let now = admitted.now;
    let call = cx.call();
    let backend = gateway.backend(&admitted.instance.backend)?;
    let id = KeyId::generate(gateway.entropy.as_ref())?;
    let identity = KeyIdentity { instance: cx.instance, key: id, version: id.first_version() };
    let made = Stamp { at: now, by: cx.principal.id.clone() };
    let (rotation, dual_auth) = key_policies(gateway, admitted, &input, &made)?;
    let material = input.payload.as_ref();
    let (key_ref, bits) = material::make(gateway, call, backend.as_ref(), identity, input.kind, material, now).await?;
    // Before the key is there for anybody: a failure here must not leave a key that its maker was told nothing of.
    let payload = if input.returns_material() {
        let made = BackendKey { identity, reference: &key_ref.reference };
        match backend.export_key(call, made).await {
            Ok(payload) => Some(payload),
            Err(error) => {
                material::discard(call, backend.as_ref(), identity, &key_ref).await;
                return Err(error.into());
            }
        }
    } else {
        None
    };
    let key = Key {
        instance: cx.instance,
        id,
        name: input.name,
        description: input.description,
        aliases: aliases.into_iter().map(|alias| KeyAlias { alias, given: made.clone() }).collect(),
        tags: input.tags,
        kind: input.kind,
        imported: input.payload.is_some(),
        bits,
        state: KeyState::Active,
        ring,
        created_at: now,
        created_by: made.by,
        updated_at: now,
        rotated_at: None,
        expires_at: input.expires_at,
        current_version: identity.version,
        current_version_created_at: now,
        version_count: 1,
        deletion: None,
        rotation,
        dual_auth,
        authorization: None,
        disabled_at: None,
        told_at: None,
        purging: false,
        revision: 1,
    };
    let version = KeyVersion { id: identity.version, sequence: 1, created_at: now, key_ref, former: None };
    let batch = gateway.in_instance(cx.instance, Change::InsertKey { key: key.clone(), version: version.clone() });
    if let Err(error) = gateway.store.commit(batch).await {
        if adopters::is_refusal(&error) {
            material::discard(call, backend.as_ref(), identity, &version.key_ref).await;
        }
        return Err(error.into());
    }
    let sent = match input.payload {
        Some(Material::Plain(sent)) if input.return_payload && key.kind == KeyKind::Standard => Some(sent),
        _ => None,
    };
    let payload = payload.or(sent);
    Ok(Done::new(()).about(&key).tell("keyVersionId", key.current_version).map(|()| Created { key, payload }))
}

/// The policies of a new key: those it was given, all of them, or else what the instance says of new keys.
fn key_policies(
    gateway: &Gateway,
    admitted: &Admitted,
    input: &CreateKey,
    made: &Stamp,
) -> Result<(Option<RotationPolicy>, Option<DualAuthPolicy>), Error> {
    let generated_root = input.kind == KeyKind::Root && input.payload.is_none();
    let wanted = input.overrides.unwrap_or_else(|| Overrides {
        rotation: admitted.policies.rotation_interval().filter(|_| generated_root).map(|months| (true, months)),
        dual_auth_delete: Some(true).filter(|_| admitted.policies.dual_auth_delete()),
    });
    let record = || policies::record(gateway, made);
    let rotation = match wanted.rotation {
        Some((enabled, interval_months)) => Some(RotationPolicy { enabled, interval_months, record: record()? }),
        None => None,
    };
    let dual_auth = match wanted.dual_auth_delete {
        Some(enabled) => Some(DualAuthPolicy { enabled, record: record()? }),
        None => None,
    };
    Ok((rotation, dual_auth))
}
