//! A sandbox: one store with one instance, born and dropped for one call.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use keygate_core::backend::Call;
use keygate_core::error::{Fault, FaultKind};
use wasmtime::{Store, UpdateDeadline};

use crate::contract::{Contract, SettingsRefused};
use crate::engine::{EngineRoom, LOADING_WAIT, Place};
use crate::faults::{CallError, Failure, failed, uninstantiated};
use crate::host::HostServices;
use crate::host::log::Spoken;
use crate::host::pkcs11::Handles;
use crate::host::random::Portion;
use crate::host::wasi::Wasi;
use crate::limits::Guard;
use crate::manifest::{Grants, PluginLimits, World};
use crate::measure::Meter;
use crate::share::Share;

/// Epochs stop a guest's own code, at a tick. This much after its deadline a call is given up whatever it is doing: the
/// host's own functions are no guest's code.
const GRACE: Duration = Duration::from_millis(100);

/// The function of both contracts that takes the settings.
pub(crate) const CONFIGURE: &str = "configure";

/// The request id in what the host does of its own accord while it loads plugins.
pub(crate) const LOADING: &str = "load";

/// What a plugin's sandboxes have in common.
pub(crate) struct Facts {
    /// Its name in `plugins.toml`.
    pub(crate) name: String,
    /// SHA-256 of its file, in hexadecimal.
    pub(crate) digest: String,
    pub(crate) world: World,
    pub(crate) grants: Grants,
    pub(crate) limits: PluginLimits,
    /// JSON text.
    pub(crate) settings: String,
    pub(crate) services: HostServices,
    /// How many sandboxes it can have at a time while it is being loaded.
    pub(crate) loading: Arc<Share>,
    /// And from when it is live: its share is its name's.
    pub(crate) live: OnceLock<Arc<Share>>,
}

impl Facts {
    /// A fault of this plugin's.
    pub(crate) fn fault(&self, call: &'static str, kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { plugin: self.name.clone(), call, kind, message: message.into() }
    }

    /// From now on it serves requests.
    pub(crate) fn go_live(&self, room: &EngineRoom) {
        self.live.get_or_init(|| room.share(&self.name, self.limits.concurrency));
    }

    /// A place for a sandbox of this plugin, waited for as long as the configuration says, or loading may take, and not
    /// longer than `at_most`.
    pub(crate) async fn place(&self, room: &EngineRoom, at_most: Option<Duration>) -> Option<Place> {
        let (share, wait) = match self.live.get() {
            Some(share) => (share, room.admission_wait),
            None => (&self.loading, room.admission_wait.max(LOADING_WAIT)),
        };
        room.admit(share, at_most.map_or(wait, |most| most.min(wait))).await
    }
}

/// What the guest is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Taking its settings; it may only log.
    Configuring,
    /// Serving its one call.
    Working,
}

/// The host's side of a sandbox.
pub(crate) struct State {
    pub(crate) facts: Arc<Facts>,
    pub(crate) request_id: String,
    pub(crate) phase: Phase,
    pub(crate) guard: Guard,
    pub(crate) spoken: Spoken,
    pub(crate) random: Portion,
    pub(crate) handles: Handles,
    pub(crate) wasi: Wasi,
    pub(crate) time: Time,
    /// When something that is away may be back, as far as who told the guest so knows.
    pub(crate) come_again: Option<Duration>,
}

/// The time of a sandbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    pub(crate) born: Instant,
    pub(crate) until: Instant,
}

impl Drop for State {
    fn drop(&mut self) {
        self.say_the_rest();
        if self.spoken.dropped > 0 {
            let (plugin, request, dropped) = (self.facts.name.as_str(), self.request_id.as_str(), self.spoken.dropped);
            tracing::warn!(target: "keygate::plugin", plugin, request, dropped, "the plugin logged too many lines");
        }
    }
}

/// A store that has its limits and its deadline before anything can run in it.
pub(crate) fn store(room: &EngineRoom, facts: &Arc<Facts>, request_id: &str, until: Instant) -> Store<State> {
    let state = State {
        facts: Arc::clone(facts),
        request_id: request_id.to_owned(),
        phase: Phase::Configuring,
        guard: Guard::new(facts.limits.memory),
        spoken: Spoken::default(),
        random: Portion::default(),
        handles: Handles::default(),
        wasi: Wasi::default(),
        time: Time { born: Instant::now(), until },
        come_again: None,
    };
    let mut store = Store::new(&room.engine, state);
    if room.counts_instructions() {
        // All there can be, which is never used up: it is there to be counted.
        let _ = store.set_fuel(u64::MAX);
    }
    store.limiter(|state| &mut state.guard);
    store.set_hostcall_fuel(facts.limits.output);
    // At every tick the guest lets other calls go on, until its time is up.
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |_| {
        Ok(if Instant::now() >= until { UpdateDeadline::Interrupt } else { step_aside() })
    });
    store
}

/// Lets other tasks go on, until the next tick. tokio's own way of yielding, unlike wasmtime's, also lets it look at
/// timers and sockets: a few looping guests would keep it from that for half a second.
pub(crate) fn step_aside() -> UpdateDeadline {
    UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
}

/// Awaits a call into a sandbox, but not long beyond the sandbox's deadline.
pub(crate) async fn bounded<T>(until: Instant, call: impl Future<Output = wasmtime::Result<T>>) -> Result<T, Failure> {
    match tokio::time::timeout_at((until + GRACE).into(), call).await {
        Ok(outcome) => outcome.map_err(Failure::Error),
        Err(_) => Err(Failure::Elapsed),
    }
}

/// Whether the component is already configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// It is a snapshot taken after `configure`.
    Configured,
    /// Every sandbox has to call `configure`.
    Raw,
}

/// A plugin that can be called.
pub(crate) struct Plugin<C: Contract> {
    pub(crate) facts: Arc<Facts>,
    room: Arc<EngineRoom>,
    ready: C::Ready,
    start: Start,
}

impl<C: Contract> Plugin<C> {
    pub(crate) fn new(facts: Arc<Facts>, room: Arc<EngineRoom>, ready: C::Ready, start: Start) -> Self {
        Self { facts, room, ready, start }
    }

    /// Whether its sandboxes start from a snapshot taken after `configure`.
    pub(crate) fn starts_configured(&self) -> bool {
        self.start == Start::Configured
    }

    /// Makes a sandbox for the function `function`.
    pub(crate) async fn enter(&self, function: &'static str, call: Call<'_>) -> Result<Sandbox<C>, CallError> {
        self.enter_within(function, call, call.timeout).await
    }

    /// The same, if there is a place for it without waiting.
    pub(crate) async fn enter_if_free(&self, function: &'static str, call: Call<'_>) -> Result<Sandbox<C>, CallError> {
        self.enter_within(function, call, Some(Duration::ZERO)).await
    }

    async fn enter_within(
        &self,
        function: &'static str,
        call: Call<'_>,
        wait: Option<Duration>,
    ) -> Result<Sandbox<C>, CallError> {
        let mut sandbox = self.instantiate(function, call, wait).await?;
        if self.start == Start::Raw
            && let Err(refused) = sandbox.configure(&self.facts.settings).await?
        {
            let message = format!("it no longer takes its settings: {}", refused.message);
            return Err(CallError::Fault(self.facts.fault(CONFIGURE, FaultKind::Output, message)));
        }
        sandbox.store.data_mut().begin();
        Ok(sandbox)
    }

    /// Gives the plugin its settings, once, to see whether it takes them.
    pub(crate) async fn try_settings(&self, call: Call<'_>) -> Result<Result<(), SettingsRefused>, CallError> {
        let mut sandbox = self.instantiate(CONFIGURE, call, call.timeout).await?;
        sandbox.configure(&self.facts.settings).await
    }

    /// Makes a sandbox in which nothing has run yet.
    async fn instantiate(
        &self,
        function: &'static str,
        call: Call<'_>,
        wait: Option<Duration>,
    ) -> Result<Sandbox<C>, CallError> {
        let arrived = Instant::now();
        let place = self.facts.place(&self.room, wait).await.ok_or(CallError::Busy)?;
        let own = Instant::now() + self.facts.limits.deadline_of(function);
        let until = call.timeout.and_then(|timeout| arrived.checked_add(timeout)).map_or(own, |asked| own.min(asked));
        let mut store = store(&self.room, &self.facts, call.request_id, until);
        let guest = match bounded(until, C::instantiate(&self.ready, &mut store)).await {
            Ok(guest) => guest,
            Err(failure) => return Err(uninstantiated(&failure, store.data(), function)),
        };
        Ok(Sandbox { guest, store, until, function, meter: self.room.meter.clone(), _place: place })
    }
}

/// A store with an instance in it. Dropping it wipes what the guest had: its memories and tables, because the pool resets
/// their slots, and its stack, because the engine is set to. After a trap it is of no other use.
pub(crate) struct Sandbox<C: Contract> {
    pub(crate) guest: C::Guest,
    pub(crate) store: Store<State>,
    pub(crate) until: Instant,
    function: &'static str,
    meter: Option<Arc<Meter>>,
    // Last, so that the place is free only once the store is gone.
    _place: Place,
}

impl<C: Contract> Drop for Sandbox<C> {
    fn drop(&mut self) {
        if let Some(meter) = &self.meter {
            let instructions = self.store.get_fuel().ok().map(|left| u64::MAX - left);
            meter.note(self.store.data().guard.held(), instructions);
        }
    }
}

impl<C: Contract> Sandbox<C> {
    /// Milliseconds left; what the guest is told.
    pub(crate) fn deadline_ms(&self) -> u32 {
        u32::try_from(self.until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
    }

    /// What a call into the sandbox came to.
    pub(crate) fn outcome<T>(&self, outcome: Result<T, Failure>) -> Result<T, CallError> {
        outcome.map_err(|failure| failed(&failure, self.store.data(), self.function))
    }

    /// Stops the clocks that a rule may have by its grant `wasi-minimal`, at the time of the question.
    pub(crate) fn stand_at(&mut self, now_unix_ms: u64) {
        self.store.data_mut().stand_at(now_unix_ms);
    }

    /// Calls `configure`. What goes wrong goes wrong there, whatever the sandbox was made for.
    async fn configure(&mut self, settings: &str) -> Result<Result<(), SettingsRefused>, CallError> {
        let outcome = bounded(self.until, C::configure(&self.guest, &mut self.store, settings)).await;
        outcome.map_err(|failure| failed(&failure, self.store.data(), CONFIGURE))
    }

    /// Calls `describe`.
    pub(crate) async fn describe(&mut self) -> Result<C::Description, CallError> {
        let described = bounded(self.until, C::describe(&self.guest, &mut self.store)).await;
        self.outcome(described)?.map_err(|problem| {
            CallError::Fault(self.store.data().facts.fault(self.function, FaultKind::Output, problem))
        })
    }
}
