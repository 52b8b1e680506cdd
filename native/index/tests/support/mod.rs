//! Inputs and oracles shared by the tests.
#![allow(dead_code, reason = "every test file is a crate of its own and uses a part")]

use sparrow_index::Rng;

/// A head with the traits that matter: keys in topics of uneven size with heavy-tailed norms, and queries that live where
/// keys have little variance, each wanting a topic. Row-major (keys, queries, values).
pub fn head(keys: usize, queries: usize, dim: usize, seed: u64) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
    let mut rng = Rng::new(seed);
    let topics = 24;
    let centres: Vec<f32> = (0..topics * dim).map(|_| rng.normal()).collect();
    let offset: Vec<f32> = (0..dim).map(|_| 2.0 * rng.normal()).collect();
    let scale = |j: usize| 1.0 / (1.0 + j as f32 / 4.0);
    let mut rows = Vec::with_capacity(keys * dim);
    let mut values = Vec::with_capacity(keys * dim);
    for _ in 0..keys {
        let topic = rng.below(topics) * rng.below(topics) / topics;
        let norm = (0.2 * rng.normal()).exp();
        for j in 0..dim {
            let content = centres[topic * dim + j] + 0.6 * rng.normal();
            rows.push(offset[j] + norm * content * scale(j));
            values.push(centres[topic * dim + (j * 5 + 1) % dim] + 0.5 * rng.normal() + 0.3);
        }
    }
    let mut wanted = Vec::with_capacity(queries * dim);
    for _ in 0..queries {
        let topic = rng.below(topics);
        wanted.extend(
            (0..dim).map(|j| (1.6 * centres[topic * dim + j] + 0.8 * rng.normal()) / scale(j).sqrt() - offset[j]),
        );
    }
    (rows, wanted, values)
}

/// Attention in f64 over the keys for which `keep` holds.
pub fn dense(
    query: &[f32],
    keys: &[f32],
    values: &[f32],
    value_dim: usize,
    scale: f32,
    keep: impl Fn(usize) -> bool,
) -> (Vec<f64>, f64) {
    let dim = query.len();
    let score = |i: usize| -> f64 {
        query.iter().zip(&keys[i * dim..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() * f64::from(scale)
    };
    let kept: Vec<usize> = (0..keys.len() / dim).filter(|i| keep(*i)).collect();
    let most = kept.iter().map(|i| score(*i)).fold(f64::NEG_INFINITY, f64::max);
    let mut sum = vec![0f64; value_dim];
    let mut weight = 0f64;
    for i in kept {
        let w = (score(i) - most).exp();
        weight += w;
        for (sum, value) in sum.iter_mut().zip(&values[i * value_dim..]) {
            *sum += w * f64::from(*value);
        }
    }
    (sum.iter().map(|x| x / weight).collect(), most + weight.ln())
}

/// Values that are the same in half precision, so that a comparison measures the arithmetic and not the storage.
pub fn to_half_grid(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = sparrow_kernels::f16::from_f32(*x).to_f32());
}

/// |a - b| / |b|.
pub fn relative(a: &[f32], b: &[f64]) -> f64 {
    let difference: f64 = a.iter().zip(b).map(|(x, y)| (f64::from(*x) - y).powi(2)).sum();
    (difference / b.iter().map(|y| y * y).sum::<f64>().max(1e-300)).sqrt()
}
