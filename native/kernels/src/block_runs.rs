//! Some blocks of many: runs of consecutive ones are scanned at once.

use std::ops::Range;

use crate::blocks::LANES;
use crate::kernel_set::Kernels;
use crate::prefetch::Blocks;

/// The runs of consecutive numbers among `ids`: places in `ids`.
pub fn runs(ids: &[u32]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    ids.chunk_by(|a, b| a.checked_add(1) == Some(*b)).map(move |run| {
        at += run.len();
        at - run.len()..at
    })
}

/// [`Kernels::gather_blocks_u8`] where a set has nothing better: a scan of each run.
pub(crate) fn scan<K: Kernels + ?Sized>(
    kernels: &K,
    queries: &[i8],
    dim: usize,
    blocks: &[u8],
    Blocks { ids, soon }: Blocks<'_>,
    out: &mut [i32],
) {
    let count = gather_shape(queries.len(), dim, blocks.len(), ids.len(), out.len());
    let (width, mut part) = (ids.len() * LANES, Vec::new());
    for run in runs(ids) {
        let (first, keys) = (ids[run.start] as usize, run.len() * LANES);
        part.clear();
        part.resize(count * keys, 0);
        kernels.scan_u8(queries, dim, &blocks[first * dim * LANES..][..keys * dim], &mut part);
        run.clone().for_each(|i| soon.ask(i));
        for (part, out) in part.chunks_exact(keys).zip(out.chunks_exact_mut(width)) {
            out[run.start * LANES..][..keys].copy_from_slice(part);
        }
    }
}

/// Checks the arguments of a scan of some blocks and returns the number of queries.
pub(crate) fn gather_shape(queries: usize, dim: usize, blocks: usize, ids: usize, out: usize) -> usize {
    let count = crate::portable::scan_shape(queries, dim, blocks, queries / dim.max(1) * (blocks / dim.max(1))).0;
    let keys = ids * LANES;
    assert_eq!(out, count * keys, "scan output of {out} elements, expected {count} × {keys}");
    count
}
