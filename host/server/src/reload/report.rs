//! What is told of reloads: to clients, in the audit log, and by `/readyz`.

use std::sync::Arc;

use keygate_core::clock::Timestamp;
use keygate_core::error::{Error, Reason, ReasonCode};

use super::{Door, Outcome, Reloaded};
use crate::problem::Problem;

/// How many problems an answer or an audit event has at most; the log has all of them.
const MOST: usize = 16;

/// The longest text of one, in bytes.
const LONGEST: usize = 512;

/// What is live, since when, and what was refused since then.
#[derive(Clone, Debug)]
pub struct Report {
    /// The number of the live generation.
    pub generation: u64,
    /// Since when it is live.
    pub at: Timestamp,
    /// The last reload, if it was refused. The configuration is then not what the gateway works by.
    pub last_refused: Option<Refusal>,
    /// Since when a reload is under way, where one is.
    pub under_way: Option<Timestamp>,
}

/// A reload that was refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub problems: Arc<[Problem]>,
}

/// The error that a reload which was refused is to its caller.
pub(super) fn refused(problems: &[Problem]) -> Error {
    let reason = |text: String| Reason::new(ReasonCode::ReloadRefused, text);
    let mut reasons: Vec<Reason> = texts(problems).map(reason).collect();
    if reasons.is_empty() {
        reasons.push(reason("see the gateway's log".to_owned()));
    }
    Error::Refused(reasons)
}

/// What the audit log is told.
pub(super) fn facts(door: Door, live: u64, outcome: &Outcome) -> Vec<(&'static str, String)> {
    let mut facts = vec![("door", door.as_str().to_owned())];
    match outcome {
        Ok(Reloaded { generation, plugins }) => {
            let names = plugins.iter().map(|plugin| format!("{} {}", plugin.name, plugin.digest));
            facts.push(("generation", generation.to_string()));
            facts.push(("plugins", names.collect::<Vec<_>>().join(", ")));
        }
        Err(problems) => {
            facts.push(("generation", live.to_string()));
            facts.push(("problems", texts(problems).collect::<Vec<_>>().join(" | ")));
        }
    }
    facts
}

/// Each problem on one line, as far as there is room.
fn texts(problems: &[Problem]) -> impl Iterator<Item = String> {
    let more = problems.len().saturating_sub(MOST);
    let more = (more > 0).then(|| format!("and {more} more: see the gateway's log"));
    problems
        .iter()
        .take(MOST)
        .map(|problem| line(&problem.to_string().replace("\n    mend:", "; mend:"), LONGEST))
        .chain(more)
}

/// A text on one line, of so many bytes at most.
fn line(text: &str, most: usize) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.retain(|c| !c.is_control());
    if line.len() > most {
        line.truncate(line.floor_char_boundary(most));
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_and_long_problems_are_cut_and_counted() {
        let long = "\u{e4}\n\u{1b}[31m".repeat(200);
        let problems: Vec<_> = (0..20).map(|n| Problem::new("digest", format!("{n} {long}"), "mend it")).collect();
        let Error::Refused(reasons) = refused(&problems) else { panic!("another error") };
        assert_eq!(reasons.len(), 17);
        assert!(reasons.iter().all(|reason| reason.code == ReasonCode::ReloadRefused));
        assert!(reasons.iter().all(|r| r.message.len() <= 515 && !r.message.contains(char::is_control)));
        assert_eq!(reasons[16].message, "and 4 more: see the gateway's log");
        let facts = facts(Door::Signal, 7, &Err(problems[..1].into()));
        assert_eq!(facts[0], ("door", "signal".to_owned()));
        assert_eq!(facts[1], ("generation", "7".to_owned()));
        assert!(facts[2].1.starts_with("step digest: 0 \u{e4}"), "{facts:?}");
    }

    #[test]
    fn a_problem_is_told_with_its_mend() {
        let problem = Problem::new("compile", "it is broken", "build it again").of_plugin("freeze");
        let Error::Refused(reasons) = refused(&[problem]) else { panic!("another error") };
        assert_eq!(reasons[0].message, "plugin `freeze`, step compile: it is broken; mend: build it again");
    }
}
