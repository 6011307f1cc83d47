//! What a sandbox may consume of the machine.

use wasmtime::ResourceLimiter;

use crate::engine::{SANDBOX_ELEMENTS, SANDBOX_INSTANCES, SANDBOX_MEMORIES, SANDBOX_TABLES, TABLE_ELEMENTS};

/// Watches the growth of a sandbox, and remembers that it wanted too much: the guest itself only says `unreachable`.
///
/// What counts is the sum over all memories, and over all tables. Neither ever shrinks.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The most linear memory, in bytes.
    pub(crate) memory: usize,
    /// That memory did not grow, and why.
    pub(crate) refused: Option<Refused>,
    /// The memory that was granted, in bytes.
    held: usize,
    /// The elements of tables that were granted.
    elements: usize,
}

/// Why memory did not grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It would have had this much, in bytes, which is too much.
    TooMuch(usize),
    /// It was within its limit and could not be given more. wasmtime says why.
    Failed(String),
}

impl Guard {
    pub(crate) fn new(memory: usize) -> Self {
        Self { memory, refused: None, held: 0, elements: 0 }
    }

    /// The memory that there is, in bytes: the most there was.
    pub(crate) fn held(&self) -> usize {
        self.held
    }
}

impl ResourceLimiter for Guard {
    fn memory_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.held.saturating_add(desired.saturating_sub(current));
        // Growth beyond a memory's own maximum would fail after it was granted, and would have been counted.
        let fits = wanted <= self.memory && maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.held = wanted;
        } else {
            self.refused = Some(Refused::TooMuch(wanted));
        }
        Ok(fits)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // What was granted stays counted: this is also called where nothing was granted before, and which it is, is not
        // said.
        self.refused.get_or_insert_with(|| Refused::Failed(format!("{error:#}")));
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, maximum: Option<usize>) -> wasmtime::Result<bool> {
        let wanted = self.elements.saturating_add(desired.saturating_sub(current));
        let fits =
            desired <= TABLE_ELEMENTS && wanted <= SANDBOX_ELEMENTS && maximum.is_none_or(|maximum| desired <= maximum);
        if fits {
            self.elements = wanted;
        }
        Ok(fits)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_of_all_memories_together() {
        let mut guard = Guard::new(100);
        assert!(guard.memory_growing(0, 40, None).unwrap());
        assert!(guard.memory_growing(0, 40, Some(50)).unwrap());
        assert!(!guard.memory_growing(40, 61, None).unwrap(), "the other memory was not counted");
        assert_eq!(guard.refused, Some(Refused::TooMuch(101)));
        assert!(guard.memory_growing(40, 60, None).unwrap(), "what was refused was counted");
        assert!(!guard.memory_growing(60, 61, None).unwrap());
    }

    #[test]
    fn growth_beyond_a_memorys_own_maximum_is_not_counted() {
        let mut guard = Guard::new(100);
        assert!(!guard.memory_growing(0, 60, Some(50)).unwrap());
        assert!(guard.memory_growing(0, 100, None).unwrap());
    }

    #[test]
    fn tables_are_bounded_each_and_together() {
        let mut guard = Guard::new(0);
        assert!(!guard.table_growing(0, TABLE_ELEMENTS + 1, None).unwrap());
        for _ in 0..SANDBOX_ELEMENTS / TABLE_ELEMENTS {
            assert!(guard.table_growing(0, TABLE_ELEMENTS, None).unwrap());
        }
        assert!(!guard.table_growing(0, 1, None).unwrap());
    }
}
