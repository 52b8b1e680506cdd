//! AVX2 with FMA and F16C: every x86-64 server and desktop since 2013. There is no masked load of halves or bytes, so
//! tails go through a zero-filled copy.

mod byte_products;
mod tile;
mod weighted;

use core::arch::x86_64::*;

use half::f16;

use weighted::{add_rows, gather_add_f16};

use crate::affine::affine;
use crate::blocks::LANES;
use crate::byte_products::{ByteRows, CodeFormat};
use crate::cluster_masses::{cluster_masses, lean};
use crate::kernel_set::Kernels;
use crate::nibble_rows;
use crate::portable::{Portable, count_above, exp_sum, max, ranks, row, scale_sum, scan_shape, squares_below};
use crate::split_weights::{Picked, split_weights};
use crate::tile::{TILE_COLUMNS, Tile};

/// Kernels for machines with AVX2, FMA and F16C.
pub struct Avx2(());

impl Avx2 {
    /// `None` when the machine lacks one of the features.
    pub fn new() -> Option<&'static Self> {
        static SET: Avx2 = Avx2(());
        let there =
            is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        there.then_some(&SET)
    }
}

/// `N` elements from `offset`, zeros past the end.
#[inline(always)]
fn padded<T: Copy + Default, const N: usize>(x: &[T], offset: usize) -> [T; N] {
    let mut out = [T::default(); N];
    let part = &x[offset..x.len().min(offset + N)];
    out[..part.len()].copy_from_slice(part);
    out
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_f32(x: &[f32], offset: usize) -> __m256 {
    if x.len() - offset >= 8 {
        // SAFETY: eight elements are there.
        return unsafe { _mm256_loadu_ps(x.as_ptr().add(offset)) };
    }
    // SAFETY: eight elements of our own.
    unsafe { _mm256_loadu_ps(padded::<f32, 8>(x, offset).as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn load_f16(x: &[f16], offset: usize) -> __m256 {
    if x.len() - offset >= 8 {
        // SAFETY: eight elements are there; f16 is a transparent u16.
        return _mm256_cvtph_ps(unsafe { _mm_loadu_si128(x.as_ptr().add(offset).cast()) });
    }
    // SAFETY: eight elements of our own.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(padded::<f16, 8>(x, offset).as_ptr().cast()) })
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum_f32(x: __m256) -> f32 {
    let half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
    let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn sum_i32(x: __m256i) -> i32 {
    let half = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256::<1>(x));
    let pair = _mm_add_epi32(half, _mm_shuffle_epi32::<0b01_00_11_10>(half));
    _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32::<0b10_11_00_01>(pair)))
}

/// A reduction over two vectors with two partial sums; `$term` maps two registers and a sum to the new sum.
macro_rules! reduction {
    ($name:ident, $other:ty, $load:ident, |$x:ident, $y:ident, $sum:ident| $term:expr) => {
        #[inline]
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $name(a: &[f32], b: &[$other]) -> f32 {
            assert_eq!(a.len(), b.len(), "vectors of different lengths");
            let mut sums = [_mm256_setzero_ps(); 2];
            for (step, i) in (0..a.len()).step_by(8).enumerate() {
                let ($x, $y, $sum) = (load_f32(a, i), $load(b, i), sums[step & 1]);
                sums[step & 1] = $term;
            }
            sum_f32(_mm256_add_ps(sums[0], sums[1]))
        }
    };
}
reduction!(dot_f32, f32, load_f32, |x, y, sum| _mm256_fmadd_ps(x, y, sum));
reduction!(dot_f16, f16, load_f16, |x, y, sum| _mm256_fmadd_ps(x, y, sum));
reduction!(l2_f32, f32, load_f32, |x, y, sum| {
    let difference = _mm256_sub_ps(x, y);
    _mm256_fmadd_ps(difference, difference, sum)
});

/// Bytes are widened to 16 bits before they meet: `maddubs` would saturate at 255 · 127 · 2.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn dot_u8(query: &[i8], row: &[u8]) -> i32 {
    assert_eq!(query.len(), row.len(), "vectors of different lengths");
    let mut sum = _mm256_setzero_si256();
    for i in (0..query.len()).step_by(16) {
        let (x, y) = (padded::<i8, 16>(query, i), padded::<u8, 16>(row, i));
        // SAFETY: sixteen elements of our own each.
        let (x, y) = unsafe { (_mm_loadu_si128(x.as_ptr().cast()), _mm_loadu_si128(y.as_ptr().cast())) };
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(x), _mm256_cvtepu8_epi16(y)));
    }
    sum_i32(sum)
}

/// A kernel over gathered rows.
macro_rules! gather {
    ($name:ident, $query:ty, $row:ty, $out:ty, $kernel:ident) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $name(query: &[$query], rows: &[$row], ids: &[u32], out: &mut [$out]) {
            assert_eq!(ids.len(), out.len());
            for (id, out) in ids.iter().zip(out) {
                *out = $kernel(query, row(rows, query.len(), *id));
            }
        }
    };
}
gather!(gather_dot_f32, f32, f32, f32, dot_f32);
gather!(gather_l2_f32, f32, f32, f32, l2_f32);
gather!(gather_dot_f16, f32, f16, f32, dot_f16);
gather!(gather_dot_u8, i8, u8, i32, dot_u8);

/// Scores of `Q` queries starting with number `first`, half a block at a time.
macro_rules! scan {
    ($name:ident, $element:ty, $load:ident) => {
        #[target_feature(enable = "avx2,fma,f16c")]
        fn $name<const Q: usize>(queries: &[f32], first: usize, dim: usize, blocks: &[$element], out: &mut [f32]) {
            let keys = blocks.len() / dim;
            let query: [&[f32]; Q] = std::array::from_fn(|q| &queries[(first + q) * dim..][..dim]);
            for (number, block) in blocks.chunks_exact(dim * LANES).enumerate() {
                let mut sums = [[_mm256_setzero_ps(); 2]; Q];
                for j in 0..dim {
                    let values = &block[j * LANES..][..LANES];
                    let (low, high) = ($load(values, 0), $load(values, 8));
                    for q in 0..Q {
                        let weight = _mm256_set1_ps(query[q][j]);
                        sums[q][0] = _mm256_fmadd_ps(low, weight, sums[q][0]);
                        sums[q][1] = _mm256_fmadd_ps(high, weight, sums[q][1]);
                    }
                }
                for (q, halves) in sums.into_iter().enumerate() {
                    let target = &mut out[(first + q) * keys + number * LANES..][..LANES];
                    for (half, sum) in target.chunks_exact_mut(8).zip(halves) {
                        // SAFETY: the half is 8 elements long.
                        unsafe { _mm256_storeu_ps(half.as_mut_ptr(), sum) };
                    }
                }
            }
        }
    };
}
scan!(scan_f32, f32, load_f32);
scan!(scan_f16, f16, load_f16);

#[target_feature(enable = "avx2,fma,f16c")]
fn scan_u8<const Q: usize>(queries: &[i8], first: usize, dim: usize, blocks: &[u8], out: &mut [i32]) {
    let keys = blocks.len() / dim;
    let query: [&[[i8; 4]]; Q] = std::array::from_fn(|q| queries[(first + q) * dim..][..dim].as_chunks().0);
    for (number, block) in blocks.chunks_exact(dim * LANES).enumerate() {
        // Register k holds two partial sums for each of the keys 4k to 4k + 3.
        let mut sums = [[_mm256_setzero_si256(); 4]; Q];
        for (j, group) in block.chunks_exact(64).enumerate() {
            for (k, part) in group.chunks_exact(16).enumerate() {
                // SAFETY: the part is 16 bytes long.
                let values = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(part.as_ptr().cast()) });
                for q in 0..Q {
                    let [a, b, c, d] = query[q][j].map(i64::from);
                    let four = a & 0xffff | (b & 0xffff) << 16 | (c & 0xffff) << 32 | d << 48;
                    let product = _mm256_madd_epi16(values, _mm256_set1_epi64x(four));
                    sums[q][k] = _mm256_add_epi32(sums[q][k], product);
                }
            }
        }
        for (q, parts) in sums.into_iter().enumerate() {
            let target = &mut out[(first + q) * keys + number * LANES..][..LANES];
            for (four, sum) in target.chunks_exact_mut(4).zip(parts) {
                let mut pairs = [0i32; 8];
                // SAFETY: eight elements of our own.
                unsafe { _mm256_storeu_si256(pairs.as_mut_ptr().cast(), sum) };
                for (out, pair) in four.iter_mut().zip(pairs.chunks_exact(2)) {
                    *out = pair[0] + pair[1];
                }
            }
        }
    }
}

/// Runs a scan over all queries, four, two or one at a time.
macro_rules! in_groups {
    ($kernel:ident, $queries:expr, $dim:expr, $blocks:expr, $out:expr) => {{
        let (count, _) = scan_shape($queries.len(), $dim, $blocks.len(), $out.len());
        let mut first = 0;
        while first < count {
            // SAFETY: holding an `Avx2` proves the features.
            first += unsafe {
                match count - first {
                    4.. => ($kernel::<4>($queries, first, $dim, $blocks, $out), 4),
                    2.. => ($kernel::<2>($queries, first, $dim, $blocks, $out), 2),
                    _ => ($kernel::<1>($queries, first, $dim, $blocks, $out), 1),
                }
            }
            .1;
        }
    }};
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_nibble_rows(weights: &[u8], units: &[f32], rows: &[u8], lines: &[[f32; 2]], sums: &mut [f32]) {
    nibble_rows::add(weights, units, rows, lines, sums);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn add_rows_f16(weights: &[f32], rows: &[f16], sum: &mut [f32]) {
    assert_eq!(rows.len(), weights.len() * sum.len());
    add_rows(weights.iter().copied().zip(rows.chunks_exact(sum.len().max(1))), sum);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn count_above_wide(values: &[f32], threshold: f32) -> usize {
    count_above(values, threshold)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn ranks_wide(values: &[f32], out: &mut [u32]) {
    ranks(values, out);
}

#[target_feature(enable = "avx2,fma,f16c")]
fn squares_below_wide(values: &[f32], threshold: f32) -> f32 {
    squares_below(values, threshold)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn scale_sum_wide(values: &mut [f32], factor: f32) -> f32 {
    scale_sum(values, factor)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn affine_wide(dots: &[i32], line: [f32; 2], out: &mut [f32]) {
    affine(dots, line, out)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn split_weights_wide(
    weights: &[f32],
    scores: &[f32],
    bars: [f32; 2],
    first: u32,
    picked: &mut [Picked; 2],
) -> [f32; 2] {
    split_weights(weights, scores, bars, first, picked)
}

#[target_feature(enable = "avx2,fma,f16c")]
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

#[target_feature(enable = "avx2,fma,f16c")]
fn lean_wide(masses: &[f32], spreads: &[f32], factor: f32, most: f32) -> f32 {
    lean(masses, spreads, factor, most)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn max_wide(values: &[f32]) -> f32 {
    max(values)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn exp_sum_wide(values: &mut [f32], shift: f32, scale: f32) -> f32 {
    exp_sum(values, shift, scale)
}

#[target_feature(enable = "avx2,fma,f16c")]
fn above(scores: &[f32], threshold: f32, first: u32, out: &mut Vec<(f32, u32)>) {
    let bar = _mm256_set1_ps(threshold);
    let whole = scores.len() / 8 * 8;
    for start in (0..whole).step_by(8) {
        let mut mask = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_GT_OQ>(load_f32(scores, start), bar));
        while mask != 0 {
            let i = start + mask.trailing_zeros() as usize;
            mask &= mask - 1;
            out.push((scores[i], first + i as u32));
        }
    }
    Portable::new().above(&scores[whole..], threshold, first + whole as u32, out);
}

impl Kernels for Avx2 {
    fn name(&self) -> &'static str {
        "avx2"
    }

    fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: holding an `Avx2` proves the features, here and below.
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
        in_groups!(scan_f32, queries, dim, blocks, out)
    }

    fn scan_f16(&self, queries: &[f32], dim: usize, blocks: &[f16], out: &mut [f32]) {
        in_groups!(scan_f16, queries, dim, blocks, out)
    }

    fn scan_u8(&self, queries: &[i8], dim: usize, blocks: &[u8], out: &mut [i32]) {
        in_groups!(scan_u8, queries, dim, blocks, out)
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
        unsafe { gather_add_f16(weights, rows, ids, sum) }
    }

    fn add_rows_f16(&self, weights: &[f32], rows: &[f16], sum: &mut [f32]) {
        // SAFETY: as above.
        unsafe { add_rows_f16(weights, rows, sum) }
    }

    fn add_nibble_rows(&self, weights: &[u8], units: &[f32], rows: &[u8], lines: &[[f32; 2]], sums: &mut [f32]) {
        // SAFETY: as above.
        unsafe { add_nibble_rows(weights, units, rows, lines, sums) }
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
        unsafe { count_above_wide(values, threshold) }
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
        unsafe { split_weights_wide(weights, scores, bars, first, picked) }
    }

    fn ranks(&self, values: &[f32], ranks: &mut [u32]) {
        // SAFETY: as above.
        unsafe { ranks_wide(values, ranks) }
    }

    fn above(&self, scores: &[f32], threshold: f32, first: u32, out: &mut Vec<(f32, u32)>) {
        // SAFETY: as above.
        unsafe { above(scores, threshold, first, out) }
    }
}
