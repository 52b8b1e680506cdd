//! Memory in huge pages.

use memmap2::MmapMut;

/// Bytes of a huge page.
const HUGE: usize = 1 << 21;

/// Memory that starts on a huge page and asks to be made of such pages. What scans of it wait for is mostly the translation of
/// addresses. (268 MB read by two threads on a virtual machine with two cores: 31 GB/s, 19 in pages of 4 KB.)
pub(crate) struct Large {
    map: MmapMut,
    /// Where the first huge page starts.
    start: usize,
    capacity: usize,
}

impl Large {
    /// Room for `capacity` bytes, all zero. `None` when that is less than a huge page, or there is no such memory.
    pub fn new(capacity: usize) -> Option<Self> {
        if capacity < HUGE || cfg!(miri) {
            return None;
        }
        let map = MmapMut::map_anon(capacity.checked_add(HUGE)?).ok()?;
        let start = map.as_ptr().align_offset(HUGE);
        if start > HUGE {
            return None;
        }
        // Only whole ones: a last one used in part would take memory for nothing. A system that refuses gives small pages.
        #[cfg(target_os = "linux")]
        let _ = map.advise_range(memmap2::Advice::HugePage, start, capacity / HUGE * HUGE);
        Some(Self { map, start, capacity })
    }

    /// Bytes there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The memory, from a multiple of 2 MB on.
    #[inline(always)]
    pub fn as_ptr(&self) -> *const u8 {
        // `start` is at most `HUGE`, which the map was made larger by.
        self.map.as_ptr().wrapping_add(self.start)
    }

    /// The same for writing.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.map.as_mut_ptr().wrapping_add(self.start)
    }
}
