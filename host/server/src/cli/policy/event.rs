//! Reading an event back from the audit log.

use std::io::BufRead;

use anyhow::Context as _;
use keygate_core::access::question::Question;
use serde::Deserialize;
use serde_json::Value;

/// Which event of many.
#[derive(Clone, Copy, Debug)]
pub(super) enum Which<'a> {
    /// The last with this correlation id.
    CorrelationId(&'a str),
    /// The one in this line; the first is 1.
    Line(u64),
    /// The last.
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
        match self.event.decision.get("input") {
            Some(input) => question(&input.to_string()).context("`decision.input`"),
            None => anyhow::bail!(
                "line {}: the event has no `decision.input`, so `audit.record_input` was off when it was made; set it to \
                 true for events to come, or ask with --question",
                self.line
            ),
        }
    }
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
    let mut found = None;
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
            (Which::Last, event) => (found, of) = (Some((number, event)), 1),
        }
    }
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
        _ => anyhow::bail!("no rule was asked about `{}`: nobody needed to be allowed this", event.action),
    }
}
