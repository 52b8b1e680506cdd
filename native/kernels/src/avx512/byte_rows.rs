//! Weighted sums of rows of bytes.

use core::arch::x86_64::*;

use crate::blocks::LANES;
use crate::byte_rows::{finish, shape};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn add_byte_rows(codes: &[u8], units: &[f32], rows: &[i8], scales: &[f32], sums: &mut [f32]) {
    let (dim, each) = (scales.len(), units.len());
    let (stride, _) = shape(codes.len(), each, rows.len(), dim, sums.len());
    let mut totals = vec![0i32; each * dim];
    let mut first = 0;
    while first < each {
        let (codes, totals) = (&codes[first * stride..], &mut totals[first * dim..]);
        first += match each - first {
            4.. => (add::<4>(codes, stride, rows, dim, totals), 4),
            3 => (add::<3>(codes, stride, rows, dim, totals), 3),
            2 => (add::<2>(codes, stride, rows, dim, totals), 2),
            _ => (add::<1>(codes, stride, rows, dim, totals), 1),
        }
        .1;
    }
    for ((totals, unit), sums) in totals.chunks_exact(dim).zip(units.iter().copied()).zip(sums.chunks_exact_mut(dim)) {
        finish(totals, unit, scales, sums);
    }
}

/// Totals of `Q` sums, up to 64 columns at a time: `4 · Q` of them stay in registers over all rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add<const Q: usize>(codes: &[u8], stride: usize, rows: &[i8], dim: usize, totals: &mut [i32]) {
    let mut start = 0;
    while start < dim {
        start += match (dim - start) / LANES {
            4.. => (columns::<Q, 4>(codes, stride, rows, dim, start, totals), 64),
            3 => (columns::<Q, 3>(codes, stride, rows, dim, start, totals), 48),
            2 => (columns::<Q, 2>(codes, stride, rows, dim, start, totals), 32),
            _ => (columns::<Q, 1>(codes, stride, rows, dim, start, totals), 16),
        }
        .1;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn columns<const Q: usize, const B: usize>(
    codes: &[u8],
    stride: usize,
    rows: &[i8],
    dim: usize,
    start: usize,
    totals: &mut [i32],
) {
    let count = rows.len() / dim;
    let codes: [&[[u8; 4]]; Q] = std::array::from_fn(|q| &codes[q * stride..][..count].as_chunks().0[..count / 4]);
    let mut sums = [[_mm512_setzero_si512(); B]; Q];
    for (i, four) in rows.chunks_exact(4 * dim).enumerate() {
        let four = &four[4 * start..][..64 * B];
        // SAFETY: `four` is `B` times 64 bytes.
        let values: [__m512i; B] =
            std::array::from_fn(|b| unsafe { _mm512_loadu_si512(four.as_ptr().add(64 * b).cast()) });
        for (sums, codes) in sums.iter_mut().zip(codes) {
            let weights = _mm512_set1_epi32(i32::from_le_bytes(codes[i]));
            for (sum, values) in sums.iter_mut().zip(values) {
                *sum = _mm512_dpbusd_epi32(*sum, weights, values);
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
