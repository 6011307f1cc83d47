//! Request bodies, as Key Protect's own service reads them: field names in any case, unknown fields passed over, and
//! empty, `null` and `{}` all the same (`api-contract`, facts 2 to 4).
//!
//! Values are read straight from the body's bytes into their types, without a tree in between, and the body is wiped when
//! it is done with. A secret is in no other buffer but two that are not wiped: the connection's own, and the JSON
//! parser's scratch space where a text has escapes, which base64 needs for none of its characters.

use keygate_core::encoding;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ops::input::Problems;
use keygate_core::secret::SecretBytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// A JSON object whose fields are looked up in any case. The last of several wins.
#[derive(Default)]
pub(super) struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    fields.push((name.to_ascii_lowercase(), map.next_value()?));
                }
                Ok(Object(fields))
            }

            fn visit_unit<E>(self) -> Result<Object<'de>, E> {
                Ok(Object::default())
            }
        }
        deserializer.deserialize_any(Fields)
    }
}

impl<'a> Object<'a> {
    /// Reads a body. No body is an empty object.
    ///
    /// # Errors
    /// `BAD_BODY_ERR` when it is not a JSON object.
    pub(super) fn parse(body: &'a [u8]) -> Result<Self, Error> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self::default());
        }
        serde_json::from_slice(body).map_err(|error| {
            // The parser's own text may quote the body, which may be a secret: only the place is told.
            let (line, column) = (error.line(), error.column());
            Error::refused(
                ReasonCode::BadBody,
                format!("The body is not a JSON object; reading stopped at line {line}, column {column}"),
            )
        })
    }

    /// Whether it has no fields.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        let wanted = name.to_ascii_lowercase();
        let found = self.0.iter().rev().find(|(field, _)| *field == wanted)?;
        Some(found.1).filter(|raw| raw.get() != "null")
    }

    /// Whether a field is there and not `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A field, or `None` where it is absent, `null`, or of another type; the latter is noted in `problems`.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str, what: &str, problems: &mut Problems) -> Option<T> {
        let raw = self.raw(name)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(_) => {
                problems.field(name, format!("The field '{name}' must be {what}"));
                None
            }
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str, problems: &mut Problems) -> Option<String> {
        self.get(name, "a string", problems)
    }

    /// A list of texts; an absent one is empty.
    pub(super) fn texts(&self, name: &str, problems: &mut Problems) -> Vec<String> {
        self.get(name, "an array of strings", problems).unwrap_or_default()
    }

    /// Secret bytes in base64.
    pub(super) fn secret(&self, name: &str, problems: &mut Problems) -> Option<SecretBytes> {
        let text: Zeroizing<String> = Zeroizing::new(self.text(name, problems)?);
        match encoding::decode_secret(&text) {
            Ok(bytes) => Some(bytes),
            Err(_) => {
                problems.field(name, format!("The field '{name}' must be base64 encoded (RFC 4648, with padding)"));
                None
            }
        }
    }

    /// The one resource of a collection, as the bodies that make something have it.
    ///
    /// # Errors
    /// `BAD_BODY_ERR` when there are no metadata, or not exactly one resource.
    pub(super) fn only_resource(&self) -> Result<Object<'a>, Error> {
        let mut problems = Problems::default();
        let metadata: Option<Object<'a>> = self.get("metadata", "an object", &mut problems);
        if metadata.is_none_or(|metadata| metadata.is_empty()) {
            let text = "The body must have `metadata` with `collectionType` and `collectionTotal`";
            problems.add(Reason::new(ReasonCode::BadBody, text).field("metadata"));
        }
        let mut resources: Vec<Object<'a>> = self.get("resources", "an array", &mut problems).unwrap_or_default();
        match resources.pop() {
            Some(resource) if resources.is_empty() => {
                problems.finish()?;
                Ok(resource)
            }
            _ => {
                let text = "The body must have exactly one resource in `resources`";
                problems.add(Reason::new(ReasonCode::BadBody, text).field("resources"));
                problems.finish()?;
                Ok(Object::default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_body_null_and_an_empty_object_are_the_same() {
        for body in [&b""[..], b"null", b"{}", b" \n", b" null "] {
            assert!(Object::parse(body).unwrap().is_empty(), "{:?}", String::from_utf8_lossy(body));
        }
        for body in [&b"[]"[..], b"7", b"{", b"\"x\"", b"{} {}"] {
            let error = Object::parse(body).err().unwrap();
            assert_eq!(error.reason_code(), Some(ReasonCode::BadBody));
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_the_last_wins() {
        let object = Object::parse(br#"{"KeyRingID": "a", "keyringid": "b", "other": 1}"#).unwrap();
        let mut problems = Problems::default();
        assert_eq!(object.text("keyRingID", &mut problems).as_deref(), Some("b"));
        assert!(object.text("absent", &mut problems).is_none());
        problems.finish().unwrap();
    }

    #[test]
    fn every_wrong_field_is_told_at_once_and_no_value_is_repeated() {
        let object = Object::parse(br#"{"plaintext": "hunter2!", "aad": "x", "name": 5}"#).unwrap();
        let mut problems = Problems::default();
        object.secret("plaintext", &mut problems);
        object.texts("aad", &mut problems);
        object.text("name", &mut problems);
        let Err(Error::Refused(reasons)) = problems.finish() else { panic!("nothing was found wrong") };
        assert_eq!(reasons.len(), 3);
        assert!(!format!("{reasons:?}").contains("hunter2"));
    }

    #[test]
    fn a_broken_body_is_not_quoted() {
        let error = Object::parse(br#"{"plaintext": "aHVudGVyMg==" oops"#).err().unwrap();
        assert!(!format!("{error:?}").contains("aHVudGVyMg"), "{error:?}");
    }

    #[test]
    fn a_collection_has_one_resource() {
        let one = br#"{"metadata": {"collectionTotal": 1}, "resources": [{"name": "x"}]}"#;
        assert!(Object::parse(one).unwrap().only_resource().is_ok());
        for bad in [
            &br#"{"metadata": {"a": 1}, "resources": []}"#[..],
            br#"{"metadata": {"a": 1}, "resources": [{}, {}]}"#,
            br#"{"metadata": {}, "resources": [{}]}"#,
            br#"{"resources": [{}]}"#,
            br#"{"metadata": {"a": 1}}"#,
            b"{}",
        ] {
            assert!(Object::parse(bad).unwrap().only_resource().is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
    }
}
