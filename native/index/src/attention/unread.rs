//! What stands in for keys that are not read: estimates of their clusters, how wrong those may be, and which clusters to read instead.

use sparrow_kernels::Kernels;

use super::estimate::{View, bennett};
use super::head::AttentionHead;
use super::partial::Running;

/// What a query makes of the clusters without looking at their keys.
pub(super) struct Guess {
    pub view: View,
    /// Estimated masses, in units of `exp(unit)`.
    pub masses: Vec<f32>,
    /// Expected squares of their errors.
    pub errors: Vec<f32>,
    pub unit: f32,
}

/// What is not computed key by key.
pub(super) struct Rest {
    /// Mass of each cluster.
    pub masses: Vec<f32>,
    /// Sum of masses times how far their keys' scores lie above the cluster's mean.
    pub lean: f32,
    /// Mass of keys in opened clusters.
    pub unread: f32,
}

impl AttentionHead {
    /// What stands in for the clusters for which `left` holds, of these masses. `variance` is that of scaled scores, as a multiple of the
    /// square of a cluster's spread.
    pub(super) fn rest(&self, mut masses: Vec<f32>, variance: f32, left: impl Fn(usize) -> bool) -> Rest {
        let mut lean = 0.0;
        for (c, (mass, spread)) in masses.iter_mut().zip(&self.index.partition.spreads).enumerate() {
            if left(c) {
                // Within a cluster of normal scores, weighting by their exponentials moves their mean by the variance.
                lean += *mass * (variance * spread * spread).min(4.0);
            } else {
                *mass = 0.0;
            }
        }
        Rest { masses, lean, unread: 0.0 }
    }

    /// Adds what stands in for keys, in units of `exp(unit)`; `slope` is how much values change for each unit of score.
    pub(super) fn add_rest(
        &self,
        kernels: &dyn Kernels,
        mut rest: Rest,
        unit: f32,
        slope: &[f32],
        running: &mut Running,
    ) {
        let factor = (unit - running.most).exp();
        rest.masses.iter_mut().for_each(|mass| *mass *= factor);
        kernels.add_rows_f16(&rest.masses, &self.value_means, &mut running.sum);
        running.weight += rest.masses.iter().sum::<f32>();
        let lean = rest.lean * factor;
        running.sum.iter_mut().zip(slope).for_each(|(sum, slope)| *sum += lean * slope);
    }

    /// What one query makes of the clusters, from the scores of their centroids.
    pub(super) fn guess(&self, kernels: &dyn Kernels, query: &[f32], scores: &[f32]) -> Guess {
        let mut view = View::default();
        self.view_of(scores, query, &mut view);
        let unit = kernels.max(&view.logs);
        let (masses, errors) = self.masses_and_errors(kernels, &view, unit);
        Guess { view, masses, errors, unit }
    }

    /// Estimated masses in units of `exp(unit)`, and the expected squares of their errors: n keys whose weights scatter
    /// with relative variance `exp(σ²) - 1` about their mean weight, independently of their values.
    fn masses_and_errors(&self, kernels: &dyn Kernels, view: &View, unit: f32) -> (Vec<f32>, Vec<f32>) {
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
pub(super) fn worst(kernels: &dyn Kernels, errors: &[f32], allowed: f32) -> Vec<bool> {
    let from = limit(kernels, errors, allowed);
    errors.iter().map(|error| *error >= from).collect()
}

/// The value below which errors sum to at most `allowed`, to within a quarter of it; infinity when all do.
pub(super) fn limit(kernels: &dyn Kernels, errors: &[f32], allowed: f32) -> f32 {
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
