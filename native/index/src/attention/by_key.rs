//! Attention by single keys that a search found, their clusters' estimates standing for all other keys.

use sparrow_kernels::{Kernels, MOST_VARIANCE, best};

use super::estimate::{View, correction};
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};
use crate::partition::Partition;
use crate::strategy::Strategy;
use crate::top::Hit;

impl AttentionHead {
    /// Single keys by a search, the rest of their clusters and all others estimated. The pool doubles until the estimated
    /// error of the rest is under `error`, twice at most.
    pub(super) fn by_key(&self, query: &[f32], strategy: Strategy, error: f32, bound: bool) -> (Partial, Report) {
        let kernels = best();
        let mut view = View::default();
        self.view(kernels, query, &mut view);
        let mut hits: Vec<Hit> = Vec::new();
        let mut scanned = self.index.partition.clusters();
        let mut effort = strategy.effort();
        for round in 0.. {
            scanned += self.index.search_places(query, effort, strategy.with_effort(effort), false, &mut hits);
            let rest = Rest::without(&self.index.partition, &view, &hits, self.scale);
            let unit = rest.unit.max(hits.first().map_or(f32::NEG_INFINITY, |hit| hit.score * self.scale));
            let (mass, wrong) = rest.mass_and_error(&self.index.partition, unit);
            let found: f32 = hits.iter().map(|hit| (hit.score * self.scale - unit).exp()).sum();
            if round == 2 || effort >= self.len() || wrong.sqrt() <= 2.0 * error * (mass + found) {
                return self.finish_by_key(kernels, query, &hits, &view, rest, scanned, bound);
            }
            effort *= 2;
        }
        unreachable!("the loop above returns by its third round")
    }

    #[expect(clippy::too_many_arguments, reason = "one step of by_key, split for its length")]
    fn finish_by_key(
        &self,
        kernels: &dyn Kernels,
        query: &[f32],
        hits: &[Hit],
        view: &View,
        rest: Rest,
        scanned: usize,
        bound: bool,
    ) -> (Partial, Report) {
        let mut running = Running::new(self.value_dim);
        let tail = self.add_tail(kernels, query, &mut running);
        let first = hits.first().map_or(f32::NEG_INFINITY, |hit| hit.score * self.scale);
        running.raise(first.max(rest.unit));
        // A found key leaves its cluster's mean value, in which it is counted with the estimated weight.
        let places: Vec<u32> = hits.iter().map(|hit| hit.id).collect();
        let weight = |log: f32| if log == f32::NEG_INFINITY { 0.0 } else { (log - running.most).exp() };
        let mut exact = running.weight;
        let weights: Vec<f32> = hits
            .iter()
            .map(|hit| {
                let own = (hit.score * self.scale - running.most).exp();
                exact += own;
                own - weight(rest.logs[self.index.partition.cluster_of(hit.id)])
            })
            .collect();
        let clusters: Vec<f32> = rest
            .logs
            .iter()
            .enumerate()
            .map(|(c, log)| self.index.partition.range(c).len() as f32 * weight(*log))
            .collect();
        running.weight += weights.iter().sum::<f32>() + clusters.iter().sum::<f32>();
        kernels.gather_add_f16(&weights, &self.values, &places, &mut running.sum);
        kernels.add_rows_f16(&clusters, &self.value_means, &mut running.sum);
        let share = 1.0 - exact / running.weight;
        let most = if bound { self.bound(|c| view.means[c], query, |_| true, running.most, exact, 0.0) } else { 1.0 };
        let report = Report {
            scanned: (scanned + tail) as u32,
            read: (places.len() + tail) as u32,
            rest: share.clamp(0.0, 1.0),
            bound: most,
        };
        (running.finish(), report)
    }

    /// Estimate and upper bound of the share of the mass that is not of the `hits`, those of the tail included.
    pub(super) fn left_out(&self, kernels: &dyn Kernels, query: &[f32], hits: &[Hit]) -> (f32, f32) {
        let mut view = View::default();
        self.view(kernels, query, &mut view);
        let partition = &self.index.partition;
        let of_tail = |hit: &&Hit| hit.id as usize >= partition.keys();
        let clustered: Vec<Hit> = hits.iter().filter(|hit| !of_tail(hit)).copied().collect();
        let rest = Rest::without(partition, &view, &clustered, self.scale);
        let mut tail = Running::new(self.value_dim);
        self.add_tail(kernels, query, &mut tail);
        let first = hits.first().map_or(f32::NEG_INFINITY, |hit| hit.score * self.scale);
        tail.raise(first.max(rest.unit));
        let weight = |hit: &Hit| (hit.score * self.scale - tail.most).exp();
        let found: f32 = hits.iter().map(weight).sum();
        let tail_left = (tail.weight - hits.iter().filter(of_tail).map(weight).sum::<f32>()).max(0.0);
        let left = rest.mass_and_error(partition, tail.most).0 + tail_left;
        let share = (left / (left + found).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0);
        // All keys of the clusters, those found among them, could be what is left.
        (share, self.bound(|c| view.means[c], query, |_| true, tail.most, found, tail_left).max(share))
    }
}

/// The clusters without the keys that were found.
struct Rest {
    /// Logarithm of the estimated mass of one remaining key; `-inf` when none remains.
    logs: Vec<f32>,
    /// Remaining keys and variance of the clusters that lost some: (cluster, keys, variance).
    changed: Vec<(usize, f32, f32)>,
    variances: Vec<f32>,
    unit: f32,
}

impl Rest {
    fn without(partition: &Partition, view: &View, hits: &[Hit], scale: f32) -> Self {
        let mut logs = view.logs.clone();
        let mut variances = view.variances.clone();
        let mut found: Vec<(usize, f32)> =
            hits.iter().map(|hit| (partition.cluster_of(hit.id), hit.score * scale)).collect();
        found.sort_unstable_by_key(|entry| entry.0);
        let mut changed = Vec::new();
        for same in found.chunk_by(|a, b| a.0 == b.0) {
            let (c, taken) = (same[0].0, same.len() as f32);
            let size = partition.range(c).len() as f32;
            let left = size - taken;
            if left < 0.5 {
                logs[c] = f32::NEG_INFINITY;
                changed.push((c, 0.0, 0.0));
                continue;
            }
            // Removing keys shifts mean and variance of those that remain.
            let mean = view.means[c];
            let shift = same.iter().map(|x| x.1 - mean).sum::<f32>() / left;
            let squares: f32 = same.iter().map(|x| (x.1 - mean).powi(2)).sum();
            let variance = ((size * view.variances[c] - squares) / left - shift * shift).max(0.0);
            logs[c] = mean - shift + correction(variance);
            variances[c] = variance;
            changed.push((c, left, variance));
        }
        let unit = logs.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Self { logs, changed, variances, unit }
    }

    /// Estimated mass in units of `exp(unit)`, and the expected square of its error.
    fn mass_and_error(&self, partition: &Partition, unit: f32) -> (f32, f32) {
        let mut sizes: Vec<f32> = partition.starts.windows(2).map(|pair| (pair[1] - pair[0]) as f32).collect();
        self.changed.iter().for_each(|(c, left, _)| sizes[*c] = *left);
        let kernels = best();
        let mut weights = self.logs.clone();
        kernels.exp_sum(&mut weights, unit, 1.0);
        let mut scatter: Vec<f32> = self.variances.iter().map(|variance| variance.min(MOST_VARIANCE)).collect();
        kernels.exp_sum(&mut scatter, 0.0, 1.0);
        let each = sizes.iter().zip(weights.iter().zip(&scatter));
        each.fold((0.0, 0.0), |(mass, error), (n, (w, s))| (mass + n * w, error + n * w * w * (s - 1.0)))
    }
}
