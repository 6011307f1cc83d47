//! `POST /keys/{id}/actions/wrap`: encrypt a data key under a root key, or make one and encrypt it.

use super::input::{Problems, check_aad};
use super::material;
use crate::access::Action;
use crate::backend::DataKey;
use crate::error::Error;
use crate::ids::{KeySelector, VersionId};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::secret::SecretBytes;
use crate::state::{self, KeyAction};

/// A data key that is made has this many bytes (`api-contract`, f).
const DATA_KEY_BYTES: u32 = 32;

/// What to wrap.
#[derive(Debug, Default)]
pub struct Wrap {
    /// The data key; `None` asks for a new one.
    pub plaintext: Option<SecretBytes>,
    /// Additional authentication data: needed again to unwrap.
    pub aad: Vec<String>,
}

/// What came of it.
#[derive(Debug)]
pub struct Wrapped {
    /// The data key that was made, where one was.
    pub plaintext: Option<SecretBytes>,
    /// Base64, for the client to keep.
    pub ciphertext: String,
    /// The key version that it is wrapped under: the newest.
    pub version: VersionId,
}

/// Wraps a data key.
///
/// # Errors
/// `KEY_NOT_FOUND_ERR`, `KEY_ROOT_REQ_ERR`, `KEY_ACTION_INVALID_STATE_ERR`, `KEY_DELETED_ERR`, `INVALID_FIELD_ERR`, and
/// what backend, chain, store and audit log fail with.
pub async fn wrap(
    gateway: &Gateway,
    cx: &RequestContext,
    selector: &KeySelector,
    input: Result<Wrap, Error>,
) -> Result<Wrapped, Error> {
    let mut ask = Ask::key(Action::Wrap, selector);
    if let Ok(Wrap { plaintext: Some(plaintext), .. }) = &input {
        ask = ask.with("plaintext-bytes", plaintext.len()).carrying(plaintext.len());
    }
    gateway
        .run(cx, ask, async |admitted: Admitted| {
            let input = input?;
            let key = admitted.key()?;
            state::check(KeyAction::Wrap, key)?;
            let mut held = material::current(gateway, key).await?;
            let max_plaintext = gateway.limits.max_plaintext.min(held.backend.description().max_plaintext);
            validate(gateway, &input, max_plaintext)?;
            let (plaintext, wrapped) = loop {
                let (call, aad) = (cx.call(), held.aad(&input.aad));
                let outcome = match &input.plaintext {
                    Some(plaintext) => {
                        held.backend.wrap(call, held.key(), plaintext, &aad).await.map(|wrapped| (None, wrapped))
                    }
                    None => {
                        let made = held.backend.generate_data_key(call, held.key(), DATA_KEY_BYTES, &aad).await;
                        made.map(|DataKey { plaintext, wrapped }| (Some(plaintext), wrapped))
                    }
                };
                match outcome {
                    Ok(made) => break made,
                    Err(error) => held.moved(gateway, error).await?,
                }
            };
            let version = held.version();
            let wrapped = Wrapped { plaintext, ciphertext: held.seal(wrapped)?, version };
            Ok(Done::new(wrapped).about(key).tell("keyVersionId", version))
        })
        .await
}

fn validate(gateway: &Gateway, input: &Wrap, max_plaintext: usize) -> Result<(), Error> {
    let mut problems = Problems::default();
    match &input.plaintext {
        Some(plaintext) if plaintext.is_empty() => {
            problems.field("plaintext", "`plaintext` is empty; leave it out to have a data key made");
        }
        Some(plaintext) if plaintext.len() > max_plaintext => {
            problems.field("plaintext", format!("`plaintext` has at most {max_plaintext} bytes before base64"));
        }
        _ => {}
    }
    check_aad(&input.aad, &gateway.limits, &mut problems);
    problems.finish()
}
