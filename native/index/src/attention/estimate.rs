//! What a query can know of a cluster without its keys: its mass, how wrong that may be, and a bound.
//!
//! A cluster's scores x for a query have mean m (the centroid's score), and by Cauchy-Schwarz lie within |S⁻¹q| · radius of
//! it. Its mass Σ exp(x) is at least n exp(m) (Jensen; RetroInfer's estimate), about n exp(m + σ²/2) for a spread of
//! scores σ, and at most what Bennett's lemma allows for that range and variance.

use sparrow_kernels::MOST_CORRECTION;

/// The clusters as one query sees them. All logarithms are of masses with the attention scale applied.
#[derive(Default)]
pub struct View {
    /// Mean scaled score of the keys.
    pub means: Vec<f32>,
    /// Estimated variance of the scaled scores.
    pub variances: Vec<f32>,
    /// Logarithm of the estimated mass of one key.
    pub logs: Vec<f32>,
}

impl View {
    /// `scores` are the centroids' products with the query; `norm` is `|S⁻¹q|`; `share` the part of the bound
    /// (norm · spread)² that is variance on average, measured per head.
    pub fn fill(&mut self, scores: &[f32], spreads: &[f32], scale: f32, norm: f32, share: f32) {
        let factor = share * (norm * scale) * (norm * scale);
        self.means.clear();
        self.means.extend(scores.iter().map(|score| score * scale));
        self.variances.clear();
        self.variances.extend(spreads.iter().map(|spread| factor * spread * spread));
        self.logs.clear();
        self.logs.extend(self.means.iter().zip(&self.variances).map(|(mean, variance)| mean + correction(*variance)));
    }
}

/// Half the variance, which is what a normal spread adds to the log-mass; capped, because a few keys do not have the tail
/// of a normal distribution.
pub fn correction(variance: f32) -> f32 {
    (0.5 * variance).min(MOST_CORRECTION)
}

/// An upper bound on the mean of exp(x - m) over scores with |x - m| ≤ `reach` and variance at most `variance` (Bennett
/// 1962, equation 8).
pub fn bennett(variance: f32, reach: f32) -> f32 {
    if reach < 1e-6 {
        return 1.0;
    }
    let square = reach * reach;
    let variance = variance.min(square);
    (square * (-variance / reach).exp() + variance * reach.exp()) / (square + variance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn jensen_and_bennett_enclose_the_mean_exponential() {
        let mut rng = Rng::new(11);
        for trial in 0..500 {
            let count = 1 + rng.below(80);
            let width = 0.05 * trial as f32 / 10.0;
            let scores: Vec<f32> = (0..count).map(|_| rng.normal() * width).collect();
            let mean = scores.iter().sum::<f32>() / count as f32;
            let variance = scores.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count as f32;
            let reach = scores.iter().map(|x| (x - mean).abs()).fold(0.0, f32::max);
            let true_mean = scores.iter().map(|x| (x - mean).exp()).sum::<f32>() / count as f32;
            assert!(true_mean >= 1.0 - 1e-5, "Jensen: {true_mean}");
            assert!(
                true_mean <= bennett(variance, reach) * 1.0001,
                "Bennett: {true_mean} over {}",
                bennett(variance, reach)
            );
        }
    }
}
