//! The one place where an engine is made, and with it the pool of sandboxes and the ticker that stops them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use crate::measure::{Count, Meter};
use crate::share::{Share, Shares, Taken};

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
pub(crate) const WASM_STACK: usize = 512 << 10;
/// The whole stack of a sandbox, host calls included, in bytes.
const STACK: usize = 1 << 20;

/// The most memories, tables and core instances that a sandbox can have.
pub(crate) const SANDBOX_MEMORIES: usize = MEMORIES as usize;
pub(crate) const SANDBOX_TABLES: usize = PER_COMPONENT as usize;
pub(crate) const SANDBOX_INSTANCES: usize = PER_COMPONENT as usize;
/// The most elements that a table can have.
pub(crate) const TABLE_ELEMENTS: usize = 20_000;
/// The most elements that all tables of a sandbox can have together.
pub(crate) const SANDBOX_ELEMENTS: usize = 2 * TABLE_ELEMENTS;

/// How much of a stack, in bytes and from its top, is wiped by writing over it; what lies deeper goes back to the kernel.
///
/// Guests keep their big things in linear memory, and few calls nest deeper than this in native frames, so of the rest
/// no page was ever touched: giving it back is a system call that finds nothing to do. Writing over 64 KiB takes one or
/// two microseconds.
const STACK_WIPED: usize = 64 << 10;

/// A place for one sandbox: of its plugin's share, and of the room.
pub(crate) struct Place {
    _share: Taken,
    _room: OwnedSemaphorePermit,
}

/// How long loading waits for a place at least. Nobody's request stands still for it, and a set of plugins shall not be
/// refused because the gateway is busy.
pub(crate) const LOADING_WAIT: Duration = Duration::from_secs(10);

/// An engine with its pool and its ticker.
pub(crate) struct EngineRoom {
    pub(crate) engine: Engine,
    permits: Arc<Semaphore>,
    sandboxes: u32,
    /// How long a call waits for a place.
    pub(crate) admission_wait: Duration,
    shares: Shares,
    /// The most memory that a plugin can be given.
    pub(crate) max_memory: usize,
    /// Who wants to know what sandboxes took. Nobody, where requests are served.
    pub(crate) meter: Option<Arc<Meter>>,
}

impl EngineRoom {
    /// Makes the engine, reserves the pool, and starts the ticker, which ends with the engine.
    pub(crate) fn new(config: &RuntimeConfig) -> Result<Self, EngineError> {
        Self::metered(config, None)
    }

    /// The same, with a meter that is told what sandboxes took.
    pub(crate) fn metered(config: &RuntimeConfig, meter: Option<Arc<Meter>>) -> Result<Self, EngineError> {
        let sandboxes = config.max_sandboxes.max(1);
        let mut engine = engine_config(sandboxes, config.max_memory);
        engine.consume_fuel(meter.as_ref().is_some_and(|meter| meter.count == Count::Instructions));
        let engine = Engine::new(&engine).map_err(|e| {
            EngineError(format!("{e:#}; lower `max_sandboxes` where the address space is limited (`ulimit -v`)"))
        })?;
        start_ticker(&engine, config.tick)?;
        Ok(Self {
            engine,
            permits: Arc::new(Semaphore::new(sandboxes as usize)),
            sandboxes,
            admission_wait: config.admission_wait,
            shares: Shares::default(),
            max_memory: config.max_memory,
            meter,
        })
    }

    /// Whether code counts its instructions.
    pub(crate) fn counts_instructions(&self) -> bool {
        self.meter.as_ref().is_some_and(|meter| meter.count == Count::Instructions)
    }

    /// How many sandboxes a plugin can have at a time. Half of all where its entry does not say.
    fn places(&self, concurrency: Option<u32>) -> u32 {
        concurrency.unwrap_or(self.sandboxes / 2).clamp(1, self.sandboxes)
    }

    /// A share of its own for a plugin that is being loaded. Beside the one that it may get when it is live: or loading
    /// would keep the requests waiting that are served meanwhile by a plugin of its name.
    pub(crate) fn share_of_its_own(&self, concurrency: Option<u32>) -> Arc<Share> {
        Share::new(self.places(concurrency))
    }

    /// The share of the live plugin of this name, which it has in common with all that had the name before.
    pub(crate) fn share(&self, plugin: &str, concurrency: Option<u32>) -> Arc<Share> {
        self.shares.of(plugin, self.places(concurrency))
    }

    /// A place for one sandbox, waited for no longer than `wait`.
    ///
    /// The share comes first: whoever waits for their own plugin's other calls to end stands in nobody else's way.
    pub(crate) async fn admit(&self, share: &Arc<Share>, wait: Duration) -> Option<Place> {
        if let Some(place) = self.free(share) {
            return Some(place);
        }
        if wait.is_zero() {
            return None;
        }
        let place = async {
            let share = share.take().await?;
            let room = Arc::clone(&self.permits).acquire_owned().await.ok()?;
            Some(Place { _share: share, _room: room })
        };
        tokio::time::timeout(wait, place).await.ok()?
    }

    fn free(&self, share: &Arc<Share>) -> Option<Place> {
        let share = share.take_now()?;
        let room = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Place { _share: share, _room: room })
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
        .async_stack_keep_resident(STACK_WIPED)
        .pagemap_scan(Enabled::Auto)
        .decommit_batch_size(1);

    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(STACK)
        // What a guest computes with, round keys and all, is spilled to its stack; the next guest gets the same stack.
        .async_stack_zeroing(true)
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

    const WAIT: Duration = Duration::from_millis(5);

    fn room(max_sandboxes: u32) -> EngineRoom {
        EngineRoom::new(&RuntimeConfig { max_sandboxes, ..RuntimeConfig::default() }).unwrap()
    }

    #[tokio::test]
    async fn whoever_finds_no_place_is_refused_after_a_bounded_wait() {
        let room = room(1);
        let (one, other) = (room.share("one", None), room.share("other", None));
        let held = room.admit(&one, WAIT).await;
        assert!(held.is_some());
        assert!(room.admit(&other, WAIT).await.is_none());
        drop(held);
        assert!(room.admit(&other, Duration::ZERO).await.is_some());
    }

    #[tokio::test]
    async fn nobody_gets_more_than_their_share() {
        let room = room(4);
        for (asked, got) in [(None, 2), (Some(0), 1), (Some(1), 1), (Some(3), 3), (Some(9), 4)] {
            assert_eq!(room.places(asked), got, "{asked:?}");
        }
        let (greedy, modest) = (room.share("greedy", None), room.share("modest", Some(1)));
        let held = [room.admit(&greedy, WAIT).await, room.admit(&greedy, WAIT).await];
        assert!(held.iter().all(Option::is_some));
        assert!(room.admit(&greedy, WAIT).await.is_none(), "more than half of the room");
        assert!(room.admit(&room.share("greedy", None), WAIT).await.is_none(), "by being loaded anew");
        assert!(room.admit(&room.share_of_its_own(None), WAIT).await.is_some(), "loading stands aside");
        assert!(room.admit(&modest, Duration::ZERO).await.is_some());
    }

    #[test]
    fn stacks_are_wiped() {
        let room = EngineRoom::new(&RuntimeConfig { max_sandboxes: 1, ..RuntimeConfig::default() }).unwrap();
        // There is such a number only where stacks are wiped.
        assert_eq!(room.engine.pooling_allocator_metrics().unwrap().unused_stack_bytes_resident(), Some(0));
    }
}
