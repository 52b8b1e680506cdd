//! Estimates of clusters from what is known of them without their keys.

use crate::blocks::LANES;
use crate::portable::{exp, max};

/// A few keys do not have the tail of a normal distribution: half the variance, which such a spread of scores adds to the logarithm of a
/// cluster's mass, counts up to this,
pub const MOST_CORRECTION: f32 = 2.0;
/// and the variance that weights scatter by up to this.
pub const MOST_VARIANCE: f32 = 8.0;

/// The body of [`crate::Kernels::cluster_masses`], inlined into each set so that the compiler vectorises it for that set.
#[inline(always)]
pub(crate) fn cluster_masses(
    scores: &[f32],
    spreads: &[f32],
    starts: &[u32],
    line: [f32; 2],
    masses: &mut [f32],
    errors: &mut [f32],
) -> (f32, f32) {
    let count = scores.len();
    assert!(
        [spreads.len(), masses.len(), errors.len()] == [count; 3] && starts.len() == count + 1,
        "{count} scores, {} spreads, {} starts, {} masses and {} errors do not fit",
        spreads.len(),
        starts.len(),
        masses.len(),
        errors.len()
    );
    let [scale, factor] = line;
    let each = masses.iter_mut().zip(errors.iter_mut()).zip(scores.iter().zip(spreads));
    for ((mass, error), (score, spread)) in each {
        let variance = factor * spread * spread;
        *error = if variance < MOST_VARIANCE { variance } else { MOST_VARIANCE };
        let half = 0.5 * variance;
        *mass = score * scale + if half < MOST_CORRECTION { half } else { MOST_CORRECTION };
    }
    let unit = max(masses);
    let sizes = starts.iter().zip(&starts[1..]);
    for ((mass, error), (start, end)) in masses.iter_mut().zip(errors).zip(sizes) {
        // Fewer than 2^31, and signed numbers convert in one instruction.
        let size = (end - start) as i32 as f32;
        let weight = exp(*mass - unit);
        *mass = size * weight;
        *error = weight * (size * (exp(*error) - 1.0)).sqrt();
    }
    (unit, sum(masses))
}

/// The sum in 16 parts.
#[inline(always)]
fn sum(values: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    let (heads, tail) = values.as_chunks::<LANES>();
    for chunk in heads {
        for lane in 0..LANES {
            sums[lane] += chunk[lane];
        }
    }
    sums.iter().sum::<f32>() + tail.iter().sum::<f32>()
}

/// The body of [`crate::Kernels::lean`], inlined as [`cluster_masses`] is.
#[inline(always)]
pub(crate) fn lean(masses: &[f32], spreads: &[f32], factor: f32, most: f32) -> f32 {
    assert_eq!(masses.len(), spreads.len(), "masses and spreads of different numbers of clusters");
    let mut sums = [0f32; LANES];
    let (heads, tail) = masses.as_chunks::<LANES>();
    let (spreads, spread_tail) = spreads.as_chunks::<LANES>();
    let term = |mass: f32, spread: f32| {
        let variance = factor * spread * spread;
        mass * if variance < most { variance } else { most }
    };
    for (masses, spreads) in heads.iter().zip(spreads) {
        for lane in 0..LANES {
            sums[lane] += term(masses[lane], spreads[lane]);
        }
    }
    let rest: f32 = tail.iter().zip(spread_tail).map(|(mass, spread)| term(*mass, *spread)).sum();
    sums.iter().sum::<f32>() + rest
}
