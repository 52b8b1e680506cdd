//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed). Within a cluster, too, only the keys that
//! matter are read in full.

use rayon::prelude::*;
use sparrow_kernels::{Kernels, best};

use super::estimate::bennett;
use super::exact::add_to_each;
use super::head::{AttentionHead, Report};
use super::memory::{borrow, give};
use super::partial::{Partial, Running};
use super::pieces::{PIECE, pieces};
use super::wanted::Wanted;
use crate::quantiser::ByteQuery;

/// A cluster's scores are taken to spread by a variance of this at most, in units of the softmax.
const MOST_LEAN: f32 = 4.0;

impl AttentionHead {
    /// Whole clusters until the estimated error of the rest is under `threshold` of the whole.
    pub(super) fn by_cluster(&self, queries: &[f32], threshold: f32, bound: bool) -> Vec<(Partial, Report)> {
        let kernels = best();
        let partition = &self.index.partition;
        let (clusters, dim) = (partition.clusters(), self.index.dim);
        // One pass over the centroids for all queries of the group, and one over the mean values in the end.
        let mut centroids = borrow(0);
        let stride = partition.scores(kernels, queries, &mut centroids).max(1);
        let mut masses = borrow(centroids.len());
        let each = || queries.chunks_exact(dim).zip(centroids.chunks_exact(stride).map(|scores| &scores[..clusters]));
        let mut asked: Vec<Asked> = each()
            .zip(masses.chunks_exact_mut(stride))
            .map(|((query, scores), masses)| self.ask(query, scores, threshold, &mut masses[..clusters]))
            .collect();
        self.score(&mut asked);
        let each: Vec<_> = asked.iter().zip(each()).zip(masses.chunks_exact_mut(stride)).collect();
        let found: Vec<(Running, Report)> = each
            .into_par_iter()
            .map(|((one, (query, means)), masses)| self.answer(one, query, means, &mut masses[..clusters], bound))
            .collect();
        let (mut running, reports): (Vec<Running>, Vec<Report>) = found.into_iter().unzip();
        add_to_each(kernels, &masses, &self.value_means, &mut running);
        asked.into_iter().map(|one| one.scores).chain([centroids, masses]).for_each(give);
        running.into_iter().map(Running::finish).zip(reports).collect()
    }

    /// What one query makes of the clusters, from the scores of their centroids. `masses` are estimates in units of `exp(unit)`.
    fn ask(&self, query: &[f32], scores: &[f32], threshold: f32, masses: &mut [f32]) -> Asked {
        let kernels = best();
        let partition = &self.index.partition;
        let reach = self.index.geometry.query_norm(query) * self.scale;
        let mut errors = borrow(scores.len());
        let line = [self.scale, self.share * reach * reach];
        let (unit, total) =
            kernels.cluster_masses(scores, &partition.spreads, &partition.starts, line, masses, &mut errors);
        // Half of the error may come from clusters not opened, half from keys not read in those that were.
        let allowed = 0.5 * (threshold * total).powi(2);
        let from = limit(kernels, &errors, allowed);
        let mut chosen = Vec::new();
        // Strictly above: the largest number below the limit.
        kernels.above(&errors, from.next_down(), 0, &mut chosen);
        give(errors);
        let keys = chosen.iter().map(|entry| partition.range(entry.1 as usize).len()).sum();
        let mut bytes = ByteQuery::default();
        self.index.quantiser.query(query, &mut bytes);
        Asked { chosen, bytes, allowed, unit, scores: borrow(keys) }
    }

    /// Scaled scores by bytes of all keys of the chosen clusters, one cluster after another. Queries that choose the same
    /// cluster share its reading; runs of clusters are divided among threads.
    fn score(&self, asked: &mut [Asked]) {
        let partition = &self.index.partition;
        let mut wanted: Vec<u32> = asked.iter().flat_map(|one| one.chosen.iter().map(|entry| entry.1)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut codes = Vec::new();
        let mut lines = Vec::new();
        let mut left: Vec<Wanted> = Vec::new();
        for Asked { chosen, bytes, scores, .. } in asked.iter_mut() {
            codes.extend_from_slice(&bytes.codes);
            lines.push([bytes.scale * self.scale, bytes.offset * self.scale]);
            left.push(Wanted { clusters: chosen, scores });
        }
        let mut tasks: Vec<(&[u32], Vec<Wanted>)> = Vec::new();
        for piece in pieces(wanted.iter().map(|c| partition.range(*c as usize).len())) {
            let some = &wanted[piece];
            let own = left.iter_mut().map(|left| left.up_to(some[some.len() - 1], partition)).collect();
            tasks.push((some, own));
        }
        tasks.into_par_iter().for_each(|(some, mut own)| self.score_some(some, &codes, &lines, &mut own));
    }

    /// As [`AttentionHead::score`] for some of the clusters.
    fn score_some(&self, clusters: &[u32], codes: &[i8], lines: &[[f32; 2]], wanted: &mut [Wanted]) {
        let (index, partition) = (&self.index, &self.index.partition);
        let row_len = index.codes.row_len();
        let mut dots = Vec::new();
        for (i, c) in clusters.iter().enumerate() {
            if let Some(next) = clusters.get(i + 1) {
                index.codes.prefetch(partition.range(*next as usize));
            }
            let range = partition.range(*c as usize);
            dots.clear();
            let sharing = wanted.iter().filter(|wanted| wanted.next() == *c).count();
            let skip = if sharing > 1 { index.codes.scan(codes, range.clone(), &mut dots) } else { 0 };
            let width = dots.len() / wanted.len();
            for (number, wanted) in wanted.iter_mut().enumerate().filter(|entry| entry.1.next() == *c) {
                let from = if sharing == 1 {
                    index.codes.scan(&codes[number * row_len..][..row_len], range.clone(), &mut dots)
                } else {
                    number * width + skip
                };
                let [scale, offset] = lines[number];
                for (score, dot) in wanted.take(range.len()).iter_mut().zip(&dots[from..]) {
                    *score = scale * *dot as f32 + offset;
                }
            }
        }
    }

    /// All of a query's answer but the mean values of clusters, whose weights `masses` becomes.
    fn answer(
        &self,
        asked: &Asked,
        query: &[f32],
        means: &[f32],
        masses: &mut [f32],
        bound: bool,
    ) -> (Running, Report) {
        let kernels = best();
        let partition = &self.index.partition;
        // A key may be far above what its cluster promised.
        let most = asked.unit.max(kernels.max(&asked.scores));
        let factor = (asked.unit - most).exp();
        masses.iter_mut().for_each(|mass| *mass *= factor);
        asked.chosen.iter().for_each(|c| masses[c.1 as usize] = 0.0);
        let mut running = Running::new(self.value_dim);
        running.raise(most);
        let mut slope = Vec::new();
        let variance = self.slope.of(kernels, query, self.scale, &mut slope);
        // Within a cluster of normal scores, weighting by their exponentials moves their mean by the variance.
        let lean = kernels.lean(masses, &partition.spreads, variance, MOST_LEAN);
        let mut rest = Rest { masses, lean, unread: 0.0 };
        let read = self.open(query, means, asked, factor, &mut running, &mut rest);
        let Rest { lean, unread, .. } = rest;
        let tail = self.add_tail(kernels, query, &mut running);
        let exact = running.weight;
        // Keys and tail may have raised the unit since the estimates were made.
        let factor = (most - running.most).exp();
        masses.iter_mut().for_each(|mass| *mass *= factor);
        running.weight += masses.iter().sum::<f32>();
        running.sum.iter_mut().zip(&slope).for_each(|(sum, slope)| *sum += lean * factor * slope);
        let bound = if bound {
            let left = |c: u32| asked.chosen.binary_search_by_key(&c, |entry| entry.1).is_err();
            self.bound(|c| means[c] * self.scale, query, left, running.most, exact, unread * factor)
        } else {
            1.0
        };
        let report = Report {
            scanned: (asked.scores.len() + tail + masses.len()) as u32,
            read: (read + tail) as u32,
            rest: (1.0 - exact / running.weight).clamp(0.0, 1.0),
            bound,
        };
        (running, report)
    }

    /// Adds the keys of the opened clusters. The values of keys that matter are read; the scores of those that matter much are
    /// computed again in half precision. The weights of the others, whose squares sum to at most what is allowed, go to `rest`: they
    /// are given their cluster's mean value. Estimates are `factor` times what they were, in units of `exp(running.most)`. Returns the
    /// number of values read.
    fn open(
        &self,
        query: &[f32],
        means: &[f32],
        asked: &Asked,
        factor: f32,
        running: &mut Running,
        rest: &mut Rest<'_>,
    ) -> usize {
        let kernels = best();
        let partition = &self.index.partition;
        let allowed = asked.allowed * factor * factor;
        let most = running.most;
        let (mut weights, mut squares) = (borrow(asked.scores.len()), borrow(asked.scores.len()));
        let each = weights.par_chunks_mut(PIECE).zip(squares.par_chunks_mut(PIECE));
        each.zip(asked.scores.par_chunks(PIECE)).for_each(|((weights, squares), scores)| {
            weights.copy_from_slice(scores);
            kernels.exp_sum(weights, most, 1.0);
            squares.iter_mut().zip(weights).for_each(|(square, weight)| *square = *weight * *weight);
        });
        let read_from = limit(kernels, &squares, allowed).sqrt();
        // Weights above this by bytes alone would add more than a quarter of the rest to the error.
        let noise = (asked.bytes.noise() * self.scale).max(1e-6);
        let full_from = limit(kernels, &squares, 0.25 * allowed / (noise * noise)).sqrt().max(read_from);
        let mut tasks = Vec::new();
        let mut at = 0;
        for piece in pieces(asked.chosen.iter().map(|entry| partition.range(entry.1 as usize).len())) {
            let some = &asked.chosen[piece];
            let keys: usize = some.iter().map(|entry| partition.range(entry.1 as usize).len()).sum();
            tasks.push((some, at..at + keys));
            at += keys;
        }
        let parts: Vec<Part> = tasks
            .into_par_iter()
            .map(|(some, keys)| {
                let (weights, scores) = (&weights[keys.clone()], &asked.scores[keys]);
                self.open_some(query, means, some, weights, scores, [read_from, full_from], most)
            })
            .collect();
        [weights, squares].into_iter().for_each(give);
        let mut each = asked.chosen.iter();
        let mut read = 0;
        for part in parts {
            for (unread, (_, c)) in part.unread.iter().zip(&mut each) {
                rest.masses[*c as usize] += unread;
                rest.unread += unread;
            }
            rest.lean += part.lean;
            read += part.read;
            running.add(&part.running);
        }
        read
    }

    /// As [`AttentionHead::open`] for some of the clusters: values are read from the first of the weights in `from` on, scores computed again
    /// from the second on.
    #[expect(clippy::too_many_arguments, reason = "one step of open, split for its threads")]
    fn open_some(
        &self,
        query: &[f32],
        means: &[f32],
        clusters: &[(f32, u32)],
        weights: &[f32],
        scores: &[f32],
        from: [f32; 2],
        most: f32,
    ) -> Part {
        let kernels = best();
        let [read_from, full_from] = from;
        let mut part = Part { running: Running::new(self.value_dim), unread: Vec::new(), lean: 0.0, read: 0 };
        part.running.raise(most);
        let mut read = Vec::new();
        let longest = clusters.iter().map(|entry| self.index.partition.range(entry.1 as usize).len()).max();
        let ones = vec![1.0; longest.unwrap_or(0)];
        let mut at = 0;
        for (_, c) in clusters {
            let c = *c as usize;
            let range = self.index.partition.range(c);
            let (weights, scores) = (&weights[at..at + range.len()], &scores[at..at + range.len()]);
            at += range.len();
            let mean = means[c] * self.scale;
            let mut unread = kernels.dot_f32(weights, &ones[..range.len()]);
            let mut lean = kernels.dot_f32(weights, scores) - unread * mean;
            let first = read.len();
            // Strictly above: the largest number below the limit.
            kernels.above(weights, read_from.next_down(), range.start as u32, &mut read);
            for (weight, place) in &read[first..] {
                unread -= weight;
                lean -= weight * (scores[*place as usize - range.start] - mean);
            }
            // What rounding leaves of nothing.
            part.unread.push(unread.max(0.0));
            part.lean += lean;
        }
        part.read = read.len();
        let (full, some): (Vec<_>, Vec<_>) = read.into_iter().partition(|entry| entry.0 >= full_from);
        let (weights, places): (Vec<f32>, Vec<u32>) = some.into_iter().unzip();
        part.running.weight += weights.iter().sum::<f32>();
        kernels.gather_add_f16(&weights, &self.values, &places, &mut part.running.sum);
        let places: Vec<u32> = full.into_iter().map(|entry| entry.1).collect();
        self.add_places(kernels, query, &places, &mut part.running);
        part
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

/// What opening some clusters gave.
struct Part {
    /// The keys whose values were read.
    running: Running,
    /// Weight of the others of each cluster.
    unread: Vec<f32>,
    /// As of [`Rest`].
    lean: f32,
    /// Values read.
    read: usize,
}
