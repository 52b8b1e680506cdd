//! Weighted sums of rows.

use core::arch::x86_64::*;
use std::ops::Range;

use half::f16;

use super::{load_f16, load_f32, low16};
use crate::blocks::LANES;
use crate::portable::{ROWS, row, weighted_shape};
use crate::prefetch::{prefetch, stream};

/// `ahead(i, column)` asks for what comes after the cache line of row `i` that starts there.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_rows<'a>(
    weighted: impl Iterator<Item = (f32, &'a [f16])> + Clone,
    ahead: impl Fn(usize, usize),
    sum: &mut [f32],
) {
    // Sixty-four columns at a time stay in four registers over all rows.
    for start in (0..sum.len()).step_by(64) {
        let mut lanes = [_mm512_setzero_ps(); 4];
        for (k, lane) in lanes.iter_mut().enumerate() {
            if start + 16 * k < sum.len() {
                *lane = load_f32(sum, start + 16 * k);
            }
        }
        for (i, (weight, row)) in weighted.clone().enumerate() {
            let weight = _mm512_set1_ps(weight);
            ahead(i, start);
            if start + 32 < row.len() {
                ahead(i, start + 32);
            }
            for (k, lane) in lanes.iter_mut().enumerate() {
                if start + 16 * k < row.len() {
                    *lane = _mm512_fmadd_ps(weight, load_f16(row, start + 16 * k), *lane);
                }
            }
        }
        for (k, lane) in lanes.into_iter().enumerate() {
            if start + 16 * k < sum.len() {
                let target = &mut sum[start + 16 * k..];
                // SAFETY: the mask leaves only lanes inside the slice.
                unsafe { _mm512_mask_storeu_ps(target.as_mut_ptr(), low16(target.len()), lane) };
            }
        }
    }
}

/// Rows asked for before they are added: at random places no hardware foresees them.
const AHEAD: usize = 8;

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn gather_add_f16(weights: &[f32], rows: &[f16], ids: &[u32], sum: &mut [f32]) {
    assert_eq!(ids.len(), weights.len());
    let dim = sum.len();
    let ahead = |i: usize, column: usize| match ids.get(i + AHEAD) {
        // Columns of later rounds come with the first.
        Some(id) if column == 0 => (0..dim).step_by(32).for_each(|at| prefetch(rows, *id as usize * dim + at)),
        _ => {}
    };
    add_rows(weights.iter().copied().zip(ids.iter().map(|id| row(rows, dim, *id))), ahead, sum);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn add_rows_f16(weights: &[f32], rows: &[f16], sum: &mut [f32]) {
    assert_eq!(rows.len(), weights.len() * sum.len());
    let dim = sum.len().max(1);
    let ahead = |i: usize, column: usize| stream(rows, i * dim + column);
    add_rows(weights.iter().copied().zip(rows.chunks_exact(dim)), ahead, sum);
}

/// `Q` weighted sums from number `first`, `16 L` columns at a time, over the rows in `range`: rows are widened once for all of them, and each step
/// has `L Q` sums that do not wait for each other. `dim` is a multiple of `16 L`. (Four sums of 16,640 rows of 64 from memory, Zen 5: 57 µs
/// with 64 columns at a time, 136 with 32, which read each row in two halves. Exact attention of four queries over 128K keys takes 0.71 of the time.)
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn add_rows_to<const Q: usize, const L: usize>(
    weights: &[f32],
    rows: &[f16],
    dim: usize,
    range: &Range<usize>,
    [first, stride]: [usize; 2],
    sums: &mut [f32],
) {
    let weights: [&[f32]; Q] = std::array::from_fn(|q| &weights[(first + q) * stride..][range.clone()]);
    let own = &rows[range.start * dim..range.end * dim];
    for start in (0..dim).step_by(16 * L) {
        let mut lanes: [[__m512; L]; Q] = std::array::from_fn(|q| {
            let sum = &sums[(first + q) * dim + start..][..16 * L];
            std::array::from_fn(|k| load_f32(&sum[16 * k..][..16], 0))
        });
        for (i, row) in own.chunks_exact(dim).enumerate() {
            (start..start + 16 * L).step_by(32).for_each(|column| stream(rows, (range.start + i) * dim + column));
            let row = &row[start..start + 16 * L];
            let values: [__m512; L] = std::array::from_fn(|k| load_f16(&row[16 * k..][..16], 0));
            for q in 0..Q {
                let weight = _mm512_set1_ps(weights[q][i]);
                for (lane, values) in lanes[q].iter_mut().zip(values) {
                    *lane = _mm512_fmadd_ps(weight, values, *lane);
                }
            }
        }
        for (q, lanes) in lanes.into_iter().enumerate() {
            let sum = &mut sums[(first + q) * dim + start..][..16 * L];
            for (lane, target) in lanes.into_iter().zip(sum.as_chunks_mut::<LANES>().0) {
                // SAFETY: the target is 16 elements long.
                unsafe { _mm512_storeu_ps(target.as_mut_ptr(), lane) };
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn add_rows_to_each_f16(weights: &[f32], rows: &[f16], dim: usize, sums: &mut [f32]) {
    let (stride, count) = weighted_shape(weights.len(), rows.len(), dim, sums.len());
    let each = sums.len() / dim.max(1);
    if each == 1 {
        return add_rows_f16(&weights[..count], rows, sums);
    }
    for start in (0..count).step_by(ROWS) {
        let range = start..count.min(start + ROWS);
        let mut first = 0;
        while first < each {
            let place = [first, stride];
            let wide = dim.is_multiple_of(64);
            first += match if dim.is_multiple_of(32) { each - first } else { 1 } {
                4.. if wide => (add_rows_to::<4, 4>(weights, rows, dim, &range, place, sums), 4),
                4.. => (add_rows_to::<4, 2>(weights, rows, dim, &range, place, sums), 4),
                3 if wide => (add_rows_to::<3, 4>(weights, rows, dim, &range, place, sums), 3),
                3 => (add_rows_to::<3, 2>(weights, rows, dim, &range, place, sums), 3),
                2 if wide => (add_rows_to::<2, 4>(weights, rows, dim, &range, place, sums), 2),
                2 => (add_rows_to::<2, 2>(weights, rows, dim, &range, place, sums), 2),
                _ => {
                    let weights = &weights[first * stride..][range.clone()];
                    let own = &rows[range.start * dim..range.end * dim];
                    (add_rows_f16(weights, own, &mut sums[first * dim..][..dim]), 1)
                }
            }
            .1;
        }
    }
}
