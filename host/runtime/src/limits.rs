//! What a sandbox may consume of the machine.

use wasmtime::ResourceLimiter;

use crate::engine::{SANDBOX_INSTANCES, SANDBOX_MEMORIES, SANDBOX_TABLES, TABLE_ELEMENTS};

/// Watches the growth of a sandbox, and remembers that it wanted too much: the guest itself only says `unreachable`.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The most linear memory, in bytes, of each memory.
    pub(crate) memory: usize,
    /// How much it wanted when it was refused, in bytes.
    pub(crate) refused: Option<usize>,
}

impl Guard {
    pub(crate) fn new(memory: usize) -> Self {
        Self { memory, refused: None }
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let fits = desired <= self.memory;
        if !fits {
            self.refused = Some(desired);
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        // It was within its limit and the pool, or its own declared maximum, was not.
        self.refused.get_or_insert(self.memory);
        Ok(())
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }

    fn instances(&self) -> usize {
        SANDBOX_INSTANCES
    }

    fn tables(&self) -> usize {
        SANDBOX_TABLES
    }

    fn memories(&self) -> usize {
        SANDBOX_MEMORIES
    }
}
