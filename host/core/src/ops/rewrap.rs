//! `POST /keys/{id}/actions/rewrap`: move a ciphertext to the newest key version. Nobody sees the plaintext.

use super::material;
use super::unwrap::{Ciphertext, Rewrapped, check_input};
use crate::access::Action;
use crate::backend::BackendError;
use crate::error::Error;
use crate::ids::{KeySelector, VersionId};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::state::{self, KeyAction};

/// What came of it: the version that had wrapped the input, and the new ciphertext.
pub type RewrapOutcome = (VersionId, Rewrapped);

/// Rewraps a ciphertext. Both versions may be the same: the ciphertext is a new one all the same.
///
/// # Errors
/// As for unwrap.
pub async fn rewrap(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Ciphertext, Error>,
) -> Result<RewrapOutcome, Error> {
    gateway
        .run(cx, Ask::key(Action::Rewrap, selector), async |admitted: Admitted| {
            let input = input?;
            let key = admitted.key()?;
            state::check(KeyAction::Rewrap, key)?;
            check_input(gateway, &input)?;
            let mut source = material::open(gateway, key, &input.ciphertext).await?;
            let mut target = material::current(gateway, key).await?;
            let (bytes, source_aad) = (&source.wrapped, source.held.aad(&input.aad));
            let within = if source.held.backend.name() == target.backend.name() {
                let (from, to, target_aad) = (source.held.key(), target.key(), target.aad(&input.aad));
                match target.backend.rewrap(cx.call(), from, to, bytes, &source_aad, &target_aad).await {
                    // One of them may have been moved in between.
                    Err(BackendError::KeyNotFound | BackendError::InvalidKeyRef { .. }) => None,
                    outcome => Some(outcome?),
                }
            } else {
                None
            };
            let wrapped = match within {
                Some(wrapped) => wrapped,
                None => {
                    // The versions live on different backends: no sandbox can hold both, so the plaintext passes through
                    // the host, in a buffer that is wiped. It is what unwrap does too.
                    let plaintext = source.unwrap(gateway, cx.call(), &input.aad).await?;
                    target.wrap(gateway, cx.call(), &plaintext, &input.aad).await?
                }
            };
            let (from, to) = (source.held.version(), target.version());
            let done = Done::new((from, Rewrapped { ciphertext: target.seal(wrapped)?, version: to })).about(key);
            Ok(done.tell("keyVersionId", from).tell("rewrappedKeyVersionId", to))
        })
        .await
}
