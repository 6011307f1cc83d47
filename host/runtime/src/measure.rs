//! What plugins take, measured as the gateway runs them: the same engine, the same sandboxes, the same limits.
//!
//! Counting instructions makes code slower. So times are measured by one [`Bench`], and instructions by another.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use keygate_core::access::question::Question;
use keygate_core::backend::{Algorithm, BackendError, BackendKey, Call, CryptoBackend, KeyIdentity, KeySpec};
use keygate_core::ids::{InstanceId, KeyId, VersionId};
use keygate_core::key::KeyKind;
use keygate_core::secret::SecretBytes;
use serde::Serialize;

use crate::bindings::convert;
use crate::chain::{Heard, Wait};
use crate::engine::{EngineError, RuntimeConfig};
use crate::host::HostServices;
use crate::load_error::LoadError;
use crate::manifest::{Manifest, PluginLimits};
use crate::registry::PluginInfo;
use crate::runtime::Runtime;

/// What to count, beside memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Time, of code as the gateway runs it.
    Time,
    /// Instructions, of code that counts them and is slower for it.
    Instructions,
}

/// What one sandbox took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    memory: usize,
    instructions: Option<u64>,
}

/// Takes readings of sandboxes when they end.
pub(crate) struct Meter {
    pub(crate) count: Count,
    last: Mutex<Option<Reading>>,
}

impl Meter {
    pub(crate) fn new(count: Count) -> Self {
        Self { count, last: Mutex::new(None) }
    }

    /// Notes what a sandbox took.
    pub(crate) fn note(&self, memory: usize, instructions: Option<u64>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reading { memory, instructions });
    }

    /// What the last one took.
    fn take(&self) -> Option<Reading> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A call that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Run {
    /// From the question to the answer, sandbox included.
    pub took: Duration,
    /// The most linear memory that it had, in bytes.
    pub memory: usize,
    /// The WebAssembly instructions that it executed, those of its start included. With [`Count::Instructions`].
    pub instructions: Option<u64>,
}

/// What came of measuring a function of a plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Measured {
    /// The plugin's name.
    pub plugin: String,
    /// The function.
    pub function: &'static str,
    /// Its calls, in their order. The first ones warm up.
    pub runs: Vec<Run>,
    /// What it may take of time.
    pub deadline: Duration,
    /// What it may take of memory, in bytes.
    pub memory_limit: usize,
    /// Whether its sandboxes start from a snapshot taken after `configure`; if not, each call configures anew.
    pub snapshot: bool,
    /// The last answer, in short.
    pub answer: String,
}

/// Why there is nothing to measure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeasureError {
    /// No such plugin in the place that was named.
    #[error("there is no {0} `{1}` to measure")]
    NoPlugin(&'static str, String),
    /// A call failed, so that its time says nothing. Says how.
    #[error("it cannot be measured: {0}")]
    Failed(String),
}

/// A function of a backend to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// `generate-key`, a root key of 256 bits.
    GenerateKey,
    /// `wrap`, a plaintext of so many bytes.
    Wrap(usize),
    /// `unwrap`, the same.
    Unwrap(usize),
}

/// A runtime that measures. For one plugin at a time, and not for serving.
pub struct Bench {
    runtime: Runtime,
    meter: Arc<Meter>,
}

impl Bench {
    /// Makes the engine and its sandboxes.
    ///
    /// # Errors
    /// When this machine cannot give what they need.
    pub fn new(config: RuntimeConfig, services: HostServices, count: Count) -> Result<Self, EngineError> {
        let meter = Arc::new(Meter::new(count));
        Ok(Self { runtime: Runtime::metered(config, services, Arc::clone(&meter))?, meter })
    }

    /// Loads plugins.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub async fn load(&self, manifest: &Manifest) -> Result<(), Vec<LoadError>> {
        self.runtime.activate(self.runtime.load(manifest).await?);
        Ok(())
    }

    /// Asks a rule of the chain the same question so many times. Its place in the chain, its mode and its scope do not
    /// matter here.
    ///
    /// # Errors
    /// When there is no such rule, or it fails.
    pub async fn rule(&self, name: &str, question: &Question, runs: usize) -> Result<Measured, MeasureError> {
        let live = self.runtime.live();
        let rule = live.generation.chain.iter().find(|rule| rule.plugin.facts.name == name);
        let rule = rule.ok_or_else(|| MeasureError::NoPlugin("rule", name.to_owned()))?;
        let request = convert::request(question);
        let mut measured = Measured::new(name, "evaluate", rule.plugin.facts.limits, self.snapshot(name));
        for _ in 0..runs {
            let started = Instant::now();
            let heard = rule.ask(&request, Wait::ForPlace, None).await;
            let took = started.elapsed();
            measured.answer = match heard {
                Heard::Said(decided) => format!("{decided:?}"),
                Heard::Fault(why) => return Err(MeasureError::Failed(why)),
                Heard::Busy => return Err(MeasureError::Failed("no sandbox came free in time".to_owned())),
            };
            measured.runs.push(self.run(took));
        }
        Ok(measured)
    }

    /// Has a backend do the same work so many times.
    ///
    /// # Errors
    /// When there is no such backend, or it fails.
    pub async fn backend(&self, name: &str, work: Work, runs: usize) -> Result<Measured, MeasureError> {
        let live = self.runtime.live();
        let backend = live.generation.backends.get(name);
        let backend = backend.ok_or_else(|| MeasureError::NoPlugin("backend", name.to_owned()))?;
        let failed = |error: BackendError| MeasureError::Failed(error.to_string());
        let reference = backend.generate_key(CALL, IDENTITY, ROOT).await.map_err(failed)?;
        let key = BackendKey { identity: IDENTITY, reference: &reference };
        let (function, len) = match work {
            Work::GenerateKey => ("generate-key", 0),
            Work::Wrap(len) => ("wrap", len),
            Work::Unwrap(len) => ("unwrap", len),
        };
        let plaintext = SecretBytes::new(vec![0x5a; len]);
        let wrapped = backend.wrap(CALL, key, &plaintext, AAD).await.map_err(failed)?;
        let facts = &backend.plugin.facts;
        let mut measured = Measured::new(&facts.name, function, facts.limits, self.snapshot(&facts.name));
        for _ in 0..runs {
            let started = Instant::now();
            let len = match work {
                Work::GenerateKey => backend.generate_key(CALL, IDENTITY, ROOT).await.map(|bytes| bytes.len()),
                Work::Wrap(_) => backend.wrap(CALL, key, &plaintext, AAD).await.map(|bytes| bytes.len()),
                Work::Unwrap(_) => backend.unwrap(CALL, key, &wrapped, AAD).await.map(|bytes| bytes.len()),
            };
            let took = started.elapsed();
            measured.answer = format!("{} bytes", len.map_err(failed)?);
            measured.runs.push(self.run(took));
        }
        Ok(measured)
    }

    fn snapshot(&self, plugin: &str) -> bool {
        self.runtime.describe().iter().any(|info: &PluginInfo| info.name == plugin && info.snapshot)
    }

    fn run(&self, took: Duration) -> Run {
        let reading = self.meter.take();
        Run {
            took,
            memory: reading.map_or(0, |reading| reading.memory),
            instructions: reading.and_then(|reading| reading.instructions),
        }
    }
}

impl Measured {
    fn new(plugin: &str, function: &'static str, limits: PluginLimits, snapshot: bool) -> Self {
        let (deadline, memory_limit) = (limits.deadline_of(function), limits.memory);
        let plugin = plugin.to_owned();
        Self { plugin, function, runs: Vec::new(), deadline, memory_limit, snapshot, answer: String::new() }
    }
}

const CALL: Call<'static> = Call { request_id: "bench", timeout: None };
const ROOT: KeySpec = KeySpec { algorithm: Algorithm::Aes, bits: 256, kind: KeyKind::Root };
const AAD: &[u8] = b"bench";
/// Nobody's key.
const IDENTITY: KeyIdentity = KeyIdentity {
    instance: InstanceId::from_bytes([0xbe; 16]),
    key: KeyId::from_bytes([0xbe; 16]),
    version: VersionId::from_bytes([0xbe; 16]),
};
