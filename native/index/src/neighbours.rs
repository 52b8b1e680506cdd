//! Exact nearest keys of a set of queries by inner product: a blocked product, threaded over queries.

use rayon::prelude::*;
use sparrow_kernels::{LANES, best, pack_blocks};

use crate::rows::Rows;
use crate::top::Top;

/// Queries that share one pass over the keys.
const QUERIES: usize = 64;
/// Keys scored before selection: at 64 dimensions 256 KiB of keys, which stay in the second-level cache while all the
/// queries of a pass use them.
const TILE: usize = 1024;

/// The `k` best keys of every query, best first (ties by lower id): `[queries, min(k, keys)]`.
pub fn exact_neighbours(keys: Rows<'_>, queries: Rows<'_>, k: usize) -> Vec<u32> {
    let (dim, k) = (keys.dim, k.min(keys.len()));
    let blocks = pack_blocks(keys.data, dim, 0.0);
    let parts: Vec<Vec<u32>> =
        queries.data.par_chunks(QUERIES * dim).map(|part| of_some(&blocks, keys.len(), dim, part, k)).collect();
    parts.concat()
}

fn of_some(blocks: &[f32], keys: usize, dim: usize, queries: &[f32], k: usize) -> Vec<u32> {
    let kernels = best();
    let count = queries.len() / dim;
    let mut tops: Vec<Top> = (0..count).map(|_| Top::new(k)).collect();
    let mut scores = vec![0f32; 8 * TILE];
    for (number, tile) in blocks.chunks(TILE * dim).enumerate() {
        let width = tile.len() / dim;
        let first = number * TILE;
        // The last block is filled up with zero keys, which are not real.
        let real = width.min(keys - first);
        for (group, tops) in queries.chunks(8 * dim).zip(tops.chunks_mut(8)) {
            let scores = &mut scores[..group.len() / dim * width];
            kernels.scan_f32(group, dim, tile, scores);
            for (scores, top) in scores.chunks_exact(width).zip(tops) {
                top.push(kernels, &scores[..real], first as u32);
            }
        }
    }
    tops.iter_mut().flat_map(|top| top.sorted().iter().map(|hit| hit.1).collect::<Vec<_>>()).collect()
}

const _: () = assert!(TILE.is_multiple_of(LANES));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn neighbours_are_those_of_a_plain_sort() {
        let mut rng = Rng::new(1);
        for (keys, count, dim, k) in [(1, 1, 3, 5), (17, 9, 8, 4), (2500, 70, 20, 10)] {
            let key_data: Vec<f32> = (0..keys * dim).map(|_| rng.normal()).collect();
            let query_data: Vec<f32> = (0..count * dim).map(|_| rng.normal()).collect();
            let (keys, queries) = (Rows { data: &key_data, dim }, Rows { data: &query_data, dim });
            let found = exact_neighbours(keys, queries, k);
            let k = k.min(keys.len());
            assert_eq!(found.len(), count * k);
            for (query, found) in queries.iter().zip(found.chunks_exact(k)) {
                let score = |i: usize| -> f64 { query.iter().zip(keys.row(i)).map(|(a, b)| f64::from(a * b)).sum() };
                let mut order: Vec<usize> = (0..keys.len()).collect();
                order.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
                assert_eq!(found.iter().map(|id| *id as usize).collect::<Vec<_>>(), order[..k]);
            }
        }
    }
}
