//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed). Within a cluster, too, only the keys that
//! matter are read in full.

use std::cell::RefCell;

use sparrow_kernels::{Kernels, best};

use super::estimate::bennett;
use super::exact::add_to_each;
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};
use crate::quantiser::ByteQuery;

/// A cluster's scores are taken to spread by a variance of this at most, in units of the softmax.
const MOST_LEAN: f32 = 4.0;

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
        let (clusters, dim) = (partition.clusters(), self.index.dim);
        // One pass over the centroids for all queries of the group, and one over the mean values in the end.
        let stride = partition.scores(kernels, queries, &mut scratch.centroids).max(1);
        let centroids = std::mem::take(&mut scratch.centroids);
        let mut masses = std::mem::take(&mut scratch.masses);
        masses.resize(centroids.len(), 0.0);
        let each = || queries.chunks_exact(dim).zip(centroids.chunks_exact(stride).map(|scores| &scores[..clusters]));
        let mut asked: Vec<Asked> = each()
            .zip(masses.chunks_exact_mut(stride))
            .map(|((query, scores), masses)| self.ask(query, scores, threshold, &mut masses[..clusters], scratch))
            .collect();
        self.score(&mut asked, scratch);
        let mut slope = Vec::new();
        let (mut found, mut rests) = (Vec::new(), Vec::new());
        for ((one, (query, means)), masses) in asked.iter().zip(each()).zip(masses.chunks_exact_mut(stride)) {
            let masses = &mut masses[..clusters];
            // A key may be far above what its cluster promised.
            let most = one.unit.max(kernels.max(&one.scores));
            let factor = (one.unit - most).exp();
            masses.iter_mut().for_each(|mass| *mass *= factor);
            one.chosen.iter().for_each(|c| masses[c.1 as usize] = 0.0);
            let mut running = Running::new(self.value_dim);
            running.raise(most);
            let variance = self.slope.of(kernels, query, self.scale, &mut slope);
            // Within a cluster of normal scores, weighting by their exponentials moves their mean by the variance.
            let lean = kernels.lean(masses, &partition.spreads, variance, MOST_LEAN);
            let mut rest = Rest { masses, lean, unread: 0.0 };
            let read = self.open(kernels, query, means, one, factor, scratch, &mut running, &mut rest);
            let Rest { lean, unread, .. } = rest;
            let tail = self.add_tail(kernels, query, &mut running);
            let exact = running.weight;
            // Keys and tail may have raised the unit since the estimates were made.
            let factor = (most - running.most).exp();
            masses.iter_mut().for_each(|mass| *mass *= factor);
            running.weight += masses.iter().sum::<f32>();
            running.sum.iter_mut().zip(&slope).for_each(|(sum, slope)| *sum += lean * factor * slope);
            rests.push((exact, unread * factor));
            let report = Report {
                scanned: (one.scores.len() + tail + clusters) as u32,
                read: (read + tail) as u32,
                rest: (1.0 - exact / running.weight).clamp(0.0, 1.0),
                bound: 1.0,
            };
            found.push((running, report));
        }
        let (mut running, mut reports): (Vec<Running>, Vec<Report>) = found.into_iter().unzip();
        add_to_each(kernels, &masses, &self.value_means, &mut running);
        if bound {
            for (((one, (query, means)), (exact, unread)), (running, report)) in
                asked.iter().zip(each()).zip(rests).zip(running.iter().zip(&mut reports))
            {
                let left = |c: u32| one.chosen.binary_search_by_key(&c, |entry| entry.1).is_err();
                report.bound = self.bound(|c| means[c] * self.scale, query, left, running.most, exact, unread);
            }
        }
        scratch.pool.extend(asked.into_iter().flat_map(|one| [one.scores]));
        scratch.centroids = centroids;
        scratch.masses = masses;
        running.into_iter().map(Running::finish).zip(reports).collect()
    }

    /// What one query makes of the clusters, from the scores of their centroids. `masses` are estimates in units of `exp(unit)`.
    fn ask(&self, query: &[f32], scores: &[f32], threshold: f32, masses: &mut [f32], scratch: &mut Scratch) -> Asked {
        let kernels = best();
        let partition = &self.index.partition;
        let reach = self.index.geometry.query_norm(query) * self.scale;
        let errors = &mut scratch.errors;
        errors.resize(scores.len(), 0.0);
        let line = [self.scale, self.share * reach * reach];
        let (unit, total) = kernels.cluster_masses(scores, &partition.spreads, &partition.starts, line, masses, errors);
        // Half of the error may come from clusters not opened, half from keys not read in those that were.
        let allowed = 0.5 * (threshold * total).powi(2);
        let from = limit(kernels, errors, allowed);
        let mut chosen = Vec::new();
        // Strictly above: the largest number below the limit.
        kernels.above(errors, from.next_down(), 0, &mut chosen);
        let mut bytes = ByteQuery::default();
        self.index.quantiser.query(query, &mut bytes);
        let mut scores = scratch.pool.pop().unwrap_or_default();
        scores.clear();
        Asked { chosen, bytes, allowed, unit, scores }
    }

    /// Scaled scores by bytes of all keys of the chosen clusters, one cluster after another. Queries that choose the same
    /// cluster share its reading.
    fn score(&self, asked: &mut [Asked], scratch: &mut Scratch) {
        let (index, partition) = (&self.index, &self.index.partition);
        let Scratch { dots, codes, next, .. } = scratch;
        codes.clear();
        asked.iter().for_each(|one| codes.extend_from_slice(&one.bytes.codes));
        let row_len = index.codes.row_len();
        // How many of its clusters each query is through with.
        next.clear();
        next.resize(asked.len(), 0);
        let wanted = |one: &Asked, next: usize| one.chosen.get(next).map_or(u32::MAX, |entry| entry.1);
        loop {
            let (mut c, mut sharing) = (u32::MAX, 0);
            for (one, next) in asked.iter().zip(next.iter()) {
                let own = wanted(one, *next);
                sharing = if own < c { 1 } else { sharing + u32::from(own == c) };
                c = c.min(own);
            }
            if c == u32::MAX {
                return;
            }
            let range = partition.range(c as usize);
            dots.clear();
            let skip = if sharing > 1 { index.codes.scan(codes, range.clone(), dots) } else { 0 };
            let width = dots.len() / asked.len();
            for (number, (one, next)) in asked.iter_mut().zip(next.iter_mut()).enumerate() {
                if wanted(one, *next) != c {
                    continue;
                }
                *next += 1;
                let after = wanted(one, *next);
                if after != u32::MAX {
                    index.codes.prefetch(partition.range(after as usize));
                }
                let from = if sharing == 1 {
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
        means: &[f32],
        asked: &Asked,
        factor: f32,
        scratch: &mut Scratch,
        running: &mut Running,
        rest: &mut Rest<'_>,
    ) -> usize {
        let scores = &asked.scores;
        let allowed = asked.allowed * factor * factor;
        let partition = &self.index.partition;
        let Scratch { weights, squares, read, places, ones, .. } = scratch;
        weights.clear();
        weights.extend_from_slice(scores);
        kernels.exp_sum(weights, running.most, 1.0);
        squares.clear();
        squares.extend(weights.iter().map(|weight| weight * weight));
        let read_from = limit(kernels, squares, allowed).sqrt();
        // Weights above this by bytes alone would add more than a quarter of the rest to the error.
        let noise = (asked.bytes.noise() * self.scale).max(1e-6);
        let full_from = limit(kernels, squares, 0.25 * allowed / (noise * noise)).sqrt().max(read_from);
        read.clear();
        let mut at = 0;
        for (_, c) in &asked.chosen {
            let c = *c as usize;
            let range = partition.range(c);
            let (weights, scores) = (&weights[at..at + range.len()], &scores[at..at + range.len()]);
            at += range.len();
            if ones.len() < range.len() {
                ones.resize(range.len(), 1.0);
            }
            let mean = means[c] * self.scale;
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

    /// An upper bound on the share of the clusters for which `left` holds, whose `means` are scaled scores, and of the `unread` mass; `exact` is
    /// the mass computed. Masses are in units of `exp(unit)`.
    pub(super) fn bound(
        &self,
        means: impl Fn(usize) -> f32,
        query: &[f32],
        left: impl Fn(u32) -> bool,
        unit: f32,
        exact: f32,
        unread: f32,
    ) -> f32 {
        let partition = &self.index.partition;
        let norm = self.index.geometry.query_norm(query) * self.scale;
        let mut most = unread;
        for c in (0..partition.clusters()).filter(|c| left(*c as u32)) {
            let (spread, reach) = (norm * partition.spreads[c], norm * partition.radii[c]);
            let factor = bennett(spread * spread, reach.min(80.0));
            most += partition.range(c).len() as f32 * (means(c) - unit).min(80.0).exp() * factor;
        }
        if most.is_finite() { (most / (most + exact)).min(1.0) } else { 1.0 }
    }
}

/// What a query makes of the clusters.
struct Asked {
    /// Clusters to open, ascending, each after its error.
    chosen: Vec<(f32, u32)>,
    bytes: ByteQuery,
    /// Largest sum of squares of what is not read, in units of `exp(unit)`.
    allowed: f32,
    unit: f32,
    /// Scaled scores of the keys of the chosen clusters.
    scores: Vec<f32>,
}

/// What is not computed key by key.
struct Rest<'a> {
    /// Mass of each cluster.
    masses: &'a mut [f32],
    /// Sum of masses times how far their keys' scores lie above the cluster's mean.
    lean: f32,
    /// Mass of keys in opened clusters.
    unread: f32,
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
    /// Scores of all centroids for each query, and estimated masses of their clusters.
    centroids: Vec<f32>,
    masses: Vec<f32>,
    errors: Vec<f32>,
    next: Vec<usize>,
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
