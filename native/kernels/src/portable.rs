//! Plain Rust in lane arrays: the oracle of the other sets, and the only one where there is no x86. On aarch64, where NEON
//! is always there, the compiler turns these loops into NEON code.

use half::f16;

use crate::blocks::LANES;
use crate::kernel_set::Kernels;

/// Kernels that run anywhere.
pub struct Portable(());

impl Portable {
    /// Always there.
    pub fn new() -> &'static Self {
        static SET: Portable = Portable(());
        &SET
    }
}

/// `Σ term(a[i], b[i])` in 16 partial sums.
#[inline(always)]
fn reduce<A: Copy, B: Copy>(a: &[A], b: &[B], term: impl Fn(A, B) -> f32) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of different lengths");
    let mut sums = [0f32; LANES];
    let (heads, tail) = a.as_chunks::<LANES>();
    let (other_heads, other_tail) = b.as_chunks::<LANES>();
    for (x, y) in heads.iter().zip(other_heads) {
        for lane in 0..LANES {
            sums[lane] += term(x[lane], y[lane]);
        }
    }
    for (lane, (x, y)) in tail.iter().zip(other_tail).enumerate() {
        sums[lane] += term(*x, *y);
    }
    sums.iter().sum()
}

/// Half to single precision without branches (so that it vectorises): the exponent is rebiased by a multiplication,
/// which also gets subnormals right; infinity and NaN, whose exponent field must become all ones, are patched after.
#[inline(always)]
fn widen(value: f16) -> f32 {
    let bits = u32::from(value.to_bits());
    let magnitude = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
    let special = if bits & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude.to_bits() | special | (bits & 0x8000) << 16)
}

/// Row `id` of a matrix with rows of `dim` elements.
#[inline(always)]
pub(crate) fn row<T>(rows: &[T], dim: usize, id: u32) -> &[T] {
    &rows[id as usize * dim..][..dim]
}

/// Rows that several sums add at a time, few enough to stay in the cache from one pass over them to the next. (Four sums of 16,640 rows from
/// memory, Zen 5: AVX2 128 µs with 64 columns, 255 with 128; 128 and 393 with all rows in each pass.)
pub const ROWS: usize = 256;

/// (weights of each sum, rows) of a weighted sum for each of several.
///
/// # Panics
/// When the lengths do not fit.
pub fn weighted_shape(weights: usize, rows: usize, dim: usize, sums: usize) -> (usize, usize) {
    let (count, each) = (rows / dim.max(1), sums / dim.max(1));
    let stride = weights / each.max(1);
    let whole = rows == count * dim && sums == each * dim && (each == 0 || weights == stride * each && stride >= count);
    assert!(whole, "{weights} weights, {rows} row elements and {sums} sum elements of dimension {dim} do not fit");
    (stride, count)
}

/// Checks the arguments of a scan and returns (queries, keys).
pub(crate) fn scan_shape(queries: usize, dim: usize, blocks: usize, out: usize) -> (usize, usize) {
    assert!(dim > 0 && queries.is_multiple_of(dim), "{queries} query elements are no multiple of dimension {dim}");
    assert_eq!(blocks % (dim * LANES), 0, "{blocks} elements are not whole blocks of dimension {dim}");
    let (queries, keys) = (queries / dim, blocks / dim);
    assert_eq!(out, queries * keys, "scan output of {out} elements, expected {queries} × {keys}");
    (queries, keys)
}

/// `exp(x)` for x ≤ about 88: 2^n · p(f) with a degree-6 polynomial on |f| ≤ ln2/2; 0 below -87.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    let clamped = x.clamp(-87.3, 88.0);
    // At this size the last bit counts ones: the sum is rounded, and its low bits are the integer. A conversion would not do: Rust's
    // saturates, which takes compilers a branch a lane. (28K scores: 2.9 times as fast.)
    const ROUND: f32 = 12_582_912.0;
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    // ln 2 in two parts, so that the reduced argument is exact to f32.
    let f = (clamped - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.0 / 720.0;
    let p = p * f + 1.0 / 120.0;
    let p = p * f + 1.0 / 24.0;
    let p = p * f + 1.0 / 6.0;
    let p = p * f + 0.5;
    let p = p * f + 1.0;
    let p = p * f + 1.0;
    let scaled = p * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.3 { 0.0 } else { scaled }
}

/// The body of [`Kernels::exp_sum`], inlined into each set so that the compiler vectorises it for that set.
#[inline(always)]
pub(crate) fn exp_sum(values: &mut [f32], shift: f32, scale: f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (heads, tail) = values.as_chunks_mut::<LANES>();
    for chunk in heads {
        for lane in 0..LANES {
            chunk[lane] = exp((chunk[lane] - shift) * scale);
            sums[lane] += chunk[lane];
        }
    }
    for (lane, value) in tail.iter_mut().enumerate() {
        *value = exp((*value - shift) * scale);
        sums[lane] += *value;
    }
    sums.iter().sum()
}

/// The body of [`Kernels::max`], inlined into each set as [`exp_sum`] is.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut best = [f32::NEG_INFINITY; 2 * LANES];
    let (heads, tail) = values.as_chunks::<{ 2 * LANES }>();
    for chunk in heads {
        for lane in 0..2 * LANES {
            best[lane] = if chunk[lane] > best[lane] { chunk[lane] } else { best[lane] };
        }
    }
    tail.iter().chain(&best).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// The body of [`Kernels::count_above`], inlined into each set as [`exp_sum`] is.
#[inline(always)]
pub(crate) fn count_above(values: &[f32], threshold: f32) -> usize {
    let mut counts = [0u32; 2 * LANES];
    let (heads, tail) = values.as_chunks::<{ 2 * LANES }>();
    for chunk in heads {
        for lane in 0..2 * LANES {
            counts[lane] += u32::from(chunk[lane] > threshold);
        }
    }
    counts.iter().sum::<u32>() as usize + tail.iter().filter(|x| **x > threshold).count()
}

/// The body of [`Kernels::squares_below`], inlined into each set as [`exp_sum`] is.
#[inline(always)]
pub(crate) fn squares_below(values: &[f32], threshold: f32) -> f32 {
    let mut sums = [0f32; 4 * LANES];
    let (heads, tail) = values.as_chunks::<{ 4 * LANES }>();
    for chunk in heads {
        for lane in 0..4 * LANES {
            let value = if chunk[lane] < threshold { chunk[lane] } else { 0.0 };
            sums[lane] += value * value;
        }
    }
    let rest = tail.iter().filter(|x| **x < threshold).map(|x| x * x);
    sums.iter().sum::<f32>() + rest.sum::<f32>()
}

/// The body of [`Kernels::scale_sum`], inlined into each set as [`exp_sum`] is.
#[inline(always)]
pub(crate) fn scale_sum(values: &mut [f32], factor: f32) -> f32 {
    let mut sums = [0f32; LANES];
    let (heads, tail) = values.as_chunks_mut::<LANES>();
    for chunk in heads {
        for lane in 0..LANES {
            chunk[lane] *= factor;
            sums[lane] += chunk[lane];
        }
    }
    for (lane, value) in tail.iter_mut().enumerate() {
        *value *= factor;
        sums[lane] += *value;
    }
    sums.iter().sum()
}

/// The body of [`Kernels::ranks`], inlined into each set as [`exp_sum`] is.
#[inline(always)]
pub(crate) fn ranks(values: &[f32], ranks: &mut [u32]) {
    assert_eq!(values.len(), ranks.len());
    for (own, ranks) in values.chunks(LANES).zip(ranks.chunks_mut(LANES)) {
        let mut lanes = [f32::NAN; LANES];
        lanes[..own.len()].copy_from_slice(own);
        let mut counts = [0u32; LANES];
        for value in values {
            for lane in 0..LANES {
                counts[lane] += u32::from(*value > lanes[lane]);
            }
        }
        ranks.copy_from_slice(&counts[..own.len()]);
    }
}

impl Kernels for Portable {
    fn name(&self) -> &'static str {
        if cfg!(target_arch = "aarch64") { "neon" } else { "portable" }
    }

    fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        reduce(a, b, |x, y| x * y)
    }

    fn l2_f32(&self, a: &[f32], b: &[f32]) -> f32 {
        reduce(a, b, |x, y| (x - y) * (x - y))
    }

    fn gather_dot_f32(&self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len());
        for (id, out) in ids.iter().zip(out) {
            *out = self.dot_f32(query, row(rows, query.len(), *id));
        }
    }

    fn gather_l2_f32(&self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len());
        for (id, out) in ids.iter().zip(out) {
            *out = self.l2_f32(query, row(rows, query.len(), *id));
        }
    }

    fn gather_dot_f16(&self, query: &[f32], rows: &[f16], ids: &[u32], out: &mut [f32]) {
        assert_eq!(ids.len(), out.len());
        for (id, out) in ids.iter().zip(out) {
            *out = reduce(query, row(rows, query.len(), *id), |x, y| x * widen(y));
        }
    }

    fn gather_dot_u8(&self, query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]) {
        assert_eq!(ids.len(), out.len());
        for (id, out) in ids.iter().zip(out) {
            let row = row(rows, query.len(), *id);
            *out = query.iter().zip(row).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum();
        }
    }

    fn scan_f32(&self, queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]) {
        scan(queries, dim, blocks, out, |x| x);
    }

    fn scan_f16(&self, queries: &[f32], dim: usize, blocks: &[f16], out: &mut [f32]) {
        scan(queries, dim, blocks, out, widen);
    }

    fn scan_u8(&self, queries: &[i8], dim: usize, blocks: &[u8], out: &mut [i32]) {
        let (_, keys) = scan_shape(queries.len(), dim, blocks.len(), out.len());
        for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(keys.max(1))) {
            for (block, out) in blocks.chunks_exact(dim * LANES).zip(out.chunks_exact_mut(LANES)) {
                let mut sums = [0i32; LANES];
                for (group, four) in block.chunks_exact(4 * LANES).zip(query.chunks_exact(4)) {
                    for lane in 0..LANES {
                        for part in 0..4 {
                            sums[lane] += i32::from(group[lane * 4 + part]) * i32::from(four[part]);
                        }
                    }
                }
                out.copy_from_slice(&sums);
            }
        }
    }

    fn gather_add_f16(&self, weights: &[f32], rows: &[f16], ids: &[u32], sum: &mut [f32]) {
        assert_eq!(ids.len(), weights.len());
        let dim = sum.len();
        for (id, weight) in ids.iter().zip(weights) {
            for (sum, value) in sum.iter_mut().zip(row(rows, dim, *id)) {
                *sum += weight * widen(*value);
            }
        }
    }

    fn add_rows_f16(&self, weights: &[f32], rows: &[f16], sum: &mut [f32]) {
        assert_eq!(rows.len(), weights.len() * sum.len());
        for (row, weight) in rows.chunks_exact(sum.len().max(1)).zip(weights) {
            for (sum, value) in sum.iter_mut().zip(row) {
                *sum += weight * widen(*value);
            }
        }
    }

    fn exp_sum(&self, values: &mut [f32], shift: f32, scale: f32) -> f32 {
        exp_sum(values, shift, scale)
    }

    fn max(&self, values: &[f32]) -> f32 {
        max(values)
    }

    fn count_above(&self, values: &[f32], threshold: f32) -> usize {
        count_above(values, threshold)
    }

    fn squares_below(&self, values: &[f32], threshold: f32) -> f32 {
        squares_below(values, threshold)
    }

    fn scale_sum(&self, values: &mut [f32], factor: f32) -> f32 {
        scale_sum(values, factor)
    }

    fn ranks(&self, values: &[f32], out: &mut [u32]) {
        ranks(values, out);
    }

    fn above(&self, scores: &[f32], threshold: f32, first: u32, out: &mut Vec<(f32, u32)>) {
        out.extend((first..).zip(scores).filter(|(_, score)| **score > threshold).map(|(id, score)| (*score, id)));
    }
}

#[inline(always)]
fn scan<T: Copy>(queries: &[f32], dim: usize, blocks: &[T], out: &mut [f32], widen: impl Fn(T) -> f32) {
    let (_, keys) = scan_shape(queries.len(), dim, blocks.len(), out.len());
    for (query, out) in queries.chunks_exact(dim).zip(out.chunks_exact_mut(keys.max(1))) {
        for (block, out) in blocks.chunks_exact(dim * LANES).zip(out.chunks_exact_mut(LANES)) {
            let mut sums = [0f32; LANES];
            for (values, weight) in block.chunks_exact(LANES).zip(query) {
                for lane in 0..LANES {
                    sums[lane] += weight * widen(values[lane]);
                }
            }
            out.copy_from_slice(&sums);
        }
    }
}
