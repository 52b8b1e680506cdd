//! Exact attention of rows that decode: a KV head's keys are read once for all query heads that share it, and for rows that share them (Parrot, Lin et al. 2024,
//! section 5.3); long contexts in parts side by side.

use std::collections::HashMap;

use rayon::prelude::*;
use sparrow_kernels::{Kernels, TILE_COLUMNS};

use crate::attention::AttentionShape;
use crate::cache::{KvPages, PAGE};
use crate::rows::Rows;
use crate::running::{PART, join, raise, seen_of_page, shift};

/// Most rows that attend to pages side by side: their scores and sums stay in the nearest cache.
const TOGETHER: usize = 8;

/// Some pages with one KV head, for rows that see the same of them.
struct Part<'a> {
    /// Rows of the step.
    rows: Vec<usize>,
    kv_head: usize,
    /// The first page's number in the contexts.
    first: usize,
    pages: &'a [u32],
    /// Keys of their contexts that the rows see, as far as they matter here.
    seen: [usize; 2],
}

/// Of the query heads that share a KV head, for some pages.
pub(crate) struct State {
    /// Row of the step, KV head, number of the first page.
    place: (usize, usize, usize),
    /// `[head][dim + 2]`, as `running` has them.
    heads: Vec<f32>,
}

/// What rows that decode have to attend to, from their first pages on. Rows that have the same pages there do so together, with the operations that each has alone.
fn parts_of<'a>(shape: AttentionShape, rows: &[Rows<'a>]) -> Vec<Part<'a>> {
    // By part and pages, the last of those that rows may still join.
    let mut open: HashMap<(usize, &[u32]), usize> = HashMap::new();
    let mut parts: Vec<Part<'a>> = Vec::new();
    let several = rows.iter().filter(|rows| rows.decodes).count() > 1;
    for rows in rows.iter().filter(|rows| rows.decodes) {
        let end = rows.position + 1;
        let start = shape.window.map_or(0, |window| end.saturating_sub(window));
        // Counted from the context's start on, whatever of it is seen.
        for first in (start / PAGE / PART * PART..end.div_ceil(PAGE)).step_by(PART) {
            let pages = &rows.pages[first..end.div_ceil(PAGE).min(first + PART)];
            let seen = [start, end];
            let whole = several && start <= first * PAGE && end >= (first + PART) * PAGE;
            if whole
                && let Some(at) = open.get(&(first, pages))
                && parts[*at].rows.len() < TOGETHER
            {
                for kv_head in 0..shape.kv_heads {
                    parts[*at + kv_head].rows.push(rows.first);
                }
                continue;
            }
            if whole {
                open.insert((first, pages), parts.len());
            }
            let each = |kv_head| Part { rows: vec![rows.first], kv_head, first, pages, seen };
            parts.extend((0..shape.kv_heads).map(each));
        }
    }
    parts
}

/// Attends to each part by itself. States are in the order of rows, KV heads and pages.
pub(crate) fn attend_parts(
    kernels: &dyn Kernels,
    shape: AttentionShape,
    cache: (&KvPages, usize),
    rows: &[Rows<'_>],
    queries: &[f32],
) -> Vec<State> {
    let parts = parts_of(shape, rows);
    let attend = |part: &Part<'_>| attend_part(kernels, shape, cache, part, queries);
    let mut states: Vec<State> = match parts.len() {
        0 | 1 => parts.iter().flat_map(attend).collect(),
        _ => parts.par_iter().flat_map_iter(attend).collect(),
    };
    states.sort_unstable_by_key(|state| state.place);
    states
}

fn attend_part(
    kernels: &dyn Kernels,
    shape: AttentionShape,
    (cache, layer): (&KvPages, usize),
    part: &Part<'_>,
    queries: &[f32],
) -> Vec<State> {
    let AttentionShape { heads, kv_heads, dim, .. } = shape;
    let group = heads / kv_heads;
    let count = part.rows.len() * group;
    let own = |row: &usize| &queries[(row * heads + part.kv_head * group) * dim..][..group * dim];
    let gathered: Vec<f32> = part.rows.iter().flat_map(own).copied().collect();
    let mut sums = vec![0f32; count * dim];
    // Largest scores and sums of weights.
    let mut rest = vec![[f32::NEG_INFINITY, 0.0]; count];
    let mut scores = vec![[0f32; TILE_COLUMNS]; count];
    let (mut added, mut shifts) = (vec![0f32; count], vec![0f32; count]);
    for (page, id) in (part.first..).zip(part.pages) {
        let seen = seen_of_page(page, part.seen);
        if seen.is_empty() {
            continue;
        }
        let [keys, values] = cache.head(layer, *id as usize, part.kv_head);
        kernels.scan_f16(&gathered, dim, keys, scores.as_flattened_mut());
        let each = scores.iter_mut().zip(sums.chunks_exact_mut(dim)).zip(&mut rest);
        for (((scores, sums), [most, weights]), shifts) in each.zip(&mut shifts) {
            scores[..seen.start].fill(f32::NEG_INFINITY);
            scores[seen.end..].fill(f32::NEG_INFINITY);
            raise(sums, most, weights, kernels.max(scores));
            *shifts = shift(*most);
        }
        kernels.weigh_rows(&mut scores, &shifts, &mut added);
        rest.iter_mut().zip(&added).for_each(|([_, weights], added)| *weights += added);
        kernels.add_rows_to_each_f16(scores.as_flattened(), &values[..seen.end * dim], dim, &mut sums);
    }
    let each = |(i, row): (usize, &usize)| State {
        place: (*row, part.kv_head, part.first),
        heads: (i * group..(i + 1) * group)
            .flat_map(|head| sums[head * dim..][..dim].iter().chain(&rest[head]))
            .copied()
            .collect(),
    };
    part.rows.iter().enumerate().map(each).collect()
}

/// The output of a row, whose states come first, and the binary logarithms of its heads' masses. Returns the states of other rows.
pub(crate) fn merge<'a>(
    shape: AttentionShape,
    row: usize,
    states: &'a [State],
    out: &mut [f32],
    log_masses: &mut [f32],
) -> &'a [State] {
    let AttentionShape { heads, kv_heads, dim, kept, .. } = shape;
    let group = heads / kv_heads;
    let (own, others) = states.split_at(states.partition_point(|state| state.place.0 <= row));
    out[heads * kept..].fill(0.0);
    for (states, kv_head) in own.chunk_by(|a, b| a.place.1 == b.place.1).zip(0..kv_heads) {
        let mut total = states[0].heads.clone();
        for state in &states[1..] {
            let each = total.chunks_exact_mut(dim + 2).zip(state.heads.chunks_exact(dim + 2));
            each.for_each(|(total, part)| join(total, part));
        }
        for (head, total) in (kv_head * group..).zip(total.chunks_exact(dim + 2)) {
            for (out, sum) in out[head * kept..][..kept].iter_mut().zip(total) {
                *out = sum / total[dim + 1];
            }
            log_masses[head] = shift(total[dim]) + total[dim + 1].log2();
        }
    }
    others
}
