//! The token endpoint without its HTTP: what `POST /identity/token` and `POST /oidc/token` answer
//! (`api-contract`, l).

use keygate_core::clock::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use super::token::SCOPE;
use super::{IamError, IssuedToken, TokenService};

/// The one way to get an access token.
pub const API_KEY_GRANT: &str = "urn:ibm:params:oauth:grant-type:apikey";

/// The body of a successful answer. It holds a secret, so it has no `Debug`.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AccessToken")]
pub struct TokenResponse<'a> {
    access_token: &'a str,
    refresh_token: &'static str,
    token_type: &'static str,
    expires_in: u64,
    expiration: u64,
    scope: &'static str,
}

impl<'a> From<&'a IssuedToken> for TokenResponse<'a> {
    fn from(token: &'a IssuedToken) -> Self {
        Self {
            access_token: token.access_token.expose(),
            // What IBM's own endpoint says where there is none. The clients read the field, and fail without it.
            refresh_token: "not_supported",
            token_type: "Bearer",
            expires_in: token.lifetime.as_secs(),
            expiration: token.expires.unix_seconds(),
            scope: SCOPE,
        }
    }
}

/// Why the endpoint gave no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefusal {
    /// A field of the form is missing or empty.
    #[error("the form field `{0}` is missing")]
    Missing(&'static str),
    /// A grant type that is not offered.
    #[error("the grant type is not supported")]
    GrantType,
    /// Nobody has this API key.
    #[error("nobody has this API key")]
    UnknownKey,
    /// The gateway cannot issue tokens now. Says why, for the operator.
    #[error("no token can be issued: {0}")]
    Unavailable(String),
}

impl TokenRefusal {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Missing(_) | Self::GrantType | Self::UnknownKey => 400,
            Self::Unavailable(_) => 503,
        }
    }

    /// The JSON body. The clients read the names of its fields.
    pub fn body(&self, request_id: &str) -> serde_json::Value {
        let (code, message) = match self {
            Self::Missing(field) => {
                ("BXNIM0109E", format!("Property missing or empty. Provide a value for '{field}'."))
            }
            Self::GrantType => {
                ("BXNIM0108E", format!("The grant type is not supported. Use '{API_KEY_GRANT}' with an API key."))
            }
            Self::UnknownKey => ("BXNIM0415E", "Provided API key could not be found.".to_owned()),
            Self::Unavailable(_) => ("BXNIM0500E", "No token can be issued at the moment. Try again later.".to_owned()),
        };
        json!({"errorCode": code, "errorMessage": message, "context": {"requestId": request_id}})
    }
}

/// Answers a token request from the two fields of its form that count.
///
/// # Errors
/// When a field is missing, the grant type is another, or nobody has the API key.
pub fn token_request(
    service: &TokenService,
    grant_type: Option<&str>,
    api_key: Option<&str>,
    now: Timestamp,
) -> Result<IssuedToken, TokenRefusal> {
    let grant_type = given(grant_type).ok_or(TokenRefusal::Missing("grant_type"))?;
    if grant_type != API_KEY_GRANT {
        return Err(TokenRefusal::GrantType);
    }
    let api_key = given(api_key).ok_or(TokenRefusal::Missing("apikey"))?;
    service.exchange(api_key, now).map_err(|error| match error {
        IamError::UnknownKey => TokenRefusal::UnknownKey,
        other => TokenRefusal::Unavailable(other.to_string()),
    })
}

fn given(field: Option<&str>) -> Option<&str> {
    field.map(str::trim).filter(|text| !text.is_empty())
}
