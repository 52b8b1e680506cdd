//! Weighted sums of rows of bytes, with weights rounded to bytes: rows in fours, as a byte dot product instruction consumes them.

use crate::blocks::LANES;

/// Most rows of one call: sums of products of bytes then fit 32 bits.
pub const MOST_ROWS: usize = 1 << 16;
/// What is added before rounding to the nearest, by row, evenly spread over any run of rows: on average a weight rounds to itself, however small it is. (Rounded to
/// the nearest, a thousand weights of a thousandth of the largest would all vanish.)
pub(crate) const DITHER: [f32; 64] = {
    let mut table = [0f32; 64];
    let mut i = 0;
    while i < 64 {
        table[i] = (((i as u8).reverse_bits() >> 2) as f32 + 0.5) / 64.0 - 0.5;
        i += 1;
    }
    table
};

/// Packs row-major `[rows, dim]` four rows at a time: element `j` of row `i` lands at `i / 4 · 4 · dim + 4 j + i % 4`. The last four
/// are filled up with zeros.
pub fn pack_fours(rows: &[i8], dim: usize) -> Vec<i8> {
    let count = rows.len() / dim;
    let mut fours = vec![0; count.next_multiple_of(4) * dim];
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let four = &mut fours[i / 4 * 4 * dim..];
        for (j, value) in row.iter().enumerate() {
            four[4 * j + i % 4] = *value;
        }
    }
    fours
}

/// (codes of each sum, rows).
///
/// # Panics
/// When the lengths do not fit, `dim` is no multiple of 16, or there are more than [`MOST_ROWS`].
pub(crate) fn shape(codes: usize, units: usize, rows: usize, scales: usize, sums: usize) -> (usize, usize) {
    assert!(
        scales > 0 && scales.is_multiple_of(LANES),
        "byte rows of dimension {scales}, expected a multiple of {LANES}"
    );
    assert_eq!(sums, units * scales, "{sums} sum elements of dimension {scales} for {units} units");
    let (stride, count) = crate::portable::weighted_shape(codes, rows, scales, sums);
    assert!(count.is_multiple_of(4) && count <= MOST_ROWS, "{count} byte rows, expected fours and {MOST_ROWS} at most");
    (stride, count)
}

/// The body of [`Kernels::add_byte_rows`](crate::Kernels::add_byte_rows), inlined into each set so that the compiler vectorises it
/// for that set.
#[inline(always)]
pub(crate) fn add(codes: &[u8], units: &[f32], rows: &[i8], scales: &[f32], sums: &mut [f32]) {
    let (stride, count) = shape(codes.len(), units.len(), rows.len(), scales.len(), sums.len());
    let mut totals = vec![0i32; scales.len()];
    let each = codes.chunks_exact(stride.max(1)).zip(units).zip(sums.chunks_exact_mut(scales.len()));
    for ((codes, unit), sums) in each {
        totals.fill(0);
        for (four, codes) in rows.chunks_exact(4 * scales.len()).zip(codes[..count].as_chunks::<4>().0) {
            for (total, values) in totals.iter_mut().zip(four.as_chunks::<4>().0) {
                *total += (0..4).map(|k| i32::from(codes[k]) * i32::from(values[k])).sum::<i32>();
            }
        }
        finish(&totals, *unit, scales, sums);
    }
}

/// Adds integer totals to sums.
#[inline(always)]
pub(crate) fn finish(totals: &[i32], unit: f32, scales: &[f32], sums: &mut [f32]) {
    for ((sum, total), scale) in sums.iter_mut().zip(totals).zip(scales) {
        *sum += *total as f32 * (unit * scale);
    }
}
