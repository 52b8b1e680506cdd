//! Weighted sums of rows in half precision.

use core::arch::x86_64::*;

use half::f16;

use super::{load_f16, load_f32};
use crate::portable::row;
use crate::prefetch::prefetch;

/// Sixty-four columns at a time stay in eight registers over all rows. (1,024 rows of 64: 1.3 ns a row, 31 with the sum in memory.)
#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn add_rows<'a>(weighted: impl Iterator<Item = (f32, &'a [f16])> + Clone, sum: &mut [f32]) {
    let whole = sum.len() / 64 * 64;
    let (wide, rest) = sum.split_at_mut(whole);
    for (number, sum) in wide.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let mut lanes: [__m256; 8] = std::array::from_fn(|k| load_f32(&sum[8 * k..8 * k + 8], 0));
        for (weight, row) in weighted.clone() {
            let (weight, row) = (_mm256_set1_ps(weight), &row[64 * number..64 * number + 64]);
            for (k, lane) in lanes.iter_mut().enumerate() {
                *lane = _mm256_fmadd_ps(weight, load_f16(&row[8 * k..8 * k + 8], 0), *lane);
            }
        }
        for (lane, target) in lanes.into_iter().zip(sum.as_chunks_mut::<8>().0) {
            // SAFETY: the target is eight elements long.
            unsafe { _mm256_storeu_ps(target.as_mut_ptr(), lane) };
        }
    }
    for (number, sum) in rest.chunks_mut(8).enumerate() {
        let start = whole + 8 * number;
        let mut total = load_f32(sum, 0);
        for (weight, row) in weighted.clone() {
            total = _mm256_fmadd_ps(_mm256_set1_ps(weight), load_f16(row, start), total);
        }
        let mut lanes = [0f32; 8];
        // SAFETY: eight elements of our own.
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), total) };
        sum.copy_from_slice(&lanes[..sum.len()]);
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn gather_add_f16(weights: &[f32], rows: &[f16], ids: &[u32], sum: &mut [f32]) {
    assert_eq!(ids.len(), weights.len());
    let dim = sum.len();
    let each = ids.iter().enumerate().map(|(i, id)| {
        // At random places no hardware foresees them.
        if let Some(id) = ids.get(i + 8) {
            (0..dim).step_by(32).for_each(|column| prefetch(rows, *id as usize * dim + column));
        }
        row(rows, dim, *id)
    });
    add_rows(weights.iter().copied().zip(each), sum);
}
