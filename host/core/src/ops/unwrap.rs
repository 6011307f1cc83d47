//! `POST /keys/{id}/actions/unwrap`: decrypt a data key, and wrap it anew when an old key version had wrapped it.

use super::input::{Problems, check_aad};
use super::material;
use crate::access::Action;
use crate::error::Error;
use crate::ids::{KeySelector, VersionId};
use crate::key::Key;
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::secret::SecretBytes;
use crate::state::{self, KeyAction};

/// What to unwrap or rewrap.
#[derive(Debug)]
pub struct Ciphertext {
    /// Base64, as wrap gave it.
    pub ciphertext: String,
    /// What was given to wrap.
    pub aad: Vec<String>,
}

/// A ciphertext under the newest key version.
#[derive(Debug)]
pub struct Rewrapped {
    /// Base64.
    pub ciphertext: String,
    /// The version that wrapped it: the newest.
    pub version: VersionId,
}

/// What came of it.
#[derive(Debug)]
pub struct Unwrapped {
    /// The data key.
    pub plaintext: SecretBytes,
    /// The version that had wrapped it.
    pub version: VersionId,
    /// The same under the newest version, when that is another one and its backend can be had.
    pub rewrapped: Option<Rewrapped>,
}

/// Unwraps a data key.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, `INVALID_FIELD_ERR`,
/// `UNPROCESSABLE_CIPHERTEXT_ERR`, and what backend, chain, store and audit log fail with.
pub async fn unwrap(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Ciphertext, Error>,
) -> Result<Unwrapped, Error> {
    gateway
        .run(cx, Ask::key(Action::Unwrap, selector), async |admitted: Admitted| {
            let input = input?;
            let key = admitted.key()?;
            state::check(KeyAction::Unwrap, key)?;
            check_input(gateway, &input)?;
            let mut opened = material::open(gateway, key, &input.ciphertext).await?;
            let plaintext = opened.unwrap(gateway, cx.call(), &input.aad).await?;
            let version = opened.held.version();
            // It opened, and that is what was asked for. The newest version may be on another backend, which may be away.
            let rewrapped = if version == key.current_version {
                Ok(None)
            } else {
                rewrapped(gateway, cx, key, &plaintext, &input.aad).await.map(Some)
            };
            let missed = rewrapped.as_ref().err().map(ToString::to_string);
            let rewrapped = rewrapped.unwrap_or_default();
            let done = Done::new(Unwrapped { plaintext, version, rewrapped }).about(key).tell("keyVersionId", version);
            Ok(match missed {
                Some(why) => done.tell("notRewrapped", why),
                None => done,
            })
        })
        .await
}

/// The same under the newest version.
async fn rewrapped(
    gateway: &Gateway,
    cx: &RequestContext,
    key: &Key,
    plaintext: &SecretBytes,
    aad: &[String],
) -> Result<Rewrapped, Error> {
    let mut target = material::current(gateway, key).await?;
    let wrapped = target.wrap(gateway, cx.call(), plaintext, aad).await?;
    Ok(Rewrapped { ciphertext: target.seal(wrapped)?, version: target.version() })
}

pub(super) fn check_input(gateway: &Gateway, input: &Ciphertext) -> Result<(), Error> {
    let mut problems = Problems::default();
    if input.ciphertext.is_empty() {
        problems.field("ciphertext", "`ciphertext` is empty; send it as it came from wrap");
    }
    check_aad(&input.aad, &gateway.limits, &mut problems);
    problems.finish()
}
