//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed). Within a cluster, too, only the keys that
//! matter are read in full.

use std::cell::RefCell;

use sparrow_kernels::{Kernels, best};

use super::estimate::View;
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};
use super::unread::{Guess, Rest, limit, worst};
use crate::quantiser::ByteQuery;

impl AttentionHead {
    /// Whole clusters until the estimated error of the rest is under `threshold` of the whole.
    pub(super) fn by_cluster(&self, queries: &[f32], threshold: f32, bound: bool) -> Vec<(Partial, Report)> {
        SCRATCH.with_borrow_mut(|scratch| self.by_cluster_with(queries, threshold, bound, scratch))
    }

    fn by_cluster_with(
        &self,
        queries: &[f32],
        threshold: f32,
        bound: bool,
        scratch: &mut Scratch,
    ) -> Vec<(Partial, Report)> {
        let kernels = best();
        let partition = &self.index.partition;
        let clusters = partition.clusters();
        let mut scores = Vec::new();
        // One pass over the centroids for all queries of the group.
        let stride = partition.scores(kernels, queries, &mut scores);
        let each = queries.chunks_exact(self.index.dim).zip(scores.chunks_exact(stride.max(1)));
        let mut asked: Vec<Asked> =
            each.map(|(query, scores)| self.ask(kernels, query, &scores[..clusters], threshold)).collect();
        for one in &mut asked {
            one.scores = scratch.pool.pop().unwrap_or_default();
            one.scores.clear();
        }
        self.score(&mut asked, scratch);
        let mut slope = Vec::new();
        let each = queries.chunks_exact(self.index.dim).zip(asked);
        each.map(|(query, asked)| {
            let Asked { mut guess, chosen, bytes, allowed, scores } = asked;
            // A key may be far above what its cluster promised.
            let most = guess.unit.max(kernels.max(&scores));
            let factor = (guess.unit - most).exp();
            guess.masses.iter_mut().for_each(|mass| *mass *= factor);
            let mut running = Running::new(self.value_dim);
            running.raise(most);
            let variance = self.slope.of(kernels, query, self.scale, &mut slope);
            let Guess { view, masses, .. } = guess;
            let mut rest = self.rest(masses, variance, |c| !chosen[c]);
            let allowed = allowed * factor * factor;
            let opened = Opened { chosen: &chosen, scores: &scores, view: &view, noise: bytes.noise() };
            let read = self.open(kernels, query, opened, allowed, scratch, &mut running, &mut rest);
            let tail = self.add_tail(kernels, query, &mut running);
            let exact = running.weight;
            // Keys and tail may have raised the unit since the estimates were made.
            let unread = rest.unread * (most - running.most).exp();
            self.add_rest(kernels, rest, most, &slope, &mut running);
            let share = 1.0 - exact / running.weight;
            let most = if bound { self.bound(&view, query, |c| !chosen[c], running.most, exact, unread) } else { 1.0 };
            let report = Report {
                scanned: (scores.len() + tail + clusters) as u32,
                read: (read + tail) as u32,
                rest: share.clamp(0.0, 1.0),
                bound: most,
            };
            scratch.pool.push(scores);
            (running.finish(), report)
        })
        .collect()
    }

    /// Which clusters a query opens.
    fn ask(&self, kernels: &dyn Kernels, query: &[f32], scores: &[f32], threshold: f32) -> Asked {
        let guess = self.guess(kernels, query, scores);
        let total: f32 = guess.masses.iter().sum();
        // Half of the error may come from clusters not opened, half from keys not read in those that were.
        let allowed = 0.5 * (threshold * total).powi(2);
        let chosen = worst(kernels, &guess.errors, allowed);
        let mut bytes = ByteQuery::default();
        self.index.quantiser.query(query, &mut bytes);
        Asked { guess, chosen, bytes, allowed, scores: Vec::new() }
    }

    /// Scaled scores by bytes of all keys of the chosen clusters, one cluster after another. Queries that choose the same
    /// cluster share its reading.
    fn score(&self, asked: &mut [Asked], scratch: &mut Scratch) {
        let (index, partition) = (&self.index, &self.index.partition);
        let Scratch { dots, codes, .. } = scratch;
        codes.clear();
        asked.iter().for_each(|one| codes.extend_from_slice(&one.bytes.codes));
        let row_len = index.codes.row_len();
        let chosen = |asked: &[Asked], c: usize| asked.iter().filter(|one| one.chosen[c]).count();
        let mut next = (0..partition.clusters()).find(|c| chosen(asked, *c) > 0);
        while let Some(c) = next {
            next = (c + 1..partition.clusters()).find(|c| chosen(asked, *c) > 0);
            if let Some(next) = next {
                index.codes.prefetch(partition.range(next));
            }
            let range = partition.range(c);
            dots.clear();
            let alone = chosen(asked, c) == 1;
            let mut skip = 0;
            if !alone {
                skip = index.codes.scan(codes, range.clone(), dots);
            }
            let width = dots.len() / asked.len();
            for (number, one) in asked.iter_mut().enumerate().filter(|(_, one)| one.chosen[c]) {
                let from = if alone {
                    index.codes.scan(&codes[number * row_len..][..row_len], range.clone(), dots)
                } else {
                    number * width + skip
                };
                let (scale, offset) = (one.bytes.scale * self.scale, one.bytes.offset * self.scale);
                let dots = &dots[from..][..range.len()];
                one.scores.extend(dots.iter().map(|dot| scale * *dot as f32 + offset));
            }
        }
    }

    /// Adds the keys of the opened clusters. The values of keys that matter are read; the scores of those that matter much are
    /// computed again in half precision. The weights of the others, whose squares sum to at most `allowed`, go to `rest`: they
    /// are given their cluster's mean value. Weights are in units of `exp(running.most)` as it is on entry. Returns the number
    /// of values read.
    #[expect(clippy::too_many_arguments, reason = "one step of by_cluster, split for its length")]
    fn open(
        &self,
        kernels: &dyn Kernels,
        query: &[f32],
        opened: Opened<'_>,
        allowed: f32,
        scratch: &mut Scratch,
        running: &mut Running,
        rest: &mut Rest,
    ) -> usize {
        let Opened { chosen, scores, view, noise } = opened;
        let partition = &self.index.partition;
        let Scratch { weights, squares, read, places, ones, .. } = scratch;
        weights.clear();
        weights.extend_from_slice(scores);
        kernels.exp_sum(weights, running.most, 1.0);
        squares.clear();
        squares.extend(weights.iter().map(|weight| weight * weight));
        let read_from = limit(kernels, squares, allowed).sqrt();
        // Weights above this by bytes alone would add more than a quarter of the rest to the error.
        let noise = (noise * self.scale).max(1e-6);
        let full_from = limit(kernels, squares, 0.25 * allowed / (noise * noise)).sqrt().max(read_from);
        read.clear();
        let mut at = 0;
        for (c, _) in chosen.iter().enumerate().filter(|entry| *entry.1) {
            let range = partition.range(c);
            let (weights, scores) = (&weights[at..at + range.len()], &scores[at..at + range.len()]);
            at += range.len();
            if ones.len() < range.len() {
                ones.resize(range.len(), 1.0);
            }
            let mean = view.means[c];
            let mut unread = kernels.dot_f32(weights, &ones[..range.len()]);
            let mut lean = kernels.dot_f32(weights, scores) - unread * mean;
            let first = read.len();
            // Strictly above: the largest number below the limit.
            kernels.above(weights, read_from.next_down(), range.start as u32, read);
            for (weight, place) in &read[first..] {
                unread -= weight;
                lean -= weight * (scores[*place as usize - range.start] - mean);
            }
            // What rounding leaves of nothing.
            let unread = unread.max(0.0);
            rest.masses[c] += unread;
            rest.unread += unread;
            rest.lean += lean;
        }
        places.clear();
        weights.clear();
        for (weight, place) in read.iter().filter(|entry| entry.0 < full_from) {
            weights.push(*weight);
            places.push(*place);
        }
        running.weight += weights.iter().sum::<f32>();
        kernels.gather_add_f16(weights, &self.values, places, &mut running.sum);
        places.clear();
        places.extend(read.iter().filter(|entry| entry.0 >= full_from).map(|entry| entry.1));
        self.add_places(kernels, query, places, running);
        read.len()
    }
}

/// What a query opens of them.
struct Asked {
    guess: Guess,
    /// Clusters to open.
    chosen: Vec<bool>,
    bytes: ByteQuery,
    /// Largest sum of squares of what is not read, in units of `exp(unit)`.
    allowed: f32,
    /// Scaled scores of the keys of the chosen clusters.
    scores: Vec<f32>,
}

/// The clusters that a query opens.
struct Opened<'a> {
    chosen: &'a [bool],
    scores: &'a [f32],
    view: &'a View,
    /// How far scores by bytes are off, before scaling.
    noise: f32,
}

/// Memory of a step, one per thread.
#[derive(Default)]
struct Scratch {
    dots: Vec<i32>,
    codes: Vec<i8>,
    /// For the scores of queries: new memory for each would cost a page fault for a thousand keys.
    pool: Vec<Vec<f32>>,
    weights: Vec<f32>,
    squares: Vec<f32>,
    /// (weight, place) of the keys whose values are read.
    read: Vec<(f32, u32)>,
    places: Vec<u32>,
    ones: Vec<f32>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}
