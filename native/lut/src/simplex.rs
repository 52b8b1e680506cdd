//! Sort-based 4-simplex interpolation, 64 pixels at a time, in plain Rust that the compiler vectorises in whatever
//! instruction set the (inlined) caller enables.
//!
//! Four pixels fall into a cell of the table. Sorting their fractions in descending order (ties keep the axis order) gives
//! the path from the cell's low corner to its high corner, and the differences of neighbouring fractions weigh the five
//! corners on it; the weights are never negative and sum to the interval.

// Index loops over arrays of one fixed length: what the vectoriser reads best, several arrays at a time.
#![allow(clippy::needless_range_loop)]

use crate::plane::BLOCK;

/// The five corners of 64 lookups.
pub struct Corners {
    /// Row numbers; for cell tables the cell's number stands in `row[0]`.
    pub row: [[u32; BLOCK]; 5],
    /// Weights that sum to the interval.
    pub weight: [[u8; BLOCK]; 5],
    /// Weights 0 to 3 of a pixel in one word, lowest byte first.
    pub packed: [u32; BLOCK],
    /// Corner numbers inside the cell of corners 1, 2 and 3 (0 and 15 are the others).
    pub mask: [[u8; BLOCK]; 3],
}

impl Corners {
    pub const fn new() -> Self {
        Self { row: [[0; BLOCK]; 5], weight: [[0; BLOCK]; 5], packed: [0; BLOCK], mask: [[0; BLOCK]; 3] }
    }
}

struct Sorted {
    fraction: [[u8; BLOCK]; 4],
    /// `3 - axis`.
    code: [[u8; BLOCK]; 3],
}

#[inline(always)]
fn sort(pixels: [&[u8; BLOCK]; 4], shift: u32) -> Sorted {
    let low = (1u8 << shift) - 1;
    let mut key = [[0u8; BLOCK]; 4];
    for axis in 0..4 {
        for i in 0..BLOCK {
            key[axis][i] = (pixels[axis][i] & low) << 2 | (3 - axis as u8);
        }
    }
    for (a, b) in [(0, 1), (2, 3), (0, 2), (1, 3), (1, 2)] {
        for i in 0..BLOCK {
            let (x, y) = (key[a][i], key[b][i]);
            key[a][i] = x.max(y);
            key[b][i] = x.min(y);
        }
    }
    let mut sorted = Sorted { fraction: [[0; BLOCK]; 4], code: [[0; BLOCK]; 3] };
    for k in 0..4 {
        for i in 0..BLOCK {
            sorted.fraction[k][i] = key[k][i] >> 2;
        }
    }
    for k in 0..3 {
        for i in 0..BLOCK {
            sorted.code[k][i] = key[k][i] & 3;
        }
    }
    sorted
}

#[inline(always)]
fn weigh(fraction: &[[u8; BLOCK]; 4], shift: u32, weight: &mut [[u8; BLOCK]; 5]) {
    for i in 0..BLOCK {
        weight[0][i] = (1 << shift) - fraction[0][i];
        weight[4][i] = fraction[3][i];
    }
    for k in 0..3 {
        for i in 0..BLOCK {
            weight[k + 1][i] = fraction[k][i] - fraction[k + 1][i];
        }
    }
}

/// Corners as row numbers.
#[inline(always)]
pub fn corners(pixels: [&[u8; BLOCK]; 4], shift: u32, out: &mut Corners) {
    let sorted = sort(pixels, shift);
    weigh(&sorted.fraction, shift, &mut out.weight);
    let l = (256u32 >> shift) + 1;
    let [p0, p1, p2, p3] = pixels;
    for i in 0..BLOCK {
        // Two axes fit 16 bits, where AVX2 multiplies faster than in 32 (2 % of a stage).
        let cell = |p: &[u8; BLOCK]| u16::from(p[i] >> shift);
        let (high, low) = (cell(p0) * l as u16 + cell(p1), cell(p2) * l as u16 + cell(p3));
        out.row[0][i] = u32::from(high) * (l * l) + u32::from(low);
    }
    for k in 0..3 {
        let (done, todo) = out.row.split_at_mut(k + 1);
        for i in 0..BLOCK {
            let code = sorted.code[k][i];
            let stride = if code >= 2 {
                if code == 3 { l * l * l } else { l * l }
            } else if code == 1 {
                l
            } else {
                1
            };
            todo[0][i] = done[k][i] + stride;
        }
    }
    let all = l * l * l + l * l + l + 1;
    for i in 0..BLOCK {
        out.row[4][i] = out.row[0][i] + all;
    }
    for i in 0..BLOCK {
        let w = |k: usize| u32::from(out.weight[k][i]);
        out.packed[i] = w(0) | w(1) << 8 | w(2) << 16 | w(3) << 24;
    }
}

/// Corners as a cell number and corner numbers inside it.
#[inline(always)]
pub fn cell_corners(pixels: [&[u8; BLOCK]; 4], shift: u32, out: &mut Corners) {
    let sorted = sort(pixels, shift);
    weigh(&sorted.fraction, shift, &mut out.weight);
    let n = 256u32 >> shift;
    let [p0, p1, p2, p3] = pixels;
    for i in 0..BLOCK {
        let cell = |p: &[u8; BLOCK]| u32::from(p[i] >> shift);
        out.row[0][i] = ((cell(p0) * n + cell(p1)) * n + cell(p2)) * n + cell(p3);
    }
    for i in 0..BLOCK {
        out.mask[0][i] = 8u8 >> sorted.code[0][i];
    }
    for k in 1..3 {
        for i in 0..BLOCK {
            out.mask[k][i] = out.mask[k - 1][i] | 8u8 >> sorted.code[k][i];
        }
    }
}
