//! What a policy says about itself: `@id("...")` and its like.

use cedar_policy_core::ast::{Effect, Template};
use keygate_plugin_sdk::rule::{DenialKind, Obligation};

use crate::actions::ACTIONS;
use crate::problems::Problems;
use crate::program::covers;
use crate::settings::nearest;

const KNOWN: [&str; 5] = ["id", "reason", "message", "kind", "obligation"];

/// The obligations that the gateway knows, and the actions in which it can keep each; none named: all.
const KEPT: [(&str, &[&str]); 5] = [
    (
        "require-dual-authorization",
        &["kms.secrets.delete", "kms.secrets.setkeyfordeletion", "kms.secrets.unsetkeyfordeletion"],
    ),
    ("max-data-bytes", &[CREATE, OVERRIDING, "kms.secrets.rotate", "kms.secrets.wrap"]),
    ("new-key-ring", &[CREATE, OVERRIDING]),
    ("new-key-tags", &[CREATE, OVERRIDING]),
    ("audit-note", &[]),
];
const CREATE: &str = "kms.secrets.create";
const OVERRIDING: &str = "kms.secrets-with-policy-overrides.create";

/// Their names.
const OBLIGATIONS: [&str; 5] = [KEPT[0].0, KEPT[1].0, KEPT[2].0, KEPT[3].0, KEPT[4].0];

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
            "obligation" => obligation(value).and_then(|one| {
                kept(template, &one.name)?;
                notes.obligations.push(one);
                Ok(())
            }),
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
        "max-data-bytes" if !value.parse::<u64>().is_ok_and(|number| number.to_string() == value) => {
            "a number of bytes without zeros before it, such as \"max-data-bytes=4096\""
        }
        "new-key-ring" if !is_ring(value) => "a ring, 2 to 100 letters, digits and '-', such as \"new-key-ring=prod\"",
        "new-key-tags" if !is_tags(value) => {
            "a list of 1 to 30 texts of at most 30 characters each that tags can have, such as \
             \"new-key-tags=[\\\"pci\\\"]\""
        }
        "audit-note" if value.is_empty() || value.len() > 256 || value.chars().any(is_disturbing) => {
            "a line of 1 to 256 bytes, such as \"audit-note=seen\""
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

/// An allow on a condition that the gateway cannot keep in what is asked for is a denial: of every such action. So a policy
/// with an obligation is for those alone in which it can be kept.
fn kept(template: &Template, name: &str) -> Result<(), String> {
    let Some((_, kept)) = KEPT.iter().find(|(known, kept)| *known == name && !kept.is_empty()) else { return Ok(()) };
    let elsewhere = ACTIONS.iter().find(|row| covers(template.action_constraint(), row) && !kept.contains(&row.0));
    match elsewhere {
        None => Ok(()),
        Some((action, _, _)) => Err(format!(
            "@obligation `{name}` cannot be kept in `{action}`, and the gateway would deny that: write `action in \
             [Action::\"{}\"]`, or fewer of these",
            kept.join("\", Action::\"")
        )),
    }
}

fn is_ring(value: &str) -> bool {
    (2..=100).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_tags(value: &str) -> bool {
    let sound = |tag: &String| {
        tag.chars().count() <= 30 && !tag.contains(['<', '>', ',', ':', '&', '|']) && !tag.chars().any(is_disturbing)
    };
    value.len() <= 1_024
        && serde_json::from_str::<Vec<String>>(value)
            .is_ok_and(|tags| (1..=30).contains(&tags.len()) && tags.iter().all(sound))
}

/// Control characters and the marks with which a line can be made to read as another, as the gateway has them.
fn is_disturbing(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
