//! Attention over all keys by bytes, scores and sums of values both: half the memory and a quarter of the products that half
//! precision takes, for heads whose attention is spread so widely that rounding averages out.

use std::ops::Range;

use sparrow_kernels::best;

use super::byte_values::WHOLE;
use super::exact::{add_to_each, to_sums};
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};
use crate::quantiser::ByteQuery;

/// Keys whose scores are held at a time.
const TILE: usize = WHOLE;
/// Keys with more than this share of the mass so far are scored again, and their values read, in half precision. A score is off by some
/// 0.05 after scaling, so what is left adds at most 0.05 √(1/256) = 0.3 % of a value's norm to the error. (Eight real layers of 28K
/// keys: error 0.2 to 0.5 %; with 1/1024 0.2 to 0.3 %, and more reads at random places.)
const HEAVY: f32 = 1.0 / 256.0;

impl AttentionHead {
    /// Attention of each of the queries (`[queries, dim]`) over the keys at `places`, whose start is a whole number of tiles, in one
    /// pass over codes and values for all of them.
    pub(super) fn by_bytes(&self, queries: &[f32], places: Range<usize>) -> Vec<(Partial, Report)> {
        let kernels = best();
        let dim = self.index.dim;
        debug_assert!(places.start.is_multiple_of(TILE) && places.end <= self.len());
        let keys = places.len();
        let mut codes = Vec::new();
        let asked: Vec<ByteQuery> = queries
            .chunks_exact(dim)
            .map(|query| {
                let mut bytes = ByteQuery::default();
                self.index.quantiser.query(query, &mut bytes);
                codes.extend_from_slice(&bytes.codes);
                bytes
            })
            .collect();
        let mut running: Vec<Running> = asked.iter().map(|_| Running::new(self.value_dim)).collect();
        let (mut dots, mut weights, mut heavy) = (Vec::new(), Vec::new(), Vec::new());
        let (mut marked, mut exact) = (Vec::new(), Vec::new());
        let end = places.end;
        for first in places.step_by(TILE) {
            let range = first..end.min(first + TILE);
            let real = range.len();
            let coded = self.byte_values.as_ref().filter(|values| range.end <= values.len());
            dots.clear();
            self.index.codes.scan(&codes, range.clone(), &mut dots);
            let width = dots.len() / asked.len();
            weights.clear();
            weights.extend(dots.iter().map(|dot| *dot as f32));
            let each = asked.iter().zip(queries.chunks_exact(dim)).zip(&mut running);
            for (((bytes, query), running), weights) in each.zip(weights.chunks_exact_mut(width)) {
                let weights = &mut weights[..real];
                // One unit of the product, and what a product of 0 scores, after scaling.
                let (unit, offset) = (bytes.scale * self.scale, bytes.offset * self.scale);
                running.raise(kernels.max(weights) * unit + offset);
                let mass = kernels.exp_sum(weights, (running.most - offset) / unit, unit);
                heavy.clear();
                kernels.above(weights, HEAVY * (running.weight + mass), first as u32, &mut heavy);
                marked.clear();
                marked.extend(heavy.iter().map(|entry| entry.1));
                exact.clear();
                exact.resize(marked.len(), 0.0);
                kernels.gather_dot_f16(query, &self.index.halves, &marked, &mut exact);
                kernels.exp_sum(&mut exact, running.most / self.scale, self.scale);
                let mut change = 0.0;
                for ((weight, place), exact) in heavy.iter().zip(&exact) {
                    change += exact - weight;
                    // Values in half precision are read below, all together.
                    weights[*place as usize - first] = if coded.is_some() { 0.0 } else { *exact };
                }
                running.weight += mass + change;
                if coded.is_some() {
                    kernels.gather_add_f16(&exact, &self.values, &marked, &mut running.sum);
                }
            }
            match coded {
                Some(values) => to_sums(&mut running, |sums| {
                    kernels.add_byte_rows(&weights, values.rows(range), &values.scales, sums);
                }),
                None => {
                    let values = &self.values[range.start * self.value_dim..range.end * self.value_dim];
                    add_to_each(kernels, &weights, values, &mut running);
                }
            }
        }
        let report = Report { scanned: keys as u32, read: keys as u32, rest: 0.0, bound: 0.0 };
        running.into_iter().map(|running| (running.finish(), report)).collect()
    }

    /// Where to divide all keys into at most `parts` ranges of whole tiles.
    pub(super) fn byte_parts(&self, parts: usize) -> Vec<Range<usize>> {
        let keys = self.len();
        let each = keys.div_ceil(parts.max(1)).next_multiple_of(TILE);
        (0..keys.max(1)).step_by(each.max(TILE)).map(|first| first..keys.min(first + each)).collect()
    }
}
