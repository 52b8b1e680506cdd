//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed).

use sparrow_kernels::{Kernels, best};

use super::estimate::{View, bennett};
use super::head::{AttentionHead, Report};
use super::partial::{Partial, Running};

impl AttentionHead {
    /// Whole clusters until the estimated error of the rest is under `threshold` of the whole.
    pub(super) fn by_cluster(&self, queries: &[f32], threshold: f32, bound: bool) -> Vec<(Partial, Report)> {
        let kernels = best();
        let partition = &self.index.partition;
        let clusters = partition.clusters();
        let mut scores = Vec::new();
        // One pass over the centroids for all queries of the group.
        let stride = partition.scores(kernels, queries, &mut scores);
        let mut view = View::default();
        let each = queries.chunks_exact(self.index.dim).zip(scores.chunks_exact(stride.max(1)));
        each.map(|(query, scores)| {
            self.view_of(&scores[..clusters], query, &mut view);
            let unit = kernels.max(&view.logs);
            let (masses, errors) = self.masses_and_errors(kernels, &view, unit);
            let total: f32 = masses.iter().sum();
            let chosen = worst(&errors, (threshold * total).powi(2));
            let mut running = Running::new(self.value_dim);
            let mut places: Vec<u32> = Vec::new();
            for (c, chosen) in chosen.iter().enumerate() {
                if *chosen {
                    places.extend(partition.range(c).map(|place| place as u32));
                }
            }
            self.add_places(kernels, query, &places, &mut running);
            let tail = self.add_tail(kernels, query, &mut running);
            running.raise(unit);
            let exact = running.weight;
            let rest: Vec<f32> = masses
                .iter()
                .zip(&chosen)
                .map(|(mass, chosen)| if *chosen { 0.0 } else { mass * (unit - running.most).exp() })
                .collect();
            kernels.add_rows_f16(&rest, &self.value_means, &mut running.sum);
            running.weight += rest.iter().sum::<f32>();
            let share = 1.0 - exact / running.weight;
            let most = if bound { self.bound(&view, query, |c| !chosen[c], running.most, exact) } else { 1.0 };
            let scanned = (places.len() + tail + clusters) as u32;
            (running.finish(), Report { scanned, rest: share.clamp(0.0, 1.0), bound: most })
        })
        .collect()
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

    /// An upper bound on the share of the clusters for which `left` holds; `exact` is the mass computed, in units of
    /// `exp(unit)`.
    pub(super) fn bound(&self, view: &View, query: &[f32], left: impl Fn(usize) -> bool, unit: f32, exact: f32) -> f32 {
        let partition = &self.index.partition;
        let norm = self.index.geometry.query_norm(query) * self.scale;
        let mut most = 0f32;
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
