//! `POST` and `GET /import_token`: what material is sent in under (`api-contract`, g). One an instance; the private key is
//! made in the instance's backend and stays there.

use crate::access::Action;
use crate::backend::{BackendError, BackendKey, Call, CryptoBackend, KeyIdentity};
use crate::error::{Error, ReasonCode};
use crate::ids::KeyId;
use crate::import_token::{ImportToken, ReadyPair, ReadyPairs};
use crate::key::{KeyRef, Stamp};
use crate::pipeline::{Admitted, Ask, Done, Gateway, RequestContext};
use crate::store::{Change, StoreError};

use std::ops::RangeInclusive;
use std::time::Duration;

use super::input::Problems;

/// How long an import token can hold, in seconds, and how long it does when nothing is said.
const EXPIRATION: RangeInclusive<u64> = 300..=86_400;
const DEFAULT_EXPIRATION: u64 = 600;

/// How often it can be fetched, and how often it is when nothing is said.
const RETRIEVALS: RangeInclusive<u16> = 1..=500;
const DEFAULT_RETRIEVALS: u16 = 1;

/// The nonce's size in bytes.
const NONCE_BYTES: usize = 12;

/// What pair is made.
const ALGORITHM: &str = "RSA-4096";

/// How often a change of the token begins anew because another came first. Each time somebody else got on, and a token
/// can be fetched 500 times.
const ATTEMPTS: u32 = 512;

/// When to come again while a pair is made for somebody else.
const MAKING: Duration = Duration::from_secs(5);

/// What import token to make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewToken {
    /// How long it holds, in seconds: 300 to 86,400. 600.
    pub expiration: Option<u64>,
    /// How often it can be fetched: 1 to 500. 1.
    pub max_retrievals: Option<u64>,
}

/// Makes the import token of an instance; the one before it is void at once.
///
/// A pair that was made ahead is taken. Where none is ready, the caller waits while the backend makes one. It makes one at a
/// time: whoever else comes meanwhile is to come again.
///
/// # Errors
/// `INVALID_FIELD_ERR`, `NOT_SUPPORTED_ERR` on a backend that has no import tokens, `Busy` while the backend makes a pair
/// for somebody else, and what backend, chain, store and audit log fail with.
pub async fn create(
    gateway: &Gateway,
    cx: &RequestContext,
    input: Result<NewToken, Error>,
) -> Result<ImportToken, Error> {
    gateway
        .run(cx, Ask::beyond_rings(Action::CreateImportToken), async |admitted: Admitted| {
            let (holds, retrievals) = validate(input?)?;
            let backend = gateway.backend(&admitted.instance.backend)?;
            let mut nonce = vec![0; NONCE_BYTES];
            gateway.entropy.fill(&mut nonce)?;
            let pair = ready_or_made(gateway, cx.call(), backend.as_ref()).await?;
            let token = ImportToken {
                instance: cx.instance,
                created: Stamp { at: admitted.now, by: cx.principal.id.clone() },
                expires_at: admitted.now.plus(holds),
                max_retrievals: retrievals,
                remaining_retrievals: retrievals,
                nonce,
                public_key: pair.public_key,
                pair: pair.pair,
                private_key: pair.private_key,
                revision: 0,
            };
            Ok(told(replace(gateway, cx.call(), token).await?))
        })
        .await
}

fn validate(input: NewToken) -> Result<(Duration, u16), Error> {
    let mut problems = Problems::default();
    let expiration = input.expiration.unwrap_or(DEFAULT_EXPIRATION);
    if !EXPIRATION.contains(&expiration) {
        let (least, most) = (EXPIRATION.start(), EXPIRATION.end());
        problems.field("expiration", format!("`expiration` is a number of seconds from {least} to {most}"));
    }
    let retrievals = u16::try_from(input.max_retrievals.unwrap_or(DEFAULT_RETRIEVALS.into())).unwrap_or(0);
    if !RETRIEVALS.contains(&retrievals) {
        let (least, most) = (RETRIEVALS.start(), RETRIEVALS.end());
        problems.field("maxAllowedRetrievals", format!("`maxAllowedRetrievals` is a number from {least} to {most}"));
    }
    problems.finish()?;
    Ok((Duration::from_secs(expiration), retrievals))
}

/// Puts a token into the place of the one before, whose private key is destroyed.
async fn replace(gateway: &Gateway, call: Call<'_>, token: ImportToken) -> Result<ImportToken, Error> {
    for _ in 0..ATTEMPTS {
        let before = gateway.store.import_token(token.instance).await?;
        let revision = before.as_ref().map_or(0, |before| before.revision) + 1;
        let token = ImportToken { revision, ..token.clone() };
        let change = Change::PutImportToken { token: token.clone() };
        match gateway.store.commit(gateway.in_instance(token.instance, change)).await {
            Ok(()) => {
                if let Some(before) = before {
                    destroy(gateway, call, &before).await;
                }
                return Ok(token);
            }
            Err(StoreError::Conflict) => {}
            // It may be there, and then its private key must be too.
            Err(error) => return Err(error.into()),
        }
    }
    destroy(gateway, call, &token).await;
    Err(busy())
}

/// Destroys the private key of a token that is void. That it fails hurts nobody: no record names that key any more.
pub(super) async fn destroy(gateway: &Gateway, call: Call<'_>, token: &ImportToken) {
    let (instance, key) = token.pair;
    let identity = KeyIdentity { instance, key, version: key.first_version() };
    if let Ok(backend) = gateway.backend(&token.private_key.backend) {
        let _ = backend.destroy_key(call, BackendKey { identity, reference: &token.private_key.reference }).await;
    }
}

/// Gives the import token of an instance, and counts that. The token is returned as it is now: what can still be fetched
/// is one less already.
///
/// # Errors
/// `IMPORT_TOKEN_NOT_FOUND_ERR`; `IMPORT_TOKEN_EXPIRED_ERR` also when it was fetched as often as it may be, or is one of
/// another backend than the instance has now; and what chain, store and audit log fail with.
pub async fn fetch(gateway: &Gateway, cx: &RequestContext) -> Result<ImportToken, Error> {
    gateway
        .run(cx, Ask::beyond_rings(Action::ReadImportToken), async |admitted: Admitted| {
            for _ in 0..ATTEMPTS {
                let token = gateway.store.import_token(cx.instance).await?.ok_or_else(not_found)?;
                let holds = admitted.now < token.expires_at && token.private_key.backend == admitted.instance.backend;
                let remaining = token.remaining_retrievals.checked_sub(1).filter(|_| holds).ok_or_else(expired)?;
                let revision = token.revision + 1;
                let token = ImportToken { remaining_retrievals: remaining, revision, ..token };
                let change = Change::PutImportToken { token: token.clone() };
                match gateway.store.commit(gateway.in_instance(token.instance, change)).await {
                    Ok(()) => return Ok(told(token)),
                    // Fetched, or made anew, at the same time: both must count.
                    Err(StoreError::Conflict) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Err(busy())
        })
        .await
}

/// Makes one more key pair ahead, if fewer are ready on a backend than [`crate::limits::Limits::import_keys_ready`] says.
/// Returns whether it did. For work in the background: it takes seconds. On a backend that has no import tokens there is
/// nothing to make, and on one that is making a pair there will be one soon.
///
/// # Errors
/// `Unavailable` when there is no backend of this name, and what that backend fails with.
pub async fn fill(gateway: &Gateway, backend: &str) -> Result<bool, Error> {
    if gateway.import_keys.count(backend) >= gateway.limits.import_keys_ready {
        return Ok(false);
    }
    let Some(making) = gateway.import_keys.make(backend) else { return Ok(false) };
    let backend = gateway.backend(backend)?;
    let call = Call { request_id: "import-keys", timeout: None };
    let identity = fresh(gateway)?;
    match pair(call, backend.as_ref(), identity).await {
        Ok(pair) => Ok(making.put(pair)),
        Err(BackendError::Unsupported(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A pair that is ready, or else one that is made now, unless somebody is making one already.
async fn ready_or_made(gateway: &Gateway, call: Call<'_>, backend: &dyn CryptoBackend) -> Result<ReadyPair, Error> {
    let ready = || gateway.import_keys.take(backend.name());
    if let Some(pair) = ready() {
        return Ok(pair);
    }
    let Some(_making) = gateway.import_keys.make(backend.name()) else {
        return Err(Error::Busy { retry_after: MAKING });
    };
    // One may have been put by just before.
    if let Some(pair) = ready() {
        return Ok(pair);
    }
    let identity = fresh(gateway)?;
    Ok(pair(call, backend, identity).await?)
}

/// Pairs are made before anybody knows for which instance, so none of them is of one.
fn fresh(gateway: &Gateway) -> Result<KeyIdentity, Error> {
    let key = KeyId::generate(gateway.entropy.as_ref())?;
    Ok(KeyIdentity { instance: ReadyPairs::INSTANCE, key, version: key.first_version() })
}

async fn pair(call: Call<'_>, backend: &dyn CryptoBackend, identity: KeyIdentity) -> Result<ReadyPair, BackendError> {
    let made = backend.create_import_key(call, identity, ALGORITHM).await?;
    Ok(ReadyPair {
        pair: (identity.instance, identity.key),
        private_key: KeyRef { backend: backend.name().to_owned(), reference: made.private },
        public_key: made.public,
    })
}

fn told(token: ImportToken) -> Done<ImportToken> {
    let done = Done::new(()).tell("expirationDate", token.expires_at.to_rfc3339());
    let done = done.tell("maxAllowedRetrievals", token.max_retrievals);
    let done = done.tell("remainingRetrievals", token.remaining_retrievals);
    done.map(|()| token)
}

fn not_found() -> Error {
    Error::refused(
        ReasonCode::ImportTokenNotFound,
        "There is no import token in this instance; make one with POST /api/v2/import_token",
    )
}

fn expired() -> Error {
    Error::refused(
        ReasonCode::ImportTokenExpired,
        "The import token has reached its 'maxAllowedRetrievals' or 'expirationDate'; make a new one with POST \
         /api/v2/import_token",
    )
}

/// So many at once that this one never got its turn.
fn busy() -> Error {
    Error::Busy { retry_after: Duration::from_secs(1) }
}
