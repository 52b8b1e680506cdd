//! A tile of a product of matrices in single precision.

/// Columns of a tile.
pub const TILE_COLUMNS: usize = 64;
/// Most rows of one.
pub const TILE_ROWS: usize = 6;

/// Sizes of a tile.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    /// 1 to [`TILE_ROWS`].
    pub rows: usize,
    /// Numbers that are multiplied and added up.
    pub depth: usize,
    /// Elements from one row of the first factor to the next.
    pub a_stride: usize,
    /// Elements from one row of the result to the next.
    pub c_stride: usize,
    /// Whether the products are added to what is there.
    pub add: bool,
}

impl Tile {
    /// Checks the lengths of the factors and of the result.
    pub(crate) fn check(&self, a: usize, b: usize, c: usize) {
        let Tile { rows, depth, a_stride, c_stride, .. } = *self;
        assert!(
            (1..=TILE_ROWS).contains(&rows)
                && a_stride >= depth
                && c_stride >= TILE_COLUMNS
                && a >= (rows - 1) * a_stride + depth
                && b >= depth * TILE_COLUMNS
                && c >= (rows - 1) * c_stride + TILE_COLUMNS,
            "{self:?} of {a} and {b} elements into {c}"
        );
    }
}

/// The body of [`Kernels::multiply_tile`](crate::Kernels::multiply_tile).
pub(crate) fn multiply_tile(shape: Tile, a: &[f32], b: &[f32], c: &mut [f32]) {
    shape.check(a.len(), b.len(), c.len());
    let Tile { rows, depth, a_stride, c_stride, add } = shape;
    for r in 0..rows {
        let c = &mut c[r * c_stride..][..TILE_COLUMNS];
        if !add {
            c.fill(0.0);
        }
        for (a, b) in a[r * a_stride..][..depth].iter().zip(b.as_chunks::<TILE_COLUMNS>().0) {
            for (c, b) in c.iter_mut().zip(b) {
                *c = a.mul_add(*b, *c);
            }
        }
    }
}

/// Coefficients of `2^f` for |f| up to a half, from f on: Taylor's, off by 1.2e-7 at most.
pub(crate) const EXP2: [f32; 6] =
    [std::f32::consts::LN_2, 0.240_226_5, 0.055_504_11, 0.009_618_129, 0.001_333_355_8, 0.000_154_035_3];
/// Below this a power of two is no normal number, and counts for nothing.
pub(crate) const LEAST: f32 = -126.0;

/// The body of [`Kernels::weigh_rows`](crate::Kernels::weigh_rows).
#[inline(always)]
pub(crate) fn weigh_rows(scores: &mut [[f32; TILE_COLUMNS]], most: &[f32], sums: &mut [f32]) {
    assert!(scores.len() == most.len() && scores.len() == sums.len(), "{} rows of scores", scores.len());
    for ((scores, most), sum) in scores.iter_mut().zip(most).zip(sums) {
        let mut lanes = [0f32; 16];
        for scores in scores.as_chunks_mut::<16>().0 {
            for (score, lane) in scores.iter_mut().zip(&mut lanes) {
                let x = *score - most;
                let whole = x.max(LEAST).round_ties_even();
                let f = x - whole;
                let p = EXP2.iter().rev().fold(0.0, |p: f32, c| p.mul_add(f, *c)).mul_add(f, 1.0);
                let power = p * f32::from_bits(((whole as i32 + 127) as u32) << 23);
                // Not `x >= LEAST`, which NaN is not.
                *score = if x < LEAST { 0.0 } else { power };
                *lane += *score;
            }
        }
        *sum = lanes.iter().sum();
    }
}
