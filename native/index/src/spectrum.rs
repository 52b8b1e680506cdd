//! How many dimensions the scores of a head really have.

use crate::geometry::{Geometry, covariance};
use crate::rows::Rows;

/// Shares of the variance of scores over keys and queries by direction, largest first: `[dim]`, summing to 1. A head whose
/// first twenty hold 90 % is easy for any index; a flat spectrum is hard for all.
pub fn score_spectrum(keys: Rows<'_>, queries: Rows<'_>) -> Vec<f64> {
    // In the query geometry, the variance of scores along a direction is the variance of the mapped keys.
    let mapped = Geometry::of(queries).map(keys);
    let mut values = eigenvalues(covariance(Rows { data: &mapped, dim: keys.dim }), keys.dim);
    values.iter_mut().for_each(|x| *x = x.max(0.0));
    values.sort_by(|a, b| b.total_cmp(a));
    let total: f64 = values.iter().sum();
    values.iter().map(|x| if total > 0.0 { x / total } else { 0.0 }).collect()
}

/// Eigenvalues of a symmetric matrix by cyclic Jacobi rotations.
fn eigenvalues(mut matrix: Vec<f64>, dim: usize) -> Vec<f64> {
    // Ten sweeps square the rest ten times over: far below rounding for any size we meet.
    for _ in 0..10 {
        for p in 0..dim {
            for q in p + 1..dim {
                let off = matrix[p * dim + q];
                if off == 0.0 {
                    continue;
                }
                let theta = (matrix[q * dim + q] - matrix[p * dim + p]) / (2.0 * off);
                let tangent = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let tangent = if theta == 0.0 { 1.0 } else { tangent };
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for k in 0..dim {
                    let (a, b) = (matrix[k * dim + p], matrix[k * dim + q]);
                    matrix[k * dim + p] = cosine * a - sine * b;
                    matrix[k * dim + q] = sine * a + cosine * b;
                }
                for k in 0..dim {
                    let (a, b) = (matrix[p * dim + k], matrix[q * dim + k]);
                    matrix[p * dim + k] = cosine * a - sine * b;
                    matrix[q * dim + k] = sine * a + cosine * b;
                }
            }
        }
    }
    (0..dim).map(|i| matrix[i * dim + i]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn eigenvalues_of_known_matrices() {
        let mut found = eigenvalues(vec![2.0, 1.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0, 5.0], 3);
        found.sort_by(f64::total_cmp);
        for (found, expected) in found.iter().zip([1.0, 3.0, 5.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    #[test]
    fn directions_that_queries_ignore_do_not_count() {
        let (dim, count) = (6, 4000);
        let mut rng = Rng::new(2);
        // Keys vary alike in all directions; queries only in two.
        let keys: Vec<f32> = (0..dim * count).map(|_| rng.normal()).collect();
        let queries: Vec<f32> = (0..dim * count).map(|i| if i % dim < 2 { rng.normal() } else { 0.0 }).collect();
        let shares = score_spectrum(Rows { data: &keys, dim }, Rows { data: &queries, dim });
        assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(shares[0] + shares[1] > 0.99, "{shares:?}");
        assert!(shares[1] > 0.4);
    }
}
