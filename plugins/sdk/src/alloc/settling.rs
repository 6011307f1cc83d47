//! The allocator that settles: the standard library's while the settings are read, and fresh memory for every call.

use super::Free;

/// A piece of memory that a sandbox fills from its start, and where it is. Before it is settled there is none, and nothing
/// is handed out.
#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code, reason = "the allocator is for wasm32"))]
#[derive(Clone, Copy)]
struct Arena {
    start: usize,
    free: Free,
}

#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code, reason = "the allocator is for wasm32"))]
impl Arena {
    const fn new() -> Self {
        Self { start: 0, free: Free { next: 0, end: 0 } }
    }

    /// From here on, blocks come from this memory.
    fn settle(&mut self, start: usize, size: usize) {
        *self = Self { start, free: Free { next: start, end: start + size } };
    }

    /// Takes `size` bytes at a multiple of `align`, while there is room.
    fn take(&mut self, size: usize, align: usize) -> Option<usize> {
        self.free.take(size, align, |_| None)
    }

    /// Whether the block came from here.
    fn has(&self, block: usize) -> bool {
        (self.start..self.free.end).contains(&block)
    }

    /// Makes a block from here larger or smaller where it is, and says whether it could.
    fn resize(&mut self, block: usize, old: usize, new: usize) -> bool {
        let newest = block + old == self.free.next;
        if newest && block.checked_add(new).is_some_and(|stop| stop <= self.free.end) {
            self.free.next = block + new;
            return true;
        }
        new <= old
    }
}

/// The size of the arena: as much as a page of WebAssembly has, and many times what a decision takes.
#[cfg(target_arch = "wasm32")]
const ARENA: usize = 65_536;

#[cfg(target_arch = "wasm32")]
mod allocator {
    #![allow(unsafe_code, reason = "a global allocator cannot be written without")]

    use core::alloc::{GlobalAlloc, Layout};
    use core::cell::Cell;
    use core::ptr;
    use std::alloc::System;

    use super::{ARENA, Arena};

    /// The allocator that settles.
    pub struct Settling {
        arena: Cell<Arena>,
    }

    // SAFETY: the target has no threads; nothing else can enter while a function of the allocator runs.
    unsafe impl Sync for Settling {}

    impl Settling {
        /// One that has not settled.
        pub const fn new() -> Self {
            Self { arena: Cell::new(Arena::new()) }
        }

        /// Ends the time of reading settings. Without memory for the arena nothing changes.
        pub fn settle(&self) {
            let mut arena = self.arena.get();
            if arena.start != 0 {
                return;
            }
            let Ok(layout) = Layout::from_size_align(ARENA, 4_096) else { return };
            // SAFETY: the layout has a size. The block is never given back: it is the arena's.
            let start = unsafe { System.alloc(layout) };
            if !start.is_null() {
                arena.settle(start.expose_provenance(), ARENA);
                self.arena.set(arena);
            }
        }
    }

    impl Default for Settling {
        fn default() -> Self {
            Self::new()
        }
    }

    // SAFETY: a block is the arena's or the standard library's, by its address, and goes back where it came from. Those of
    // the arena are apart and aligned: `next` falls back only to the start of the newest one, when that is given back.
    unsafe impl GlobalAlloc for Settling {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let mut arena = self.arena.get();
            if let Some(block) = arena.take(layout.size(), layout.align()) {
                self.arena.set(arena);
                return ptr::with_exposed_provenance_mut(block);
            }
            // SAFETY: the caller's promise about the layout is the one that is asked for here.
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let mut arena = self.arena.get();
            if !arena.has(block.addr()) {
                // SAFETY: it is not the arena's, so it is the standard library's.
                return unsafe { System.dealloc(block, layout) };
            }
            arena.free.give(block.addr(), layout.size());
            self.arena.set(arena);
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let mut arena = self.arena.get();
            if !arena.has(block.addr()) {
                // SAFETY: it is not the arena's, so it is the standard library's.
                return unsafe { System.realloc(block, layout, size) };
            }
            if arena.resize(block.addr(), layout.size(), size) {
                self.arena.set(arena);
                return block;
            }
            let Ok(wanted) = Layout::from_size_align(size, layout.align()) else { return ptr::null_mut() };
            // SAFETY: `size` is not 0, by the caller's promise.
            let moved = unsafe { self.alloc(wanted) };
            if !moved.is_null() {
                // SAFETY: both blocks are ours and apart, and the new one is larger: a smaller one stays where it is. The old
                // one is not given back: it is not the newest, or there was no room behind it.
                unsafe { ptr::copy_nonoverlapping(block, moved, layout.size()) };
            }
            moved
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use allocator::Settling;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_hands_out_nothing_before_it_is_settled_and_nothing_beyond_its_end() {
        let mut arena = Arena::new();
        assert_eq!(arena.take(1, 1), None);
        assert!(!arena.has(0));
        arena.settle(0x1000, 0x100);
        assert_eq!(arena.take(0x80, 8), Some(0x1000));
        assert_eq!(arena.take(0x81, 8), None);
        assert_eq!(arena.take(0x80, 8), Some(0x1080));
        assert_eq!(arena.take(1, 1), None);
        assert!(!arena.has(0xfff) && arena.has(0x1000) && arena.has(0x10ff) && !arena.has(0x1100));
    }

    #[test]
    fn in_an_arena_only_the_newest_block_changes_its_size() {
        let mut arena = Arena::new();
        arena.settle(0x1000, 0x100);
        let a = arena.take(16, 8).unwrap();
        let b = arena.take(16, 8).unwrap();
        assert!(!arena.resize(a, 16, 17), "there is one behind it");
        assert!(arena.resize(a, 16, 8), "less is always there");
        assert_eq!(arena.free.next, b + 16);
        assert!(arena.resize(b, 16, 0xf0));
        assert!(!arena.resize(b, 0xf0, 0xf1), "not beyond the end");
        assert!(!arena.resize(b, 0xf0, usize::MAX));
        assert!(arena.resize(b, 0xf0, 16));
        assert_eq!(arena.take(1, 1), Some(b + 16));
    }
}
