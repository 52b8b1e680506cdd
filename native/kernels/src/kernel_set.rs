//! The contract that every instruction set fulfils, and the choice among them.

use std::sync::OnceLock;

use half::f16;

use crate::byte_products::{ByteRows, CodeFormat};
use crate::portable::{Portable, ROWS, weighted_shape};
use crate::split_weights::Picked;
use crate::tile::{TILE_COLUMNS, Tile};

/// Vector kernels of one instruction set. Row-major matrices are flat slices whose row length is the query's length;
/// "blocks" are the layout of [`crate::pack_blocks`]. Sums are f32 (i32 for bytes) in an order of the implementation's own
/// choosing, so results differ between sets in the last bits; bytes are exact in all of them.
///
/// Every method panics when a length does not fit or an id is out of range, and never reads out of bounds.
pub trait Kernels: Send + Sync {
    /// What the set is called in reports: "avx512", "avx2", "neon", "portable".
    fn name(&self) -> &'static str;

    /// `<a, b>`; equal lengths.
    fn dot_f32(&self, a: &[f32], b: &[f32]) -> f32;

    /// `|a - b|²`; equal lengths.
    fn l2_f32(&self, a: &[f32], b: &[f32]) -> f32;

    /// `out[i] = <query, rows[ids[i]]>`.
    fn gather_dot_f32(&self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]);

    /// `out[i] = |query - rows[ids[i]]|²`.
    fn gather_l2_f32(&self, query: &[f32], rows: &[f32], ids: &[u32], out: &mut [f32]);

    /// `out[i] = <query, rows[ids[i]]>` over half-precision rows.
    fn gather_dot_f16(&self, query: &[f32], rows: &[f16], ids: &[u32], out: &mut [f32]);

    /// `out[i] = <query, rows[ids[i]]>` over unsigned bytes against signed ones, exact.
    fn gather_dot_u8(&self, query: &[i8], rows: &[u8], ids: &[u32], out: &mut [i32]);

    /// Scores of several queries (`[queries, dim]`) against all keys in one pass over them, so that the queries share
    /// each read: `out[q · keys + i]`, where `keys = blocks.len() / dim`.
    fn scan_f32(&self, queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]);

    /// As [`Kernels::scan_f32`] over half-precision blocks.
    fn scan_f16(&self, queries: &[f32], dim: usize, blocks: &[f16], out: &mut [f32]);

    /// As [`Kernels::scan_f32`] over byte blocks ([`crate::pack_byte_blocks`]); `dim` is a multiple of 4.
    fn scan_u8(&self, queries: &[i8], dim: usize, blocks: &[u8], out: &mut [i32]);

    /// `sum[j] += Σ_i weights[i] · rows[ids[i]][j]`.
    fn gather_add_f16(&self, weights: &[f32], rows: &[f16], ids: &[u32], sum: &mut [f32]);

    /// `sum[j] += Σ_i weights[i] · rows[i][j]`.
    fn add_rows_f16(&self, weights: &[f32], rows: &[f16], sum: &mut [f32]);

    /// As [`Kernels::add_rows_f16`] for several weighted sums (`[sums, dim]`) in one pass over the rows: `weights` is
    /// `[sums, stride]`, of which the first weights of each belong to the rows.
    fn add_rows_to_each_f16(&self, weights: &[f32], rows: &[f16], dim: usize, sums: &mut [f32]) {
        let (stride, count) = weighted_shape(weights.len(), rows.len(), dim, sums.len());
        for start in (0..count).step_by(ROWS) {
            let end = count.min(start + ROWS);
            for (weights, sum) in weights.chunks_exact(stride.max(1)).zip(sums.chunks_exact_mut(dim.max(1))) {
                self.add_rows_f16(&weights[start..end], &rows[start * dim..end * dim], sum);
            }
        }
    }

    /// As [`Kernels::add_rows_to_each_f16`] over rows of four-bit codes in the layout of [`crate::pack_nibbles`], where a code `c` of element `j`
    /// stands for `lines[j][0] · c + lines[j][1]`, with weights in bytes, those of sum `q` in units of `units[q]`.
    ///
    /// # Panics
    /// When the lengths do not fit, the dimension (`lines.len()`) is no multiple of 16, or there are more than 65,536 rows.
    fn add_nibble_rows(&self, weights: &[u8], units: &[f32], rows: &[u8], lines: &[[f32; 2]], sums: &mut [f32]) {
        crate::nibble_rows::add(weights, units, rows, lines, sums);
    }

    /// Weights `2^(dots[i] · line[0] + line[1])` as bytes, for [`Kernels::add_nibble_rows`]: those above `bar` are appended to `heavy` with
    /// their places, counted from `first`, and have the code 0; the others are rounded up or down such that neither is favoured. Returns
    /// the sum of all weights and the unit of the codes: 1/255 of the largest, or of `bar` where that is less. The same bits in all sets.
    ///
    /// # Panics
    /// When there are not as many codes as products, or no whole blocks of 16 of them.
    fn byte_weights(
        &self,
        dots: &[i32],
        line: [f32; 2],
        bar: f32,
        first: u32,
        codes: &mut [u8],
        heavy: &mut Vec<(f32, u32)>,
    ) -> (f32, f32) {
        crate::byte_weights::byte_weights(dots, line, bar, first, codes, heavy)
    }

    /// The largest of the products; the least number there is when there are none.
    fn largest_dot(&self, dots: &[i32]) -> i32 {
        crate::byte_weights::largest(dots)
    }

    /// Whether [`Kernels::add_nibble_rows`] takes less time than [`Kernels::add_rows_to_each_f16`]: where there is a product of bytes. (Without one,
    /// three sums of 1,024 rows of 64 took 4.8 ns a row in bytes, 1.3 in half precision, both AVX2.)
    fn nibble_sums_pay(&self) -> bool {
        false
    }

    /// Estimated masses of clusters, and the standard deviations of their errors, from the scores of their means: a cluster of n keys (`starts`
    /// counts them) whose scaled scores have the mean `line[0] · scores[c]` and the variance `v = line[1] · spreads[c]²` has the mass
    /// `n exp(mean + min(v / 2, 2))`; its keys' weights scatter independently with the relative variance `exp(min(v, 8)) - 1`. Returns the
    /// logarithm of the unit of masses, such that one key of the largest estimate weighs 1, and the sum of all masses in it.
    ///
    /// # Panics
    /// When the lengths do not fit.
    fn cluster_masses(
        &self,
        scores: &[f32],
        spreads: &[f32],
        starts: &[u32],
        line: [f32; 2],
        masses: &mut [f32],
        errors: &mut [f32],
    ) -> (f32, f32) {
        crate::cluster_masses::cluster_masses(scores, spreads, starts, line, masses, errors)
    }

    /// `Σ masses[c] · min(factor · spreads[c]², most)`: by how much weighting moves the scores of keys above the means of their clusters.
    ///
    /// # Panics
    /// When the lengths differ.
    fn lean(&self, masses: &[f32], spreads: &[f32], factor: f32, most: f32) -> f32 {
        crate::cluster_masses::lean(masses, spreads, factor, most)
    }

    /// Rows times a panel of [`crate::byte_products`]: `out[row · 32 + n] = Σ x[row][k] · w[n][k]`. Whole numbers are added up exactly, blocks of 32
    /// in order, so that all sets get the same bits, whatever the rows beside it.
    ///
    /// # Panics
    /// When the lengths do not fit.
    fn multiply_panel(&self, format: CodeFormat, codes: &[u8], lines: &[f16], rows: &ByteRows, out: &mut [f32]) {
        crate::byte_products::multiply_panel(format, codes, lines, rows, out);
    }

    /// A tile of a product: `c[r][j] = Σ_k a[r][k] · b[k][j]` for 64 columns `j`, added to what `c` holds where `add` says so; rows of `a` and `c` are
    /// their strides apart. One multiply-add after the other in rising order of `k`, so that a row does not depend on those beside it.
    ///
    /// # Panics
    /// When the lengths do not fit, or a stride is less than a row.
    fn multiply_tile(&self, shape: Tile, a: &[f32], b: &[f32], c: &mut [f32]) {
        crate::tile::multiply_tile(shape, a, b, c);
    }

    /// Weights of rows of 64 scores: each becomes `2^(score - most[row])`, which is at most 1; returns the rows' sums in `sums`. Relative error below 3e-7;
    /// `-inf` gives 0, NaN itself.
    ///
    /// # Panics
    /// When the lengths differ.
    fn weigh_rows(&self, scores: &mut [[f32; TILE_COLUMNS]], most: &[f32], sums: &mut [f32]) {
        crate::tile::weigh_rows(scores, most, sums);
    }

    /// Whether [`Kernels::multiply_panel`] is faster than what a software adapter makes of shaders.
    fn products_pay(&self) -> bool {
        false
    }

    /// Replaces every `x` by `exp((x - shift) · scale)` and returns the sum. Relative error below 3e-7; `-inf` gives 0.
    fn exp_sum(&self, values: &mut [f32], shift: f32, scale: f32) -> f32;

    /// The largest value, ignoring NaN; `-inf` when there is none.
    fn max(&self, values: &[f32]) -> f32;

    /// How many values are above `threshold`. NaN is never above.
    fn count_above(&self, values: &[f32], threshold: f32) -> usize;

    /// The sum of the squares of the values below `threshold`. NaN is never below.
    fn squares_below(&self, values: &[f32], threshold: f32) -> f32;

    /// Multiplies every value by `factor` and returns the sum of what they become.
    fn scale_sum(&self, values: &mut [f32], factor: f32) -> f32;

    /// `out[i] = dots[i] · line[0] + line[1]`: scores from products of bytes.
    ///
    /// # Panics
    /// When the lengths differ.
    fn affine(&self, dots: &[i32], line: [f32; 2], out: &mut [f32]) {
        crate::affine::affine(dots, line, out);
    }

    /// Appends the weights of `bars[0]` and more, numbered from `first`, in order, to `picked[0]`, or from `bars[1]` on to `picked[1]`. Returns
    /// the sum of the others and that of their products with `scores`. `bars[1]` is not below `bars[0]`.
    ///
    /// # Panics
    /// When the lengths differ.
    fn split_weights(
        &self,
        weights: &[f32],
        scores: &[f32],
        bars: [f32; 2],
        first: u32,
        picked: &mut [Picked; 2],
    ) -> [f32; 2] {
        crate::split_weights::split_weights(weights, scores, bars, first, picked)
    }

    /// `ranks[i]` = how many values are larger than `values[i]`, by comparing all with all: for a few hundred values that is
    /// faster than any sort, since nothing is predicted wrong. Equal lengths.
    fn ranks(&self, values: &[f32], ranks: &mut [u32]);

    /// Appends `(scores[i], first + i)` for every score above `threshold`, in order. NaN is never above.
    fn above(&self, scores: &[f32], threshold: f32, first: u32, out: &mut Vec<(f32, u32)>);
}

/// The fastest set of this machine.
pub fn best() -> &'static dyn Kernels {
    static BEST: OnceLock<&'static dyn Kernels> = OnceLock::new();
    *BEST.get_or_init(|| available()[0])
}

/// Every set that this machine can run, fastest first. Under Miri only the portable one.
pub fn available() -> Vec<&'static dyn Kernels> {
    let mut sets: Vec<&'static dyn Kernels> = Vec::new();
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        if let Some(set) = crate::avx512::Avx512::new() {
            sets.push(set);
        }
        if let Some(set) = crate::avx2::Avx2::new() {
            sets.push(set);
        }
    }
    sets.push(Portable::new());
    sets
}
