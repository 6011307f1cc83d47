//! Templates of keys, and the check that a token made what it was asked for.

use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};

use crate::conn::Conn;
use crate::error::{Error, Failure};
use crate::key::{Algorithm, KeyTemplate};
use crate::link::Handle;
use crate::ops::learned;

/// How a key came to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    Generated,
    Imported,
    Unwrapped,
}

/// The attributes of a secret or private key.
pub(crate) fn key(template: &KeyTemplate, prefix: &str) -> Vec<Attribute> {
    let (class, kind) = match template.algorithm {
        Algorithm::Aes => (ObjectClass::SECRET_KEY, KeyType::AES),
        Algorithm::Rsa => (ObjectClass::PRIVATE_KEY, KeyType::RSA),
    };
    let mut attributes = vec![
        Attribute::Class(class),
        Attribute::KeyType(kind),
        Attribute::Token(template.persistent),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(template.exportable),
        Attribute::Sign(template.usage.mac),
        Attribute::Derive(false),
        Attribute::Decrypt(template.usage.decrypt),
        Attribute::Unwrap(template.usage.unwrap),
    ];
    if template.algorithm == Algorithm::Aes {
        attributes.extend([
            Attribute::Verify(false),
            Attribute::Encrypt(template.usage.encrypt),
            Attribute::Wrap(template.usage.wrap),
        ]);
    }
    attributes.extend(named(template, prefix));
    attributes
}

/// The attributes of the public half of a pair.
pub(crate) fn public(template: &KeyTemplate, bits: u64, prefix: &str) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::Token(template.persistent),
        Attribute::Private(false),
        Attribute::Verify(false),
        // What the private half decrypts, the public half encrypts: NSS softokn tries each new pair so. Anybody may, anyway.
        Attribute::Encrypt(template.usage.encrypt || template.usage.decrypt),
        Attribute::Wrap(template.usage.wrap),
        Attribute::ModulusBits(bits.into()),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    attributes.extend(named(template, prefix));
    attributes
}

fn named(template: &KeyTemplate, prefix: &str) -> Vec<Attribute> {
    let Some(id) = &template.id else { return Vec::new() };
    let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![Attribute::Id(id.clone()), Attribute::Label(format!("{prefix} {hex}").into_bytes())]
}

/// Reads the attributes back. CKA_VALUE is not among them.
pub(crate) fn verify(conn: &Conn<'_>, handle: Handle, template: &KeyTemplate, origin: Origin) -> Result<(), Failure> {
    use AttributeType as A;
    let wanted = [
        A::Class,
        A::KeyType,
        A::Token,
        A::Private,
        A::Sensitive,
        A::Extractable,
        A::Local,
        A::AlwaysSensitive,
        A::NeverExtractable,
        A::Encrypt,
        A::Decrypt,
        A::Wrap,
        A::Unwrap,
        A::Sign,
        A::Id,
    ];
    let mut found = conn.session()?.get_attributes(handle, &wanted)?;
    if origin == Origin::Generated && found.contains(&Attribute::Local(false)) && learned::pair_tells(conn)? {
        found.retain(|attribute| *attribute != Attribute::Local(false));
    }
    match unlike(&found, template, origin) {
        None => Ok(()),
        Some(name) => Err(Error::Unsupported(format!(
            "the token made a key whose {name} is not what it was told; the key was destroyed. Look for a policy of the \
             token that sets it"
        ))
        .into()),
    }
}

/// The name of the first attribute that is not as it should be.
fn unlike(found: &[Attribute], template: &KeyTemplate, origin: Origin) -> Option<&'static str> {
    let usage = template.usage;
    let aes = template.algorithm == Algorithm::Aes;
    let born_safe = origin == Origin::Generated && !template.exportable;
    // What a token must say itself, and say so.
    let must = [
        (Attribute::Sensitive(true), "CKA_SENSITIVE"),
        (Attribute::Extractable(template.exportable), "CKA_EXTRACTABLE"),
        (Attribute::Token(template.persistent), "CKA_TOKEN"),
        (Attribute::Private(true), "CKA_PRIVATE"),
        (Attribute::Decrypt(usage.decrypt), "CKA_DECRYPT"),
        (Attribute::Unwrap(usage.unwrap), "CKA_UNWRAP"),
        (Attribute::KeyType(if aes { KeyType::AES } else { KeyType::RSA }), "CKA_KEY_TYPE"),
        (Attribute::Class(if aes { ObjectClass::SECRET_KEY } else { ObjectClass::PRIVATE_KEY }), "CKA_CLASS"),
    ];
    if let Some((_, name)) = must.iter().find(|(attribute, _)| !found.contains(attribute)) {
        return Some(name);
    }
    // What is wrong only if a token says the contrary: not every token has these for every key.
    let contrary = [
        (Attribute::Encrypt(!usage.encrypt), "CKA_ENCRYPT", aes),
        (Attribute::Wrap(!usage.wrap), "CKA_WRAP", aes),
        (Attribute::Sign(!usage.mac), "CKA_SIGN", aes),
        (Attribute::Local(origin != Origin::Generated), "CKA_LOCAL", true),
        (Attribute::AlwaysSensitive(false), "CKA_ALWAYS_SENSITIVE", born_safe),
        (Attribute::NeverExtractable(false), "CKA_NEVER_EXTRACTABLE", born_safe),
    ];
    if let Some((_, name, _)) = contrary.iter().find(|(attribute, _, applies)| *applies && found.contains(attribute)) {
        return Some(name);
    }
    match &template.id {
        Some(id) if !found.contains(&Attribute::Id(id.clone())) => Some("CKA_ID"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::Usage;

    fn aes() -> KeyTemplate {
        let usage = Usage { encrypt: true, decrypt: true, ..Usage::default() };
        KeyTemplate { algorithm: Algorithm::Aes, id: Some(vec![1]), usage, persistent: true, exportable: false }
    }

    fn as_told() -> Vec<Attribute> {
        let mut found = key(&aes(), "keygate");
        found.extend([Attribute::Local(true), Attribute::AlwaysSensitive(true), Attribute::NeverExtractable(true)]);
        found
    }

    #[test]
    fn a_key_as_it_was_told_passes() {
        assert_eq!(unlike(&as_told(), &aes(), Origin::Generated), None);
    }

    #[test]
    fn each_attribute_that_is_not_as_told_is_named() {
        let swaps = [
            (Attribute::Sensitive(true), Attribute::Sensitive(false), "CKA_SENSITIVE"),
            (Attribute::Extractable(false), Attribute::Extractable(true), "CKA_EXTRACTABLE"),
            (Attribute::Token(true), Attribute::Token(false), "CKA_TOKEN"),
            (Attribute::Private(true), Attribute::Private(false), "CKA_PRIVATE"),
            (Attribute::Decrypt(true), Attribute::Decrypt(false), "CKA_DECRYPT"),
            (Attribute::Unwrap(false), Attribute::Unwrap(true), "CKA_UNWRAP"),
            (Attribute::Wrap(false), Attribute::Wrap(true), "CKA_WRAP"),
            (Attribute::Encrypt(true), Attribute::Encrypt(false), "CKA_ENCRYPT"),
            (Attribute::Local(true), Attribute::Local(false), "CKA_LOCAL"),
            (Attribute::NeverExtractable(true), Attribute::NeverExtractable(false), "CKA_NEVER_EXTRACTABLE"),
            (Attribute::AlwaysSensitive(true), Attribute::AlwaysSensitive(false), "CKA_ALWAYS_SENSITIVE"),
            (Attribute::Id(vec![1]), Attribute::Id(vec![2]), "CKA_ID"),
        ];
        for (right, wrong, name) in swaps {
            let found: Vec<_> = as_told().into_iter().map(|a| if a == right { wrong.clone() } else { a }).collect();
            assert_eq!(unlike(&found, &aes(), Origin::Generated), Some(name));
        }
        let silent: Vec<_> = as_told().into_iter().filter(|a| *a != Attribute::Sensitive(true)).collect();
        assert_eq!(unlike(&silent, &aes(), Origin::Generated), Some("CKA_SENSITIVE"));
    }
}
