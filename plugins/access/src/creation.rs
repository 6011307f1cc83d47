//! The instance policy `keyCreateImportAccess`: which keys may be made, and how material may come in.
//!
//! `enforce_token` is decided first and is about all material from outside: of new keys, of rotations and of restores.
//! The four other flags are about new keys alone. The documentation says that `enforce_token` takes precedence over
//! `import_root_key` and `import_standard_key`: it is what a refusal names first. It opens nothing that they close: an
//! import under a token still needs its own flag.
//!
//! A flag permits only by the value that says so; an absent or a strange one does not.

use keygate_plugin_sdk::rule::{InstancePolicy, Verdict};

use crate::question::Question;

/// The denial of a new key.
///
/// # Errors
/// Facts that are not as the host promises.
pub(crate) fn refuse_key(question: &mut Question<'_>) -> Result<Option<Verdict>, String> {
    let Some(policy) = policy(question) else { return Ok(None) };
    let Some(imported) = imported(question)? else { return Ok(None) };
    if imported && misses_token(policy, question) {
        return Ok(Some(token_needed()));
    }
    let flag = match (question.fact("new-key.kind"), imported) {
        (None, _) => return Ok(None),
        (Some("root"), false) => "create_root_key",
        (Some("root"), true) => "import_root_key",
        (Some("standard"), false) => "create_standard_key",
        (Some("standard"), true) => "import_standard_key",
        (Some(_), _) => return Err("the fact `new-key.kind` is neither `root` nor `standard`".to_owned()),
    };
    Ok((!says(policy, flag, "true")).then(|| not_permitted(flag)))
}

/// The denial of new material for a key that is there.
///
/// # Errors
/// Facts that are not as the host promises.
pub(crate) fn refuse_material(question: &mut Question<'_>) -> Result<Option<Verdict>, String> {
    let Some(policy) = policy(question) else { return Ok(None) };
    let imports = imported(question)?.unwrap_or(false);
    Ok((imports && misses_token(policy, question)).then(token_needed))
}

fn policy<'a>(question: &Question<'a>) -> Option<&'a InstancePolicy> {
    question.policies().iter().find(|policy| policy.kind == "keyCreateImportAccess")
}

/// Whether the request brings material; absent where the host could not read that.
fn imported(question: &mut Question<'_>) -> Result<Option<bool>, String> {
    match question.fact("new-key.imported") {
        None => Ok(None),
        Some("true") => Ok(Some(true)),
        Some("false") => Ok(Some(false)),
        Some(_) => Err("the fact `new-key.imported` is neither `true` nor `false`".to_owned()),
    }
}

/// Whether material must come under an import token and does not.
fn misses_token(policy: &InstancePolicy, question: &mut Question<'_>) -> bool {
    !says(policy, "enforce_token", "false") && question.fact("import-token") != Some("true")
}

/// Whether a flag has this value and no other.
fn says(policy: &InstancePolicy, flag: &str, value: &str) -> bool {
    let mut values = policy.values(flag);
    values.next() == Some(value) && values.next().is_none()
}

fn token_needed() -> Verdict {
    conflict(
        "The keyCreateImportAccess policy of the instance has enforce_token switched on: import the key material under \
         an import token (POST /api/v2/import_token)",
    )
}

fn not_permitted(flag: &str) -> Verdict {
    let parts = [
        "The keyCreateImportAccess policy of the instance has ",
        flag,
        " switched off: use a kind of key that it permits, or let a manager change it (PUT /api/v2/instance/policies)",
    ];
    conflict(&parts.concat())
}

fn conflict(message: &str) -> Verdict {
    Verdict::deny_conflict("KEY_CREATE_IMPORT_ACCESS_ERR", message)
}
