//! Exact attention of rows that decode: a KV head's keys are read once for all query heads that share it, and for rows that share them (Parrot, Lin et al. 2024,
//! section 5.3); long contexts in parts side by side.

use std::collections::HashMap;

use rayon::prelude::*;
use sparrow_kernels::{Kernels, TILE_COLUMNS};

use crate::attention::AttentionShape;
use crate::cache::{KvPages, PAGE};
use crate::rows::Rows;

/// Pages of a part: a row's parts do not depend on how many threads there are, nor on other rows.
const PART: usize = 8;

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
    /// Keys of these pages that the rows see.
    seen: [usize; 2],
}

/// Of the query heads that share a KV head, for some pages.
pub(crate) struct State {
    /// Row of the step, KV head, number of the first page.
    place: (usize, usize, usize),
    /// `[head][dim]`: sums of weighted values.
    sums: Vec<f32>,
    /// The largest scores.
    most: Vec<f32>,
    /// Sums of weights, in units of the largest.
    weights: Vec<f32>,
}

/// What rows that decode have to attend to, from their first pages on. Rows that have the same pages there do so together, with the operations that each has alone.
fn parts_of<'a>(shape: AttentionShape, rows: &[Rows<'a>]) -> Vec<Part<'a>> {
    // By part and pages, the last of those that rows may still join.
    let mut open: HashMap<(usize, &[u32]), usize> = HashMap::new();
    let mut parts: Vec<Part<'a>> = Vec::new();
    for rows in rows.iter().filter(|rows| rows.decodes) {
        let end = rows.position + 1;
        let start = shape.window.map_or(0, |window| end.saturating_sub(window));
        // Counted from the context's start on, whatever of it is seen.
        for first in (start / PAGE / PART * PART..end.div_ceil(PAGE)).step_by(PART) {
            let pages = &rows.pages[first..end.div_ceil(PAGE).min(first + PART)];
            let seen = [start, end].map(|at| at.saturating_sub(first * PAGE).min(pages.len() * PAGE));
            let whole = seen == [0, PART * PAGE];
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
    let mut most = vec![f32::NEG_INFINITY; count];
    let mut weights = vec![0f32; count];
    let mut scores = vec![[0f32; TILE_COLUMNS]; count];
    let (mut added, mut shifts) = (vec![0f32; count], vec![0f32; count]);
    for (i, page) in part.pages.iter().enumerate() {
        let [from, to] = part.seen.map(|at| at.saturating_sub(i * PAGE).min(PAGE));
        if from == to {
            continue;
        }
        let [keys, values] = cache.head(layer, *page as usize, part.kv_head);
        kernels.scan_f16(&gathered, dim, keys, scores.as_flattened_mut());
        for (head, scores) in scores.iter_mut().enumerate() {
            scores[..from].fill(f32::NEG_INFINITY);
            scores[to..].fill(f32::NEG_INFINITY);
            let largest = kernels.max(&scores[from..to]);
            if largest > most[head] {
                let factor = (most[head] - largest).exp2();
                sums[head * dim..][..dim].iter_mut().for_each(|x| *x *= factor);
                weights[head] *= factor;
                most[head] = largest;
            }
            // Where no score is a number, all weights are none.
            shifts[head] = if most[head].is_finite() { most[head] } else { 0.0 };
        }
        kernels.weigh_rows(&mut scores, &shifts, &mut added);
        weights.iter_mut().zip(&added).for_each(|(weight, added)| *weight += added);
        kernels.add_rows_to_each_f16(scores.as_flattened(), &values[..to * dim], dim, &mut sums);
    }
    let each = |(i, row): (usize, &usize)| State {
        place: (*row, part.kv_head, part.first),
        sums: sums[i * group * dim..][..group * dim].to_vec(),
        most: most[i * group..][..group].to_vec(),
        weights: weights[i * group..][..group].to_vec(),
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
        for place in 0..group {
            let head = kv_head * group + place;
            let most = states.iter().map(|state| state.most[place]).fold(f32::NEG_INFINITY, f32::max);
            let top = if most.is_finite() { most } else { 0.0 };
            let factor = |state: &State| {
                if state.most[place].is_finite() { (state.most[place] - top).exp2() } else { 1.0 }
            };
            let mass: f32 = states.iter().map(|state| state.weights[place] * factor(state)).sum();
            let out = &mut out[head * kept..][..kept];
            out.fill(0.0);
            for state in states {
                let factor = factor(state);
                for (out, sum) in out.iter_mut().zip(&state.sums[place * dim..]) {
                    *out += sum * factor;
                }
            }
            out.iter_mut().for_each(|out| *out /= mass);
            log_masses[head] = top + mass.log2();
        }
    }
    others
}
