//! Clock, entropy, rules and audit log that a test holds in its hand.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::backend::FakeBackend;
use crate::access::question::Question;
use crate::access::{Decision, Denial, DenialKind, Obligation, Verdict};
use crate::audit::AuditEvent;
use crate::backend::CryptoBackend;
use crate::clock::Timestamp;
use crate::ports::{AuditError, AuditSink, Backends, BoxFuture, Clock, Entropy, EntropyError, PolicyGate};

/// A clock that stands until it is moved.
pub struct FixedClock(AtomicU64);

impl FixedClock {
    /// Standing here.
    pub fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.unix_ms()))
    }

    /// Moves it on.
    pub fn travel(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

/// Entropy that counts: every id is another one, and the same in every run.
#[derive(Default)]
pub struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let n = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, value) in bytes.iter_mut().rev().zip(n.iter().rev().chain(std::iter::repeat(&0))) {
            *byte = *value;
        }
        Ok(())
    }
}

/// What a [`ScriptedGate`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    /// Yes to all.
    Allow,
    /// No to all, for lack of rights.
    Deny,
    /// Yes, with these obligations: the rule that asks for it, its name, its value.
    Oblige(Vec<(&'static str, &'static str, String)>),
    /// The first to what is about this ring, the second to all else.
    Ring(&'static str, Box<Script>, Box<Script>),
}

/// Rules that say what the test wants, and note what they were asked.
pub struct ScriptedGate {
    script: Mutex<Script>,
    asked: Mutex<Vec<Question>>,
}

impl ScriptedGate {
    /// Says yes.
    pub fn allowing() -> Self {
        Self { script: Mutex::new(Script::Allow), asked: Mutex::default() }
    }

    /// Says this from now on.
    pub fn say(&self, script: Script) {
        if let Ok(mut current) = self.script.lock() {
            *current = script;
        }
    }

    /// What it was asked.
    pub fn asked(&self) -> Vec<Question> {
        self.asked.lock().map(|asked| asked.clone()).unwrap_or_default()
    }

    /// The facts that the last question came with, by name.
    pub fn facts(&self) -> Vec<(String, String)> {
        self.asked().pop().map(|question| question.attributes.into_iter().collect()).unwrap_or_default()
    }
}

impl PolicyGate for ScriptedGate {
    fn decide<'a>(&'a self, question: &'a Question, _: Option<Duration>) -> BoxFuture<'a, Decision> {
        if let Ok(mut asked) = self.asked.lock() {
            asked.push(question.clone());
        }
        let script = self.script.lock().map_or(Script::Deny, |script| script.clone());
        let script = match script {
            Script::Ring(ring, inside, _) if question.target.key_ring.as_deref() == Some(ring) => *inside,
            Script::Ring(_, _, outside) => *outside,
            other => other,
        };
        let verdict = match script {
            Script::Allow => Verdict::Allow(Vec::new()),
            Script::Oblige(obligations) => Verdict::Allow(
                obligations
                    .into_iter()
                    .map(|(rule, name, value)| Obligation { rule: rule.to_owned(), name: name.to_owned(), value })
                    .collect(),
            ),
            Script::Deny | Script::Ring(..) => Verdict::Deny(Denial {
                kind: DenialKind::Unauthorized,
                code: "UNAUTHORIZED_ERR".to_owned(),
                message: "The user does not have access to the specified resource".to_owned(),
            }),
        };
        Box::pin(std::future::ready(Decision { verdict, generation: 0, trail: Vec::new() }))
    }
}

/// An audit log in memory, that can be full.
#[derive(Default)]
pub struct MemoryAudit {
    events: Mutex<Vec<AuditEvent>>,
    full: Mutex<bool>,
    broken: Mutex<bool>,
}

impl MemoryAudit {
    /// What was recorded.
    pub fn events(&self) -> Vec<AuditEvent> {
        self.events.lock().map(|events| events.clone()).unwrap_or_default()
    }

    /// Promises to take events from now on, and does not.
    pub fn break_down(&self) {
        if let Ok(mut broken) = self.broken.lock() {
            *broken = true;
        }
    }

    /// Takes no more from now on, and says so before.
    pub fn fill_up(&self) {
        if let Ok(mut full) = self.full.lock() {
            *full = true;
        }
    }
}

impl AuditSink for MemoryAudit {
    fn reserve(&self) -> Result<(), AuditError> {
        if self.full.lock().is_ok_and(|full| *full) { Err(AuditError("no space left".to_owned())) } else { Ok(()) }
    }

    fn record<'a>(&'a self, event: &'a AuditEvent) -> BoxFuture<'a, Result<(), AuditError>> {
        let lost = self.broken.lock().is_ok_and(|broken| *broken) || self.reserve().is_err();
        let result = if lost {
            Err(AuditError("no space left".to_owned()))
        } else {
            if let Ok(mut events) = self.events.lock() {
                events.push(event.clone());
            }
            Ok(())
        };
        Box::pin(std::future::ready(result))
    }
}

/// A set of fake backends.
pub struct FakeBackends(Vec<Arc<FakeBackend>>);

impl FakeBackends {
    /// These.
    pub fn new(backends: Vec<Arc<FakeBackend>>) -> Self {
        Self(backends)
    }
}

impl Backends for FakeBackends {
    fn backend(&self, name: &str) -> Option<Arc<dyn CryptoBackend>> {
        let found = self.0.iter().find(|backend| backend.name() == name)?;
        Some(found.clone() as Arc<dyn CryptoBackend>)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().map(|backend| backend.name().to_owned()).collect();
        names.sort();
        names
    }
}
