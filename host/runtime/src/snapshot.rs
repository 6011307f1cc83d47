//! Pre-initialisation: a component is run up to the end of `configure`, and what its memory looks like then becomes a new
//! component. Sandboxes start from there, so that settings are parsed once and not at every call.

use std::sync::Arc;
use std::time::Instant;

use wasmtime::Store;
use wasmtime::component::{ComponentNamedList, Instance, InstancePre, Lift, WasmList};
use wasmtime_wizer::{ComponentContext, ComponentInstanceState, Wizer};

use crate::contract::{Contract, SettingsRefused};
use crate::engine::EngineRoom;
use crate::faults::{CallError, failed, uninstantiated};
use crate::sandbox::{CONFIGURE, Facts, LOADING, State, bounded, step_aside, store};

/// A component made fit for being looked into.
pub(crate) struct Instrumented<'a> {
    context: ComponentContext<'a>,
    /// The component that does the same as the original, and can be looked into.
    pub(crate) bytes: Vec<u8>,
}

/// Makes a component fit for being looked into.
///
/// # Errors
/// Why it cannot be, which is no fault of the component's: it uses something that cannot be part of a snapshot.
pub(crate) fn instrument(component: &[u8]) -> Result<Instrumented<'_>, String> {
    let (context, bytes) = wizer().instrument_component(component).map_err(|e| format!("{e:#}"))?;
    Ok(Instrumented { context, bytes })
}

/// What came of trying.
pub(crate) enum Outcome {
    /// A component, configured.
    Snapshot(Vec<u8>),
    /// It took its settings, and no snapshot could be taken. Says why.
    Impossible(String),
    /// It did not take its settings.
    Refused(SettingsRefused),
    /// It failed.
    Failed(CallError),
}

/// Gives a component its settings and takes a snapshot.
pub(crate) async fn take<C: Contract>(
    room: &EngineRoom,
    facts: &Arc<Facts>,
    instrumented: &Instrumented<'_>,
    linked: &InstancePre<State>,
) -> Outcome {
    let Some(_place) = facts.place(room, None).await else { return Outcome::Failed(CallError::Busy) };
    let until = Instant::now() + facts.limits.deadline;
    let mut store = store(room, facts, LOADING, until);
    let instantiated = bounded(until, async {
        let instance = linked.instantiate_async(&mut store).await?;
        Ok((instance, C::guest(&mut store, &instance)?))
    });
    let (instance, guest) = match instantiated.await {
        Ok(instantiated) => instantiated,
        Err(failure) => return Outcome::Failed(uninstantiated(&failure, store.data(), CONFIGURE)),
    };
    match bounded(until, C::configure(&guest, &mut store, &facts.settings)).await {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => return Outcome::Refused(refused),
        Err(failure) => return Outcome::Failed(failed(&failure, store.data(), CONFIGURE)),
    }
    // From here on the store is only read. Reading needs a page of its own, and hands over the whole memory.
    let reading = room.max_memory.saturating_add(1 << 20);
    store.data_mut().guard.memory = reading;
    store.set_hostcall_fuel(reading);
    store.epoch_deadline_callback(|_| Ok(step_aside()));
    let mut view = View { store: &mut store, instance, failed: None };
    let snapshot = wizer().snapshot_component(&instrumented.context, &mut view).await;
    match (snapshot, view.failed) {
        (Ok(bytes), None) => Outcome::Snapshot(bytes),
        (Ok(_), Some(why)) => Outcome::Impossible(why),
        (Err(e), _) => Outcome::Impossible(format!("{e:#}")),
    }
}

fn wizer() -> Wizer {
    let mut wizer = Wizer::new();
    // `configure` stays: the contract has it, and so do the types that are compared.
    wizer.keep_init_func(true);
    wizer
}

/// Reads the state of an instance through the exports that instrumenting added.
///
/// The trait has no way to fail. What cannot be read is noted in `failed`, and the snapshot is thrown away.
struct View<'a> {
    store: &'a mut Store<State>,
    instance: Instance,
    failed: Option<String>,
}

impl View<'_> {
    async fn read<R: Lift + 'static>(&mut self, interface: &str, function: &str) -> Option<R>
    where
        (R,): ComponentNamedList + Lift,
    {
        let value = self.try_read(interface, function).await;
        value.map_err(|e| self.failed = Some(format!("{interface}#{function}: {e:#}"))).ok()
    }

    async fn try_read<R: Lift + 'static>(&mut self, interface: &str, function: &str) -> wasmtime::Result<R>
    where
        (R,): ComponentNamedList + Lift,
    {
        let absent = || wasmtime::Error::msg("there is no such export");
        let interface = self.instance.get_export_index(&mut *self.store, None, interface).ok_or_else(absent)?;
        let function =
            self.instance.get_export_index(&mut *self.store, Some(&interface), function).ok_or_else(absent)?;
        let function = self.instance.get_typed_func::<(), (R,)>(&mut *self.store, function)?;
        Ok(function.call_async(&mut *self.store, ()).await?.0)
    }
}

impl ComponentInstanceState for View<'_> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        match self.read::<WasmList<u8>>(instance, func).await {
            Some(list) => contents(list.as_le_slice(&*self.store)),
            None => contents(&[]),
        }
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func).await.unwrap_or_default()
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func).await.unwrap_or_default()
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read::<f32>(instance, func).await.unwrap_or_default().to_bits()
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read::<f64>(instance, func).await.unwrap_or_default().to_bits()
    }
}
