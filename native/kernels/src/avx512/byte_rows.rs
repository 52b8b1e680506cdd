//! Weighted sums of rows of bytes.

use core::arch::x86_64::*;

use super::{load_f32, low16};
use crate::blocks::LANES;
use crate::byte_rows::{DITHER, finish, shape};

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn add_byte_rows(weights: &[f32], rows: &[i8], scales: &[f32], sums: &mut [f32]) {
    let (dim, (stride, count)) = (scales.len(), shape(weights.len(), rows.len(), scales.len(), sums.len()));
    let each = sums.len() / dim;
    let mut codes = vec![0u8; each * count];
    let units: Vec<f32> =
        (0..each).map(|q| round(&weights[q * stride..][..count], &mut codes[q * count..][..count])).collect();
    let mut totals = vec![0i32; each * dim];
    let mut first = 0;
    while first < each {
        let (codes, totals) = (&codes[first * count..], &mut totals[first * dim..]);
        first += match each - first {
            4.. => (add::<4>(codes, rows, dim, totals), 4),
            3 => (add::<3>(codes, rows, dim, totals), 3),
            2 => (add::<2>(codes, rows, dim, totals), 2),
            _ => (add::<1>(codes, rows, dim, totals), 1),
        }
        .1;
    }
    for ((totals, unit), sums) in totals.chunks_exact(dim).zip(units).zip(sums.chunks_exact_mut(dim)) {
        finish(totals, unit, scales, sums);
    }
}

/// As the portable rounding, to the bit.
#[target_feature(enable = "avx512f")]
fn round(weights: &[f32], codes: &mut [u8]) -> f32 {
    let most = crate::portable::max(weights);
    if most <= 0.0 {
        codes.fill(0);
        return 0.0;
    }
    let factor = _mm512_set1_ps(255.0 / most);
    for start in (0..weights.len()).step_by(LANES) {
        // Not fused, so that every set rounds alike.
        let scaled = _mm512_add_ps(_mm512_mul_ps(load_f32(weights, start), factor), load_f32(&DITHER, start % 64));
        let target = &mut codes[start..];
        // SAFETY: the mask leaves only bytes inside the slice.
        unsafe {
            _mm512_mask_cvtusepi32_storeu_epi8(
                target.as_mut_ptr().cast(),
                low16(target.len()),
                _mm512_cvtps_epi32(scaled),
            )
        };
    }
    most / 255.0
}

/// Totals of `Q` sums, up to 64 columns at a time: `4 · Q` of them stay in registers over all rows.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn add<const Q: usize>(codes: &[u8], rows: &[i8], dim: usize, totals: &mut [i32]) {
    let mut start = 0;
    while start < dim {
        start += match (dim - start) / LANES {
            4.. => (columns::<Q, 4>(codes, rows, dim, start, totals), 64),
            3 => (columns::<Q, 3>(codes, rows, dim, start, totals), 48),
            2 => (columns::<Q, 2>(codes, rows, dim, start, totals), 32),
            _ => (columns::<Q, 1>(codes, rows, dim, start, totals), 16),
        }
        .1;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn columns<const Q: usize, const B: usize>(codes: &[u8], rows: &[i8], dim: usize, start: usize, totals: &mut [i32]) {
    let count = rows.len() / dim;
    let codes: [&[[u8; 4]]; Q] = std::array::from_fn(|q| &codes[q * count..][..count].as_chunks().0[..count / 4]);
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
