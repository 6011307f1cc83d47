//! Reading an event back from the audit log.

use std::io::BufRead;

use anyhow::Context as _;
use keygate_core::access::Obligation;
use keygate_core::access::question::Question;
use serde::Deserialize;
use serde_json::Value;

use super::super::terminal::plain;

/// Which event of many.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// The last with this correlation id.
    CorrelationId(&'a str),
    /// The one in this line; the first is 1.
    Line(u64),
    /// The last with a decision.
    Last,
}

/// An event as far as a decision goes. What else there is in it, a later version of Keygate may have put there.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    #[serde(default)]
    pub(super) correlation_id: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    decision: Value,
}

/// What stands in an event of a decision.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Recorded {
    /// `allow`, `deny` or `busy`.
    pub(super) verdict: String,
    #[serde(default)]
    pub(super) reason_code: Option<String>,
    #[serde(default)]
    pub(super) generation: Option<u64>,
    #[serde(default)]
    pub(super) rules: Vec<RecordedRule>,
    /// What was said before the rules put the new key into another ring.
    #[serde(default)]
    pub(super) first: Option<First>,
}

/// An answer after which the rules were asked again, about another ring.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct First {
    /// The ring that the request named.
    #[serde(default)]
    pub(super) key_ring: Option<String>,
    pub(super) rules: Vec<RecordedRule>,
}

impl Recorded {
    /// What the first answer made its allow depend on, where there was one. It holds beside what the second one says.
    pub(super) fn conditions_before(&self) -> Vec<Obligation> {
        self.first.as_ref().map(|first| conditions(&first.rules)).unwrap_or_default()
    }

    /// What the allow depended on.
    pub(super) fn conditions(&self) -> Vec<Obligation> {
        unite(conditions(&self.rules), self.conditions_before())
    }
}

/// Puts conditions together as the gateway does.
pub(super) fn unite(mut all: Vec<Obligation>, before: Vec<Obligation>) -> Vec<Obligation> {
    for obligation in before {
        if !all.contains(&obligation) {
            all.push(obligation);
        }
    }
    all
}

fn conditions(rules: &[RecordedRule]) -> Vec<Obligation> {
    let counted = rules.iter().filter(|rule| rule.mode == "enforce" && rule.answer == "allow");
    let obliged = counted.flat_map(|rule| rule.obligations.iter().map(move |duty| (rule, duty)));
    obliged
        .map(|(rule, duty)| Obligation { rule: rule.rule.clone(), name: duty.name.clone(), value: duty.value.clone() })
        .collect()
}

/// What one rule said then.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct RecordedRule {
    pub(super) rule: String,
    pub(super) digest: String,
    /// `enforce` or `monitor`.
    pub(super) mode: String,
    /// `allow`, `deny`, `abstain` or `fault`.
    pub(super) answer: String,
    #[serde(default)]
    pub(super) reason: Option<String>,
    #[serde(default)]
    pub(super) obligations: Vec<Obliged>,
}

/// Something that a rule made its allow depend on.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Obliged {
    pub(super) name: String,
    #[serde(default)]
    pub(super) value: String,
}

/// An event that was found.
#[derive(Clone, Debug)]
pub(super) struct Picked {
    /// Where; the first line is 1.
    pub(super) line: u64,
    /// How many there were of what was asked for.
    pub(super) of: usize,
    pub(super) event: Event,
    pub(super) recorded: Recorded,
}

impl Picked {
    /// What was asked then.
    pub(super) fn question(&self) -> anyhow::Result<Question> {
        let input = self.event.decision.get("input");
        if let Some(missing) = input.and_then(missing) {
            anyhow::bail!(
                "line {}: {missing}. To ask all the same, put the question together in a file, from `decision.input` and what is \
                 missing in it, and give it with --question",
                self.line
            );
        }
        match input {
            Some(input) => question(&input.to_string()).context("`decision.input`"),
            None => anyhow::bail!(
                "line {}: the event has no `decision.input`, so `audit.record_input` was off when it was made; set it to \
                 true for events to come, or ask with --question",
                self.line
            ),
        }
    }
}

/// What was too long to stand in an event, where anything was.
fn missing(input: &Value) -> Option<String> {
    if let Some(cut) = input.get("cut") {
        let bytes = &cut["bytes"];
        return Some(format!(
            "the event does not hold what the rules were asked: with its {bytes} bytes it was too long"
        ));
    }
    let policies = input.pointer("/target/instance_policies").and_then(Value::as_array);
    let cut = policies.into_iter().flatten().find(|policy| policy.get("sha256").is_some())?;
    let (kind, count, digest) = (plain(cut["kind"].as_str()?), &cut["count"], plain(cut["sha256"].as_str()?));
    Some(format!(
        "the event does not hold all that the rules were asked: of the instance's policy `{kind}` it has the number of its \
         attributes, {count}, and the SHA-256 of their list as compact JSON, {digest}, in the place of `attributes`"
    ))
}

/// Reads a question.
pub(super) fn question(text: &str) -> anyhow::Result<Question> {
    let mut json = serde_json::Deserializer::from_str(text);
    let question = serde_path_to_error::deserialize(&mut json)
        .with_context(|| "this is not a question; its form is that of an audit event's `decision.input`")?;
    json.end().context("there is more behind the question")?;
    Ok(question)
}

/// Finds an event.
pub(super) fn pick(mut from: impl BufRead, which: Which<'_>) -> anyhow::Result<Picked> {
    let (mut found, mut other) = (None, None);
    let mut of = 0;
    let (mut number, mut line) = (0_u64, Vec::new());
    loop {
        line.clear();
        if from.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mut event = serde_json::from_slice::<Event>(&line);
        // One event over several lines, as somebody may have copied it to look at it.
        if number == 1 && event.as_ref().is_err_and(serde_json::Error::is_eof) {
            from.read_to_end(&mut line)?;
            event = serde_json::from_slice(&line);
        }
        match (which, event) {
            (Which::CorrelationId(id), Ok(event)) if event.correlation_id == id => {
                of += 1;
                found = Some((number, Ok(event)));
            }
            (Which::CorrelationId(_), _) => {}
            (Which::Line(wanted), event) if wanted == number => {
                (found, of) = (Some((number, event)), 1);
                break;
            }
            (Which::Line(_), _) => {}
            // Most likely that is meant; of a line that the gateway is at, or died at, nothing can be said.
            (Which::Last, Ok(event)) if event.decision.is_object() || event.decision.is_array() => {
                (found, of) = (Some((number, Ok(event))), 1);
            }
            (Which::Last, event) => other = Some((number, event)),
        }
    }
    let found = found.or(other);
    let Some((line, event)) = found else {
        return Err(match which {
            Which::CorrelationId(id) => anyhow::anyhow!("no event has the correlation id `{id}`"),
            Which::Line(wanted) => anyhow::anyhow!("there is no event in line {wanted}; {number} lines were read"),
            Which::Last => anyhow::anyhow!("there is no event"),
        });
    };
    let event = event.with_context(|| format!("line {line} is not an audit event"))?;
    let recorded = recorded(&event).with_context(|| format!("line {line}"))?;
    Ok(Picked { line, of, event, recorded })
}

fn recorded(event: &Event) -> anyhow::Result<Recorded> {
    match &event.decision {
        Value::Object(_) => {
            serde_path_to_error::deserialize(&event.decision).context("`decision` is not what Keygate writes")
        }
        Value::Array(_) => anyhow::bail!(
            "the event is of a version of Keygate that did not record what the rules were asked; ask with --question"
        ),
        _ => {
            let action = plain(&event.action);
            anyhow::bail!("no rule was asked about `{action}`: nobody needed to be allowed this")
        }
    }
}
