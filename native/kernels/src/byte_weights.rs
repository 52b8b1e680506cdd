//! Weights of keys from their products, as bytes, in one pass.

use crate::blocks::LANES;
use crate::nibble_rows::DITHER;

/// Coefficients of `2^f - 1` for |f| up to a half, from f on: off by a ten-thousandth at most and by half of that on average, which is
/// nothing beside a weight's rounding to bytes.
pub(crate) const EXP2: [f32; 3] = [0.693_282_9, 0.242_210_98, 0.055_009_1];
/// Logarithms of weights are kept from here to [`MOST`], so that they, their sums and what divides by them are normal numbers.
pub(crate) const LEAST: f32 = -100.0;
/// See [`LEAST`].
pub(crate) const MOST: f32 = 100.0;

/// `2^(dot · unit + offset)`. Fused, so that every set gets the same bits.
#[inline(always)]
pub(crate) fn weight(dot: i32, unit: f32, offset: f32) -> f32 {
    let log = (dot as f32).mul_add(unit, offset).clamp(LEAST, MOST);
    let whole = log.round_ties_even();
    let f = log - whole;
    let p = EXP2[2].mul_add(f, EXP2[1]).mul_add(f, EXP2[0]).mul_add(f, 1.0);
    p * f32::from_bits(((whole as i32 + 127) as u32) << 23)
}

/// Codes for weights up to the largest, or up to `bar` where that is less: (codes in a weight of 1, weight of a code).
#[inline(always)]
pub(crate) fn factor(most: i32, unit: f32, offset: f32, bar: f32) -> (f32, f32) {
    // At least the least weight: a bar of nothing is no divisor.
    let top = weight(most, unit, offset).min(bar).max(1.0 / (1u128 << 100) as f32);
    (255.0 / top, top / 255.0)
}

/// The body of [`Kernels::byte_weights`](crate::Kernels::byte_weights).
pub(crate) fn byte_weights(
    dots: &[i32],
    [unit, offset]: [f32; 2],
    bar: f32,
    first: u32,
    codes: &mut [u8],
    heavy: &mut Vec<(f32, u32)>,
) -> (f32, f32) {
    let most = largest(dots);
    check(dots.len(), codes.len());
    let (factor, step) = factor(most, unit, offset, bar);
    let mut sums = [0f32; LANES];
    for (i, (dot, code)) in dots.iter().zip(codes).enumerate() {
        let weight = weight(*dot, unit, offset);
        sums[i % LANES] += weight;
        let light = if weight > bar {
            heavy.push((weight, first + i as u32));
            0.0
        } else {
            weight
        };
        // What is added makes a weight round to itself on average.
        *code = light.mul_add(factor, DITHER[i % DITHER.len()]).round_ties_even() as u8;
    }
    (sums.iter().sum(), step)
}

/// The largest product.
#[inline(always)]
pub(crate) fn largest(dots: &[i32]) -> i32 {
    dots.iter().copied().fold(i32::MIN, i32::max)
}

/// # Panics
/// When there are not as many codes as products, in whole blocks.
pub(crate) fn check(dots: usize, codes: usize) {
    assert!(
        dots == codes && dots.is_multiple_of(LANES),
        "{codes} codes for {dots} products, expected blocks of {LANES}"
    );
}
