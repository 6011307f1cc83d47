//! The one place where an engine is made, and with it the pool of sandboxes and the ticker that stops them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

/// How the runtime is set up.
#[derive(Clone, Debug)]
pub struct RuntimeConfig {
    /// Where compiled code is kept from one start to the next. A directory of its own with mode 0700; made when it is
    /// not there. `None`: nowhere, and every start compiles.
    pub cache_dir: Option<PathBuf>,
    /// How many sandboxes there can be at a time. 128.
    pub max_sandboxes: u32,
    /// The most linear memory that any plugin can be given, in bytes. 256 MiB.
    pub max_memory: usize,
    /// How long a call waits for a free sandbox before it is refused as busy. 250 ms.
    pub admission_wait: Duration,
    /// How often a running plugin is interrupted to look at its deadline and to let other calls go on. 10 ms.
    pub tick: Duration,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_sandboxes: 128,
            max_memory: 256 << 20,
            admission_wait: Duration::from_millis(250),
            tick: Duration::from_millis(10),
        }
    }
}

/// The runtime cannot start on this machine.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the WebAssembly engine cannot start: {0}")]
pub struct EngineError(pub(crate) String);

/// The most core instances, and tables, that one component can have. Guests of interpreted languages need about 40.
const PER_COMPONENT: u32 = 64;
/// The most linear memories that one component can have.
const MEMORIES: u32 = 2;
/// The native stack that WebAssembly code can use, in bytes.
const WASM_STACK: usize = 512 << 10;
/// The whole stack of a sandbox, host calls included, in bytes.
const STACK: usize = 1 << 20;

/// The most memories, tables and core instances that a sandbox can have.
pub(crate) const SANDBOX_MEMORIES: usize = MEMORIES as usize;
pub(crate) const SANDBOX_TABLES: usize = PER_COMPONENT as usize;
pub(crate) const SANDBOX_INSTANCES: usize = PER_COMPONENT as usize;
/// The most elements that a table can have.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;

/// An engine with its pool and its ticker.
pub(crate) struct EngineRoom {
    pub(crate) engine: Engine,
    permits: Arc<Semaphore>,
    admission_wait: Duration,
    /// The most memory that a plugin can be given.
    pub(crate) max_memory: usize,
}

impl EngineRoom {
    /// Makes the engine, reserves the pool, and starts the ticker, which ends with the engine.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, EngineError> {
        let sandboxes = config.max_sandboxes.max(1);
        let engine = Engine::new(&engine_config(sandboxes, config.max_memory)).map_err(|e| {
            EngineError(format!("{e:#}; lower `max_sandboxes` where the address space is limited (`ulimit -v`)"))
        })?;
        start_ticker(&engine, config.tick)?;
        Ok(Self {
            engine,
            permits: Arc::new(Semaphore::new(sandboxes as usize)),
            admission_wait: config.admission_wait,
            max_memory: config.max_memory,
        })
    }

    /// A place for one sandbox, waited for as long as the configuration says, and not longer than `at_most`.
    pub(crate) async fn admit(&self, at_most: Option<Duration>) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let wait = at_most.map_or(self.admission_wait, |most| most.min(self.admission_wait));
        tokio::time::timeout(wait, Arc::clone(&self.permits).acquire_owned()).await.ok()?.ok()
    }
}

fn engine_config(sandboxes: u32, max_memory: usize) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(sandboxes)
        .total_core_instances(sandboxes.saturating_mul(PER_COMPONENT))
        .total_memories(sandboxes.saturating_mul(MEMORIES))
        .total_tables(sandboxes.saturating_mul(PER_COMPONENT))
        .total_stacks(sandboxes)
        .max_core_instances_per_component(PER_COMPONENT)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(PER_COMPONENT)
        .table_elements(TABLE_ELEMENTS)
        .max_memory_size(max_memory)
        // A small guest is reset by writing over the pages that it touched: no system call changes the process's memory
        // map, so sandboxes on different threads do not queue for it. What is kept is overwritten when a sandbox is
        // dropped; what is not goes back to the kernel at once, because the batch is one.
        .linear_memory_keep_resident(1 << 20)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(1);

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK)
        .memory_init_cow(true)
        // A microsecond a call, for features that no plugin can use.
        .concurrency_support(false)
        .wasm_wide_arithmetic(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(true);
    config
}

fn start_ticker(engine: &Engine, tick: Duration) -> Result<(), EngineError> {
    // Only a weak reference: the thread must not be what keeps the engine alive.
    let engine = engine.weak();
    let tick = tick.max(Duration::from_millis(1));
    std::thread::Builder::new()
        .name("keygate-ticker".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(tick);
                match engine.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => break,
                }
            }
        })
        .map(drop)
        .map_err(|e| EngineError(format!("no thread for the ticker: {e}; raise the limit of threads (`ulimit -u`)")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_ends_with_the_engine() {
        let room =
            EngineRoom::new(&RuntimeConfig { tick: Duration::from_millis(1), ..RuntimeConfig::default() }).unwrap();
        let weak = room.engine.weak();
        drop(room);
        // The ticker holds the engine for the instant in which it ticks, and never longer.
        let gone = (0..1000).any(|_| {
            std::thread::yield_now();
            std::thread::sleep(Duration::from_millis(1));
            weak.upgrade().is_none()
        });
        assert!(gone, "something keeps the engine alive");
    }

    #[tokio::test]
    async fn whoever_finds_no_place_is_refused_after_a_bounded_wait() {
        let config =
            RuntimeConfig { max_sandboxes: 1, admission_wait: Duration::from_millis(5), ..RuntimeConfig::default() };
        let room = EngineRoom::new(&config).unwrap();
        let held = room.admit(None).await;
        assert!(held.is_some());
        assert!(room.admit(None).await.is_none());
        drop(held);
        assert!(room.admit(Some(Duration::ZERO)).await.is_some());
    }
}
