//! Request bodies, as Key Protect's own service reads them: field names in any case, unknown fields passed over, and
//! empty, `null` and `{}` all the same (`api-contract`, facts 2 to 4).
//!
//! Values are read straight from the body's bytes into their types, without a tree in between, and what a body can become
//! is bounded: a list of a million empty objects is not kept, whatever its length allows.
//!
//! The body is wiped when it is done with. A secret may be in three other places, which are not: the connection's own
//! buffer; where the body came packed, what the unpacker has decoded and not written yet; and the JSON parser's scratch
//! space, into which it copies a text that has escapes. Base64 needs an escape for none of its characters, though a
//! client may write one.

use std::marker::PhantomData;

use keygate_core::clock::Timestamp;
use keygate_core::encoding;
use keygate_core::error::{Error, Reason, ReasonCode};
use keygate_core::ops::input::Problems;
use keygate_core::secret::SecretBytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use zeroize::Zeroizing;

/// The most fields of an object, those that nobody knows and those that stand twice included.
const MAX_FIELDS: usize = 64;

/// The most entries of an array of objects.
const MAX_OBJECTS: usize = 1_000;

/// The most entries of an array of texts: as many as the ranges of an allowedIP policy, the longest such list of the API.
pub(crate) const MAX_TEXTS: usize = 1_000;

/// How the words begin in which the reading of a value ends at a bound. The parser's own words begin otherwise.
const BOUND: &str = "at most ";

/// A value that is larger than what is read. It tells the bound and nothing of the value.
fn too_many<E: serde::de::Error>(most: usize, of: &str) -> E {
    E::custom(format_args!("{BOUND}{most} {of}"))
}

/// The bound at which reading ended, in words; `None` where something else is wrong. The parser's own text may quote the
/// body, which may be a secret.
fn bound(error: &serde_json::Error) -> Option<String> {
    let text = error.to_string();
    let end = text.rfind(" at line ").unwrap_or(text.len());
    text.get(..end).filter(|text| text.starts_with(BOUND)).map(str::to_owned)
}

/// An array of at most `MOST` entries. What is longer is not read to its end.
struct Bounded<T, const MOST: usize>(Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Bounded<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Entries<T, MOST> {
            type Value = Bounded<T, MOST>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut read = Vec::new();
                while let Some(entry) = entries.next_element()? {
                    if read.len() == MOST {
                        return Err(too_many(MOST, "entries"));
                    }
                    read.push(entry);
                }
                Ok(Bounded(read))
            }
        }
        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

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
                    if fields.len() == MAX_FIELDS {
                        return Err(too_many(MAX_FIELDS, "fields"));
                    }
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
            let (line, column) = (error.line(), error.column());
            let text = match bound(&error) {
                Some(bound) => format!("An object of the body has {bound}; leave out those that are not known"),
                None => format!("The body is not a JSON object; reading stopped at line {line}, column {column}"),
            };
            Error::refused(ReasonCode::BadBody, text)
        })
    }

    /// Whether it has no fields.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Notes each field that is none of these, for bodies in which a slip must not be passed over.
    pub(super) fn only(&self, known: &[&str], problems: &mut Problems) {
        for (name, _) in self.0.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let shown: String = name.chars().take(64).collect();
            problems.field(&shown, format!("There is no such field; there are: {}", known.join(", ")));
        }
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        #[cfg(test)]
        asked::note(name);
        let wanted = name.to_ascii_lowercase();
        let found = self.0.iter().rev().find(|(field, _)| *field == wanted)?;
        Some(found.1).filter(|raw| raw.get() != "null")
    }

    /// Whether a field is there and not `null`.
    pub(super) fn has(&self, name: &str) -> bool {
        self.raw(name).is_some()
    }

    /// A field, or `None` where it is absent, `null`, of another type, or too large; the latter two are noted in
    /// `problems`.
    pub(super) fn get<T: Deserialize<'a>>(&self, name: &str, what: &str, problems: &mut Problems) -> Option<T> {
        let raw = self.raw(name)?;
        match serde_json::from_str(raw.get()) {
            Ok(value) => Some(value),
            Err(error) => {
                match bound(&error) {
                    Some(bound) => {
                        let text = format!("The field '{name}' must be {what} with {bound}");
                        problems.add(Reason::new(ReasonCode::BadBody, text).field(name));
                    }
                    None => problems.field(name, format!("The field '{name}' must be {what}")),
                }
                None
            }
        }
    }

    /// The entries of `resources`; an absent one is empty.
    fn entries(&self, problems: &mut Problems) -> Vec<Object<'a>> {
        let entries: Option<Bounded<Object<'a>, MAX_OBJECTS>> = self.get("resources", "an array", problems);
        entries.map(|entries| entries.0).unwrap_or_default()
    }

    /// A text.
    pub(super) fn text(&self, name: &str, problems: &mut Problems) -> Option<String> {
        self.get(name, "a string", problems)
    }

    /// A list of at most [`MAX_TEXTS`] texts; an absent one is empty.
    pub(super) fn texts(&self, name: &str, problems: &mut Problems) -> Vec<String> {
        let texts: Option<Bounded<String, MAX_TEXTS>> = self.get(name, "an array of strings", problems);
        texts.map(|texts| texts.0).unwrap_or_default()
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

    /// Bytes in base64 that are no secret.
    pub(super) fn bytes(&self, name: &str, problems: &mut Problems) -> Option<Vec<u8>> {
        let text = self.text(name, problems)?;
        let bytes = encoding::decode(&text);
        if bytes.is_err() {
            problems.field(name, format!("The field '{name}' must be base64 encoded (RFC 4648, with padding)"));
        }
        bytes.ok()
    }

    /// A date.
    pub(super) fn date(&self, name: &str, problems: &mut Problems) -> Option<Timestamp> {
        let text = self.text(name, problems)?;
        let date = Timestamp::parse_rfc3339(&text);
        if let Err(why) = date {
            problems.field(name, format!("The field '{name}' must be a date in RFC 3339 form: {why}"));
        }
        date.ok()
    }

    /// The resources of a collection, at most 1,000.
    ///
    /// # Errors
    /// `BAD_BODY_ERR` when there are no metadata, or no resource.
    pub(super) fn resources(&self) -> Result<Vec<Object<'a>>, Error> {
        let mut problems = Problems::default();
        let metadata: Option<Object<'a>> = self.get("metadata", "an object", &mut problems);
        if metadata.is_none_or(|metadata| metadata.is_empty()) {
            let text = "The body must have `metadata` with `collectionType` and `collectionTotal`";
            problems.add(Reason::new(ReasonCode::BadBody, text).field("metadata"));
        }
        let resources = self.entries(&mut problems);
        if resources.is_empty() {
            let text = "The body must have at least one resource in `resources`";
            problems.add(Reason::new(ReasonCode::BadBody, text).field("resources"));
        }
        problems.finish()?;
        Ok(resources)
    }

    /// The names of its fields, in lower case.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
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
        let mut resources = self.entries(&mut problems);
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

/// Which fields readers look for, so that a test can hold the description of the bodies against that.
#[cfg(test)]
pub(super) mod asked {
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static NAMES: RefCell<BTreeSet<String>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn note(name: &str) {
        NAMES.with_borrow_mut(|names| names.insert(name.to_owned()));
    }

    /// The names that this thread asked for since the last time.
    pub(in crate::http) fn take() -> BTreeSet<String> {
        NAMES.take()
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

    /// The reasons why something was refused.
    fn reasons<T>(result: Result<T, Error>) -> Vec<Reason> {
        match result {
            Err(Error::Refused(reasons)) => reasons,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("it was taken"),
        }
    }

    #[test]
    fn an_object_has_a_bounded_number_of_fields() {
        let object = |fields: usize| format!("{{{}}}", vec!["\"a\": 1"; fields].join(","));
        assert_eq!(Object::parse(object(64).as_bytes()).unwrap().names().count(), 64);
        let refused = reasons(Object::parse(object(65).as_bytes()));
        assert_eq!(refused[0].code, ReasonCode::BadBody);
        assert!(refused[0].message.contains("at most 64 fields;"), "{refused:?}");
        let body = format!(r#"{{"metadata": {{"a": 1}}, "resources": [{{}}, {}]}}"#, object(65));
        let refused = reasons(Object::parse(body.as_bytes()).unwrap().resources());
        let told = refused.iter().find(|reason| reason.message.ends_with("with at most 64 fields")).unwrap();
        assert_eq!(told.code, ReasonCode::BadBody);
        // Fields of a value that nobody reads are not counted: nothing is kept of them.
        assert!(Object::parse(format!(r#"{{"other": {}}}"#, object(1000)).as_bytes()).is_ok());
    }

    #[test]
    fn an_array_has_a_bounded_number_of_entries() {
        let body = |entries: usize, entry: &str| {
            format!(r#"{{"metadata": {{"a": 1}}, "resources": [{0}], "aad": [{0}]}}"#, vec![entry; entries].join(","))
        };
        let resources = |entries: usize| {
            let body = body(entries, "{}");
            Object::parse(body.as_bytes()).unwrap().resources().map(|resources| resources.len())
        };
        assert_eq!(resources(1_000).unwrap(), 1_000);
        for entries in [1_001, 100_000] {
            let refused = reasons(resources(entries));
            assert!(refused.iter().all(|reason| reason.code == ReasonCode::BadBody), "{refused:?}");
            assert!(refused[0].message.contains("at most 1000 entries"), "{refused:?}");
        }
        let texts = |entries: usize| {
            let body = body(entries, r#""hunter2""#);
            let mut problems = Problems::default();
            let texts = Object::parse(body.as_bytes()).unwrap().texts("aad", &mut problems);
            problems.finish().map(|()| texts.len())
        };
        assert_eq!(texts(1_000).unwrap(), 1_000);
        let refused = reasons(texts(1_001));
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].code, ReasonCode::BadBody);
        assert_eq!(refused[0].message, "The field 'aad' must be an array of strings with at most 1000 entries");
    }

    #[test]
    fn words_of_a_bound_in_a_value_are_no_bound() {
        let object = Object::parse(br#"{"aad": "at most hunter2", "name": ["at most hunter2"]}"#).unwrap();
        let mut problems = Problems::default();
        object.texts("aad", &mut problems);
        object.text("name", &mut problems);
        let refused = reasons(problems.finish());
        assert!(refused.len() == 2 && !format!("{refused:?}").contains("hunter2"), "{refused:?}");
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
