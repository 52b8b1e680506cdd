//! How values follow keys within a cluster: what makes estimates of many clusters wrong in the same direction.
//!
//! A cluster stands in by its mean value, as if the weights of its keys had nothing to do with their values. They do: keys
//! of higher score hold other values than the rest, and in much the same way in every cluster, so that small errors add up.
//! The part of a value that is linear in its key is known from covariances pooled over clusters, Cov(v, k) and Cov(k, k):
//! for a query q, values change by `Cov(v, k) q / (qᵀ Cov(k, k) q)` for each unit of score. (One head of each layer of a
//! real model, 28K keys, every cluster estimated: the error of the output fell from 0.026 to 0.005 on the most even one, to a
//! half or less on three, by a fifth on two, and not on the two sharpest.)

use rayon::prelude::*;
use sparrow_kernels::{Kernels, f16, pack_blocks};

use crate::partition::Partition;

/// Keys that the covariances are measured on, at most, in whole clusters.
const MEASURED: usize = 1 << 15;
/// Clusters measured by one task; fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 16;

/// Covariances within clusters, pooled.
pub struct Slope {
    /// Cov(v, k), a row for each element of a value, in blocks.
    values: Vec<f32>,
    /// Cov(k, k), in blocks.
    keys: Vec<f32>,
    /// Mean square spread of the measured clusters, as the partition has it.
    spread: f32,
    dim: usize,
    value_dim: usize,
}

impl Slope {
    /// Measures `halves` (`[keys, dim]`) and `values` (`[keys, value_dim]`), both in the partition's order.
    pub fn measure(partition: &Partition, halves: &[f16], dim: usize, values: &[f16], value_dim: usize) -> Self {
        let step = partition.keys().div_ceil(MEASURED).max(1);
        let clusters: Vec<usize> = (0..partition.clusters()).step_by(step).collect();
        let parts: Vec<Vec<f32>> = clusters
            .par_chunks(CHUNK)
            .map(|clusters| {
                let mut sums = vec![0f32; (value_dim + dim) * dim];
                for c in clusters {
                    let range = partition.range(*c);
                    let keys = centred(&halves[range.start * dim..range.end * dim], dim);
                    let values = centred(&values[range.start * value_dim..range.end * value_dim], value_dim);
                    for (key, value) in keys.chunks_exact(dim).zip(values.chunks_exact(value_dim)) {
                        for (sum, x) in sums.chunks_exact_mut(dim).zip(value.iter().chain(key)) {
                            sum.iter_mut().zip(key).for_each(|(sum, k)| *sum += x * k);
                        }
                    }
                }
                sums
            })
            .collect();
        let count: usize = clusters.iter().map(|c| partition.range(*c).len()).sum();
        let square = |c: &usize| partition.range(*c).len() as f64 * f64::from(partition.spreads[*c]).powi(2);
        let spread = (clusters.iter().map(square).sum::<f64>() / count.max(1) as f64) as f32;
        let mut pooled = vec![0f64; (value_dim + dim) * dim];
        parts.iter().for_each(|part| pooled.iter_mut().zip(part).for_each(|(sum, x)| *sum += f64::from(*x)));
        let pooled: Vec<f32> = pooled.iter().map(|sum| (sum / count.max(1) as f64) as f32).collect();
        let (of_values, of_keys) = pooled.split_at(value_dim * dim);
        Self { values: pack_blocks(of_values, dim, 0.0), keys: pack_blocks(of_keys, dim, 0.0), spread, dim, value_dim }
    }

    /// How much values change for each unit of scaled score of `query`, into `out` (`[value_dim]`). Returns the variance of scaled
    /// scores within a cluster, as a multiple of the square of its spread.
    pub fn of(&self, kernels: &dyn Kernels, query: &[f32], scale: f32, out: &mut Vec<f32>) -> f32 {
        out.clear();
        out.resize((self.keys.len() / self.dim).max(self.values.len() / self.dim), 0.0);
        let keys = &mut out[..self.keys.len() / self.dim];
        kernels.scan_f32(query, self.dim, &self.keys, keys);
        let variance = scale * kernels.dot_f32(&keys[..self.dim], query);
        let values = &mut out[..self.values.len() / self.dim];
        kernels.scan_f32(query, self.dim, &self.values, values);
        out.truncate(self.value_dim);
        // Without spread there is nothing to follow.
        let factor = if variance > 1e-12 { 1.0 / variance } else { 0.0 };
        out.iter_mut().for_each(|x| *x *= factor);
        if self.spread > 1e-12 { variance * scale / self.spread } else { 0.0 }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.values.len() + self.keys.len())
    }
}

/// Rows less their mean.
fn centred(rows: &[f16], dim: usize) -> Vec<f32> {
    let mut wide: Vec<f32> = rows.iter().map(|x| x.to_f32()).collect();
    let count = (rows.len() / dim).max(1) as f32;
    let mut mean = vec![0f32; dim];
    wide.chunks_exact(dim).for_each(|row| mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / count));
    wide.chunks_exact_mut(dim).for_each(|row| row.iter_mut().zip(&mean).for_each(|(x, mean)| *x -= mean));
    wide
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Geometry;
    use crate::rng::Rng;
    use crate::rows::Rows;

    #[test]
    fn values_that_are_linear_in_keys_give_back_their_map() {
        let (count, dim, value_dim) = (4000, 6, 5);
        let mut rng = Rng::new(2);
        let map: Vec<f32> = (0..value_dim * dim).map(|_| rng.normal()).collect();
        let keys: Vec<f32> = (0..count * dim).map(|i| rng.normal() * (1 + i % dim) as f32).collect();
        let geometry = Geometry::identity(dim);
        let (partition, order) = Partition::build(Rows { data: &keys, dim }, &geometry, 64, 1);
        let ordered = Rows { data: &keys, dim }.take(&order);
        let halves: Vec<f16> = ordered.iter().map(|x| f16::from_f32(*x)).collect();
        let linear = |key: &[f32]| -> Vec<f32> {
            map.chunks_exact(dim).map(|row| row.iter().zip(key).map(|(m, k)| m * k).sum()).collect()
        };
        let values: Vec<f16> = ordered.chunks_exact(dim).flat_map(linear).map(f16::from_f32).collect();
        let slope = Slope::measure(&partition, &halves, dim, &values, value_dim);
        let (query, scale) = ([1.0f32, -0.5, 0.25, 2.0, 0.0, -1.0], 0.5);
        let mut found = Vec::new();
        slope.of(sparrow_kernels::best(), &query, scale, &mut found);
        // Regression of the values on the scores within clusters, by hand.
        let (mut products, mut squares) = (vec![0f64; value_dim], 0f64);
        for c in 0..partition.clusters() {
            let range = partition.range(c);
            let rows: Vec<&[f32]> = range.map(|i| &ordered[i * dim..][..dim]).collect();
            let score = |row: &[f32]| -> f64 { row.iter().zip(&query).map(|(k, q)| f64::from(k * q * scale)).sum() };
            let mean = rows.iter().map(|row| score(row)).sum::<f64>() / rows.len() as f64;
            for row in &rows {
                let deviation = score(row) - mean;
                squares += deviation * deviation;
                products.iter_mut().zip(linear(row)).for_each(|(sum, v)| *sum += deviation * f64::from(v));
            }
        }
        for (found, product) in found.iter().zip(products) {
            let expected = product / squares;
            assert!((f64::from(*found) - expected).abs() < 0.02 * (1.0 + expected.abs()), "{found} against {expected}");
        }
    }
}
