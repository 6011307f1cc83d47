//! What is told of a decision: to people as a table, to scripts as JSON.

use std::fmt::{self, Display, Formatter};

use keygate_core::access::obligations::{Duty, Obligations};
use keygate_core::access::question::Question;
use keygate_core::access::{Action, Answer, Denial, Obligation, Verdict};
use keygate_core::error::ReasonCode;
use keygate_runtime::manifest::Mode;
use keygate_runtime::{Explained, Explanation, Weight};
use serde_json::{Value, json};

use super::super::terminal::plain;
use super::event::{Obliged, Picked, Recorded, RecordedRule, unite};

/// So many digits of a digest tell plugins apart for people.
const DIGITS: usize = 12;

/// A decision, then and now.
pub(super) struct Report<'a> {
    question: &'a Question,
    picked: Option<&'a Picked>,
    rows: Vec<Row<'a>>,
    recorded: Option<Outcome>,
    now: Outcome,
}

/// One rule, then and now. At least one of the two is there.
struct Row<'a> {
    recorded: Option<&'a RecordedRule>,
    now: Option<&'a Explained>,
}

/// How a decision came out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    /// `allow`, `deny` or `busy`.
    verdict: String,
    /// Of a denial.
    code: Option<String>,
    /// Of an allow.
    obligations: Vec<Obliged>,
    /// For the caller. Not recorded, so nothing that two outcomes differ in.
    message: String,
}

impl Outcome {
    fn is_same(&self, other: &Self) -> bool {
        (&self.verdict, &self.code, &self.obligations) == (&other.verdict, &other.code, &other.obligations)
    }

    fn denied(denial: &Denial) -> Self {
        let (code, message) = (Some(denial.code.clone()), denial.message.clone());
        Self { verdict: "deny".to_owned(), code, obligations: Vec::new(), message }
    }

    /// What comes of the chain's verdict once its obligations, and those of an answer before it, are looked at.
    fn now(verdict: &Verdict, before: Vec<Obligation>, action: Action, bytes: u64) -> Self {
        let none = |verdict: &str| Self {
            verdict: verdict.to_owned(),
            code: None,
            obligations: Vec::new(),
            message: String::new(),
        };
        match verdict {
            Verdict::Deny(denial) => Self::denied(denial),
            Verdict::Busy => none("busy"),
            Verdict::Allow(asked) => {
                let asked = unite(asked.clone(), before);
                let kept = Obligations::understand(action, &asked).and_then(|all| all.check_data(bytes));
                match kept {
                    Ok(()) => Self { obligations: duties(&asked), ..none("allow") },
                    Err(denial) => Self::denied(&denial),
                }
            }
        }
    }

    fn recorded(recorded: &Recorded) -> Self {
        let allowed = recorded.verdict == "allow";
        let obligations = if allowed { duties(&recorded.conditions()) } else { Vec::new() };
        let (verdict, code) = (recorded.verdict.clone(), recorded.reason_code.clone());
        Self { verdict, code, obligations, message: String::new() }
    }

    fn json(&self) -> Value {
        let obligations: Vec<_> = self.obligations.iter().map(duty).collect();
        json!({"verdict": self.verdict, "reasonCode": self.code, "message": self.message, "obligations": obligations})
    }
}

impl Display for Outcome {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&plain(&self.verdict))?;
        if let Some(code) = &self.code {
            write!(f, " {}", plain(code))?;
        }
        obliged(f, &self.obligations)
    }
}

/// The size of the data that the request came with, as far as it is known. Of data that a bound refused, it is at least
/// one byte more than the bound.
fn data_bytes(question: &Question, recorded: Option<&Recorded>) -> u64 {
    let told = question.attributes.get("plaintext-bytes").and_then(|bytes| bytes.parse().ok());
    told.or_else(|| {
        let refused = recorded.filter(|r| r.reason_code.as_deref() == Some(ReasonCode::DataTooLarge.as_str()))?;
        let bounds = refused.conditions().into_iter().filter(|duty| duty.name == Duty::MaxDataBytes.name());
        bounds.filter_map(|duty| duty.value.parse::<u64>().ok()).min()?.checked_add(1)
    })
    .unwrap_or_default()
}

fn duties(obligations: &[Obligation]) -> Vec<Obliged> {
    obligations.iter().map(|o| Obliged { name: o.name.clone(), value: o.value.clone() }).collect()
}

fn duty(duty: &Obliged) -> Value {
    json!({"name": duty.name, "value": duty.value})
}

fn obliged(f: &mut Formatter<'_>, duties: &[Obliged]) -> fmt::Result {
    for (i, duty) in duties.iter().enumerate() {
        f.write_str(if i == 0 { " with " } else { ", " })?;
        f.write_str(&plain(&duty.name))?;
        if !duty.value.is_empty() {
            write!(f, " {}", plain(&duty.value))?;
        }
    }
    Ok(())
}

impl<'a> Report<'a> {
    pub(super) fn new(
        question: &'a Question,
        action: Action,
        picked: Option<&'a Picked>,
        explained: &'a Explanation,
    ) -> Self {
        let bytes = data_bytes(question, picked.map(|picked| &picked.recorded));
        let before = picked.map(|picked| picked.recorded.conditions_before()).unwrap_or_default();
        let now = Outcome::now(&explained.verdict, before, action, bytes);
        let recorded = picked.map(|picked| Outcome::recorded(&picked.recorded));
        let rules = picked.map_or(&[][..], |picked| &picked.recorded.rules);
        Self { question, picked, rows: rows(rules, &explained.rules), recorded, now }
    }

    /// Whether the verdict is the recorded one, where one was.
    pub(super) fn same(&self) -> Option<bool> {
        self.recorded.as_ref().map(|recorded| recorded.is_same(&self.now))
    }

    pub(super) fn json(&self) -> Value {
        let target = &self.question.target;
        json!({
            "request": {
                "line": self.picked.map(|picked| picked.line),
                "correlationId": self.question.request_id,
                "action": self.question.action,
                "principal": self.question.principal.id,
                "instance": target.instance_id,
                "keyRing": target.key_ring,
                "key": target.key_name,
            },
            "rules": self.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "verdict": {
                "recorded": self.recorded.as_ref().map(Outcome::json),
                "now": self.now.json(),
                "same": self.same(),
            },
        })
    }

    fn heading(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let target = &self.question.target;
        let or = |text: Option<&str>, none: &str| text.filter(|text| !text.is_empty()).map_or(none.to_owned(), plain);
        writeln!(f, "action     {}", plain(&self.question.action))?;
        writeln!(f, "principal  {}", or(Some(&self.question.principal.id), "none"))?;
        writeln!(f, "instance   {}", or(Some(&target.instance_id), "none"))?;
        writeln!(f, "key ring   {}", or(target.key_ring.as_deref(), "not known"))?;
        let key = target.key.as_ref().map(|key| key.id.as_str());
        writeln!(f, "key        {}", or(target.key_name.as_deref().or(key), "none"))?;
        writeln!(f, "time       {}", self.question.now.to_rfc3339_millis())?;
        if let Some(picked) = self.picked {
            let id = plain(&picked.event.correlation_id);
            write!(f, "event      line {}, correlation id {id}", picked.line)?;
            if let Some(generation) = picked.recorded.generation {
                write!(f, ", decided by generation {generation}")?;
            }
            writeln!(f)?;
            if let Some(first) = &picked.recorded.first {
                let sorts = |rule: &&RecordedRule| rule.obligations.iter().any(|o| o.name == Duty::NewKeyRing.name());
                let rules: Vec<_> = first.rules.iter().filter(sorts).map(|rule| plain(&rule.rule)).collect();
                let named = or(first.key_ring.as_deref(), "no ring");
                writeln!(f, "asked for  {named}; {} put the key into another ring", rules.join(", "))?;
            }
        }
        writeln!(f)
    }
}

impl Display for Report<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.heading(f)?;
        let mut table = vec![["RULE", "DIGEST", "MODE", "RECORDED", "NOW", "TIME"].map(str::to_owned)];
        table.extend(self.rows.iter().map(Row::cells));
        if self.picked.is_none() {
            table.iter_mut().for_each(|cells| cells[3].clear());
        }
        let width = |column: usize| table.iter().map(|cells| cells[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        for (i, cells) in table.iter().enumerate() {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(widths).filter(|(_, width)| *width > 0) {
                line.push_str(&format!("{cell:width$}  "));
            }
            writeln!(f, "{}", line.trim_end())?;
            for remark in i.checked_sub(1).and_then(|i| self.rows.get(i)).map(Row::remarks).unwrap_or_default() {
                writeln!(f, "    {remark}")?;
            }
        }
        writeln!(f)?;
        if let Some(recorded) = &self.recorded {
            writeln!(f, "recorded   {recorded}")?;
        }
        writeln!(f, "now        {}", self.now)?;
        if !self.now.message.is_empty() {
            writeln!(f, "           {}", plain(&self.now.message))?;
        }
        match self.same() {
            Some(true) => writeln!(f, "The verdict is the same."),
            Some(false) => writeln!(f, "The verdict is another one."),
            None => Ok(()),
        }
    }
}

/// Every rule of the chain with what was recorded of it, and behind them the recorded ones that are not in the chain.
fn rows<'a>(recorded: &'a [RecordedRule], now: &'a [Explained]) -> Vec<Row<'a>> {
    let mut rows: Vec<Row<'a>> = now.iter().map(|now| Row { recorded: None, now: Some(now) }).collect();
    for rule in recorded {
        // A rule can have several places. It was asked at one of them, most likely the one where it would be now.
        let free = |row: &&mut Row<'_>| row.recorded.is_none() && row.now.is_some_and(|now| now.rule == rule.rule);
        let asked = |row: &&mut Row<'_>| {
            row.now.is_some_and(|now| matches!(now.weight, Weight::Counts | Weight::Noted | Weight::Late))
        };
        if let Some(row) = rows.iter_mut().filter(free).find(asked) {
            row.recorded = Some(rule);
        } else if let Some(row) = rows.iter_mut().find(free) {
            row.recorded = Some(rule);
        } else {
            rows.push(Row { recorded: Some(rule), now: None });
        }
    }
    rows
}

impl Row<'_> {
    fn rule(&self) -> &str {
        self.now.map(|now| now.rule.as_str()).or(self.recorded.map(|rule| rule.rule.as_str())).unwrap_or_default()
    }

    fn digest(&self) -> &str {
        self.now.map(|now| now.digest.as_str()).or(self.recorded.map(|rule| rule.digest.as_str())).unwrap_or_default()
    }

    fn mode(&self) -> &str {
        match self.now {
            Some(now) => mode(now.mode),
            None => self.recorded.map(|rule| rule.mode.as_str()).unwrap_or_default(),
        }
    }

    fn cells(&self) -> [String; 6] {
        let recorded = self.recorded.map_or("not asked".to_owned(), |rule| match &rule.reason {
            Some(code) if rule.answer == "deny" => format!("deny {}", plain(code)),
            _ => plain(&rule.answer),
        });
        let (now, took) = match self.now {
            None => ("not in the chain".to_owned(), String::new()),
            Some(now) => (said(now), now.answer.as_ref().map_or(String::new(), |a| format!("{:.1?}", a.took))),
        };
        let digest: String = self.digest().chars().take(DIGITS).collect();
        [plain(self.rule()), plain(&digest), plain(self.mode()), recorded, now, took]
    }

    /// What does not fit into a cell.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let (Some(rule), Some(now)) = (self.recorded, self.now) {
            if rule.digest != now.digest {
                let digest: String = rule.digest.chars().take(DIGITS).collect();
                remarks.push(format!("the digest differs from the recorded one, {}", plain(&digest)));
            }
            if rule.mode != mode(now.mode) {
                remarks.push(format!("the mode differs from the recorded one, {}", plain(&rule.mode)));
            }
        }
        if let Some(RecordedRule { reason: Some(why), .. }) = self.recorded.filter(|rule| rule.answer == "fault") {
            remarks.push(format!("recorded: {}", plain(why)));
        }
        let Some(now) = self.now else { return remarks };
        if let Some(why) = not_asked(now.weight) {
            remarks.push(format!("not asked: {why}"));
        }
        if let Some(Answer::Fault(why)) = now.answer.as_ref().map(|answer| &answer.answer) {
            remarks.push(format!("now: {}", plain(why)));
        }
        if let Some(denial) = now.denial.as_ref().filter(|denial| !denial.message.is_empty()) {
            remarks.push(format!("now: {}", plain(&denial.message)));
        }
        for obligation in now.answer.iter().flat_map(|answer| &answer.obligations) {
            remarks.push(format!("now: obliges to {} {}", plain(&obligation.name), plain(&obligation.value)));
        }
        remarks
    }

    fn json(&self) -> Value {
        let recorded = self.recorded.map(|rule| {
            let obligations: Vec<_> = rule.obligations.iter().map(duty).collect();
            json!({"digest": rule.digest, "mode": rule.mode, "answer": rule.answer, "reason": rule.reason,
                   "obligations": obligations})
        });
        let now = self.now.map(|now| {
            let answer = now.answer.as_ref();
            let (word, reason) = answer.map(|answer| words(&answer.answer)).unzip();
            let obligations: Vec<_> = answer.iter().flat_map(|a| duties(&a.obligations)).map(|d| duty(&d)).collect();
            json!({
                "digest": now.digest,
                "mode": mode(now.mode),
                "answer": word,
                "reason": reason.flatten(),
                "message": now.denial.as_ref().map(|denial| &denial.message),
                "obligations": obligations,
                "counts": now.weight == Weight::Counts,
                "notAsked": not_asked(now.weight),
                "tookMicros": answer.map(|answer| u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX)),
            })
        });
        json!({"rule": self.rule(), "recorded": recorded, "now": now})
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Monitor => "monitor",
    }
}

/// An answer in the audit log's words, with its reason.
fn words(answer: &Answer) -> (&'static str, Option<&str>) {
    match answer {
        Answer::Abstain => ("abstain", None),
        Answer::Allow => ("allow", None),
        Answer::Deny(code) => ("deny", Some(code)),
        Answer::Fault(message) => ("fault", Some(message)),
    }
}

fn said(now: &Explained) -> String {
    let Some(answer) = &now.answer else { return "not asked".to_owned() };
    let text = match &answer.answer {
        Answer::Deny(code) => format!("deny {}", plain(code)),
        other => words(other).0.to_owned(),
    };
    // An answer that was got only to show it.
    if not_asked(now.weight).is_some() { format!("({text})") } else { text }
}

/// Why the gateway does not ask a rule.
fn not_asked(weight: Weight) -> Option<&'static str> {
    match weight {
        Weight::Counts | Weight::Noted => None,
        Weight::Late => Some("the decision was final before"),
        Weight::OutOfScope => Some("out of scope"),
        Weight::AskedBefore => Some("it was asked further up"),
        Weight::NotItsAction => Some("it has nothing to say to this action"),
    }
}
