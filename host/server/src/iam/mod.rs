//! Who there is: identities with API keys, and access tokens that the gateway issues for them and checks.

mod api_key;
mod endpoint;
mod identities;
mod signing_key;
mod token;

pub use self::api_key::{ApiKey, ApiKeyHash};
pub use self::endpoint::{API_KEY_GRANT, TokenRefusal, TokenResponse, token_request};
pub use self::identities::{Identities, Identity};
pub use self::signing_key::{SigningKey, SigningKeyError};
pub use self::token::{AuthError, IamError, IssuedToken, TokenService};
