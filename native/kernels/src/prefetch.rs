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

/// How far ahead of its reads a kernel asks for what it reads once, in bytes. (512 takes longer than none, 1024 to 12,288 are all much alike.)
#[cfg(target_arch = "x86_64")]
const AHEAD: usize = 4096;

/// Asks for what lies [`AHEAD`] of `slice[index]`, for kernels that read memory from start to end with several queries or sums, whose
/// arithmetic holds loads back: hardware foresees such reads too, but not as far. Only the slice itself is asked for, what follows may not be wanted.
///
/// (From memory, two threads, ns a row of 64 without and with. Zen 5: bytes against three queries 3.2 and 3.0, eight 6.9 and 4.3, attention in half
/// precision with three queries 17.7 and 14.7, one sum of rows in half precision 11.4 and 6.0. Xeon with AMX, neighbours busy: 11.1 and 6.7, 15 and 7.7, 55
/// and 33, 21 and 12. From the cache it costs 0 to 15 %. One query against bytes or halves waits for memory anyhow: there it gains nothing. Asked for past
/// the second cache (`prefetchnta`) what is read twice comes from memory twice: on the Xeon 72 for 33.)
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn stream<T>(slice: &[T], index: usize) {
    let index = index + AHEAD / size_of::<T>();
    #[cfg(not(miri))]
    if index < slice.len() {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: SSE is part of every x86-64; the address lies inside the slice (and a prefetch never faults).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(slice.as_ptr().add(index).cast()) };
    }
    #[cfg(miri)]
    let _ = index;
}
