//! Import tokens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_core::error::Error;
use keygate_core::import_token::ImportToken;
use keygate_core::ops::import_tokens::NewToken;
use keygate_core::ops::input::Problems;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::body::Object;
use crate::http::openapi::shape;

/// Reads the body of `POST /import_token`. No body is as good as an empty one.
///
/// # Errors
/// `BAD_BODY_ERR` and `INVALID_FIELD_ERR`.
pub(crate) fn create(body: &[u8]) -> Result<NewToken, Error> {
    let object = Object::parse(body)?;
    let mut problems = Problems::default();
    let token = NewToken {
        expiration: object.get("expiration", "a whole number of seconds", &mut problems),
        max_retrievals: object.get("maxAllowedRetrievals", "a whole number", &mut problems),
    };
    problems.finish()?;
    Ok(token)
}

/// An import token as clients see it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "ImportToken")]
pub(crate) struct ImportTokenBody {
    #[schemars(schema_with = "shape::date")]
    creation_date: String,
    #[schemars(schema_with = "shape::date")]
    expiration_date: String,
    max_allowed_retrievals: u16,
    remaining_retrievals: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::base64")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "shape::base64")]
    nonce: Option<String>,
}

impl ImportTokenBody {
    /// What making one answers: not yet what is in it.
    pub(crate) fn created(token: &ImportToken) -> Self {
        Self {
            creation_date: token.created.at.to_rfc3339(),
            expiration_date: token.expires_at.to_rfc3339(),
            max_allowed_retrievals: token.max_retrievals,
            remaining_retrievals: token.remaining_retrievals,
            payload: None,
            nonce: None,
        }
    }

    /// What fetching it answers. The key is base64 of the PEM text (`api-contract`, g-3).
    pub(crate) fn fetched(token: &ImportToken) -> Self {
        Self {
            payload: Some(STANDARD.encode(pem(&token.public_key))),
            nonce: Some(STANDARD.encode(&token.nonce)),
            ..Self::created(token)
        }
    }
}

/// SubjectPublicKeyInfo as PEM (RFC 7468).
fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = "-----BEGIN PUBLIC KEY-----\n".to_owned();
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str("-----END PUBLIC KEY-----\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_key_is_written_in_lines_of_64_characters() {
        let text = pem(&[0xff; 100]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.first().copied(), Some("-----BEGIN PUBLIC KEY-----"));
        assert_eq!(lines.last().copied(), Some("-----END PUBLIC KEY-----"));
        assert!(lines[1..lines.len() - 1].iter().all(|line| line.len() <= 64));
        assert_eq!(STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap(), [0xff; 100]);
    }
}
