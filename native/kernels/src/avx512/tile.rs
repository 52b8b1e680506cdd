//! A tile of a product of matrices: six rows of four vectors are the sums that registers hold.

use core::arch::x86_64::*;

use crate::tile::{EXP2, LEAST, TILE_COLUMNS, Tile};

/// Vectors of a row.
const VECTORS: usize = TILE_COLUMNS / 16;

#[target_feature(enable = "avx512f")]
pub(super) fn multiply_tile(shape: Tile, a: &[f32], b: &[f32], c: &mut [f32]) {
    shape.check(a.len(), b.len(), c.len());
    match shape.rows {
        1 => rows::<1>(shape, a, b, c),
        2 => rows::<2>(shape, a, b, c),
        3 => rows::<3>(shape, a, b, c),
        4 => rows::<4>(shape, a, b, c),
        5 => rows::<5>(shape, a, b, c),
        _ => rows::<6>(shape, a, b, c),
    }
}

/// The lengths have been checked for `R` rows.
#[inline]
#[target_feature(enable = "avx512f")]
fn rows<const R: usize>(Tile { depth, a_stride, c_stride, add, .. }: Tile, a: &[f32], b: &[f32], c: &mut [f32]) {
    let a: [&[f32]; R] = std::array::from_fn(|r| &a[r * a_stride..][..depth]);
    let b = &b.as_chunks::<TILE_COLUMNS>().0[..depth];
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; R];
    if add {
        for (r, sums) in sums.iter_mut().enumerate() {
            let c = &c[r * c_stride..][..TILE_COLUMNS];
            // SAFETY: 64 elements.
            *sums = std::array::from_fn(|v| unsafe { _mm512_loadu_ps(c.as_ptr().add(16 * v)) });
        }
    }
    for (k, b) in b.iter().enumerate() {
        // SAFETY: 64 elements.
        let b: [__m512; VECTORS] = std::array::from_fn(|v| unsafe { _mm512_loadu_ps(b.as_ptr().add(16 * v)) });
        for (a, sums) in a.iter().zip(&mut sums) {
            let a = _mm512_set1_ps(a[k]);
            for (b, sum) in b.iter().zip(sums) {
                *sum = _mm512_fmadd_ps(a, *b, *sum);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let c = &mut c[r * c_stride..][..TILE_COLUMNS];
        for (v, sum) in sums.into_iter().enumerate() {
            // SAFETY: 64 elements.
            unsafe { _mm512_storeu_ps(c.as_mut_ptr().add(16 * v), sum) };
        }
    }
}

#[target_feature(enable = "avx512f")]
pub(super) fn weigh_rows(scores: &mut [[f32; TILE_COLUMNS]], most: &[f32], sums: &mut [f32]) {
    assert!(scores.len() == most.len() && scores.len() == sums.len(), "{} rows of scores", scores.len());
    let factors = EXP2.map(|c| _mm512_set1_ps(c));
    for ((scores, most), sum) in scores.iter_mut().zip(most).zip(sums) {
        let mut total = _mm512_setzero_ps();
        for scores in scores.as_chunks_mut::<16>().0 {
            // SAFETY: 16 elements.
            let x = _mm512_sub_ps(unsafe { _mm512_loadu_ps(scores.as_ptr()) }, _mm512_set1_ps(*most));
            let whole = _mm512_roundscale_ps::<8>(x);
            // Of -inf that would be no number; any will do, the power is 0.
            let f = _mm512_maskz_sub_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, _mm512_set1_ps(LEAST)), x, whole);
            let p = factors.iter().rev().fold(_mm512_setzero_ps(), |p, c| _mm512_fmadd_ps(p, f, *c));
            let power = _mm512_scalef_ps(_mm512_fmadd_ps(p, f, _mm512_set1_ps(1.0)), whole);
            // SAFETY: 16 elements.
            unsafe { _mm512_storeu_ps(scores.as_mut_ptr(), power) };
            total = _mm512_add_ps(total, power);
        }
        *sum = _mm512_reduce_add_ps(total);
    }
}
