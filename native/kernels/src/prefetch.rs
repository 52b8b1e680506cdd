/// Asks for the cache line that holds `slice[index]`; out of range does nothing. A hint, without effect on results.
#[inline(always)]
pub fn prefetch<T>(slice: &[T], index: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if index < slice.len() {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of every x86-64; the address lies inside the slice (and a prefetch never faults).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().add(index).cast()) };
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = (slice, index);
}

/// How far ahead of its reads a kernel asks for what it reads once, in bytes.
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// Asks for what lies [`AHEAD`] of `slice[index]`, for kernels that read a slice from its start to its end: hardware foresees that too, but
/// not as far, and puts all of it into every cache, from which it drives what others keep there. What is asked for here is read once.
/// Only the slice itself is asked for: what follows may not be wanted.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn stream<T>(slice: &[T], index: usize) {
    let index = index + AHEAD / size_of::<T>();
    #[cfg(not(miri))]
    if index < slice.len() {
        use core::arch::x86_64::{_MM_HINT_NTA, _mm_prefetch};
        // SAFETY: SSE is part of every x86-64; the address lies inside the slice (and a prefetch never faults).
        unsafe { _mm_prefetch::<_MM_HINT_NTA>(slice.as_ptr().add(index).cast()) };
    }
    #[cfg(miri)]
    let _ = index;
}
