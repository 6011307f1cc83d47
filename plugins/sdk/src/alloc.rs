//! A plugin's memory.
//!
//! A sandbox is born and dropped for one call, and its first page of 64 KiB is by far its cheapest: a slot of the
//! host's pool is reset with one memset. So the allocator of a plugin hands out addresses upwards from the end of its
//! static data and takes back the newest block, which is enough for a vector that grows. Other blocks of up to 1 KiB are
//! kept in lists by their size and handed out again, which is enough for arithmetic with big numbers: it makes and drops
//! millions of the same few sizes. It asks for more memory when the page is full, as far as the host lets it.
//!
//! The export macros install it. A plugin that allocates and frees a lot names `system_allocator` in the macro and gets
//! that of the standard library instead. One that does so only while it reads its settings (a parser of large policies,
//! say) names `settling_allocator`: the standard library's up to the end of `configure`, and from there on, which is in
//! every sandbox, blocks that lie side by side in fresh memory. The standard library's would hand out the gaps that the
//! parser left, all over the heap, and the host has to copy each page that a call writes to.

/// The free part of the memory: from `next` up to `end`.
#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code, reason = "the allocator is for wasm32"))]
#[derive(Clone, Copy)]
struct Free {
    next: usize,
    end: usize,
}

#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code, reason = "the allocator is for wasm32"))]
impl Free {
    /// Takes `size` bytes at a multiple of `align` (a power of two). `more` is asked for at least so many bytes when
    /// they are not there, and says where the new ones are.
    fn take(
        &mut self,
        size: usize,
        align: usize,
        more: impl FnOnce(usize) -> Option<core::ops::Range<usize>>,
    ) -> Option<usize> {
        let start = self.next.checked_next_multiple_of(align)?;
        let stop = start.checked_add(size)?;
        if stop <= self.end {
            self.next = stop;
            return Some(start);
        }
        // `align` bytes of slack, for memory that does not join what we have.
        let new = more((stop - self.end).checked_add(align)?)?;
        if new.start != self.end {
            self.next = new.start;
        }
        self.end = new.end;
        let start = self.next.checked_next_multiple_of(align)?;
        let stop = start.checked_add(size)?;
        if stop > self.end {
            return None;
        }
        self.next = stop;
        Some(start)
    }

    /// Takes a block back if it is the newest, and says whether it was.
    fn give(&mut self, start: usize, size: usize) -> bool {
        let newest = start + size == self.next;
        if newest {
            self.next = start;
        }
        newest
    }

    /// Changes a block's size, where it is if it is the newest or shrinks. The answer is where it is now.
    fn resize(
        &mut self,
        start: usize,
        old: usize,
        new: usize,
        align: usize,
        more: impl FnOnce(usize) -> Option<core::ops::Range<usize>>,
    ) -> Option<usize> {
        if new <= old && start + old != self.next {
            return Some(start);
        }
        self.give(start, old);
        self.take(new, align, more)
    }
}

/// Blocks that were given back and are not the newest, in lists. The list number `n` has blocks of `n` steps of 16 bytes
/// and a little more. A block's first word says where the next of its list is; 0 ends a list.
#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code, reason = "the allocator is for wasm32"))]
#[derive(Clone, Copy)]
struct Lists {
    heads: [usize; LISTS],
}

/// The step from one list to the next, in bytes.
const STEP: usize = 16;
/// How many lists there are; the first, of blocks that are too small for anything, stays empty.
const LISTS: usize = 65;

#[cfg_attr(not(any(test, target_arch = "wasm32")), allow(dead_code, reason = "the allocator is for wasm32"))]
impl Lists {
    const fn new() -> Self {
        Self { heads: [0; LISTS] }
    }

    /// Takes a block of at least `size` bytes at a multiple of `align`, if the right list starts with one. `next` reads a
    /// block's first word.
    fn take(&mut self, size: usize, align: usize, next: impl FnOnce(usize) -> usize) -> Option<usize> {
        let head = self.heads.get_mut(size.div_ceil(STEP))?;
        let block = *head;
        if block == 0 || !block.is_multiple_of(align) {
            return None;
        }
        *head = next(block);
        Some(block)
    }

    /// Keeps a block. `link` writes a block's first word.
    fn give(&mut self, block: usize, size: usize, link: impl FnOnce(usize, usize)) {
        let list = size / STEP;
        // The word must fit, and lie where a word can.
        if list == 0 || !block.is_multiple_of(align_of::<usize>()) {
            return;
        }
        if let Some(head) = self.heads.get_mut(list) {
            link(block, *head);
            *head = block;
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod bump {
    #![allow(unsafe_code, reason = "a global allocator cannot be written without")]

    use core::alloc::{GlobalAlloc, Layout};
    use core::arch::wasm32::{memory_grow, memory_size};
    use core::cell::{Cell, UnsafeCell};
    use core::ptr;

    use super::{Free, Lists};

    const PAGE: usize = 65_536;

    /// The allocator.
    pub struct Bump {
        free: Cell<Free>,
        lists: UnsafeCell<Lists>,
    }

    // SAFETY: the target has no threads; nothing else can enter while a function of the allocator runs.
    unsafe impl Sync for Bump {}

    impl Bump {
        /// One that has not looked at the memory yet.
        pub const fn new() -> Self {
            Self { free: Cell::new(Free { next: 0, end: 0 }), lists: UnsafeCell::new(Lists::new()) }
        }

        fn free(&self) -> Free {
            let free = self.free.get();
            if free.end != 0 {
                return free;
            }
            unsafe extern "C" {
                // The linker's: where the static data ends. Only the address means something.
                static __heap_base: u8;
            }
            Free { next: (&raw const __heap_base).addr(), end: memory_size(0) * PAGE }
        }

        /// A block that was given back.
        fn reuse(&self, size: usize, align: usize) -> Option<usize> {
            // SAFETY: there are no threads, and nothing below comes back here: nobody else has a reference.
            let lists = unsafe { &mut *self.lists.get() };
            lists.take(size, align, |block| {
                // SAFETY: blocks in the lists are ours, aligned for a word and large enough for one, and start with it.
                unsafe { ptr::with_exposed_provenance::<usize>(block).read() }
            })
        }

        /// Takes a block back.
        fn keep(&self, block: usize, size: usize) {
            // SAFETY: as in `reuse`.
            let lists = unsafe { &mut *self.lists.get() };
            lists.give(block, size, |block, next| {
                // SAFETY: the block was given back, so it is ours; `give` saw to its size and alignment.
                unsafe { ptr::with_exposed_provenance_mut::<usize>(block).write(next) }
            });
        }
    }

    impl Default for Bump {
        fn default() -> Self {
            Self::new()
        }
    }

    fn grow(bytes: usize) -> Option<core::ops::Range<usize>> {
        let pages = bytes.div_ceil(PAGE);
        let before = memory_grow(0, pages);
        if before == usize::MAX { None } else { Some(before * PAGE..(before + pages).saturating_mul(PAGE)) }
    }

    // SAFETY: blocks lie between the static data and the end of the memory, are aligned, and do not overlap, because
    // `next` only falls back to the start of a block that was given back and is in no list, and a block in a list is
    // taken out of it when it is handed out.
    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            if let Some(block) = self.reuse(layout.size(), layout.align()) {
                return ptr::with_exposed_provenance_mut(block);
            }
            let mut free = self.free();
            let Some(start) = free.take(layout.size(), layout.align(), grow) else { return ptr::null_mut() };
            self.free.set(free);
            ptr::with_exposed_provenance_mut(start)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            let mut free = self.free();
            if free.give(block.addr(), layout.size()) {
                self.free.set(free);
            } else {
                self.keep(block.addr(), layout.size());
            }
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let mut free = self.free();
            let Some(start) = free.resize(block.addr(), layout.size(), size, layout.align(), grow) else {
                return ptr::null_mut();
            };
            self.free.set(free);
            if start == block.addr() {
                return block;
            }
            let moved = ptr::with_exposed_provenance_mut(start);
            // SAFETY: a block that moved is larger now, and lies behind the old one or in other memory.
            unsafe { ptr::copy_nonoverlapping(block, moved, layout.size()) };
            self.keep(block.addr(), layout.size());
            moved
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub use bump::Bump;

mod settling;

#[cfg(target_arch = "wasm32")]
pub use settling::Settling;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Lists, and the first words of the blocks in them.
    fn lists() -> (Lists, BTreeMap<usize, usize>) {
        (Lists::new(), BTreeMap::new())
    }

    #[test]
    fn blocks_of_the_same_size_are_handed_out_again_the_last_one_first() {
        let (mut lists, mut words) = lists();
        for block in [0x1000, 0x2000, 0x3000] {
            lists.give(block, 256, |block, next| {
                words.insert(block, next);
            });
        }
        let mut take = |size| lists.take(size, 8, |block| words[&block]);
        assert_eq!(take(257), None, "it would be too small");
        assert_eq!(take(240), None, "and that would waste it");
        assert_eq!([take(256), take(250), take(241)], [Some(0x3000), Some(0x2000), Some(0x1000)]);
        assert_eq!(take(256), None);
    }

    #[test]
    fn what_fits_no_list_is_let_go() {
        let (mut lists, _) = lists();
        for (block, size) in [(0x1000, 15), (0x1001, 256), (0x1000, LISTS * STEP), (0x1000, usize::MAX)] {
            lists.give(block, size, |_, _| panic!("{size} bytes at {block:#x} were kept"));
        }
        assert_eq!(lists.take(usize::MAX, 8, |_| 0), None);
        lists.give(0x1008, 64, |_, _| ());
        assert_eq!(lists.take(64, 16, |_| 0), None, "it is not aligned enough");
        assert_eq!(lists.take(64, 8, |_| 0), Some(0x1008));
    }

    #[test]
    fn a_block_has_at_least_the_size_that_was_asked_for() {
        let (mut lists, _) = lists();
        for given in 0..1_100 {
            lists.give(0x1000, given, |_, _| ());
            for asked in given + 1..1_200 {
                assert_eq!(lists.take(asked, 1, |_| 0), None, "{given} bytes for {asked}");
            }
            lists = Lists::new();
        }
    }

    fn none(_: usize) -> Option<core::ops::Range<usize>> {
        None
    }

    #[test]
    fn blocks_are_aligned_and_apart() {
        let mut free = Free { next: 1_001, end: 2_000 };
        assert_eq!(free.take(10, 1, none), Some(1_001));
        assert_eq!(free.take(16, 16, none), Some(1_024));
        assert_eq!(free.take(960, 8, none), Some(1_040));
        assert_eq!(free.take(0, 1, none), Some(2_000));
        assert_eq!(free.take(1, 1, none), None);
        assert_eq!(free.next, 2_000, "a refusal changes nothing");
    }

    #[test]
    fn only_the_newest_block_comes_back() {
        let mut free = Free { next: 0x1000, end: 0x2000 };
        let a = free.take(16, 8, none).unwrap();
        let b = free.take(16, 8, none).unwrap();
        free.give(a, 16);
        assert_eq!(free.next, b + 16);
        free.give(b, 16);
        assert_eq!(free.next, b);
    }

    #[test]
    fn the_newest_block_grows_in_place() {
        let mut free = Free { next: 0x1000, end: 0x1100 };
        let a = free.take(16, 8, none).unwrap();
        assert_eq!(free.resize(a, 16, 64, 8, none), Some(a));
        assert_eq!(free.next, a + 64);
        assert_eq!(free.resize(a, 64, 0x200, 8, |_| Some(0x1100..0x2000)), Some(a), "into new memory, too");
        assert_eq!(free.next, a + 0x200);
        assert_eq!(free.resize(a, 0x200, 32, 8, none), Some(a));
        assert_eq!(free.next, a + 32);
    }

    #[test]
    fn an_older_block_moves_to_grow() {
        let mut free = Free { next: 0x1000, end: 0x1100 };
        let a = free.take(16, 8, none).unwrap();
        let b = free.take(8, 8, none).unwrap();
        assert_eq!(free.resize(a, 16, 3, 8, none), Some(a), "shrinking needs no room");
        assert_eq!(free.next, b + 8);
        assert_eq!(free.resize(a, 16, 17, 8, none), Some(b + 8));
        assert_eq!(free.resize(b, 8, 0x1000, 8, none), None, "not beyond the end");
        assert_eq!(free.resize(b, 8, usize::MAX, 8, |_| Some(0..usize::MAX)), None);
    }

    #[test]
    fn asks_for_more_when_full() {
        let mut free = Free { next: 0xff00, end: 0x1_0000 };
        assert_eq!(free.take(0x200, 8, |_| Some(0x1_0000..0x2_0000)), Some(0xff00), "joins what was left");
        assert_eq!(free.end, 0x2_0000);
        let mut free = Free { next: 0xff00, end: 0x1_0000 };
        assert_eq!(free.take(0x200, 8, |_| Some(0x3_0000..0x4_0000)), Some(0x3_0000), "or starts anew");
        let mut free = Free { next: 0xff00, end: 0x1_0000 };
        assert_eq!(free.take(usize::MAX, 8, |_| Some(0..usize::MAX)), None);
    }
}
