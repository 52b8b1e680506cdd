//! AVX-512 with VNNI. Tails are masked loads, so any length works; 64-byte rows on a cache line are the fast case.

mod byte_products;
mod byte_weights;
mod nibble_rows;
mod scan;
mod split_weights;
mod tile;
mod weighted;

use core::arch::x86_64::*;

use half::f16;

use crate::affine::affine;
use crate::blocks::LANES;
use crate::byte_products::{ByteRows, CodeFormat};
use crate::cluster_masses::{cluster_masses, lean};
use crate::kernel_set::Kernels;
use crate::portable::{exp_sum, max, row, scale_sum, squares_below};
use crate::prefetch::prefetch;
use crate::split_weights::Picked;
use crate::tile::{TILE_COLUMNS, Tile};

/// Kernels for machines with AVX-512 F, BW, VL and VNNI (Ice Lake, Zen 4 and later).
pub struct Avx512(());

impl Avx512 {
    /// `None` when the machine or its operating system lacks one of the features.
    pub fn new() -> Option<&'static Self> {
        static SET: Avx512 = Avx512(());
        let there = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vnni")
            && is_x86_feature_detected!("popcnt");
        there.then_some(&SET)
    }
}

/// The mask of the low `n` lanes (all of them from 16 on).
#[inline(always)]
fn low16(n: usize) -> u16 {
    if n >= 16 { u16::MAX } else { (1 << n) - 1 }
}

/// Sixteen elements from `offset`, zeros past the end.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_f32(x: &[f32], offset: usize) -> __m512 {
    // SAFETY: the mask leaves only lanes inside the slice, and masked-out lanes are not accessed.
    unsafe { _mm512_maskz_loadu_ps(low16(x.len() - offset), x.as_ptr().add(offset)) }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn load_f16(x: &[f16], offset: usize) -> __m512 {
    // SAFETY: as `load_f32`; f16 is a transparent u16.
    _mm512_cvtph_ps(unsafe { _mm256_maskz_loadu_epi16(low16(x.len() - offset), x.as_ptr().add(offset).cast()) })
}

/// 64 bytes from `offset`, zeros past the end.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn load_bytes<T>(x: &[T], offset: usize) -> __m512i {
    const { assert!(size_of::<T>() == 1) }
    let left = x.len() - offset;
    let mask = if left >= 64 { u64::MAX } else { (1 << left) - 1 };
    // SAFETY: as `load_f32`, with elements of one byte.
    unsafe { _mm512_maskz_loadu_epi8(mask, x.as_ptr().add(offset).cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let (mut even, mut odd) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for i in (0..a.len()).step_by(32) {
        even = _mm512_fmadd_ps(load_f32(a, i), load_f32(b, i), even);
        if i + 16 < a.len() {
            odd = _mm512_fmadd_ps(load_f32(a, i + 16), load_f32(b, i + 16), odd);
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(even, odd))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn l2_f32(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let (mut even, mut odd) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for i in (0..a.len()).step_by(32) {
        let x = _mm512_sub_ps(load_f32(a, i), load_f32(b, i));
        even = _mm512_fmadd_ps(x, x, even);
        if i + 16 < a.len() {
            let y = _mm512_sub_ps(load_f32(a, i + 16), load_f32(b, i + 16));
            odd = _mm512_fmadd_ps(y, y, odd);
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(even, odd))
}

/// The sums of the lanes of four registers.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn sum_four(x: [__m512; 4]) -> [f32; 4] {
    let first = _mm512_add_ps(_mm512_unpacklo_ps(x[0], x[1]), _mm512_unpackhi_ps(x[0], x[1]));
    let second = _mm512_add_ps(_mm512_unpacklo_ps(x[2], x[3]), _mm512_unpackhi_ps(x[2], x[3]));
    // Each quarter now holds a partial sum of every register.
    let low = _mm512_shuffle_ps::<0b01_00_01_00>(first, second);
    let high = _mm512_shuffle_ps::<0b11_10_11_10>(first, second);
    let all = _mm512_add_ps(low, high);
    let half = _mm256_add_ps(
        _mm512_castps512_ps256(all),
        _mm512_castps512_ps256(_mm512_shuffle_f32x4::<0b11_10_11_10>(all, all)),
    );
    let quarter = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf32x4_ps::<1>(half));
    let mut sums = [0f32; 4];
    // SAFETY: the target is four elements long.
    unsafe { _mm_storeu_ps(sums.as_mut_ptr(), quarter) };
    sums
}

/// As [`sum_four`] for integers.
#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn sum_four_i32(x: [__m512i; 4]) -> [i32; 4] {
    let first = _mm512_add_epi32(_mm512_unpacklo_epi32(x[0], x[1]), _mm512_unpackhi_epi32(x[0], x[1]));
    let second = _mm512_add_epi32(_mm512_unpacklo_epi32(x[2], x[3]), _mm512_unpackhi_epi32(x[2], x[3]));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    let quarter = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti32x4_epi32::<1>(half));
    let mut sums = [0i32; 4];
    // SAFETY: the target is four elements long.
    unsafe { _mm_storeu_si128(sums.as_mut_ptr().cast(), quarter) };
    sums
}

/// Asks for the four rows after those of group `number`, which no hardware foresees.
#[inline(always)]
fn ahead<T>(rows: &[T], dim: usize, ids: &[u32], number: usize) {
    let line = 64 / size_of::<T>();
    for id in ids.iter().skip(4 * number + 4).take(4) {
        (0..dim).step_by(line).for_each(|column| prefetch(rows, *id as usize * dim + column));
    }
}

/// Four rows at a time, so that one reduction serves four sums; the last ones repeat a row. (118 half-precision rows of 32
/// elements: 0.49 µs, 0.59 where every load is masked.)
macro_rules! gather {
    ($name:ident, $element:ty, $features:literal, $load:ident, |$query:ident, $row:ident, $sum:ident| $step:expr) => {
        #[target_feature(enable = $features)]
        fn $name(query: &[f32], rows: &[$element], ids: &[u32], out: &mut [f32]) {
            assert_eq!(ids.len(), out.len());
            for (number, out) in out.chunks_mut(4).enumerate() {
                let some = &ids[4 * number..][..out.len()];
                let four: [&[$element]; 4] =
                    std::array::from_fn(|i| row(rows, query.len(), some[if i < some.len() { i } else { 0 }]));
                ahead(rows, query.len(), ids, number);
                let mut sums = [_mm512_setzero_ps(); 4];
                let whole = query.len() / LANES * LANES;
                for i in (0..whole).step_by(LANES) {
                    let $query = load_f32(&query[i..i + LANES], 0);
                    for ($sum, four) in sums.iter_mut().zip(four) {
                        let $row = $load(&four[i..i + LANES], 0);
                        *$sum = $step;
                    }
                }
                if whole < query.len() {
                    let $query = load_f32(query, whole);
                    for ($sum, four) in sums.iter_mut().zip(four) {
                        let $row = $load(four, whole);
                        *$sum = $step;
                    }
                }
                out.copy_from_slice(&sum_four(sums)[..out.len()]);
            }
        }
    };
}
gather!(gather_dot_f32, f32, "avx512f,avx512vl", load_f32, |query, row, sum| _mm512_fmadd_ps(query, row, *sum));
gather!(gather_dot_f16, f16, "avx512f,avx512bw,avx512vl", load_f16, |query, row, sum| _mm512_fmadd_ps(
    query, row, *sum
));
gather!(gather_l2_f32, f32, "avx512f,avx512vl", load_f32, |query, row, sum| {
    let difference = _mm512_sub_ps(query, row);
    _mm512_fmadd_ps(difference, difference, *sum)
});

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn gather_dot_u8(query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
    assert_eq!(ids.len(), out.len());
    for (ids, out) in ids.chunks(4).zip(out.chunks_mut(4)) {
        let four: [&[u8]; 4] = std::array::from_fn(|i| row(rows, query.len(), ids[if i < ids.len() { i } else { 0 }]));
        let mut sums = [_mm512_setzero_si512(); 4];
        for i in (0..query.len()).step_by(64) {
            let query = load_bytes(query, i);
            for (sum, four) in sums.iter_mut().zip(four) {
                *sum = _mm512_dpbusd_epi32(*sum, load_bytes(four, i), query);
            }
        }
        out.copy_from_slice(&sum_four_i32(sums)[..out.len()]);
    }
}

#[target_feature(enable = "avx512f,popcnt")]
fn count_above(values: &[f32], threshold: f32) -> usize {
    let bar = _mm512_set1_ps(threshold);
    let mut count = 0;
    for start in (0..values.len()).step_by(LANES) {
        let live = low16(values.len() - start);
        count += (_mm512_cmp_ps_mask::<_CMP_GT_OQ>(load_f32(values, start), bar) & live).count_ones();
    }
    count as usize
}

#[target_feature(enable = "avx512f")]
fn ranks(values: &[f32], ranks: &mut [u32]) {
    assert_eq!(values.len(), ranks.len());
    let one = _mm512_set1_epi32(1);
    for start in (0..values.len()).step_by(2 * LANES) {
        // Two groups of lanes at a time, each with a count of its own for odd values: four chains of additions.
        let second = (start + LANES).min(values.len());
        let lanes = [load_f32(values, start), load_f32(values, second)];
        let mut counts = [[_mm512_setzero_si512(); 2]; 2];
        for pair in values.chunks(2) {
            for (parity, value) in pair.iter().enumerate() {
                let value = _mm512_set1_ps(*value);
                for (lanes, counts) in lanes.iter().zip(&mut counts) {
                    let larger = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(value, *lanes);
                    counts[parity] = _mm512_mask_add_epi32(counts[parity], larger, counts[parity], one);
                }
            }
        }
        for (group, counts) in counts.into_iter().enumerate() {
            let from = start + group * LANES;
            if from < ranks.len() {
                let target = &mut ranks[from..];
                let sum = _mm512_add_epi32(counts[0], counts[1]);
                // SAFETY: the mask leaves only lanes inside the slice.
                unsafe { _mm512_mask_storeu_epi32(target.as_mut_ptr().cast(), low16(target.len()), sum) };
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn squares_below_wide(values: &[f32], threshold: f32) -> f32 {
    squares_below(values, threshold)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn scale_sum_wide(values: &mut [f32], factor: f32) -> f32 {
    scale_sum(values, factor)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn affine_wide(dots: &[i32], line: [f32; 2], out: &mut [f32]) {
    affine(dots, line, out)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn cluster_masses_wide(
    scores: &[f32],
    spreads: &[f32],
    starts: &[u32],
    line: [f32; 2],
    masses: &mut [f32],
    errors: &mut [f32],
) -> (f32, f32) {
    cluster_masses(scores, spreads, starts, line, masses, errors)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn lean_wide(masses: &[f32], spreads: &[f32], factor: f32, most: f32) -> f32 {
    lean(masses, spreads, factor, most)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn max_wide(values: &[f32]) -> f32 {
    max(values)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn exp_sum_wide(values: &mut [f32], shift: f32, scale: f32) -> f32 {
    exp_sum(values, shift, scale)
}

#[target_feature(enable = "avx512f")]
fn above(scores: &[f32], threshold: f32, first: u32, out: &mut Vec<(f32, u32)>) {
    let bar = _mm512_set1_ps(threshold);
    for start in (0..scores.len()).step_by(LANES) {
        let live = low16(scores.len() - start);
        let mut mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(load_f32(scores, start), bar) & live;
        while mask != 0 {
            let i = start + mask.trailing_zeros() as usize;
            mask &= mask - 1;
            out.push((scores[i], first + i as u32));
        }
    }
}

impl Kernels for Avx512 {
    fn name(&self) -> &'static str {
        "avx512"
    }

    fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: holding an `Avx512` proves the features, here and below.
        unsafe { dot_f32(a, b) }
    }

    fn l2_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: as above.
        unsafe { l2_f32(a, b) }
    }

    fn gather_dot_f32(&self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { gather_dot_f32(query, rows, ids, out) }
    }

    fn gather_l2_f32(&self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { gather_l2_f32(query, rows, ids, out) }
    }

    fn gather_dot_f16(&self, query: &[f32], rows: &[f16], ids: &[u32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { gather_dot_f16(query, rows, ids, out) }
    }

    fn gather_dot_u8(&self, query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
        // SAFETY: as above.
        unsafe { gather_dot_u8(query, rows, ids, out) }
    }

    fn scan_f32(&self, queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { scan::scan_f32(queries, dim, blocks, out) }
    }

    fn scan_f16(&self, queries: &[f32], dim: usize, blocks: &[f16], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { scan::scan_f16(queries, dim, blocks, out) }
    }

    fn scan_u8(&self, queries: &[i8], dim: usize, blocks: &[u8], out: &mut [i32]) {
        // SAFETY: as above.
        unsafe { scan::scan_u8(queries, dim, blocks, out) }
    }

    fn multiply_panel(&self, format: CodeFormat, codes: &[u8], lines: &[f16], rows: &ByteRows, out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { byte_products::multiply_panel(format, codes, lines, rows, out) }
    }

    fn multiply_tile(&self, shape: Tile, a: &[f32], b: &[f32], c: &mut [f32]) {
        // SAFETY: as above.
        unsafe { tile::multiply_tile(shape, a, b, c) }
    }

    fn weigh_rows(&self, scores: &mut [[f32; TILE_COLUMNS]], most: &[f32], sums: &mut [f32]) {
        // SAFETY: as above.
        unsafe { tile::weigh_rows(scores, most, sums) }
    }

    fn products_pay(&self) -> bool {
        true
    }

    fn gather_add_f16(&self, weights: &[f32], rows: &[f16], ids: &[u32], sum: &mut [f32]) {
        // SAFETY: as above.
        unsafe { weighted::gather_add_f16(weights, rows, ids, sum) }
    }

    fn add_rows_f16(&self, weights: &[f32], rows: &[f16], sum: &mut [f32]) {
        // SAFETY: as above.
        unsafe { weighted::add_rows_f16(weights, rows, sum) }
    }

    fn add_rows_to_each_f16(&self, weights: &[f32], rows: &[f16], dim: usize, sums: &mut [f32]) {
        // SAFETY: as above.
        unsafe { weighted::add_rows_to_each_f16(weights, rows, dim, sums) }
    }

    fn add_nibble_rows(&self, weights: &[u8], units: &[f32], rows: &[u8], lines: &[[f32; 2]], sums: &mut [f32]) {
        // SAFETY: as above.
        unsafe { nibble_rows::add_nibble_rows(weights, units, rows, lines, sums) }
    }

    fn byte_weights(
        &self,
        dots: &[i32],
        line: [f32; 2],
        bar: f32,
        first: u32,
        codes: &mut [u8],
        heavy: &mut Vec<(f32, u32)>,
    ) -> (f32, f32) {
        // SAFETY: as above.
        unsafe { byte_weights::byte_weights(dots, line, bar, first, codes, heavy) }
    }

    fn largest_dot(&self, dots: &[i32]) -> i32 {
        // SAFETY: as above.
        unsafe { byte_weights::largest_dot(dots) }
    }

    fn nibble_sums_pay(&self) -> bool {
        true
    }

    fn cluster_masses(
        &self,
        scores: &[f32],
        spreads: &[f32],
        starts: &[u32],
        line: [f32; 2],
        masses: &mut [f32],
        errors: &mut [f32],
    ) -> (f32, f32) {
        // SAFETY: as above.
        unsafe { cluster_masses_wide(scores, spreads, starts, line, masses, errors) }
    }

    fn lean(&self, masses: &[f32], spreads: &[f32], factor: f32, most: f32) -> f32 {
        // SAFETY: as above.
        unsafe { lean_wide(masses, spreads, factor, most) }
    }

    fn exp_sum(&self, values: &mut [f32], shift: f32, scale: f32) -> f32 {
        // SAFETY: as above.
        unsafe { exp_sum_wide(values, shift, scale) }
    }

    fn max(&self, values: &[f32]) -> f32 {
        // SAFETY: as above.
        unsafe { max_wide(values) }
    }

    fn count_above(&self, values: &[f32], threshold: f32) -> usize {
        // SAFETY: as above.
        unsafe { count_above(values, threshold) }
    }

    fn squares_below(&self, values: &[f32], threshold: f32) -> f32 {
        // SAFETY: as above.
        unsafe { squares_below_wide(values, threshold) }
    }

    fn scale_sum(&self, values: &mut [f32], factor: f32) -> f32 {
        // SAFETY: as above.
        unsafe { scale_sum_wide(values, factor) }
    }

    fn affine(&self, dots: &[i32], line: [f32; 2], out: &mut [f32]) {
        // SAFETY: as above.
        unsafe { affine_wide(dots, line, out) }
    }

    fn split_weights(
        &self,
        weights: &[f32],
        scores: &[f32],
        bars: [f32; 2],
        first: u32,
        picked: &mut [Picked; 2],
    ) -> [f32; 2] {
        // SAFETY: as above.
        unsafe { split_weights::split_weights(weights, scores, bars, first, picked) }
    }

    fn ranks(&self, values: &[f32], ranks: &mut [u32]) {
        // SAFETY: as above.
        unsafe { self::ranks(values, ranks) }
    }

    fn above(&self, scores: &[f32], threshold: f32, first: u32, out: &mut Vec<(f32, u32)>) {
        // SAFETY: as above.
        unsafe { above(scores, threshold, first, out) }
    }
}
