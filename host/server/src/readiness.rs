//! Whether the gateway can do its work: a look at its parts, not too often and not for too long.

use std::time::Duration;

use keygate_core::clock::Timestamp;
use keygate_pkcs11::Health;
use tokio::sync::Mutex;

use crate::app::App;

/// How long a look at the parts is good for. It costs a durable write and a sandbox a backend, and anybody may ask.
const FRESH: Duration = Duration::from_secs(1);

/// How long a look may take. What has not answered by then is not ready.
const PATIENCE: Duration = Duration::from_secs(5);

/// What was seen last, and when.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Timestamp, Ready)>>);

/// What a look showed.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The number of the live generation.
    pub generation: u64,
    /// The store.
    pub store: Part,
    /// The backends of that generation.
    pub backends: Vec<Part>,
    /// The tokens. What they are short of shows in the backends that need them: they are told and do not count.
    pub tokens: Vec<Health>,
}

/// A part of the gateway.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Whether it answered as it should.
    pub is_ok: bool,
}

impl Part {
    /// From what it answered. Details go to the log.
    fn new<E: std::fmt::Display>(name: impl Into<String>, answer: Result<(), E>) -> Self {
        let name = name.into();
        if let Err(error) = &answer {
            tracing::warn!(part = name, %error, "not ready");
        }
        Self { name, is_ok: answer.is_ok() }
    }
}

impl Ready {
    /// Whether all parts are, and there is a backend.
    pub fn is_ready(&self) -> bool {
        self.store.is_ok && !self.backends.is_empty() && self.backends.iter().all(|part| part.is_ok)
    }
}

impl Readiness {
    /// What is to be told now. Who comes while somebody looks waits for what they see.
    pub(crate) async fn look(&self, app: &App) -> Ready {
        let mut last = self.0.lock().await;
        let now = app.gateway.clock.now();
        match &*last {
            Some((at, ready))
                if *at <= now && now.since(*at) < FRESH && ready.generation == app.runtime.generation() =>
            {
                ready.clone()
            }
            _ => {
                let ready = look(app).await;
                *last = Some((app.gateway.clock.now(), ready.clone()));
                ready
            }
        }
    }
}

async fn look(app: &App) -> Ready {
    let in_time = async |part: &'static str| {
        tokio::time::sleep(PATIENCE).await;
        tracing::warn!(part, "not ready: no answer within {PATIENCE:?}");
    };
    let store = async {
        tokio::select! {
            answer = app.gateway.store.check() => Part::new("store", answer),
            () = in_time("store") => Part { name: "store".to_owned(), is_ok: false },
        }
    };
    let backends = async {
        tokio::select! {
            answers = app.runtime.probe() => answers.into_iter().map(|(name, answer)| Part::new(name, answer)).collect(),
            () = in_time("backends") => {
                app.gateway.backends.names().into_iter().map(|name| Part { name, is_ok: false }).collect()
            }
        }
    };
    let (store, backends) = tokio::join!(store, backends);
    let tokens = app.hsm.health();
    for token in tokens.iter().filter(|token| !token.is_ready()) {
        let last = token.last_error.as_ref().map(|last| last.what.as_str());
        tracing::warn!(token = token.name, breaker = ?token.breaker, workers = token.workers, last, "token not ready");
    }
    Ready { generation: app.runtime.generation(), store, backends, tokens }
}
