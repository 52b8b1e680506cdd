//! Exact causal attention of a prompt's rows, page by page of the keys. What a row gets does not depend on the rows beside it.

use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;
use sparrow_kernels::{Kernels, TILE_ROWS, Tile};

use crate::attention::AttentionShape;
use crate::cache::{KvPages, LANES, PAGE};
use crate::rows::Rows;
use crate::running::{clear, ends_part, join, raise, seen_of_page, shift};
use crate::scratch::with_room;

/// Rows that share what they read of a page from the nearest cache.
const GROUP: usize = 8 * TILE_ROWS;
/// Elements of keys, and of values, that are widened at a time: they stay in the second cache.
const WIDENED: usize = 1 << 17;

/// Attention of successive rows of one sequence, as far as their keys have been seen.
struct Prefill<'a> {
    shape: AttentionShape,
    /// Position of the first row.
    position: usize,
    rows: usize,
    /// `[row][head][dim]`, scaled such that weights are powers of two.
    queries: &'a [f32],
    /// `[head][row][dim + 2]`: what came of whole parts, and of the one under way.
    total: &'a mut [f32],
    part: &'a mut [f32],
    /// Of a run of pages `[KV head][page]`: keys `[dim][64]`, values `[dim / 64][64 keys][64]`.
    widened: [&'a mut [f32]; 2],
}

/// Attention of rows of a prompt to what their pages hold of a layer: `queries` are `[row][head][dim]`, `out` is `[row][stride]`.
pub(crate) fn attend_prompt(
    kernels: &dyn Kernels,
    shape: AttentionShape,
    (cache, layer): (&KvPages, usize),
    rows: Rows<'_>,
    queries: &[f32],
    out: &mut [f32],
) {
    let AttentionShape { heads, kv_heads, dim, window, .. } = shape;
    let first = window.map_or(0, |window| (rows.position + 1).saturating_sub(window)) / PAGE;
    let end = (rows.position + rows.count).div_ceil(PAGE);
    let run = (WIDENED / (kv_heads * PAGE * dim)).max(1).min(end - first);
    let (states, wide) = (heads * rows.count * (dim + 2), run * kv_heads * PAGE * dim);
    with_room(2 * (states + wide), |room| {
        let (total, room) = room.split_at_mut(states);
        let (part, room) = room.split_at_mut(states);
        total.chunks_exact_mut(dim + 2).chain(part.chunks_exact_mut(dim + 2)).for_each(clear);
        let widened = room.split_at_mut(wide).into();
        let mut prefill = Prefill { shape, position: rows.position, rows: rows.count, queries, total, part, widened };
        for start in (first..end).step_by(run) {
            let pages = &rows.pages[start..end.min(start + run)];
            prefill.widen(cache, layer, pages);
            prefill.attend_run(kernels, start, pages.len());
        }
        prefill.finish(out);
    });
}

impl Prefill<'_> {
    fn widen(&mut self, cache: &KvPages, layer: usize, pages: &[u32]) {
        let AttentionShape { kv_heads, dim, .. } = self.shape;
        let block = PAGE * dim;
        let [wide_keys, wide_values] = &mut self.widened;
        let count = pages.len() * kv_heads * block;
        let (wide_keys, wide_values) = (&mut wide_keys[..count], &mut wide_values[..count]);
        let blocks = wide_keys.par_chunks_exact_mut(block).zip(wide_values.par_chunks_exact_mut(block));
        blocks.enumerate().for_each(|(i, (to_keys, to_values))| {
            let [keys, values] = cache.head(layer, pages[i % pages.len()] as usize, i / pages.len());
            let mut row = vec![0f32; LANES * dim];
            for (part, keys) in keys.chunks_exact(LANES * dim).enumerate() {
                keys.convert_to_f32_slice(&mut row[..LANES * dim]);
                for (to, lanes) in to_keys.chunks_exact_mut(PAGE).zip(row.chunks_exact(LANES)) {
                    to[part * LANES..][..LANES].copy_from_slice(lanes);
                }
            }
            for (key, values) in values.chunks_exact(dim).enumerate() {
                values.convert_to_f32_slice(&mut row[..dim]);
                for (part, row) in row[..dim].chunks_exact(PAGE).enumerate() {
                    to_values[(part * PAGE + key) * PAGE..][..PAGE].copy_from_slice(row);
                }
            }
        });
    }

    fn attend_run(&mut self, kernels: &dyn Kernels, first: usize, pages: usize) {
        let AttentionShape { heads, kv_heads, dim, window, .. } = self.shape;
        let (rows, position, block) = (self.rows, self.position, PAGE * dim);
        let (queries, [wide_keys, wide_values]) = (self.queries, &self.widened);
        let each =
            self.total.par_chunks_exact_mut(rows * (dim + 2)).zip(self.part.par_chunks_exact_mut(rows * (dim + 2)));
        each.enumerate().for_each(|(head, (total, part))| {
            let groups = total.par_chunks_mut(GROUP * (dim + 2)).zip(part.par_chunks_mut(GROUP * (dim + 2)));
            groups.enumerate().for_each(|(group, (total, part))| {
                for page in 0..pages {
                    let at = (head / (heads / kv_heads) * pages + page) * block;
                    let (keys, values) = (&wide_keys[at..][..block], &wide_values[at..][..block]);
                    for (i, state) in part.chunks_mut(TILE_ROWS * (dim + 2)).enumerate() {
                        let row = group * GROUP + i * TILE_ROWS;
                        let sees = |r: usize| {
                            let end = position + row + r + 1;
                            let start = window.map_or(0, |window| end.saturating_sub(window));
                            seen_of_page(first + page, [start, end])
                        };
                        if (0..state.len() / (dim + 2)).all(|r| sees(r).is_empty()) {
                            continue;
                        }
                        let queries = &queries[(row * heads + head) * dim..];
                        attend_tile(kernels, [heads * dim, dim], queries, keys, values, state, sees);
                    }
                    if ends_part(first + page) {
                        for (total, part) in total.chunks_exact_mut(dim + 2).zip(part.chunks_exact_mut(dim + 2)) {
                            join(total, part);
                            clear(part);
                        }
                    }
                }
            });
        });
    }

    fn finish(&mut self, out: &mut [f32]) {
        let AttentionShape { heads, dim, kept, stride, .. } = self.shape;
        out.chunks_exact_mut(stride).for_each(|out| out[heads * kept..].fill(0.0));
        let states = self.total.chunks_exact_mut(dim + 2).zip(self.part.chunks_exact(dim + 2));
        for (i, (total, part)) in states.enumerate() {
            join(total, part);
            let (head, row) = (i / self.rows, i % self.rows);
            let out = &mut out[row * stride + head * kept..][..kept];
            for (out, sum) in out.iter_mut().zip(&*total) {
                *out = sum / total[dim + 1];
            }
        }
    }
}

/// A few rows with a page. `sees(r)` are the keys of the page that row `r` sees. What a row does not see changes nothing, not even in the last bit, as long as it
/// is finite, which the cache sees to.
fn attend_tile(
    kernels: &dyn Kernels,
    [stride, dim]: [usize; 2],
    queries: &[f32],
    keys: &[f32],
    values: &[f32],
    state: &mut [f32],
    sees: impl Fn(usize) -> std::ops::Range<usize>,
) {
    let rows = state.len() / (dim + 2);
    let mut scores = [[0f32; PAGE]; TILE_ROWS];
    let tile = Tile { rows, depth: dim, a_stride: stride, c_stride: PAGE, add: false };
    kernels.multiply_tile(tile, queries, keys, scores.as_flattened_mut());
    let mut shifts = [0f32; TILE_ROWS];
    let each = scores.iter_mut().zip(state.chunks_exact_mut(dim + 2)).zip(&mut shifts);
    for (r, ((scores, state), shifts)) in each.enumerate() {
        let seen = sees(r);
        scores[..seen.start].fill(f32::NEG_INFINITY);
        scores[seen.end..].fill(f32::NEG_INFINITY);
        let (sums, rest) = state.split_at_mut(dim);
        let [most, weights] = rest else { unreachable!("two follow the sums") };
        raise(sums, most, weights, kernels.max(scores));
        *shifts = shift(*most);
    }
    let mut added = [0f32; TILE_ROWS];
    kernels.weigh_rows(&mut scores[..rows], &shifts[..rows], &mut added[..rows]);
    state.chunks_exact_mut(dim + 2).zip(added).for_each(|(state, added)| state[dim + 1] += added);
    for (part, values) in values.chunks_exact(PAGE * PAGE).enumerate() {
        let tile = Tile { rows, depth: PAGE, a_stride: PAGE, c_stride: dim + 2, add: true };
        kernels.multiply_tile(tile, scores.as_flattened(), values, &mut state[part * PAGE..]);
    }
}
