//! Answers that succeeded. The type is the vendor's, never plain `application/json` (`api-contract`, fact 1).

use std::io;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use zeroize::Zeroizing;

/// What the API answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaType {
    /// Keys.
    Key,
    /// What an action gave.
    KeyAction,
    /// Key versions.
    KeyVersion,
    /// Policies of keys and of instances.
    Policy,
    /// The port of the private endpoint.
    AllowedIpMetadata,
    /// Import tokens.
    ImportToken,
    /// Registrations.
    Registration,
    /// What is left of a registration whose key is deleted.
    ResourceCrn,
    /// Aliases.
    Alias,
    /// Key rings.
    KeyRing,
    /// What adopters have not acknowledged yet. Keygate's own.
    LifecycleEvent,
    /// What a reload made live. Keygate's own.
    Reload,
    /// Backends. Keygate's own.
    Backend,
    /// The moving of keys from one backend to another. Keygate's own.
    Migration,
    /// Instances. Keygate's own.
    Instance,
    /// Which instance may use which crypto instance. Keygate's own.
    Authorization,
    /// The connection information of a crypto instance. Keygate's own.
    CryptoInstance,
    /// Errors.
    Error,
}

impl MediaType {
    /// The type's name.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "application/vnd.ibm.kms.key+json",
            Self::KeyAction => "application/vnd.ibm.kms.key_action+json",
            Self::KeyVersion => "application/vnd.ibm.kms.key.version+json",
            Self::Policy => "application/vnd.ibm.kms.policy+json",
            Self::AllowedIpMetadata => "application/vnd.ibm.kms.allowed_ip_metadata+json",
            Self::ImportToken => "application/vnd.ibm.kms.import_token+json",
            Self::Registration => "application/vnd.ibm.kms.registration+json",
            Self::ResourceCrn => "application/vnd.ibm.kms.resource_crn+json",
            Self::Alias => "application/vnd.ibm.kms.alias+json",
            Self::KeyRing => "application/vnd.ibm.kms.key_ring+json",
            Self::LifecycleEvent => "application/vnd.keygate.lifecycle_event+json",
            Self::Reload => "application/vnd.keygate.reload+json",
            Self::Backend => "application/vnd.keygate.backend+json",
            Self::Migration => "application/vnd.keygate.migration+json",
            Self::Instance => "application/vnd.keygate.instance+json",
            Self::Authorization => "application/vnd.keygate.authorization+json",
            Self::CryptoInstance => "application/vnd.keygate.crypto_instance+json",
            Self::Error => "application/vnd.ibm.kms.error+json",
        }
    }
}

/// The header that `HEAD /keys` answers in.
pub(super) const KEY_TOTAL: HeaderName = HeaderName::from_static("key-total");

/// An answer.
pub(super) struct Answer {
    status: StatusCode,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Option<Bytes>,
}

/// A body that is wiped when the last of it has been sent.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The length of a value as JSON, in bytes. Nothing of it is kept.
///
/// # Errors
/// When the value has no JSON form, which is a defect.
pub(super) fn json_len<T: Serialize>(value: &T) -> Result<usize, NotJson> {
    struct Count(usize);

    impl io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value)?;
    Ok(count.0)
}

/// A value could not be written as JSON: a defect.
#[derive(Debug, thiserror::Error)]
#[error("an answer could not be written as JSON: {0}")]
pub struct NotJson(#[from] serde_json::Error);

impl From<NotJson> for keygate_core::error::Error {
    fn from(error: NotJson) -> Self {
        Self::Internal(error.to_string())
    }
}

impl Answer {
    /// No body.
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: None }
    }

    /// A JSON body. `size` is a bound on its length where it holds a secret: a buffer that grows leaves copies behind.
    ///
    /// # Errors
    /// When the value has no JSON form, which is a defect.
    pub(super) fn json<T: Serialize>(
        status: StatusCode,
        kind: MediaType,
        value: &T,
        size: usize,
    ) -> Result<Self, NotJson> {
        let mut body = Zeroizing::new(Vec::with_capacity(size.max(1024)));
        serde_json::to_writer(&mut *body, value)?;
        let headers = vec![(CONTENT_TYPE, HeaderValue::from_static(kind.as_str()))];
        Ok(Self { status, headers, body: Some(Bytes::from_owner(Wiped(body))) })
    }

    /// With one more header.
    #[must_use]
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = Response::new(self.body.map_or_else(Body::empty, Body::from));
        *response.status_mut() = self.status;
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_length_of_an_answer_is_known_before_it_is_written() {
        for value in
            [json!({}), json!({"a": "\u{1}\u{1f}\"\\\n", "b": ["\u{fc}", 1.5, null]}), json!("\u{0}".repeat(10_000))]
        {
            assert_eq!(json_len(&value).unwrap(), value.to_string().len());
        }
        assert_eq!(json_len(&"\u{1}").unwrap(), 8, "a control character is six bytes long");
    }
}
