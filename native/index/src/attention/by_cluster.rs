//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed). Within a cluster, too, only the keys that
//! matter are read in full.

use std::cell::RefCell;

use sparrow_kernels::{Kernels, best};

use super::estimate::{View, bennett};
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};
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
            let Asked { view, mut masses, chosen, bytes, allowed, unit, scores } = asked;
            // A key may be far above what its cluster promised.
            let most = unit.max(kernels.max(&scores));
            let factor = (unit - most).exp();
            masses.iter_mut().for_each(|mass| *mass *= factor);
            let mut running = Running::new(self.value_dim);
            running.raise(most);
            let mut rest = Rest { masses, lean: 0.0, unread: 0.0 };
            let variance = self.slope.of(kernels, query, self.scale, &mut slope);
            // Within a cluster of normal scores, weighting by their exponentials moves their mean by the variance.
            for (c, chosen) in chosen.iter().enumerate() {
                if *chosen {
                    rest.masses[c] = 0.0;
                } else {
                    rest.lean += rest.masses[c] * (variance * partition.spreads[c].powi(2)).min(4.0);
                }
            }
            let allowed = allowed * factor * factor;
            let opened = Opened { chosen: &chosen, scores: &scores, view: &view, noise: bytes.noise() };
            let read = self.open(kernels, query, opened, allowed, scratch, &mut running, &mut rest);
            let tail = self.add_tail(kernels, query, &mut running);
            let exact = running.weight;
            // Keys and tail may have raised the unit since the estimates were made.
            let factor = (most - running.most).exp();
            rest.masses.iter_mut().for_each(|mass| *mass *= factor);
            kernels.add_rows_f16(&rest.masses, &self.value_means, &mut running.sum);
            running.weight += rest.masses.iter().sum::<f32>();
            let lean = rest.lean * factor;
            running.sum.iter_mut().zip(&slope).for_each(|(sum, slope)| *sum += lean * slope);
            let share = 1.0 - exact / running.weight;
            let most = if bound {
                self.bound(&view, query, |c| !chosen[c], running.most, exact, rest.unread * factor)
            } else {
                1.0
            };
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

    /// What one query makes of the clusters, from the scores of their centroids.
    fn ask(&self, kernels: &dyn Kernels, query: &[f32], scores: &[f32], threshold: f32) -> Asked {
        let mut view = View::default();
        self.view_of(scores, query, &mut view);
        let unit = kernels.max(&view.logs);
        let (masses, errors) = self.masses_and_errors(kernels, &view, unit);
        let total: f32 = masses.iter().sum();
        // Half of the error may come from clusters not opened, half from keys not read in those that were.
        let allowed = 0.5 * (threshold * total).powi(2);
        let chosen = worst(kernels, &errors, allowed);
        let mut bytes = ByteQuery::default();
        self.index.quantiser.query(query, &mut bytes);
        Asked { view, masses, chosen, bytes, allowed, unit, scores: Vec::new() }
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

    /// Estimated masses in units of `exp(unit)`, and the expected squares of their errors: n keys whose weights scatter
    /// with relative variance `exp(σ²) - 1` about their mean weight, independently of their values.
    pub(super) fn masses_and_errors(&self, kernels: &dyn Kernels, view: &View, unit: f32) -> (Vec<f32>, Vec<f32>) {
        let partition = &self.index.partition;
        let mut weights = view.logs.clone();
        kernels.exp_sum(&mut weights, unit, 1.0);
        let mut scatter: Vec<f32> = view.variances.iter().map(|variance| variance.min(8.0)).collect();
        kernels.exp_sum(&mut scatter, 0.0, 1.0);
        let sizes = partition.starts.windows(2).map(|pair| (pair[1] - pair[0]) as f32);
        sizes.zip(weights.iter().zip(&scatter)).map(|(n, (w, s))| (n * w, n * w * w * (s - 1.0))).unzip()
    }

    /// An upper bound on the share of the clusters for which `left` holds and of the `unread` mass; `exact` is the mass
    /// computed. Masses are in units of `exp(unit)`.
    pub(super) fn bound(
        &self,
        view: &View,
        query: &[f32],
        left: impl Fn(usize) -> bool,
        unit: f32,
        exact: f32,
        unread: f32,
    ) -> f32 {
        let partition = &self.index.partition;
        let norm = self.index.geometry.query_norm(query) * self.scale;
        let mut most = unread;
        for c in (0..partition.clusters()).filter(|c| left(*c)) {
            let (spread, reach) = (norm * partition.spreads[c], norm * partition.radii[c]);
            let factor = bennett(spread * spread, reach.min(80.0));
            most += partition.range(c).len() as f32 * (view.means[c] - unit).min(80.0).exp() * factor;
        }
        if most.is_finite() { (most / (most + exact)).min(1.0) } else { 1.0 }
    }
}

/// What a query makes of the clusters.
struct Asked {
    view: View,
    /// Estimated masses, in units of `exp(unit)`.
    masses: Vec<f32>,
    /// Clusters to open.
    chosen: Vec<bool>,
    bytes: ByteQuery,
    /// Largest sum of squares of what is not read, in units of `exp(unit)`.
    allowed: f32,
    unit: f32,
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

/// What is not computed key by key.
struct Rest {
    /// Mass of each cluster.
    masses: Vec<f32>,
    /// Sum of masses times how far their keys' scores lie above the cluster's mean.
    lean: f32,
    /// Mass of keys in opened clusters.
    unread: f32,
}

/// Marks the clusters of largest error such that the errors of the others sum to at most `allowed`.
fn worst(kernels: &dyn Kernels, errors: &[f32], allowed: f32) -> Vec<bool> {
    let from = limit(kernels, errors, allowed);
    errors.iter().map(|error| *error >= from).collect()
}

/// The value below which errors sum to at most `allowed`, to within a quarter of it; infinity when all do.
fn limit(kernels: &dyn Kernels, errors: &[f32], allowed: f32) -> f32 {
    // Bisects exponent and two bits of the mantissa: ten sums of 0.04 ns a value each.
    let value = |step: u32| f32::from_bits(step << 21);
    let (mut low, mut high) = (0, f32::INFINITY.to_bits() >> 21);
    if kernels.sum_below(errors, f32::INFINITY) <= allowed {
        return f32::INFINITY;
    }
    while high - low > 1 {
        let middle = (low + high) / 2;
        if kernels.sum_below(errors, value(middle)) <= allowed {
            low = middle;
        } else {
            high = middle;
        }
    }
    value(low)
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
