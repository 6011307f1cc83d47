//! What a policy says about itself: `@id("...")` and its like.

use cedar_policy_core::ast::{Effect, Template};
use keygate_plugin_sdk::rule::{DenialKind, Obligation};

use crate::problems::Problems;
use crate::settings::nearest;

const KNOWN: [&str; 5] = ["id", "reason", "message", "kind", "obligation"];

/// The obligations that the gateway knows.
const OBLIGATIONS: [&str; 5] =
    ["require-dual-authorization", "max-data-bytes", "new-key-ring", "new-key-tags", "audit-note"];

/// The reason code of a denial that names none.
const DEFAULT_CODE: &str = "POLICY_RULE_ERR";

/// A policy's annotations, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Notes {
    pub(crate) id: Option<String>,
    pub(crate) kind: DenialKind,
    pub(crate) code: String,
    pub(crate) message: Option<String>,
    pub(crate) obligations: Vec<Obligation>,
}

/// Reads the annotations of a policy.
pub(crate) fn read(template: &Template, source: usize, problems: &mut Problems) -> Notes {
    let mut notes = Notes {
        id: None,
        kind: DenialKind::Forbidden,
        code: DEFAULT_CODE.to_owned(),
        message: None,
        obligations: Vec::new(),
    };
    let forbids = template.effect() == Effect::Forbid;
    for (name, annotation) in template.annotations() {
        let (name, value): (&str, &str) = (name.as_ref(), &annotation.val);
        let at = annotation.loc.as_ref().or(template.loc()).map_or(0, |loc| loc.start());
        // Annotations have unique names, so several obligations have suffixes: `obligation_2`.
        let (stem, suffix) = name.split_once('_').unwrap_or((name, ""));
        let stem = if stem == "obligation" && suffix.bytes().all(|b| b.is_ascii_alphanumeric()) { stem } else { name };
        let told = match stem {
            "id" => id(value).map(|id| notes.id = Some(id)),
            "reason" | "message" | "kind" if !forbids => {
                Err(format!("@{name} is for a denial, and this policy permits: remove it, or make it a forbid"))
            }
            "reason" => code(value).map(|code| notes.code = code),
            "message" => message(value).map(|message| notes.message = Some(message)),
            "kind" => kind(value).map(|kind| notes.kind = kind),
            "obligation" if forbids => {
                Err(format!("@{name} is for what is allowed, and this policy forbids: remove it, or make it a permit"))
            }
            "obligation" => obligation(value).map(|one| notes.obligations.push(one)),
            _ => Err(unknown(name)),
        };
        if let Err(message) = told {
            problems.add(source, at, message);
        }
    }
    if notes.obligations.len() > 16 {
        let at = template.loc().map_or(0, |loc| loc.start());
        problems.add(source, at, "a policy can have 16 obligations at most");
    }
    notes
}

fn unknown(name: &str) -> String {
    let hint = nearest(name, &KNOWN).map_or(String::new(), |near| format!("; did you mean @{near}?"));
    format!("unknown annotation @{name}: expected @{}{hint}", KNOWN.join(", @"))
}

fn id(value: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if value.is_empty() || value.len() > 64 || !value.chars().all(good) {
        return Err("@id: expected 1 to 64 letters, digits, spaces, '-', '_' and '.'".to_owned());
    }
    Ok(value.to_owned())
}

fn code(value: &str) -> Result<String, String> {
    let good = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if value.is_empty() || value.len() > 64 || !value.bytes().all(good) {
        return Err(
            "@reason: expected a reason code of 1 to 64 capitals, digits and '_', such as \"OFFICE_HOURS_ERR\""
                .to_owned(),
        );
    }
    Ok(value.to_owned())
}

fn message(value: &str) -> Result<String, String> {
    if value.is_empty() || value.len() > 512 || value.chars().any(char::is_control) {
        return Err("@message: expected a text of 1 to 512 bytes without control characters".to_owned());
    }
    Ok(value.to_owned())
}

fn kind(value: &str) -> Result<DenialKind, String> {
    match value {
        "forbidden" => Ok(DenialKind::Forbidden),
        "conflict" => Ok(DenialKind::Conflict),
        "unauthorized" => Ok(DenialKind::Unauthorized),
        _ => {
            let known = ["forbidden", "conflict", "unauthorized"];
            let hint = nearest(value, &known).map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
            Err(format!("@kind: expected \"forbidden\" (403), \"conflict\" (409) or \"unauthorized\" (401){hint}"))
        }
    }
}

/// `name=value`, as the gateway will understand it.
fn obligation(text: &str) -> Result<Obligation, String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let expected = match name {
        "require-dual-authorization" if !value.is_empty() => "nothing after the name",
        "max-data-bytes"
            if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) || value.parse::<u64>().is_err() =>
        {
            "a number of bytes, such as \"max-data-bytes=4096\""
        }
        "new-key-ring" if value.is_empty() || value.len() > 100 => "a ring, such as \"new-key-ring=prod\"",
        "new-key-tags" if !is_texts(value) => "a list of texts, such as \"new-key-tags=[\\\"pci\\\"]\"",
        "audit-note" if value.is_empty() || value.len() > 256 => {
            "a text of 1 to 256 bytes, such as \"audit-note=seen\""
        }
        _ if OBLIGATIONS.contains(&name) => return Ok(Obligation { name: name.to_owned(), value: value.to_owned() }),
        _ => {
            let hint = nearest(name, &OBLIGATIONS).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
            return Err(format!(
                "@obligation: the gateway knows no `{}`, and would deny everything; it knows `{}`{hint}",
                name.escape_debug(),
                OBLIGATIONS.join("`, `")
            ));
        }
    };
    Err(format!("@obligation `{name}`: expected {expected}"))
}

fn is_texts(value: &str) -> bool {
    value.len() <= 1_024 && serde_json::from_str::<Vec<String>>(value).is_ok_and(|tags| !tags.is_empty())
}
