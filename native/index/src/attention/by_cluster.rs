//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed). Within a cluster, too, only the keys that
//! matter are read in full.

use sparrow_kernels::{Kernels, best};

use super::estimate::{View, bennett};
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};
use crate::quantiser::ByteQuery;

impl AttentionHead {
    /// Whole clusters until the estimated error of the rest is under `threshold` of the whole.
    pub(super) fn by_cluster(&self, queries: &[f32], threshold: f32, bound: bool) -> Vec<(Partial, Report)> {
        let kernels = best();
        let partition = &self.index.partition;
        let clusters = partition.clusters();
        let mut scores = Vec::new();
        // One pass over the centroids for all queries of the group.
        let stride = partition.scores(kernels, queries, &mut scores);
        let (mut view, mut opened) = (View::default(), Vec::<u32>::new());
        let each = queries.chunks_exact(self.index.dim).zip(scores.chunks_exact(stride.max(1)));
        each.map(|(query, scores)| {
            self.view_of(&scores[..clusters], query, &mut view);
            let unit = kernels.max(&view.logs);
            let (masses, errors) = self.masses_and_errors(kernels, &view, unit);
            let total: f32 = masses.iter().sum();
            // Half of the error may come from clusters not opened, half from keys not read in those that were.
            let allowed = 0.5 * (threshold * total).powi(2);
            let chosen = worst(&errors, allowed);
            opened.clear();
            opened.extend(chosen.iter().enumerate().filter(|(_, chosen)| **chosen).map(|(c, _)| c as u32));
            let mut running = Running::new(self.value_dim);
            running.raise(unit);
            let mut rest: Vec<f32> =
                masses.iter().zip(&chosen).map(|(mass, chosen)| if *chosen { 0.0 } else { *mass }).collect();
            let read = self.open(kernels, query, &opened, allowed, &mut running, &mut rest);
            let tail = self.add_tail(kernels, query, &mut running);
            let exact = running.weight;
            let unread: f32 = rest.iter().zip(&chosen).filter(|x| *x.1).map(|x| x.0).sum();
            // The tail may have raised the unit since the estimates were made.
            let factor = (unit - running.most).exp();
            rest.iter_mut().for_each(|mass| *mass *= factor);
            kernels.add_rows_f16(&rest, &self.value_means, &mut running.sum);
            running.weight += rest.iter().sum::<f32>();
            let share = 1.0 - exact / running.weight;
            let most = if bound {
                self.bound(&view, query, |c| !chosen[c], running.most, exact, unread * factor)
            } else {
                1.0
            };
            let scanned = (read + tail + clusters) as u32;
            (running.finish(), Report { scanned, rest: share.clamp(0.0, 1.0), bound: most })
        })
        .collect()
    }

    /// Adds the keys of the `opened` clusters: all are scored as bytes, and those whose weight is large are read in full. The
    /// weights of the others, whose squares sum to at most `allowed`, go to `rest` in units of `exp(running.most)` as it was
    /// on entry: they are given their cluster's mean value. Returns the number of keys.
    fn open(
        &self,
        kernels: &dyn Kernels,
        query: &[f32],
        opened: &[u32],
        allowed: f32,
        running: &mut Running,
        rest: &mut [f32],
    ) -> usize {
        let unit = running.most;
        let (index, partition) = (&self.index, &self.index.partition);
        let mut bytes = ByteQuery::default();
        index.quantiser.query(query, &mut bytes);
        let (mut dots, mut weights) = (Vec::new(), Vec::new());
        for (number, c) in opened.iter().enumerate() {
            if let Some(next) = opened.get(number + 1) {
                index.codes.prefetch(partition.range(*next as usize));
            }
            let range = partition.range(*c as usize);
            dots.clear();
            let skip = index.codes.scan(&bytes.codes, range.clone(), &mut dots);
            weights.extend(dots[skip..][..range.len()].iter().map(|dot| bytes.scale * *dot as f32 + bytes.offset));
        }
        kernels.exp_sum(&mut weights, unit / self.scale, self.scale);
        let squares: Vec<f32> = weights.iter().map(|weight| weight * weight).collect();
        let read = worst(&squares, allowed);
        let mut full = Vec::new();
        let mut at = 0;
        for c in opened {
            let range = partition.range(*c as usize);
            for place in range {
                if read[at] {
                    full.push(place as u32);
                } else {
                    rest[*c as usize] += weights[at];
                }
                at += 1;
            }
        }
        self.add_places(kernels, query, &full, running);
        weights.len()
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

/// Marks the clusters of largest error such that the errors of the others sum to at most `allowed`.
fn worst(errors: &[f32], allowed: f32) -> Vec<bool> {
    // A histogram over exponent and two bits of the mantissa finds the cut without sorting.
    let bucket = |error: f32| (error.max(0.0).to_bits() >> 21) as usize;
    let mut sums = [0f32; 1 << 10];
    errors.iter().for_each(|error| sums[bucket(*error)] += error);
    let mut kept = 0f32;
    let mut cut = 0;
    while cut < sums.len() && kept + sums[cut] <= allowed {
        kept += sums[cut];
        cut += 1;
    }
    errors.iter().map(|error| bucket(*error) >= cut).collect()
}
