//! Attention over all keys: the dense baseline, and the strategy where nothing cheaper is as good.

use sparrow_kernels::{Buffer, Kernels, f16, pack_blocks};

use super::partial::{Partial, Running};

/// Keys whose scores are held at a time. (128K keys of 64: tiles of 512 to 2048 were equal, 4096 a tenth slower.)
const TILE: usize = 1024;

/// Keys in blocks and values in rows, in any common order.
pub struct ExactAttention {
    blocks: Buffer<f16>,
    keys: usize,
    dim: usize,
}

impl ExactAttention {
    /// Packs `halves`, `[keys, dim]`.
    pub fn build(halves: &[f16], dim: usize) -> Self {
        Self { blocks: Buffer::new(&pack_blocks(halves, dim, f16::ZERO)), keys: halves.len() / dim, dim }
    }

    /// Attention of each of the queries (`[queries, dim]`) over all keys, one pass over keys and values for all of them.
    pub fn attend(&self, kernels: &dyn Kernels, queries: &[f32], values: &[f16], scale: f32) -> Vec<Partial> {
        attend_tiles(kernels, queries, self.dim, self.keys, values, scale, self.blocks.chunks(TILE * self.dim))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        2 * self.blocks.len()
    }
}

/// As [`ExactAttention::attend`] where nothing is packed: `halves` (`[keys, dim]`) are, a tile at a time. (16K keys of 32 elements, two queries: 1.6 times as long.)
pub(super) fn attend_rows(
    kernels: &dyn Kernels,
    queries: &[f32],
    halves: &[f16],
    dim: usize,
    values: &[f16],
    scale: f32,
) -> Vec<Partial> {
    let tiles = halves.chunks(TILE * dim).map(|rows| pack_blocks(rows, dim, f16::ZERO));
    attend_tiles(kernels, queries, dim, halves.len() / dim, values, scale, tiles)
}

/// Attention over `keys` keys that come in packed tiles.
fn attend_tiles<Tile: AsRef<[f16]>>(
    kernels: &dyn Kernels,
    queries: &[f32],
    dim: usize,
    keys: usize,
    values: &[f16],
    scale: f32,
    tiles: impl Iterator<Item = Tile>,
) -> Vec<Partial> {
    let count = queries.len() / dim;
    let value_dim = values.len() / keys.max(1);
    let mut running: Vec<Running> = (0..count).map(|_| Running::new(value_dim)).collect();
    let mut scores = vec![0f32; count * TILE];
    for (number, tile) in tiles.enumerate() {
        let tile = tile.as_ref();
        let width = tile.len() / dim;
        let first = number * TILE;
        let real = width.min(keys - first);
        let scores = &mut scores[..count * width];
        kernels.scan_f16(queries, dim, tile, scores);
        let values = &values[first * value_dim..(first + real) * value_dim];
        for (scores, running) in scores.chunks_exact_mut(width).zip(&mut running) {
            let scores = &mut scores[..real];
            let largest = kernels.max(scores);
            running.raise(largest * scale);
            running.weight += kernels.exp_sum(scores, running.shift(largest, scale), scale);
        }
        add_to_each(kernels, scores, values, &mut running);
    }
    running.into_iter().map(Running::finish).collect()
}

/// Adds values with the weights of each query (`[queries, keys or more]`), in units of the query's `most`, all in one pass over
/// the values.
pub(crate) fn add_to_each(kernels: &dyn Kernels, weights: &[f32], values: &[f16], running: &mut [Running]) {
    let value_dim = running.first().map_or(0, |running| running.sum.len());
    to_sums(running, |sums| kernels.add_rows_to_each_f16(weights, values, value_dim, sums));
}

/// Lets `add` change the sums of all queries, `[queries, value_dim]`.
pub(crate) fn to_sums(running: &mut [Running], add: impl FnOnce(&mut [f32])) {
    let mut sums: Vec<f32> = running.iter().flat_map(|running| running.sum.iter().copied()).collect();
    add(&mut sums);
    let value_dim = running.first().map_or(0, |running| running.sum.len());
    for (running, sum) in running.iter_mut().zip(sums.chunks_exact(value_dim.max(1))) {
        running.sum.copy_from_slice(sum);
    }
}

/// Adds keys of these scores, whose values lie in consecutive rows; the scores are overwritten.
pub(crate) fn add(kernels: &dyn Kernels, scores: &mut [f32], values: &[f16], scale: f32, running: &mut Running) {
    if scores.is_empty() {
        return;
    }
    let largest = kernels.max(scores);
    running.raise(largest * scale);
    running.weight += kernels.exp_sum(scores, running.shift(largest, scale), scale);
    kernels.add_rows_f16(scores, values, &mut running.sum);
}
