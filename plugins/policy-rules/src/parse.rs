//! From text to policies that were checked.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, PolicySet, Template};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::parser;
use cedar_policy_core::validator::{ValidationMode, ValidationWarning, Validator, ValidatorSchema};
use keygate_plugin_sdk::SettingsError;
use keygate_plugin_sdk::host::log;
use miette::Diagnostic;

use crate::actions;
use crate::annotations::{self, Notes};
use crate::limits::{self, MAX_POLICIES, MAX_TEXT};
use crate::mentions::literal;
use crate::problems::{Problems, place};
use crate::settings::{Source, nearest};

/// A policy that was checked.
pub(crate) struct Checked {
    pub(crate) template: Template,
    pub(crate) notes: Notes,
    /// `file:line:column`.
    pub(crate) place: String,
}

/// Parses and checks all texts.
///
/// # Errors
/// Every mistake, as far as there is room to tell.
pub(crate) fn policies(sources: &[Source]) -> Result<Vec<Checked>, SettingsError> {
    let bytes: usize = sources.iter().map(|source| source.text.len()).sum();
    if bytes > MAX_TEXT {
        return Err(SettingsError::new("policies", format!("{bytes} bytes of policies, and {MAX_TEXT} is the most")));
    }
    let mut problems = Problems::default();
    for (at, source) in sources.iter().enumerate() {
        limits::check(at, &source.text, &mut problems);
    }
    // What is too deep must not reach the parser.
    problems.into_result(sources)?;

    let mut problems = Problems::default();
    let validator = Validator::new(schema()?);
    let mut checked = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        match parser::parse_policyset(&source.text) {
            Ok(set) => check(&set, at, sources, &validator, &mut checked, &mut problems),
            Err(errors) => errors.iter().for_each(|error| tell(error, at, |_| 0, &mut problems)),
        }
    }
    same_ids(&checked, &mut problems);
    problems.into_result(sources)?;
    if checked.is_empty() {
        return Err(SettingsError::new("policies", "there is no policy in them: write at least one permit or forbid"));
    }
    if checked.len() > MAX_POLICIES {
        let message = format!("{} policies, and {MAX_POLICIES} is the most", checked.len());
        return Err(SettingsError::new("policies", message));
    }
    Ok(checked.into_iter().map(|(_, _, policy)| policy).collect())
}

/// The schema. It is part of the plugin, so a failure is the plugin's.
fn schema() -> Result<ValidatorSchema, SettingsError> {
    ValidatorSchema::from_cedarschema_str(&actions::schema(), Extensions::all_available())
        .map(|(schema, _)| schema)
        .map_err(|error| SettingsError::whole(format!("the plugin's own schema cannot be read: {error}")))
}

/// What is wrong with a scope that no request is in.
const INAPPLICABLE: &str = "no request is like this: none of the actions is about such a resource. Requests about a key are \
                            `resource in Ring::\"...\"`, not `resource == Ring::\"...\"`; lists and new keys are about the ring";

/// Checks the policies of one text, and collects them in the order of the text.
fn check(
    set: &PolicySet,
    source: usize,
    sources: &[Source],
    validator: &Validator,
    checked: &mut Vec<(usize, usize, Checked)>,
    problems: &mut Problems,
) {
    let mut templates: Vec<&Template> = set.all_templates().collect();
    templates.sort_by_key(|template| start(template));
    let of = |id: &str| {
        let template = templates.iter().find(|template| AsRef::<str>::as_ref(template.id()) == id);
        template.map_or(0, |template| start(template))
    };

    // One level: attributes of caller, key and context. Nothing is known of other entities.
    let found = validator.validate_with_level(set, ValidationMode::Strict, 1);
    for error in found.validation_errors() {
        tell(error, source, of, problems);
    }
    for warning in found.validation_warnings() {
        let at = || warning.labels().and_then(|mut labels| labels.next()).map_or(0, |label| label.offset());
        match warning {
            // Somebody may have switched it off.
            ValidationWarning::ImpossiblePolicy(_) => {
                log::warn("this policy can never apply", &[("policy", &place(sources, source, at()))]);
            }
            // Said already, where the scope names what is not there.
            ValidationWarning::InvalidActionApplication(_) if found.validation_errors().next().is_some() => {}
            ValidationWarning::InvalidActionApplication(_) => problems.add(source, at(), INAPPLICABLE),
            _ => tell(warning, source, of, problems),
        }
    }
    for template in templates {
        let at = start(template);
        if !template.is_static() {
            problems.add(source, at, "templates (`?principal`, `?resource`) cannot be used here: name who and what");
            continue;
        }
        if let Some(expr) = template.non_scope_constraints() {
            expr.subexpressions().for_each(|part| words(part, source, problems));
        }
        let notes = annotations::read(template, source, problems);
        let place = place(sources, source, at);
        checked.push((source, at, Checked { template: template.clone(), notes, place }));
    }
}

/// Where a policy starts.
fn start(template: &Template) -> usize {
    template.loc().map_or(0, |loc| loc.start())
}

/// A mistake that Cedar found. Without a place of its own, it is the policy's.
fn tell(error: &dyn Diagnostic, source: usize, start_of: impl Fn(&str) -> usize, problems: &mut Problems) {
    let label = error.labels().and_then(|mut labels| labels.next());
    let message = error.to_string();
    // They name policies by numbers; the place is better.
    let named = message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    let offset = label.as_ref().map_or_else(|| named.map_or(0, |(id, _)| start_of(id)), |label| label.offset());
    let mut text = named.map_or(message.as_str(), |(_, rest)| rest).to_owned();
    if let Some(label) = label.as_ref().and_then(|label| label.label()) {
        text.push_str(": ");
        text.push_str(label);
    }
    if let Some(help) = error.help() {
        text.push_str("; ");
        text.push_str(&help.to_string());
    }
    problems.add(source, offset, text);
}

/// The words that attributes with a fixed set of values can have.
const WORDS: [(&str, &[&str]); 3] = [
    ("kind", &["root", "standard"]),
    ("state", &["pre-activation", "active", "suspended", "deactivated", "destroyed"]),
    ("endpoint", &["public", "private"]),
];

/// A comparison with a word that the attribute never has is a slip of the pen.
fn words(expr: &Expr, source: usize, problems: &mut Problems) {
    let ExprKind::BinaryApp { op, arg1, arg2 } = expr.expr_kind() else { return };
    let pairs: Vec<(&Expr, &Expr)> = match op {
        BinaryOp::Eq => vec![(arg1, arg2), (arg2, arg1)],
        // `["active", "suspended"].contains(resource.state)`
        BinaryOp::Contains => match arg1.expr_kind() {
            ExprKind::Set(items) => items.iter().map(|item| (arg2.as_ref(), item)).collect(),
            _ => return,
        },
        _ => return,
    };
    for (attribute, word) in pairs {
        let ExprKind::GetAttr { attr, .. } = attribute.expr_kind() else { continue };
        let Some((name, known)) = WORDS.iter().find(|(name, _)| attr == name) else { continue };
        let Some(word_text) = literal(word).filter(|text| !known.contains(text)) else { continue };
        let at = word.source_loc().or(expr.source_loc()).map_or(0, |loc| loc.start());
        let hint = nearest(word_text, known).map_or(String::new(), |near| format!("; did you mean \"{near}\"?"));
        let message =
            format!("no {name} is \"{}\": expected \"{}\"{hint}", word_text.escape_debug(), known.join("\", \""));
        problems.add(source, at, message);
    }
}

/// Two policies with the same id could not be told apart.
fn same_ids(checked: &[(usize, usize, Checked)], problems: &mut Problems) {
    for (at, (source, offset, policy)) in checked.iter().enumerate() {
        let Some(id) = &policy.notes.id else { continue };
        if let Some((_, _, other)) = checked[..at].iter().find(|(_, _, other)| other.notes.id.as_ref() == Some(id)) {
            problems.add(*source, *offset, format!("@id(\"{id}\") is taken by the policy at {}", other.place));
        }
    }
}
