//! Rows over threads.

use std::ops::Range;

use rayon::prelude::*;

/// Rows that one task takes: 8 of 180 leave each of two threads about 11 tasks, so that a core that is taken away for a
/// while holds up a twentieth of the frame and not half of it.
const GRAIN: usize = 8;

/// Calls `work(rows, bytes)` for consecutive ranges of rows, where `bytes` is their part of `out` (`row_len` bytes a row).
pub fn for_rows<T: Send>(out: &mut [T], row_len: usize, work: impl Fn(Range<usize>, &mut [T]) + Sync) {
    out.par_chunks_mut(row_len * GRAIN).enumerate().for_each(|(i, part)| {
        let first = i * GRAIN;
        work(first..first + part.len() / row_len, part);
    });
}
