//! Attention over keys by bytes, all or some blocks of them, scores and sums of values both: half the memory and a quarter of the products
//! that half precision takes, for heads whose attention is spread so widely that rounding averages out.
//!
//! Four bits instead of eight would halve what is read once more. Measured and not built: keys by the high half of their bytes put scores
//! off by 0.24 to 0.49 and the outputs of eight layers of a made context of 128K tokens by 1.3 to 3.6 % (0.5 to 1.3 % with 400 keys a query
//! computed in full, 0.3 to 0.9 % with 2000), values by four bits alone by 0.3 to 0.5 %; from the cache such kernels take 3.1 ns a key
//! where these take 3.4.

use std::f32::consts::LOG2_E;

use sparrow_kernels::{ASKING, Blocks, LANES, NO_PRODUCT, Soon, best, runs};

use super::byte_values::ByteValues;
use super::exact::{add_to_each, to_sums};
use super::head::AttentionHead;
use super::partial::{Partial, Running};
use crate::quantiser::ByteQuery;

/// Blocks of keys whose scores are held at a time. While their keys are read their values are asked for, and from then on the keys of the
/// next tile: 128 KB of 64 dimensions, which the caches between hold.
const TILE: usize = 64;
/// Keys with more than this share of the mass so far are scored again, and their values read, in half precision. A score is off by some
/// 0.05 after scaling, so what is left adds at most 0.05 √(1/256) = 0.3 % of a value's norm to the error. (Eight real layers of 28K
/// keys: error 0.2 to 0.5 %; with 1/1024 0.2 to 0.3 %, and more reads at random places.)
const HEAVY: f32 = 1.0 / 256.0;

/// What a tile needs.
#[derive(Default)]
struct Scratch {
    /// Products, a row for each query.
    dots: Vec<i32>,
    /// Weights as bytes, likewise.
    codes: Vec<u8>,
    /// Unit of each query's.
    units: Vec<f32>,
    /// Weights in full.
    weights: Vec<f32>,
    /// (weight by bytes, place in the tile) of those that are heavy.
    heavy: Vec<(f32, u32)>,
    /// Their places among all.
    marked: Vec<u32>,
    /// Their weights in half precision.
    exact: Vec<f32>,
}

/// Blocks that are read at a time.
struct Tile<'a> {
    ids: &'a [u32],
    /// Which keys of each count.
    lanes: &'a [u16],
    /// The blocks of the tile after it.
    next: &'a [u32],
}

/// Queries as bytes, those of a group one after another.
struct Asked {
    queries: Vec<ByteQuery>,
    codes: Vec<i8>,
}

impl AttentionHead {
    /// Attention of each of the queries (`[queries, dim]`) over the keys of some blocks, in one pass over codes and values for all of them;
    /// and how many keys that are.
    pub(super) fn by_bytes(&self, queries: &[f32], (ids, lanes): (&[u32], &[u16])) -> (Vec<Partial>, u32) {
        let mut asked = Asked { queries: Vec::new(), codes: Vec::new() };
        for query in queries.chunks_exact(self.index.dim) {
            let mut bytes = ByteQuery::default();
            self.index.quantiser.query(query, &mut bytes);
            asked.codes.extend_from_slice(&bytes.codes);
            asked.queries.push(bytes);
        }
        let mut running: Vec<Running> = asked.queries.iter().map(|_| Running::new(self.value_dim)).collect();
        let mut scratch = Scratch::default();
        // Values have bytes up to some block.
        let covered = self.byte_values.as_ref().map_or(0, ByteValues::len) / LANES;
        let split = ids.partition_point(|id| (*id as usize) < covered);
        let tiles: Vec<&[u32]> = [&ids[..split], &ids[split..]].into_iter().flat_map(|ids| ids.chunks(TILE)).collect();
        let mut at = 0;
        for (number, ids) in tiles.iter().enumerate() {
            let lanes = &lanes[at..][..ids.len()];
            let next = tiles.get(number + 1).copied().unwrap_or_default();
            let values = self.byte_values.as_ref().filter(|_| at < split);
            self.read_tile(queries, &asked, Tile { ids, lanes, next }, values, &mut scratch, &mut running);
            at += ids.len();
        }
        let read = lanes.iter().map(|lanes| lanes.count_ones()).sum();
        (running.into_iter().map(Running::finish).collect(), read)
    }

    fn read_tile(
        &self,
        queries: &[f32],
        asked: &Asked,
        tile: Tile<'_>,
        values: Option<&ByteValues>,
        scratch: &mut Scratch,
        running: &mut [Running],
    ) {
        let kernels = best();
        let Tile { ids, lanes, next } = tile;
        let (width, count) = (ids.len() * LANES, running.len());
        let soon = values.map_or(Soon::none(), |values| values.soon(ids));
        let mut dots = std::mem::take(&mut scratch.dots);
        self.index.codes.gather(&asked.codes, Blocks { ids, soon }, &mut dots);
        for (block, lanes) in lanes.iter().enumerate() {
            let mut left_out = !lanes;
            while left_out != 0 {
                let at = block * LANES + left_out.trailing_zeros() as usize;
                dots.iter_mut().skip(at).step_by(width).for_each(|dot| *dot = NO_PRODUCT);
                left_out &= left_out - 1;
            }
        }
        let each = queries.chunks_exact(self.index.dim).zip(&asked.queries).zip(dots.chunks_exact(width));
        scratch.units.clear();
        match values {
            Some(values) => {
                scratch.codes.resize(count * width, 0);
                for (number, (((query, bytes), dots), running)) in each.zip(running.iter_mut()).enumerate() {
                    let soon = self.index.codes.soon(asked_with_weights(next, number));
                    self.weigh(query, bytes, dots, ids, number, soon, scratch, running);
                }
                let soon = self.index.codes.soon(&next[next.len().min(count * TILE / ASKING)..]);
                to_sums(running, |sums| values.add(&scratch.codes, &scratch.units, Blocks { ids, soon }, sums));
            }
            None => {
                // One more for the slices that begin later.
                scratch.weights.clear();
                scratch.weights.resize((count + 1) * width, 0.0);
                for (number, (((query, bytes), dots), running)) in each.zip(running.iter_mut()).enumerate() {
                    self.weigh_in_full(query, bytes, dots, ids, number, scratch, running);
                }
                for run in runs(ids) {
                    let first = ids[run.start] as usize * LANES;
                    let rows = first..(first + run.len() * LANES).min(self.len());
                    let values = &self.values[rows.start * self.value_dim..rows.end * self.value_dim];
                    let weights = &scratch.weights[run.start * LANES..][..count * width];
                    add_to_each(kernels, weights, values, running);
                }
            }
        }
        scratch.dots = dots;
    }

    /// Weights of a tile for one query, in bytes; what is heavy is added here, keys and values in half precision.
    #[expect(clippy::too_many_arguments, reason = "one step of read_tile, split for its length")]
    fn weigh(
        &self,
        query: &[f32],
        bytes: &ByteQuery,
        dots: &[i32],
        ids: &[u32],
        number: usize,
        soon: Soon<'_>,
        scratch: &mut Scratch,
        running: &mut Running,
    ) {
        let kernels = best();
        // One unit of the product, and what a product of 0 scores, after scaling.
        let (unit, offset) = (bytes.scale * self.scale, bytes.offset * self.scale);
        let before = running.most;
        running.raise(kernels.largest_dot(dots) as f32 * unit + offset);
        let line = [unit, offset - running.most].map(|x| x * LOG2_E);
        let codes = &mut scratch.codes[number * dots.len()..][..dots.len()];
        scratch.heavy.clear();
        // A tile that outdoes all before it says itself what is heavy.
        let own = if running.most > before {
            kernels.byte_weights(dots, line, f32::INFINITY, 0, codes, Soon::none(), &mut scratch.heavy).0
        } else {
            0.0
        };
        let bar = HEAVY * (running.weight + own);
        let (mass, step) = kernels.byte_weights(dots, line, bar, 0, codes, soon, &mut scratch.heavy);
        scratch.units.push(step);
        running.weight += mass + self.correct(query, ids, scratch, running.most);
        kernels.gather_add_f16(&scratch.exact, &self.values, &scratch.marked, &mut running.sum);
    }

    /// As [`AttentionHead::weigh`] where values are read in half precision, those that are heavy with the others: weights in full.
    #[expect(clippy::too_many_arguments, reason = "one step of read_tile, split for its length")]
    fn weigh_in_full(
        &self,
        query: &[f32],
        bytes: &ByteQuery,
        dots: &[i32],
        ids: &[u32],
        number: usize,
        scratch: &mut Scratch,
        running: &mut Running,
    ) {
        let kernels = best();
        let (unit, offset) = (bytes.scale * self.scale, bytes.offset * self.scale);
        let mut all = std::mem::take(&mut scratch.weights);
        let weights = &mut all[number * dots.len()..][..dots.len()];
        let score = |dot: &i32| if *dot == NO_PRODUCT { f32::NEG_INFINITY } else { *dot as f32 };
        weights.iter_mut().zip(dots).for_each(|(weight, dot)| *weight = score(dot));
        running.raise(kernels.max(weights) * unit + offset);
        let mass = kernels.exp_sum(weights, (running.most - offset) / unit, unit);
        scratch.heavy.clear();
        kernels.above(weights, HEAVY * (running.weight + mass), 0, &mut scratch.heavy);
        running.weight += mass + self.correct(query, ids, scratch, running.most);
        for ((_, at), exact) in scratch.heavy.iter().zip(&scratch.exact) {
            weights[*at as usize] = *exact;
        }
        scratch.weights = all;
    }

    /// Weighs the heavy keys again; returns by how much their weights change in all.
    fn correct(&self, query: &[f32], ids: &[u32], scratch: &mut Scratch, most: f32) -> f32 {
        let kernels = best();
        let Scratch { heavy, marked, exact, .. } = scratch;
        marked.clear();
        let place = |at: u32| ids[at as usize / LANES] * LANES as u32 + at % LANES as u32;
        marked.extend(heavy.iter().map(|entry| place(entry.1)));
        exact.clear();
        exact.resize(marked.len(), 0.0);
        kernels.gather_dot_f16(query, &self.index.halves, marked, exact);
        kernels.exp_sum(exact, most / self.scale, self.scale);
        heavy.iter().zip(exact).map(|((weight, _), exact)| *exact - weight).sum()
    }
}

/// Blocks of the next tile that are asked for with the weights of query `number`; the others are with the values.
fn asked_with_weights(next: &[u32], number: usize) -> &[u32] {
    let each = TILE / ASKING;
    &next[next.len().min(number * each)..next.len().min((number + 1) * each)]
}
