//! Case files: what a plugin is asked, and what it must say.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use keygate_core::access::question::Question;
use keygate_core::access::{Answer, DenialKind};
use keygate_runtime::Explained;
use keygate_runtime::manifest::ActionPattern;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The cases of a rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleCases {
    /// The rule's settings for these cases.
    #[serde(default)]
    pub(super) settings: Option<Map<String, Value>>,
    /// What every case's request starts from.
    #[serde(default)]
    request: Map<String, Value>,
    /// The cases.
    #[serde(default, rename = "case")]
    pub(super) cases: Vec<RuleCase>,
}

/// One of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleCase {
    /// What it shows.
    pub(super) name: String,
    /// What is put over the common request.
    #[serde(default)]
    request: Map<String, Value>,
    /// What must come of it.
    pub(super) expect: Expected,
}

/// What a rule must say. What is absent is not compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    decision: Said,
    kind: Option<String>,
    code: Option<String>,
    message: Option<String>,
    obligations: Option<Vec<Obliged>>,
}

/// What a rule can say, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Said {
    Allow,
    Deny,
    Abstain,
    Fault,
}

impl Said {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Abstain => "abstain",
            Self::Fault => "fault",
        }
    }
}

/// An obligation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Obliged {
    name: String,
    #[serde(default)]
    value: String,
}

/// What a rule said.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Got {
    pub(super) decision: Said,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obligations: Vec<Obliged>,
}

impl RuleCases {
    /// The question that a case asks.
    ///
    /// # Errors
    /// Fields that a question has not, and actions that there are none of: the rule would be silent about them, and the
    /// case would show nothing.
    pub(super) fn question(&self, case: &RuleCase) -> anyhow::Result<Question> {
        let mut request = Value::Object(self.request.clone());
        merge(&mut request, &Value::Object(case.request.clone()));
        let question: Question = serde_path_to_error::deserialize(request).map_err(|error| {
            let path = error.path().to_string();
            anyhow::anyhow!("`request.{path}`: {}", error.into_inner())
        })?;
        ensure!(!question.action.is_empty(), "`request.action` is missing: name one, such as kms.secrets.wrap");
        ensure!(!question.action.ends_with('*'), "`request.action` must be one action: a request has no `*`");
        ActionPattern::parse(&question.action).context("`request.action`")?;
        Ok(question)
    }
}

/// Puts one table over another: tables deeply, everything else replaced.
fn merge(under: &mut Value, over: &Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                merge(under.entry(name).or_insert(Value::Null), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

impl Got {
    /// Reads what a rule said out of an explanation.
    pub(super) fn read(explained: &Explained) -> Self {
        let mut got = Self { decision: Said::Abstain, kind: None, code: None, message: None, obligations: Vec::new() };
        // A rule that says nothing to an action is not asked, which is an abstention.
        let Some(answer) = &explained.answer else { return got };
        match &answer.answer {
            Answer::Abstain => {}
            Answer::Allow => {
                got.decision = Said::Allow;
                let obliged = answer.obligations.iter();
                got.obligations = obliged.map(|o| Obliged { name: o.name.clone(), value: o.value.clone() }).collect();
            }
            Answer::Deny(code) => {
                got.decision = Said::Deny;
                got.code = Some(code.clone());
                got.kind = explained.denial.as_ref().map(|denial| kind(denial.kind));
                got.message = explained.denial.as_ref().map(|denial| denial.message.clone());
            }
            Answer::Fault(why) => {
                got.decision = Said::Fault;
                got.message = Some(why.clone());
            }
        }
        got
    }

    /// In one line.
    pub(super) fn line(&self) -> String {
        let mut line = self.decision.as_str().to_owned();
        // Writing to a text does not fail.
        if let Some(code) = &self.code {
            let _ = write!(line, " {code}");
        }
        for Obliged { name, value } in &self.obligations {
            let _ = write!(line, ", {name}{}{value}", if value.is_empty() { "" } else { "=" });
        }
        line
    }
}

const fn kind(kind: DenialKind) -> &'static str {
    match kind {
        DenialKind::Unauthorized => "unauthorized",
        DenialKind::Forbidden => "forbidden",
        DenialKind::Conflict => "conflict",
    }
}

impl Expected {
    /// How what was said differs from what was expected; `None` if it does not.
    pub(super) fn differs(&self, got: &Got) -> Option<String> {
        if self.decision != got.decision {
            let why = got.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
            return Some(format!("expected {}, got {}{why}", self.decision.as_str(), got.line()));
        }
        let mut differences = Vec::new();
        let mut same = |what: &str, expected: &Option<String>, got: Option<&str>| {
            if let Some(expected) = expected.as_ref().filter(|expected| Some(expected.as_str()) != got) {
                differences.push(format!("expected the {what} `{expected}`, got `{}`", got.unwrap_or_default()));
            }
        };
        same("kind", &self.kind, got.kind);
        same("code", &self.code, got.code.as_deref());
        let message = got.message.as_deref().unwrap_or_default();
        if let Some(part) = self.message.as_ref().filter(|part| !message.contains(part.as_str())) {
            differences.push(format!("expected a message with `{part}`, got `{message}`"));
        }
        if let Some(expected) = self.obligations.as_ref().filter(|expected| **expected != got.obligations) {
            differences.push(format!("expected the obligations {expected:?}, got {:?}", got.obligations));
        }
        (!differences.is_empty()).then(|| differences.join("; "))
    }
}

/// Reads a case file.
///
/// # Errors
/// It cannot be read, or is none; the parser shows the place.
pub(super) fn read<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("the cases, {}", file.display()))?;
    parse(&text).with_context(|| file.display().to_string())
}

/// Reads cases.
///
/// # Errors
/// They are none.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> anyhow::Result<T> {
    Ok(toml::from_str(text)?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use keygate_core::access::{Denial, Obligation, RuleAnswer};
    use keygate_runtime::Weight;
    use keygate_runtime::manifest::Mode;

    use super::*;

    fn cases(text: &str) -> RuleCases {
        parse(text).unwrap()
    }

    fn explained(answer: Option<Answer>, obligations: Vec<Obligation>) -> Explained {
        let (rule, digest, took, enforced) = (String::new(), String::new(), Duration::ZERO, true);
        let denial = Denial { kind: DenialKind::Forbidden, code: "NO_ERR".to_owned(), message: "not now".to_owned() };
        let denial = matches!(answer, Some(Answer::Deny(_))).then_some(denial);
        let answer = answer.map(|answer| RuleAnswer {
            rule: rule.clone(),
            digest: digest.clone(),
            enforced,
            answer,
            obligations,
            took,
        });
        Explained { rule, digest, mode: Mode::Enforce, weight: Weight::Counts, answer, denial }
    }

    #[test]
    fn a_case_is_put_over_the_common_request_tables_deeply_and_lists_whole() {
        let cases = cases(
            "[request]\naction = \"kms.secrets.wrap\"\nprincipal = { id = \"ann\", assignments = [{ roles = [\"A\"] }, {}] }\n\
             [[case]]\nname = \"n\"\nexpect = { decision = \"deny\" }\n\
             request = { principal = { assignments = [{ roles = [\"B\"] }] }, now = \"2026-11-22T10:00:00Z\" }",
        );
        let question = cases.question(&cases.cases[0]).unwrap();
        assert_eq!((question.action.as_str(), question.principal.id.as_str()), ("kms.secrets.wrap", "ann"));
        assert_eq!(question.principal.assignments.len(), 1);
        assert_eq!(question.principal.assignments[0].roles, ["B"]);
    }

    #[test]
    fn mistakes_in_a_request_are_named() {
        for (request, told) in [
            ("action = \"kms.secrets.unwarp\"", "kms.secrets.unwrap"),
            ("action = \"kms.secrets.*\"", "no `*`"),
            ("target = { key_rng = \"x\" }", "unknown field `key_rng`"),
            ("target = { key = { state = \"dead\" } }", "request.target.key.state"),
            ("now = \"noon\"", "noon"),
            ("", "request.action"),
        ] {
            let cases =
                cases(&format!("[request]\n{request}\n[[case]]\nname = \"n\"\nexpect = {{ decision = \"deny\" }}"));
            let error = format!("{:#}", cases.question(&cases.cases[0]).unwrap_err());
            assert!(error.contains(told), "{request}: {error}");
        }
        assert!(parse::<RuleCases>("[[case]]\nname = \"n\"\nexpect = { decision = \"maybe\" }").is_err());
        assert!(parse::<RuleCases>("[[case]]\nname = \"n\"\nexpect = { decision = \"deny\", cod = \"X\" }").is_err());
    }

    #[test]
    fn what_differs_is_said_and_what_is_not_expected_is_not_compared() {
        let expect = |text: &str| -> Expected { toml::from_str(text).unwrap() };
        let deny = Got::read(&explained(Some(Answer::Deny("NO_ERR".to_owned())), vec![]));
        assert_eq!(expect("decision = \"deny\"").differs(&deny), None);
        let whole = "decision = \"deny\"\nkind = \"forbidden\"\ncode = \"NO_ERR\"\nmessage = \"now\"";
        assert_eq!(expect(whole).differs(&deny), None);
        for (text, told) in [
            ("decision = \"allow\"", "expected allow, got deny NO_ERR: not now"),
            ("decision = \"deny\"\nkind = \"conflict\"", "expected the kind `conflict`, got `forbidden`"),
            ("decision = \"deny\"\ncode = \"OTHER\"", "expected the code `OTHER`, got `NO_ERR`"),
            ("decision = \"deny\"\nmessage = \"later\"", "expected a message with `later`"),
        ] {
            assert!(expect(text).differs(&deny).unwrap().contains(told), "{text}");
        }
        let allow = Obligation { rule: "r".to_owned(), name: "audit-note".to_owned(), value: "x".to_owned() };
        let allow = Got::read(&explained(Some(Answer::Allow), vec![allow]));
        assert_eq!(
            expect("decision = \"allow\"\nobligations = [{ name = \"audit-note\", value = \"x\" }]").differs(&allow),
            None
        );
        assert!(expect("decision = \"allow\"\nobligations = []").differs(&allow).is_some());
        assert_eq!(Got::read(&explained(None, vec![])).decision, Said::Abstain);
        let fault = Got::read(&explained(Some(Answer::Fault("it trapped".to_owned())), vec![]));
        assert_eq!(expect("decision = \"fault\"\nmessage = \"trapped\"").differs(&fault), None);
    }
}
