//! Between the contracts' types and the domain's. Nothing that comes from a guest is believed: what is out of the bounds
//! that the WIT sets does not get through here.

use std::collections::BTreeMap;
use std::time::Duration;

use keygate_core::access::question::{AssignmentFacts, CallerKind, KeyFacts, PolicyFacts, PrincipalFacts, Question};
use keygate_core::access::{Denial, DenialKind, Endpoint, Obligation};
use keygate_core::backend::{
    BackendDescription, BackendError, ImportEnvelope, ImportRejection, Imported, KeyIdentity, KeyPair, KeySpec,
};
use keygate_core::key::{KeyKind, KeyState};

use super::crypto::keygate::crypto::types as c;
use super::policy::keygate::policy::types as p;
use crate::contract::RuleDescription;
use crate::host::log::{disturbing, tidy};

/// The longest key-ref, in bytes.
pub(crate) const MAX_KEY_REF: usize = 16_384;
/// The longest key that is sealed for transport, in bytes (`wit/crypto/backend.wit`).
pub(crate) const MAX_IN_TRANSPORT: usize = 1_024;
/// How much longer than its plaintext a ciphertext can be, in bytes.
pub(crate) const MAX_OVERHEAD: usize = 1_024;
/// The longest text of an error, in bytes.
const MAX_ERROR: usize = 1_024;
/// The longest message of a denial, in bytes.
const MAX_MESSAGE: usize = 512;
/// The longest short name, version, algorithm or feature, in bytes.
const MAX_WORD: usize = 64;
/// The most algorithms, features or actions in a description.
const MAX_WORDS: usize = 256;

/// Something checked, or the bound that it breaks.
type Checked<T> = Result<T, String>;

fn within(what: &str, len: usize, least: usize, most: usize) -> Checked<()> {
    if (least..=most).contains(&len) {
        Ok(())
    } else {
        Err(format!("{what} has {len} bytes; {least} to {most} is right"))
    }
}

fn word(what: &str, text: &str) -> Checked<()> {
    within(what, text.len(), 1, MAX_WORD)?;
    if text.chars().any(disturbing) {
        Err(format!("{what} has control characters, or marks that turn the direction of writing"))
    } else {
        Ok(())
    }
}

fn words(what: &str, texts: &[String]) -> Checked<()> {
    if texts.len() > MAX_WORDS {
        return Err(format!("there are {} {what}; {MAX_WORDS} is the most", texts.len()));
    }
    texts.iter().try_for_each(|text| word(what, text))
}

/// Checks what a backend says it is.
pub(crate) fn backend_description(d: c::Description) -> Checked<BackendDescription> {
    word("`name`", &d.name)?;
    word("`version`", &d.version)?;
    words("`algorithms`", &d.algorithms)?;
    words("`features`", &d.features)?;
    if d.max_plaintext < 4_096 {
        return Err(format!("`max-plaintext` is {}; 4096 is the least", d.max_plaintext));
    }
    if d.max_material < 32 {
        return Err(format!("`max-material` is {}; 32 is the least", d.max_material));
    }
    Ok(BackendDescription {
        name: d.name,
        version: d.version,
        algorithms: d.algorithms,
        max_plaintext: d.max_plaintext as usize,
        max_material: d.max_material as usize,
        features: d.features,
    })
}

/// Checks what a rule says it is.
pub(crate) fn rule_description(d: p::Description) -> Checked<RuleDescription> {
    word("`name`", &d.name)?;
    word("`version`", &d.version)?;
    words("`actions`", &d.actions)?;
    Ok(RuleDescription { name: d.name, version: d.version, actions: d.actions })
}

/// Checks a key-ref.
pub(crate) fn key_ref(bytes: Vec<u8>) -> Checked<Vec<u8>> {
    within("the key-ref", bytes.len(), 1, MAX_KEY_REF)?;
    Ok(bytes)
}

/// Checks a ciphertext of `plaintext` bytes.
pub(crate) fn wrapped(bytes: Vec<u8>, plaintext: usize) -> Checked<Vec<u8>> {
    within("the ciphertext", bytes.len(), 1, plaintext + MAX_OVERHEAD)?;
    Ok(bytes)
}

/// Checks a key pair.
pub(crate) fn key_pair(pair: c::KeyPair) -> Checked<KeyPair> {
    within("the public key", pair.public.len(), 1, MAX_KEY_REF)?;
    Ok(KeyPair { private: key_ref(pair.private)?, public: pair.public })
}

/// Checks a key that is sealed to another backend.
pub(crate) fn in_transport(sealed: Vec<u8>) -> Checked<Vec<u8>> {
    within("the sealed key", sealed.len(), 1, MAX_IN_TRANSPORT)?;
    Ok(sealed)
}

/// Checks what came out of an import.
pub(crate) fn imported(imported: c::Imported) -> Checked<Imported> {
    let bits = imported.bits;
    if !matches!(bits, 128 | 192 | 256) {
        return Err(format!("what was imported has {bits} bits; 128, 192 or 256 is right"));
    }
    Ok(Imported { reference: key_ref(imported.key_ref)?, bits })
}

/// The text of an identity's parts, which the contract's record borrows.
pub(crate) struct IdentityText {
    instance: String,
    key: String,
    version: String,
}

impl IdentityText {
    pub(crate) fn new(identity: KeyIdentity) -> Self {
        Self {
            instance: identity.instance.to_string(),
            key: identity.key.to_string(),
            version: identity.version.to_string(),
        }
    }

    pub(crate) fn identity(&self) -> c::KeyIdentity<'_> {
        c::KeyIdentity { instance_id: &self.instance, key_id: &self.key, version_id: &self.version }
    }

    pub(crate) fn key<'a>(&'a self, reference: &'a [u8]) -> c::Key<'a> {
        c::Key { identity: self.identity(), reference }
    }
}

/// Which key to make.
pub(crate) fn key_spec(spec: KeySpec) -> c::KeySpec<'static> {
    let kind = match spec.kind {
        KeyKind::Root => c::KeyKind::Root,
        KeyKind::Standard => c::KeyKind::Standard,
    };
    c::KeySpec { algorithm: spec.algorithm.as_str(), bits: spec.bits, kind }
}

/// Material under an import token.
pub(crate) fn import_envelope(e: &ImportEnvelope) -> c::ImportEnvelope<'_> {
    c::ImportEnvelope {
        algorithm: &e.algorithm,
        encrypted_key: &e.encrypted_key,
        encrypted_nonce: &e.encrypted_nonce,
        iv: &e.iv,
        expected_nonce: &e.expected_nonce,
    }
}

/// A backend's error, unless its text is out of bounds.
pub(crate) fn backend_error(error: c::Error, backend: &str) -> Checked<BackendError> {
    let text = |detail: String| {
        within("the error's text", detail.len(), 0, MAX_ERROR)?;
        Ok::<_, String>(tidy(&detail, MAX_ERROR))
    };
    let backend = backend.to_owned();
    Ok(match error {
        c::Error::InvalidKeyRef => BackendError::InvalidKeyRef { backend },
        c::Error::KeyNotFound => BackendError::KeyNotFound,
        c::Error::AuthenticationFailed => BackendError::AuthenticationFailed,
        c::Error::InvalidInput(detail) => BackendError::InvalidInput(text(detail)?),
        c::Error::ImportRejected(why) => BackendError::ImportRejected(match why {
            c::ImportRejection::Material => ImportRejection::Material,
            c::ImportRejection::NonceIv => ImportRejection::NonceIv,
            c::ImportRejection::Nonce => ImportRejection::Nonce,
        }),
        c::Error::Unsupported(detail) => BackendError::Unsupported(text(detail)?),
        c::Error::Busy(after) => BackendError::Busy(after.map(|ms| Duration::from_millis(ms.into()))),
        c::Error::Unavailable(detail) => {
            BackendError::Unavailable { backend, detail: text(detail)?, retry_after: None }
        }
        c::Error::Internal(detail) => BackendError::Internal { backend, detail: text(detail)? },
    })
}

/// What a rule was heard to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decided {
    Abstain,
    Allow(Vec<Obligation>),
    Deny(Denial),
}

/// Checks the answer of the rule of this name.
pub(crate) fn decision(decision: p::Decision, rule: &str) -> Checked<Decided> {
    match decision {
        p::Decision::Abstain => Ok(Decided::Abstain),
        p::Decision::Allow(obligations) => {
            if obligations.len() > 16 {
                return Err(format!("there are {} obligations; 16 is the most", obligations.len()));
            }
            obligations.into_iter().map(|o| obligation(o, rule)).collect::<Checked<_>>().map(Decided::Allow)
        }
        p::Decision::Deny(denial) => self::denial(denial).map(Decided::Deny),
    }
}

fn obligation(o: p::Obligation, rule: &str) -> Checked<Obligation> {
    word("an obligation's name", &o.name)?;
    within("an obligation's value", o.value.len(), 0, 1_024)?;
    Ok(Obligation { rule: rule.to_owned(), name: o.name, value: o.value })
}

fn denial(d: p::Denial) -> Checked<Denial> {
    within("the reason code", d.code.len(), 1, MAX_WORD)?;
    if !d.code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_') {
        return Err("the reason code is not made of capitals, digits and `_`".to_owned());
    }
    within("the denial's message", d.message.len(), 0, MAX_MESSAGE)?;
    let kind = match d.kind {
        p::DenialKind::Unauthorized => DenialKind::Unauthorized,
        p::DenialKind::Forbidden => DenialKind::Forbidden,
        p::DenialKind::Conflict => DenialKind::Conflict,
    };
    Ok(Denial { kind, code: d.code, message: tidy(&d.message, MAX_MESSAGE) })
}

/// A text of a rule's for the operator.
pub(crate) fn rule_error(text: &str) -> String {
    tidy(text, MAX_ERROR)
}

/// The question, as rules read it.
pub(crate) fn request(q: &Question) -> p::Request {
    p::Request {
        request_id: q.request_id.clone(),
        action: q.action.clone(),
        principal: principal(&q.principal),
        target: p::Target {
            instance_id: q.target.instance_id.clone(),
            key_ring: q.target.key_ring.clone(),
            key: q.target.key.as_ref().map(key_facts),
            key_name: q.target.key_name.clone(),
            instance_policies: q.target.instance_policies.iter().map(instance_policy).collect(),
        },
        network: p::Network {
            address: q.network.address.clone(),
            endpoint: match q.network.endpoint {
                Endpoint::Public => p::Endpoint::Public,
                Endpoint::Private => p::Endpoint::Private,
            },
        },
        now_unix_ms: q.now.unix_ms(),
        attributes: pairs(&q.attributes),
    }
}

fn pairs(facts: &BTreeMap<String, String>) -> Vec<(String, String)> {
    facts.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn principal(principal: &PrincipalFacts) -> p::Principal {
    p::Principal {
        id: principal.id.clone(),
        kind: match principal.kind {
            CallerKind::User => p::PrincipalKind::User,
            CallerKind::Service => p::PrincipalKind::Service,
        },
        service_name: principal.service_name.clone(),
        account: principal.account.clone(),
        assignments: principal.assignments.iter().map(assignment).collect(),
        attributes: pairs(&principal.attributes),
    }
}

fn assignment(a: &AssignmentFacts) -> p::RoleAssignment {
    p::RoleAssignment {
        roles: a.roles.clone(),
        instance_id: a.instance_id.clone(),
        key_ring: a.key_ring.clone(),
        resource_type: a.resource_type.clone(),
        resource_id: a.resource_id.clone(),
    }
}

fn instance_policy(policy: &PolicyFacts) -> p::InstancePolicy {
    p::InstancePolicy { kind: policy.kind.clone(), attributes: policy.attributes.clone() }
}

fn key_facts(key: &KeyFacts) -> p::KeyFacts {
    p::KeyFacts {
        id: key.id.clone(),
        name: key.name.clone(),
        aliases: key.aliases.clone(),
        tags: key.tags.clone(),
        kind: match key.kind {
            KeyKind::Root => p::KeyKind::Root,
            KeyKind::Standard => p::KeyKind::Standard,
        },
        state: match key.state {
            KeyState::PreActivation => p::KeyState::PreActivation,
            KeyState::Active => p::KeyState::Active,
            KeyState::Suspended => p::KeyState::Suspended,
            KeyState::Deactivated => p::KeyState::Deactivated,
            KeyState::Destroyed => p::KeyState::Destroyed,
        },
        imported: key.imported,
        created_unix_ms: key.created.unix_ms(),
        created_by: key.created_by.clone(),
        last_rotated_unix_ms: key.last_rotated.map(|at| at.unix_ms()),
        expires_unix_ms: key.expires.map(|at| at.unix_ms()),
        dual_auth_delete: key.dual_auth_delete,
        deletion_authorization: key
            .deletion_authorization
            .as_ref()
            .map(|first| p::DeletionAuthorization { by: first.by.clone(), expires_unix_ms: first.expires.unix_ms() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_does_not_make_a_text_longer_than_its_bound() {
        let told = |message: String| {
            let denial = p::Denial { kind: p::DenialKind::Forbidden, code: "NO".to_owned(), message };
            self::denial(denial).map(|denial| denial.message)
        };
        assert_eq!(told("one\ntwo".to_owned()).unwrap(), "one\\ntwo");
        assert_eq!(told("\n".repeat(MAX_MESSAGE)).unwrap().len(), MAX_MESSAGE);
        assert_eq!(told("x".repeat(MAX_MESSAGE)).unwrap().len(), MAX_MESSAGE);
        assert!(told("x".repeat(MAX_MESSAGE + 1)).is_err());

        let error = backend_error(c::Error::InvalidInput("\u{1b}".repeat(MAX_ERROR)), "b").unwrap();
        assert!(matches!(error, BackendError::InvalidInput(text) if text.len() <= MAX_ERROR));
        assert!(rule_error(&"\u{202e}".repeat(MAX_ERROR)).len() <= MAX_ERROR);
    }
}
