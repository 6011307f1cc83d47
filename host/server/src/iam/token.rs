//! Access tokens: JWTs signed with ES256, issued for an API key and checked at every request.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::{Algorithm, Header, Validation};
use keygate_core::access::{Principal, PrincipalKind};
use keygate_core::clock::Timestamp;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ids::random_uuid;
use keygate_core::ports::{Entropy, EntropyError};
use keygate_core::secret::SecretText;
use serde::{Deserialize, Serialize};

use super::{API_KEY_GRANT, ApiKey, Identities, SigningKey};

/// No access token of ours is longer. In bytes; what is longer is not looked at.
const LONGEST_TOKEN: usize = 4096;

/// What an access token says (`api-contract`, l).
#[derive(Serialize, Deserialize)]
struct Claims {
    iam_id: String,
    id: String,
    sub: String,
    sub_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    account: Account,
    /// Seconds since 1970.
    iat: u64,
    /// Seconds since 1970.
    exp: u64,
    iss: String,
    jti: String,
    grant_type: String,
    scope: String,
}

#[derive(Serialize, Deserialize)]
struct Account {
    bss: String,
}

/// What tokens are for.
pub(super) const SCOPE: &str = "ibm openid";

/// A new access token.
#[derive(Debug)]
pub struct IssuedToken {
    /// The JWT.
    pub access_token: SecretText,
    /// How long it holds.
    pub lifetime: Duration,
    /// Until when it holds.
    pub expires: Timestamp,
    /// Whom it stands for.
    pub owner: Principal,
}

/// Why no token was issued.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IamError {
    /// Nobody has this API key, or it is none.
    #[error("nobody has this API key")]
    UnknownKey,
    /// There is no entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Signing failed.
    #[error("the token could not be signed: {0}")]
    Sign(String),
}

/// Why an access token does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthError {
    /// It is no JWT with the claims that are needed.
    Malformed,
    /// It was not signed by this gateway, or was changed.
    Signature,
    /// It is past its time.
    Expired,
    /// It is from the future: the clock was set back.
    NotYet,
    /// Whom it was issued for is not known any more.
    UnknownIdentity,
}

impl AuthError {
    /// The same in words that never change while the gateway runs.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "the access token cannot be read",
            Self::Signature => "the access token was not issued by this gateway",
            Self::Expired => "the access token has expired",
            Self::NotYet => "the access token is not valid yet",
            Self::UnknownIdentity => "the identity of the access token is not known",
        }
    }
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for AuthError {}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Malformed => Reason::new(
                ReasonCode::BearerSubExtraction,
                "The bearer token in the Authorization header cannot be read",
            )
            .header("Authorization")
            .into(),
            other => Self::Unauthenticated(other.as_str()),
        }
    }
}

/// How far the clock may have gone back since a token was issued.
const CLOCK_STEP: Duration = Duration::from_secs(60);

/// Issues access tokens and checks them.
pub struct TokenService {
    key: SigningKey,
    issuer: String,
    lifetime: Duration,
    entropy: Arc<dyn Entropy>,
    validation: Validation,
    identities: Identities,
}

impl TokenService {
    /// A service that signs with this key, in the name of this issuer, tokens that hold for `lifetime`.
    pub fn new(
        key: SigningKey,
        issuer: String,
        lifetime: Duration,
        identities: Identities,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        // The one algorithm, whatever a token's header says. Expiry is checked by hand, because this crate would ask the
        // wall clock.
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_issuer(&[&issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub"]);
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { key, issuer, lifetime, entropy, validation, identities }
    }

    /// The public half of the signing key, for `GET /identity/keys`.
    pub fn jwks(&self) -> serde_json::Value {
        self.key.jwks()
    }

    /// Issues a token to whoever has this API key.
    ///
    /// # Errors
    /// When nobody has it, or no token can be made.
    pub fn exchange(&self, api_key: &str, now: Timestamp) -> Result<IssuedToken, IamError> {
        let hash = ApiKey::parse(api_key).ok_or(IamError::UnknownKey)?.hash();
        let principal = &self.identities.by_hash(&hash).ok_or(IamError::UnknownKey)?.principal;
        let expires = Timestamp::from_unix_ms((now.unix_seconds() + self.lifetime.as_secs()) * 1000);
        let claims = Claims {
            iam_id: principal.id.clone(),
            id: principal.id.clone(),
            sub: principal.id.clone(),
            sub_type: match principal.kind {
                PrincipalKind::User => "User".to_owned(),
                PrincipalKind::Service { .. } => "ServiceId".to_owned(),
            },
            name: principal.name.clone(),
            account: Account { bss: principal.account.clone() },
            iat: now.unix_seconds(),
            exp: expires.unix_seconds(),
            iss: self.issuer.clone(),
            jti: random_uuid(&*self.entropy)?.to_string(),
            grant_type: API_KEY_GRANT.to_owned(),
            scope: SCOPE.to_owned(),
        };
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key.kid.clone());
        let token = jsonwebtoken::encode(&header, &claims, &self.key.encoding)
            .map_err(|error| IamError::Sign(error.to_string()))?;
        Ok(IssuedToken {
            access_token: SecretText::new(token),
            lifetime: self.lifetime,
            expires,
            owner: principal.clone(),
        })
    }

    /// Whom this access token stands for, with the roles that they have now.
    ///
    /// # Errors
    /// When it does not hold, or they are not known any more.
    pub fn authenticate(&self, bearer: &str, now: Timestamp) -> Result<Principal, AuthError> {
        if bearer.len() > LONGEST_TOKEN {
            return Err(AuthError::Malformed);
        }
        let header = jsonwebtoken::decode_header(bearer).map_err(|_| AuthError::Malformed)?;
        if header.alg != Algorithm::ES256 || header.kid.as_deref() != Some(&self.key.kid) {
            return Err(AuthError::Signature);
        }
        let claims = jsonwebtoken::decode::<Claims>(bearer, &self.key.decoding, &self.validation)
            .map_err(|error| auth_error(&error))?
            .claims;
        let now = now.unix_seconds();
        if now >= claims.exp {
            return Err(AuthError::Expired);
        }
        if claims.iat > now + CLOCK_STEP.as_secs() {
            return Err(AuthError::NotYet);
        }
        let identity = self.identities.by_id(&claims.iam_id).ok_or(AuthError::UnknownIdentity)?;
        Ok(identity.principal.clone())
    }
}

fn auth_error(error: &jsonwebtoken::errors::Error) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::InvalidToken
        | ErrorKind::Base64(_)
        | ErrorKind::Json(_)
        | ErrorKind::Utf8(_)
        | ErrorKind::MissingRequiredClaim(_) => AuthError::Malformed,
        // The rest, whatever it is: the token is not to be trusted.
        _ => AuthError::Signature,
    }
}

#[cfg(test)]
mod tests;
