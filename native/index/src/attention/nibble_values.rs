//! Values by four bits: a quarter of the memory that half precision reads, and of the products.
//!
//! What rounding takes from a value is given to the next one (error diffusion), and keys lie in the order of their clusters: what weights of much
//! the same size make of neighbours is right on the whole, however coarse each is. Rounded to the nearest instead, the errors of values that
//! follow scores add up. (Eight layers of a real context of 128K tokens, keys above 1/4096 of the mass read in half precision: the output's error
//! is 0.2 to 0.5 %, by rounding 0.3 to 1.5 %; three bits 0.4 to 1.0 %.)

use sparrow_kernels::{Buffer, LANES, best, f16, pack_nibbles};

/// Values covered are a multiple of this.
pub(super) const WHOLE: usize = 1024;
/// Codes reach this many standard deviations from the mean, if a column has such elements. (2.8: 0.3 to 1.1 %; 4: 0.2 to 0.5 %; 5: 0.2 to 0.6 %.)
const REACH: f64 = 3.4;

/// The codes of the first values of a head.
pub(super) struct NibbleValues {
    codes: Buffer<u8>,
    /// What one step of a column's code is, and what its code of 0 stands for.
    pub lines: Vec<[f32; 2]>,
}

impl NibbleValues {
    /// Of as many rows of `values` (`[keys, dim]`) as make up whole tiles; `None` when those are none, the dimension is no multiple of 16,
    /// which byte products want, or the processor has no such products.
    pub fn of(values: &[f16], dim: usize) -> Option<Self> {
        let count = values.len() / dim.max(1) / WHOLE * WHOLE;
        if count == 0 || !dim.is_multiple_of(LANES) || !best().nibble_sums_pay() {
            return None;
        }
        let values = &values[..count * dim];
        let lines = lines(values, dim);
        let mut left = vec![0f32; dim];
        let mut codes = Vec::with_capacity(values.len());
        for row in values.chunks_exact(dim) {
            for ((x, [step, zero]), left) in row.iter().zip(&lines).zip(&mut left) {
                let wanted = (x.to_f32() - zero) / step + *left;
                let code = wanted.round().clamp(0.0, 15.0);
                // Of a value out of reach no more than a step is passed on.
                *left = (wanted - code).clamp(-1.0, 1.0);
                codes.push(code as u8);
            }
        }
        Some(Self { codes: Buffer::new(&pack_nibbles(&codes, dim)), lines })
    }

    /// Values covered.
    pub fn len(&self) -> usize {
        2 * self.codes.len() / self.lines.len()
    }

    /// The codes of these values; both ends are multiples of 8.
    pub fn rows(&self, range: std::ops::Range<usize>) -> &[u8] {
        &self.codes[range.start / 2 * self.lines.len()..range.end / 2 * self.lines.len()]
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.codes.len() + 8 * self.lines.len()
    }
}

/// A line for each column: sixteen levels around its mean.
fn lines(values: &[f16], dim: usize) -> Vec<[f32; 2]> {
    let (mut sums, mut squares) = (vec![0f64; dim], vec![0f64; dim]);
    let (mut least, mut most) = (vec![f32::INFINITY; dim], vec![f32::NEG_INFINITY; dim]);
    for row in values.chunks_exact(dim) {
        for (j, x) in row.iter().map(|x| x.to_f32()).enumerate() {
            sums[j] += f64::from(x);
            squares[j] += f64::from(x) * f64::from(x);
            (least[j], most[j]) = (least[j].min(x), most[j].max(x));
        }
    }
    let count = (values.len() / dim) as f64;
    let line = |j: usize| {
        let mean = sums[j] / count;
        let deviation = (squares[j] / count - mean * mean).max(0.0).sqrt();
        let furthest = (f64::from(most[j]) - mean).max(mean - f64::from(least[j]));
        // The outer levels stand half a step inside what they cover.
        let step = (furthest.min(REACH * deviation) / 8.0).max(1e-20);
        [step as f32, (mean - 7.5 * step) as f32]
    };
    (0..dim).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    /// Values by their codes.
    fn decoded(values: &NibbleValues) -> Vec<f32> {
        let dim = values.lines.len();
        let code = |i: usize, j: usize| values.codes[i / 8 * 4 * dim + 4 * j + i % 4] >> (i % 8 / 4 * 4) & 15;
        let row = |i: usize| (0..dim).map(move |j| (i, j));
        let of = |(i, j): (usize, usize)| values.lines[j][0] * f32::from(code(i, j)) + values.lines[j][1];
        (0..values.len()).flat_map(row).map(of).collect()
    }

    #[test]
    fn runs_of_values_are_right_on_the_whole() {
        if !best().nibble_sums_pay() {
            return;
        }
        let (dim, count) = (32, 2 * WHOLE);
        let mut rng = Rng::new(3);
        let values: Vec<f16> = (0..(count + 5) * dim)
            .map(|at| f16::from_f32(if at % dim == 7 { 0.25 } else { (rng.normal() + 3.0) * (1 + at % dim) as f32 }))
            .collect();
        let coded = NibbleValues::of(&values, dim).unwrap();
        assert_eq!((coded.len(), coded.rows(8..24).len()), (count, 8 * dim));
        let found = decoded(&coded);
        for j in 0..dim {
            let step = coded.lines[j][0];
            let mut left = 0.0;
            for i in 0..count {
                let off = values[i * dim + j].to_f32() - found[i * dim + j];
                assert!(off.abs() < 2.6 * step + 1e-6, "row {i}, column {j}: off by {off} at a step of {step}");
                left += off;
                // From the start to any row: no more than is passed on, and what fell out of reach.
                assert!(
                    left.abs() < 8.0 * step + 1e-3,
                    "{i} values of column {j} are off by {left} at a step of {step}"
                );
            }
        }
    }

    #[test]
    fn what_makes_no_tile_or_has_no_kernel_is_left() {
        let values = vec![f16::ONE; (WHOLE - 1) * 16];
        assert!(NibbleValues::of(&values, 16).is_none());
        assert!(NibbleValues::of(&vec![f16::ONE; WHOLE * 17], 17).is_none());
        assert!(NibbleValues::of(&[], 16).is_none());
    }
}
