//! `POST /keys`: make a root or a standard key, generated or imported.

use super::input::{self, Problems};
use super::material;
use crate::access::Action;
use crate::backend::{BackendKey, KeyIdentity};
use crate::clock::Timestamp;
use crate::error::{Error, Reason, ReasonCode};
use crate::ids::{Alias, KeyId, KeyRingId};
use crate::key::{Key, KeyKind, KeyState, KeyVersion};
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
    pub payload: Option<SecretBytes>,
    /// Whether the answer is to hold a standard key's material (`Prefer: return=representation`).
    pub return_payload: bool,
}

/// The new key.
#[derive(Debug)]
pub struct Created {
    /// Its metadata.
    pub key: Key,
    /// A standard key's material, where asked for.
    pub payload: Option<SecretBytes>,
}

/// Makes a key.
///
/// # Errors
/// `MISSING_FIELD_ERR` and `INVALID_FIELD_ERR` for the body, `KEY_RING_NOT_FOUND_ERR`, `KEY_ALIAS_QUOTA_ERR`,
/// `KEY_ALIAS_NOT_UNIQUE_ERR`, and what backend, chain, store and audit log fail with.
pub async fn create(gateway: &Gateway, cx: &RequestContext, input: Result<CreateKey, Error>) -> Result<Created, Error> {
    let mut ask = Ask::instance(Action::Create);
    if let Ok(input) = &input {
        ask = ask
            .with("new-key.kind", if input.kind.is_extractable() { "standard" } else { "root" })
            .with("new-key.imported", input.payload.is_some());
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let input = input?;
            let aliases = validate(gateway, &input, admitted.now)?;
            let ring = ring(cx)?;
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
    if input.tags.len() > 30 || input.tags.iter().any(|tag| tag.chars().count() > 30) {
        problems.field("tags", "a key has at most 30 tags of at most 30 characters");
    }
    if input.tags.iter().any(|tag| tag.contains(['<', '>', ',', ':', '&', '|'])) {
        problems.field("tags", "a tag has none of `<`, `>`, `,`, `:`, `&` and `|`");
    }
    if input.expires_at.is_some_and(|at| at <= now) {
        problems.field("expirationDate", "`expirationDate` must lie ahead");
    }
    match (&input.payload, input.kind) {
        (Some(payload), KeyKind::Root) => input::check_root_material(payload, &mut problems),
        (Some(payload), KeyKind::Standard) => input::check_secret_material(payload, &mut problems),
        (None, _) => {}
    }
    let aliases = input::check_aliases(&input.aliases, &gateway.limits, &mut problems);
    problems.finish()?;
    Ok(aliases)
}

/// The ring that the header names. `default` is the only one there is until rings can be made.
fn ring(cx: &RequestContext) -> Result<KeyRingId, Error> {
    match &cx.ring {
        Some(ring) if !ring.is_default() => {
            Err(Reason::new(ReasonCode::KeyRingNotFound, format!("There is no key ring '{ring}' in this instance"))
                .header("X-Kms-Key-Ring")
                .into())
        }
        _ => Ok(KeyRingId::default()),
    }
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
    let backend = gateway.backend(&admitted.instance.backend)?;
    let id = KeyId::generate(gateway.entropy.as_ref())?;
    let identity = KeyIdentity { instance: cx.instance, key: id, version: id.first_version() };
    let (key_ref, bits) = material::make(cx, backend.as_ref(), identity, input.kind, input.payload.as_ref()).await?;
    // Before the key is there for anybody: a failure here must not leave a key that its maker was told nothing of.
    let payload = match (input.return_payload && input.kind == KeyKind::Standard, &input.payload) {
        (true, None) => {
            let made = BackendKey { identity, reference: &key_ref.reference };
            Some(backend.export_key(cx.call(), made).await?)
        }
        _ => None,
    };
    let key = Key {
        instance: cx.instance,
        id,
        name: input.name,
        description: input.description,
        aliases,
        tags: input.tags,
        kind: input.kind,
        imported: input.payload.is_some(),
        bits,
        state: KeyState::Active,
        ring,
        created_at: now,
        created_by: cx.principal.id.clone(),
        updated_at: now,
        rotated_at: None,
        expires_at: input.expires_at,
        current_version: identity.version,
        current_version_created_at: now,
        version_count: 1,
        deletion: None,
        revision: 1,
    };
    let version = KeyVersion { id: identity.version, sequence: 1, created_at: now, key_ref };
    let change = Change::InsertKey { key: key.clone(), version: version.clone() };
    if let Err(error) = gateway.store.commit(vec![change]).await {
        material::discard(cx, backend.as_ref(), identity, &version.key_ref, &error).await;
        return Err(error.into());
    }
    let sent = input.payload.filter(|_| input.return_payload && key.kind == KeyKind::Standard);
    let payload = payload.or(sent);
    Ok(Done::new(()).about(&key).tell("keyVersionId", key.current_version).map(|()| Created { key, payload }))
}
