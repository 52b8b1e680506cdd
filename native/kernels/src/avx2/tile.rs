//! A tile of a product of matrices: six rows of two vectors are the sums that registers hold, a quarter of the columns at a time.

use core::arch::x86_64::*;

use crate::tile::{TILE_COLUMNS, Tile};

/// Vectors of a row at a time.
const VECTORS: usize = 2;
/// Columns in them.
const COLUMNS: usize = 8 * VECTORS;

#[target_feature(enable = "avx2,fma")]
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
#[target_feature(enable = "avx2,fma")]
fn rows<const R: usize>(Tile { depth, a_stride, c_stride, add, .. }: Tile, a: &[f32], b: &[f32], c: &mut [f32]) {
    let a: [&[f32]; R] = std::array::from_fn(|r| &a[r * a_stride..][..depth]);
    let b = &b.as_chunks::<TILE_COLUMNS>().0[..depth];
    for first in (0..TILE_COLUMNS).step_by(COLUMNS) {
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; R];
        if add {
            for (r, sums) in sums.iter_mut().enumerate() {
                let c = &c[r * c_stride + first..][..COLUMNS];
                // SAFETY: 16 elements.
                *sums = std::array::from_fn(|v| unsafe { _mm256_loadu_ps(c.as_ptr().add(8 * v)) });
            }
        }
        for (k, b) in b.iter().enumerate() {
            let b = &b[first..first + COLUMNS];
            // SAFETY: 16 elements.
            let b: [__m256; VECTORS] = std::array::from_fn(|v| unsafe { _mm256_loadu_ps(b.as_ptr().add(8 * v)) });
            for (a, sums) in a.iter().zip(&mut sums) {
                let a = _mm256_set1_ps(a[k]);
                for (b, sum) in b.iter().zip(sums) {
                    *sum = _mm256_fmadd_ps(a, *b, *sum);
                }
            }
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let c = &mut c[r * c_stride + first..][..COLUMNS];
            for (v, sum) in sums.into_iter().enumerate() {
                // SAFETY: 16 elements.
                unsafe { _mm256_storeu_ps(c.as_mut_ptr().add(8 * v), sum) };
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
pub(super) fn weigh_rows(scores: &mut [[f32; TILE_COLUMNS]], most: &[f32], sums: &mut [f32]) {
    crate::tile::weigh_rows(scores, most, sums);
}
