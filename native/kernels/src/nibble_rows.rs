//! Weighted sums of rows of four-bit codes, with weights rounded to bytes: rows in eights, as a byte dot product instruction consumes them.

use crate::blocks::LANES;

/// Most rows of one call: sums of products then fit 32 bits.
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

/// Packs row-major `[rows, dim]` codes below 16, eight rows at a time: element `j` of row `i` is in byte `i / 8 · 4 · dim + 4 j + i % 4`, in
/// its low half where `i % 8` is below 4, else in its high half. The last eight are filled up with zeros.
pub fn pack_nibbles(rows: &[u8], dim: usize) -> Vec<u8> {
    let count = rows.len() / dim;
    let mut packed = vec![0; count.next_multiple_of(8) / 2 * dim];
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let eight = &mut packed[i / 8 * 4 * dim..];
        for (j, code) in row.iter().enumerate() {
            eight[4 * j + i % 4] |= (code & 15) << (i % 8 / 4 * 4);
        }
    }
    packed
}

/// (weights of each sum, rows).
///
/// # Panics
/// When the lengths do not fit, `dim` is no multiple of 16, or there are more than [`MOST_ROWS`].
pub(crate) fn shape(weights: usize, units: usize, rows: usize, lines: usize, sums: usize) -> (usize, usize) {
    assert!(
        lines > 0 && lines.is_multiple_of(LANES),
        "nibble rows of dimension {lines}, expected a multiple of {LANES}"
    );
    assert_eq!(sums, units * lines, "{sums} sum elements of dimension {lines} for {units} units");
    let (stride, count) = crate::portable::weighted_shape(weights, 2 * rows, lines, sums);
    assert!(
        count.is_multiple_of(8) && count <= MOST_ROWS,
        "{count} nibble rows, expected eights and {MOST_ROWS} at most"
    );
    (stride, count)
}

/// The body of [`Kernels::add_nibble_rows`](crate::Kernels::add_nibble_rows), inlined into each set so that the compiler vectorises it
/// for that set.
#[inline(always)]
pub(crate) fn add(weights: &[u8], units: &[f32], rows: &[u8], lines: &[[f32; 2]], sums: &mut [f32]) {
    let dim = lines.len();
    let (stride, count) = shape(weights.len(), units.len(), rows.len(), dim, sums.len());
    let mut totals = vec![0i32; dim];
    let each = weights.chunks_exact(stride.max(1)).zip(units).zip(sums.chunks_exact_mut(dim));
    for ((weights, unit), sums) in each {
        totals.fill(0);
        for (eight, weights) in rows.chunks_exact(4 * dim).zip(weights[..count].as_chunks::<8>().0) {
            for (total, codes) in totals.iter_mut().zip(eight.as_chunks::<4>().0) {
                let low: i32 = (0..4).map(|k| i32::from(weights[k]) * i32::from(codes[k] & 15)).sum();
                let high: i32 = (0..4).map(|k| i32::from(weights[4 + k]) * i32::from(codes[k] >> 4)).sum();
                *total += low + high;
            }
        }
        finish(&totals, &weights[..count], *unit, lines, sums);
    }
}

/// Adds integer totals to sums, and what a code of 0 stands for as often as the weights say.
#[inline(always)]
pub(crate) fn finish(totals: &[i32], weights: &[u8], unit: f32, lines: &[[f32; 2]], sums: &mut [f32]) {
    let weight: u32 = weights.iter().map(|weight| u32::from(*weight)).sum();
    for ((sum, total), [step, zero]) in sums.iter_mut().zip(totals).zip(lines) {
        *sum += unit * (*total as f32 * step + weight as f32 * zero);
    }
}
