//! Weighted sums of rows of four-bit codes.

use core::arch::x86_64::*;

use crate::blocks::LANES;
use crate::nibble_rows::{finish, shape};
use crate::prefetch::stream;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn add_nibble_rows(weights: &[u8], units: &[f32], rows: &[u8], lines: &[[f32; 2]], sums: &mut [f32]) {
    let (dim, each) = (lines.len(), units.len());
    let (stride, count) = shape(weights.len(), each, rows.len(), dim, sums.len());
    let mut totals = vec![0i32; each * dim];
    let mut first = 0;
    while first < each {
        let (weights, totals) = (&weights[first * stride..], &mut totals[first * dim..]);
        first += match each - first {
            4.. => (add::<4>(weights, stride, rows, dim, totals), 4),
            3 => (add::<3>(weights, stride, rows, dim, totals), 3),
            2 => (add::<2>(weights, stride, rows, dim, totals), 2),
            _ => (add::<1>(weights, stride, rows, dim, totals), 1),
        }
        .1;
    }
    for (q, (totals, sums)) in totals.chunks_exact(dim).zip(sums.chunks_exact_mut(dim)).enumerate() {
        finish(totals, &weights[q * stride..][..count], units[q], lines, sums);
    }
}

/// Totals of `Q` sums, up to 64 columns at a time: `4 · Q` of them stay in registers over all rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add<const Q: usize>(weights: &[u8], stride: usize, rows: &[u8], dim: usize, totals: &mut [i32]) {
    let mut start = 0;
    while start < dim {
        start += match (dim - start) / LANES {
            4.. => (columns::<Q, 4>(weights, stride, rows, dim, start, totals), 64),
            3 => (columns::<Q, 3>(weights, stride, rows, dim, start, totals), 48),
            2 => (columns::<Q, 2>(weights, stride, rows, dim, start, totals), 32),
            _ => (columns::<Q, 1>(weights, stride, rows, dim, start, totals), 16),
        }
        .1;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn columns<const Q: usize, const B: usize>(
    weights: &[u8],
    stride: usize,
    rows: &[u8],
    dim: usize,
    start: usize,
    totals: &mut [i32],
) {
    let count = 2 * rows.len() / dim;
    let weights: [&[[u8; 8]]; Q] = std::array::from_fn(|q| &weights[q * stride..][..count].as_chunks().0[..count / 8]);
    let mut sums = [[_mm512_setzero_si512(); B]; Q];
    let half = _mm512_set1_epi8(15);
    for (i, eight) in rows.chunks_exact(4 * dim).enumerate() {
        if Q > 1 {
            (0..B).for_each(|b| stream(rows, 4 * (i * dim + start) + 64 * b));
        }
        let eight = &eight[4 * start..][..64 * B];
        let (mut low, mut high) = ([_mm512_setzero_si512(); B], [_mm512_setzero_si512(); B]);
        for b in 0..B {
            // SAFETY: `eight` is `B` times 64 bytes.
            let both = unsafe { _mm512_loadu_si512(eight.as_ptr().add(64 * b).cast()) };
            (low[b], high[b]) = (_mm512_and_si512(both, half), _mm512_and_si512(_mm512_srli_epi16::<4>(both), half));
        }
        for (sums, weights) in sums.iter_mut().zip(weights) {
            let [a, b, c, d, e, f, g, h] = weights[i];
            let first = _mm512_set1_epi32(i32::from_le_bytes([a, b, c, d]));
            let second = _mm512_set1_epi32(i32::from_le_bytes([e, f, g, h]));
            for b in 0..B {
                sums[b] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums[b], first, low[b]), second, high[b]);
            }
        }
    }
    for (q, sums) in sums.into_iter().enumerate() {
        for (b, sum) in sums.into_iter().enumerate() {
            let target = &mut totals[q * dim + start + LANES * b..][..LANES];
            // SAFETY: the target is 16 elements long.
            unsafe { _mm512_storeu_si512(target.as_mut_ptr().cast(), sum) };
        }
    }
}
