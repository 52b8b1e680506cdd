//! Attention over all keys by bytes, with values by four bits: three eighths of the memory that half precision takes and a quarter of the
//! products, for heads whose attention is spread so widely that rounding averages out.
//!
//! Keys by four bits are not there. By the high half of their bytes scores are off by 0.24 to 0.49. In the axes of the scores' variance, sixteen of them
//! by eight bits and the others by four, outputs are off by 0.3 to 0.8 % with keys above 1/4096 of the mass computed in full (eight layers of a context of 128K
//! tokens), and half of the axes left out altogether cost 7 to 13 %: what scores leave out follows values. Reading only the clusters that a group of queries opens (half
//! of the keys, the others estimated) took 0.95 of the time when values were bytes, at twice the error.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use sparrow_kernels::best;

use super::exact::{add_to_each, to_sums};
use super::head::{AttentionHead, Report};
use super::nibble_values::WHOLE;
use super::partial::{Partial, Running};
use crate::quantiser::ByteQuery;

/// Keys whose scores are held at a time.
const TILE: usize = WHOLE;
/// Keys with more than this share of the mass so far are scored again in half precision. A score is off by some 0.05 after scaling, so what
/// is left adds at most 0.05 √(1/256) = 0.3 % of a value's norm to the error.
const SURE: f32 = 1.0 / 256.0;
/// A query on its way over the keys.
struct Asking<'a> {
    query: &'a [f32],
    bytes: ByteQuery,
    /// (weight by bytes in units of `exp(running.most)`, place) of keys that are left out of the running sum. They are read at the end, all at once: a few at
    /// random places after each tile would be waited for.
    heavy: Vec<(f32, u32)>,
}

/// What a tile needs.
#[derive(Default)]
struct Scratch {
    /// Weights as bytes, [`TILE`] for each query.
    light: Vec<u8>,
    /// Unit of each query's.
    units: Vec<f32>,
    /// Weights in full.
    weights: Vec<f32>,
}

impl AttentionHead {
    /// Attention of each of the queries (`[queries, dim]`) over the keys at `places`, whose start is a whole number of tiles, in one
    /// pass over codes and values for all of them. `share` is [`Plan::Bytes`](super::Plan::Bytes)'s.
    pub(super) fn by_bytes(&self, queries: &[f32], places: Range<usize>, share: f32) -> Vec<(Partial, Report)> {
        let kernels = best();
        let dim = self.index.dim;
        debug_assert!(places.start.is_multiple_of(TILE) && places.end <= self.len());
        let keys = places.len();
        let mut codes = Vec::new();
        let mut asking: Vec<Asking> = queries
            .chunks_exact(dim)
            .map(|query| {
                let mut bytes = ByteQuery::default();
                self.index.quantiser.query(query, &mut bytes);
                codes.extend_from_slice(&bytes.codes);
                Asking { query, bytes, heavy: Vec::new() }
            })
            .collect();
        let mut running: Vec<Running> = asking.iter().map(|_| Running::new(self.value_dim)).collect();
        let (mut dots, mut scratch) = (Vec::new(), Scratch::default());
        let (start, end) = (places.start, places.end);
        for first in places.step_by(TILE) {
            let range = first..end.min(first + TILE);
            let [_, width] = self.index.codes.scan(&codes, range.clone(), &mut dots);
            let each = asking.iter_mut().zip(&mut running).zip(dots.chunks_exact(width));
            match self.nibble_values.as_ref().filter(|values| range.end <= values.len()) {
                Some(values) => {
                    scratch.light.resize(queries.len() / dim * TILE, 0);
                    scratch.units.clear();
                    // What all keys weigh is guessed from those so far.
                    let share = (share * self.len() as f32 / (range.end - start) as f32).min(SURE);
                    for (number, ((asking, running), dots)) in each.enumerate() {
                        let light = &mut scratch.light[number * TILE..][..TILE];
                        scratch.units.push(self.weigh(asking, running, dots, first as u32, share, light));
                    }
                    to_sums(&mut running, |sums| {
                        kernels.add_nibble_rows(
                            &scratch.light,
                            &scratch.units,
                            values.rows(range),
                            &values.lines,
                            sums,
                        );
                    });
                }
                None => {
                    scratch.weights.clear();
                    for ((asking, running), dots) in each {
                        let weights = &mut scratch.weights;
                        self.weigh_in_full(asking, running, &dots[..range.len()], first as u32, width, weights);
                    }
                    let values = &self.values[range.start * self.value_dim..range.end * self.value_dim];
                    add_to_each(kernels, &scratch.weights, values, &mut running);
                }
            }
        }
        let report = Report { scanned: keys as u32, read: keys as u32, rest: 0.0, bound: 0.0 };
        asking.into_iter().zip(running).map(|(asking, running)| (self.settle(asking, running), report)).collect()
    }

    /// Weights of a tile for one query, in bytes, whose unit is returned; keys of more than `share` of the mass so far are left for later.
    fn weigh(
        &self,
        asking: &mut Asking<'_>,
        running: &mut Running,
        dots: &[i32],
        first: u32,
        share: f32,
        light: &mut [u8],
    ) -> f32 {
        let kernels = best();
        let (unit, offset) = self.line(&asking.bytes);
        let heavy = &mut asking.heavy;
        let before = running.most;
        raise(running, heavy, kernels.largest_dot(dots) as f32 * unit + offset);
        let line = [unit, offset - running.most].map(|x| x * LOG2_E);
        // A tile that outdoes all before it says itself what is heavy.
        let own = if running.most > before {
            kernels.byte_weights(dots, line, f32::INFINITY, first, light, heavy).0
        } else {
            0.0
        };
        let (mass, step) = kernels.byte_weights(dots, line, share * (running.weight + own), first, light, heavy);
        running.weight += mass;
        step
    }

    /// As [`AttentionHead::weigh`] where values are read in half precision: weights of a tile in full, `width` of them.
    fn weigh_in_full(
        &self,
        asking: &mut Asking<'_>,
        running: &mut Running,
        dots: &[i32],
        first: u32,
        width: usize,
        all: &mut Vec<f32>,
    ) {
        let kernels = best();
        let (unit, offset) = self.line(&asking.bytes);
        let heavy = &mut asking.heavy;
        let from = all.len();
        all.extend(dots.iter().map(|dot| *dot as f32));
        let weights = &mut all[from..];
        raise(running, heavy, kernels.max(weights) * unit + offset);
        running.weight += kernels.exp_sum(weights, (running.most - offset) / unit, unit);
        let before = heavy.len();
        kernels.above(weights, SURE * running.weight, first, heavy);
        heavy[before..].iter().for_each(|entry| weights[(entry.1 - first) as usize] = 0.0);
        all.resize(from + width, 0.0);
    }

    /// One unit of the product, and what a product of 0 scores, after scaling.
    fn line(&self, bytes: &ByteQuery) -> (f32, f32) {
        (bytes.scale * self.scale, bytes.offset * self.scale)
    }

    /// Adds the keys that were left: values in half precision, and scores too of those that weigh most.
    fn settle(&self, asking: Asking<'_>, mut running: Running) -> Partial {
        let kernels = best();
        let Asking { query, mut heavy, .. } = asking;
        let sure = SURE * running.weight;
        heavy.sort_by_key(|entry| entry.0 <= sure);
        let again = heavy.partition_point(|entry| entry.0 > sure);
        let places: Vec<u32> = heavy.iter().map(|entry| entry.1).collect();
        let mut scores = vec![0f32; again];
        kernels.gather_dot_f16(query, &self.index.halves, &places[..again], &mut scores);
        // A key that was appended may lie far outside of what bytes reach, and its score far above theirs.
        let largest = kernels.max(&scores);
        raise(&mut running, &mut heavy, largest * self.scale);
        kernels.exp_sum(&mut scores, running.shift(largest, self.scale), self.scale);
        running.weight += heavy.iter().zip(&scores).map(|((weight, _), exact)| *exact - weight).sum::<f32>();
        let weights: Vec<f32> = scores.into_iter().chain(heavy[again..].iter().map(|entry| entry.0)).collect();
        kernels.gather_add_f16(&weights, &self.values, &places, &mut running.sum);
        running.finish()
    }

    /// Where to divide all keys into at most `parts` ranges of whole tiles.
    pub(super) fn byte_parts(&self, parts: usize) -> Vec<Range<usize>> {
        let keys = self.len();
        let each = keys.div_ceil(parts.max(1)).next_multiple_of(TILE);
        (0..keys.max(1)).step_by(each.max(TILE)).map(|first| first..keys.min(first + each)).collect()
    }
}

/// As [`Running::raise`], for the weights that are left, too.
fn raise(running: &mut Running, heavy: &mut [(f32, u32)], most: f32) {
    let before = running.most;
    running.raise(most);
    if running.most > before {
        let factor = (before - running.most).exp();
        heavy.iter_mut().for_each(|entry| entry.0 *= factor);
    }
}
