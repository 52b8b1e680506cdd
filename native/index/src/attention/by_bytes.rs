//! Attention over all keys by bytes, scores and sums of values both: half the memory and a quarter of the products that half
//! precision takes, for heads whose attention is spread so widely that rounding averages out.
//!
//! Four bits instead of eight would halve what is read once more. They are not there: keys by the high half of their bytes put scores off by
//! 0.24 to 0.49, and the outputs of eight layers of a context of 128K tokens by 1.3 to 3.6 %; 0.5 to 1.3 % with 400 keys a query computed
//! in full, and 0.3 to 0.9 % with 2000. Values by four bits cost 0.3 to 0.5 %. From the cache the kernels take 3.1 ns a key for 3.4. Reading
//! only the clusters that a group of queries opens (half of the keys, the others estimated) took 0.95 of the time of these layers and none
//! off a decode step (21.7 ms for 21.2), at twice the error.

use std::f32::consts::LOG2_E;
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

/// What a tile needs.
#[derive(Default)]
struct Scratch {
    /// Weights as bytes, [`TILE`] for each query.
    codes: Vec<u8>,
    /// Unit of each query's.
    units: Vec<f32>,
    /// Weights in full.
    weights: Vec<f32>,
    /// (weight by bytes, place) of those that are heavy.
    heavy: Vec<(f32, u32)>,
    /// Their places.
    marked: Vec<u32>,
    /// Their weights in half precision.
    exact: Vec<f32>,
}

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
        let (mut dots, mut scratch) = (Vec::new(), Scratch::default());
        let end = places.end;
        for first in places.step_by(TILE) {
            let range = first..end.min(first + TILE);
            dots.clear();
            self.index.codes.scan(&codes, range.clone(), &mut dots);
            let width = dots.len() / asked.len();
            let each = || queries.chunks_exact(dim).zip(&asked).zip(dots.chunks_exact(width));
            match self.byte_values.as_ref().filter(|values| range.end <= values.len()) {
                Some(values) => {
                    scratch.codes.resize(asked.len() * TILE, 0);
                    scratch.units.clear();
                    for (number, (((query, bytes), dots), running)) in each().zip(&mut running).enumerate() {
                        self.weigh(query, bytes, dots, first as u32, number, &mut scratch, running);
                    }
                    to_sums(&mut running, |sums| {
                        kernels.add_byte_rows(&scratch.codes, &scratch.units, values.rows(range), &values.scales, sums);
                    });
                }
                None => {
                    scratch.weights.clear();
                    for (((query, bytes), dots), running) in each().zip(&mut running) {
                        self.weigh_in_full(
                            query,
                            bytes,
                            &dots[..range.len()],
                            first as u32,
                            width,
                            &mut scratch,
                            running,
                        );
                    }
                    let values = &self.values[range.start * self.value_dim..range.end * self.value_dim];
                    add_to_each(kernels, &scratch.weights, values, &mut running);
                }
            }
        }
        let report = Report { scanned: keys as u32, read: keys as u32, rest: 0.0, bound: 0.0 };
        running.into_iter().map(|running| (running.finish(), report)).collect()
    }

    /// Weights of a tile for one query, in bytes; what is heavy is added here, keys and values in half precision.
    #[expect(clippy::too_many_arguments, reason = "one step of by_bytes, split for its length")]
    fn weigh(
        &self,
        query: &[f32],
        bytes: &ByteQuery,
        dots: &[i32],
        first: u32,
        number: usize,
        scratch: &mut Scratch,
        running: &mut Running,
    ) {
        let kernels = best();
        // One unit of the product, and what a product of 0 scores, after scaling.
        let (unit, offset) = (bytes.scale * self.scale, bytes.offset * self.scale);
        let before = running.most;
        running.raise(kernels.largest_dot(dots) as f32 * unit + offset);
        let line = [unit, offset - running.most].map(|x| x * LOG2_E);
        let codes = &mut scratch.codes[number * TILE..][..TILE];
        scratch.heavy.clear();
        // A tile that outdoes all before it says itself what is heavy.
        let own = if running.most > before {
            kernels.byte_weights(dots, line, f32::INFINITY, first, codes, &mut scratch.heavy).0
        } else {
            0.0
        };
        let bar = HEAVY * (running.weight + own);
        let (mass, step) = kernels.byte_weights(dots, line, bar, first, codes, &mut scratch.heavy);
        scratch.units.push(step);
        running.weight += mass + self.correct(query, scratch, running.most);
        kernels.gather_add_f16(&scratch.exact, &self.values, &scratch.marked, &mut running.sum);
    }

    /// As [`AttentionHead::weigh`] where values are read in half precision, those that are heavy with the others: weights of a tile in
    /// full, `width` of them.
    #[expect(clippy::too_many_arguments, reason = "one step of by_bytes, split for its length")]
    fn weigh_in_full(
        &self,
        query: &[f32],
        bytes: &ByteQuery,
        dots: &[i32],
        first: u32,
        width: usize,
        scratch: &mut Scratch,
        running: &mut Running,
    ) {
        let kernels = best();
        let (unit, offset) = (bytes.scale * self.scale, bytes.offset * self.scale);
        let from = scratch.weights.len();
        scratch.weights.extend(dots.iter().map(|dot| *dot as f32));
        let weights = &mut scratch.weights[from..];
        running.raise(kernels.max(weights) * unit + offset);
        let mass = kernels.exp_sum(weights, (running.most - offset) / unit, unit);
        scratch.heavy.clear();
        kernels.above(weights, HEAVY * (running.weight + mass), first, &mut scratch.heavy);
        running.weight += mass + self.correct(query, scratch, running.most);
        for (place, exact) in scratch.marked.iter().zip(&scratch.exact) {
            scratch.weights[from + (place - first) as usize] = *exact;
        }
        scratch.weights.resize(from + width, 0.0);
    }

    /// Weighs the heavy keys again; returns by how much their weights change in all.
    fn correct(&self, query: &[f32], scratch: &mut Scratch, most: f32) -> f32 {
        let kernels = best();
        let Scratch { heavy, marked, exact, .. } = scratch;
        marked.clear();
        marked.extend(heavy.iter().map(|entry| entry.1));
        exact.clear();
        exact.resize(marked.len(), 0.0);
        kernels.gather_dot_f16(query, &self.index.halves, marked, exact);
        kernels.exp_sum(exact, most / self.scale, self.scale);
        heavy.iter().zip(exact).map(|((weight, _), exact)| *exact - weight).sum()
    }

    /// Where to divide all keys into at most `parts` ranges of whole tiles.
    pub(super) fn byte_parts(&self, parts: usize) -> Vec<Range<usize>> {
        let keys = self.len();
        let each = keys.div_ceil(parts.max(1)).next_multiple_of(TILE);
        (0..keys.max(1)).step_by(each.max(TILE)).map(|first| first..keys.min(first + each)).collect()
    }
}
