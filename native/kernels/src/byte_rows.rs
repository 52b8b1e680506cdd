//! Weighted sums of rows of bytes, with weights rounded to bytes: rows in fours, as a byte dot product instruction consumes them, and four
//! fours to a block, which is what keys come in.

use crate::blocks::LANES;
use crate::prefetch::Blocks;

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
/// are filled up with zeros, up to a whole number of blocks of 16.
pub fn pack_fours(rows: &[i8], dim: usize) -> Vec<i8> {
    let count = rows.len() / dim;
    let mut fours = vec![0; count.next_multiple_of(LANES) * dim];
    for (i, row) in rows.chunks_exact(dim).enumerate() {
        let four = &mut fours[i / 4 * 4 * dim..];
        for (j, value) in row.iter().enumerate() {
            four[4 * j + i % 4] = *value;
        }
    }
    fours
}

/// Codes from one sum's to the next's.
///
/// # Panics
/// When the lengths do not fit, `dim` is no multiple of 16, or more than [`MOST_ROWS`] are read.
pub(crate) fn shape(codes: usize, units: usize, rows: usize, ids: usize, scales: usize, sums: usize) -> usize {
    assert!(
        scales > 0 && scales.is_multiple_of(LANES),
        "byte rows of dimension {scales}, expected a multiple of {LANES}"
    );
    assert_eq!(sums, units * scales, "{sums} sum elements of dimension {scales} for {units} units");
    assert!(rows.is_multiple_of(LANES * scales), "{rows} bytes are not whole blocks of {LANES} rows of {scales}");
    let (stride, count) = (codes / units.max(1), ids * LANES);
    assert!(
        units == 0 || codes == stride * units && stride >= count && count <= MOST_ROWS,
        "{codes} codes in {units} sums for {count} rows, of which there may be {MOST_ROWS}"
    );
    stride
}

/// The body of [`Kernels::add_byte_rows`](crate::Kernels::add_byte_rows), inlined into each set so that the compiler vectorises it
/// for that set.
#[inline(always)]
pub(crate) fn add(
    codes: &[u8],
    units: &[f32],
    rows: &[i8],
    Blocks { ids, soon }: Blocks<'_>,
    scales: &[f32],
    sums: &mut [f32],
) {
    let dim = scales.len();
    let stride = shape(codes.len(), units.len(), rows.len(), ids.len(), dim, sums.len());
    let mut totals = vec![0i32; dim];
    let each = codes.chunks_exact(stride.max(1)).zip(units).zip(sums.chunks_exact_mut(dim));
    for (number, ((codes, unit), sums)) in each.enumerate() {
        totals.fill(0);
        for (i, (id, codes)) in ids.iter().zip(codes.chunks_exact(LANES)).enumerate() {
            if number == 0 {
                soon.ask(i);
            }
            let block = &rows[*id as usize * LANES * dim..][..LANES * dim];
            for (four, codes) in block.chunks_exact(4 * dim).zip(codes.as_chunks::<4>().0) {
                for (total, values) in totals.iter_mut().zip(four.as_chunks::<4>().0) {
                    *total += (0..4).map(|k| i32::from(codes[k]) * i32::from(values[k])).sum::<i32>();
                }
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
