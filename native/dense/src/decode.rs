//! Exact attention of rows that decode: a KV head's keys are read once for all query heads that share it, and long contexts in parts side by side.

use rayon::prelude::*;
use sparrow_kernels::{Kernels, TILE_COLUMNS};

use crate::attention::AttentionShape;
use crate::cache::{KvPages, PAGE};
use crate::rows::Rows;

/// Pages of a part: a row's parts do not depend on how many threads there are, nor on other rows.
const PART: usize = 8;

/// Some pages of a row with one KV head.
pub(crate) struct Part<'a> {
    /// Which of the step's rows.
    pub rows: usize,
    row: usize,
    kv_head: usize,
    pages: &'a [u32],
    /// Keys of these pages that the row sees.
    seen: [usize; 2],
}

/// All parts of a step's rows that decode: row by row, head by head, from the first page on.
pub(crate) struct Parts<'a> {
    pub all: Vec<Part<'a>>,
}

impl<'a> Parts<'a> {
    pub fn of(shape: AttentionShape, rows: &[Rows<'a>]) -> Self {
        let mut all = Vec::new();
        for (index, rows) in rows.iter().enumerate().filter(|(_, rows)| rows.decodes) {
            let end = rows.position + 1;
            let start = shape.window.map_or(0, |window| end.saturating_sub(window));
            for kv_head in 0..shape.kv_heads {
                // Counted from the context's start on, whatever of it is seen.
                for first in (start / PAGE / PART * PART..end.div_ceil(PAGE)).step_by(PART) {
                    let pages = &rows.pages[first..rows.pages.len().min(first + PART).min(end.div_ceil(PAGE))];
                    let seen = [start, end].map(|at| at.saturating_sub(first * PAGE).min(pages.len() * PAGE));
                    all.push(Part { rows: index, row: rows.first, kv_head, pages, seen });
                }
            }
        }
        Self { all }
    }
}

/// Of the query heads that share a KV head, for some pages.
pub(crate) struct State {
    kv_head: usize,
    /// `[head][dim]`: sums of weighted values.
    sums: Vec<f32>,
    /// The largest scores.
    most: Vec<f32>,
    /// Sums of weights, in units of the largest.
    weights: Vec<f32>,
}

/// Attends to each part by itself.
pub(crate) fn attend_parts(
    kernels: &dyn Kernels,
    shape: AttentionShape,
    (cache, layer): (&KvPages, usize),
    parts: &Parts<'_>,
    queries: &[f32],
) -> Vec<State> {
    let AttentionShape { heads, kv_heads, dim, .. } = shape;
    let group = heads / kv_heads;
    let attend = |part: &Part<'_>| {
        let queries = &queries[(part.row * heads + part.kv_head * group) * dim..][..group * dim];
        let mut state = State {
            kv_head: part.kv_head,
            sums: vec![0.0; group * dim],
            most: vec![f32::NEG_INFINITY; group],
            weights: vec![0.0; group],
        };
        let mut scores = vec![[0f32; TILE_COLUMNS]; group];
        let mut added = vec![0f32; group];
        for (i, page) in part.pages.iter().enumerate() {
            let [from, to] = part.seen.map(|at| at.saturating_sub(i * PAGE).min(PAGE));
            if from == to {
                continue;
            }
            let [keys, values] = cache.head(layer, *page as usize, part.kv_head);
            kernels.scan_f16(queries, dim, keys, scores.as_flattened_mut());
            for ((scores, most), (sums, weight)) in
                scores.iter_mut().zip(&mut state.most).zip(state.sums.chunks_exact_mut(dim).zip(&mut state.weights))
            {
                scores[..from].fill(f32::NEG_INFINITY);
                scores[to..].fill(f32::NEG_INFINITY);
                let largest = kernels.max(&scores[from..to]);
                if largest > *most {
                    let factor = (*most - largest).exp2();
                    sums.iter_mut().for_each(|x| *x *= factor);
                    *weight *= factor;
                    *most = largest;
                }
            }
            // Where no score is a number, all weights are none.
            let shifts: Vec<f32> = state.most.iter().map(|most| if most.is_finite() { *most } else { 0.0 }).collect();
            kernels.weigh_rows(&mut scores, &shifts, &mut added);
            state.weights.iter_mut().zip(&added).for_each(|(weight, added)| *weight += added);
            kernels.add_rows_to_each_f16(scores.as_flattened(), &values[..to * dim], dim, &mut state.sums);
        }
        state
    };
    if parts.all.len() == 1 {
        parts.all.iter().map(attend).collect()
    } else {
        parts.all.par_iter().map(attend).collect()
    }
}

/// A row's output, and the binary logarithms of its heads' masses, from its parts in their order.
pub(crate) fn merge(shape: AttentionShape, parts: &[&State], out: &mut [f32], log_masses: &mut [f32]) {
    let AttentionShape { heads, kv_heads, dim, kept, .. } = shape;
    let group = heads / kv_heads;
    out[heads * kept..].fill(0.0);
    for head in 0..heads {
        let (own, place) = (head / group, head % group);
        let parts = || parts.iter().filter(|part| part.kv_head == own);
        let most = parts().map(|part| part.most[place]).fold(f32::NEG_INFINITY, f32::max);
        let top = if most.is_finite() { most } else { 0.0 };
        let factors: Vec<f32> = parts()
            .map(|part| if part.most[place].is_finite() { (part.most[place] - top).exp2() } else { 1.0 })
            .collect();
        let mass: f32 = parts().zip(&factors).map(|(part, factor)| part.weights[place] * factor).sum();
        let out = &mut out[head * kept..][..kept];
        out.fill(0.0);
        for (part, factor) in parts().zip(&factors) {
            for (out, sum) in out.iter_mut().zip(&part.sums[place * dim..]) {
                *out += sum * factor;
            }
        }
        out.iter_mut().for_each(|out| *out /= mass);
        log_masses[head] = top + mass.log2();
    }
}
