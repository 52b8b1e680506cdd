//! AVX2 inner loop of the fusion.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::avx512::copy_block;
use crate::fusion::{Experts, ROW_BYTES};
use crate::geometry::source;
use crate::plane::{BLOCK, Plane};
use crate::simplex::{Corners, corners};

/// Byte shuffle that turns the output block of one table row.
pub(crate) fn turn_row(s: usize, turn: usize) -> [u8; 16] {
    std::array::from_fn(|o| if o < s * s { source(s, turn, o / s, o % s) as u8 } else { 15 })
}

#[inline(always)]
pub(crate) fn store_block(block: &[u8; 16], part: &mut [u8], s: usize, w: usize, x: usize) {
    match s {
        4 => copy_block::<4>(block, part, w, x),
        3 => copy_block::<3>(block, part, w, x),
        _ => copy_block::<2>(block, part, w, x),
    }
}

/// Rows of the fusion; see `scalar::fuse`.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn fuse(
    experts: &Experts,
    plane: &Plane,
    gates: &[u8],
    residual: Option<&[i8]>,
    rows: Range<usize>,
    out: &mut [u8],
) {
    let (s, w) = (experts.scale, plane.width);
    let shift = experts.total_shift();
    let order: [[u8; 16]; 4] = std::array::from_fn(|turn| turn_row(s, turn));
    let mut looks: Vec<Corners> = (0..experts.patterns.len() * 4).map(|_| Corners::new()).collect();
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (j, pattern) in experts.patterns.iter().enumerate() {
                for turn in 0..4 {
                    let pixels = pattern.turned(turn, 1).map(|(dy, dx)| plane.block(y as isize + dy, x0 as isize + dx));
                    corners(pixels, experts.shift, &mut looks[j * 4 + turn]);
                }
            }
            let centre = plane.block(y as isize, x0 as isize);
            for i in 0..BLOCK.min(w - x0) {
                let pixel = y * w + x0 + i;
                let gate: &[u8; 8] = gates[pixel * 8..][..8].try_into().expect("eight weights");
                let extra: &[i8; 16] = match residual {
                    Some(residual) => residual[pixel * 16..][..16].try_into().expect("sixteen residuals"),
                    None => &[0; 16],
                };
                let mut sum: [i32; 16] =
                    std::array::from_fn(|o| (i32::from(extra[o]) << (shift - 1)) + (1 << (shift - 1)));
                for (turn, order) in order.iter().enumerate() {
                    let mut blend = [_mm256_setzero_si256(); 6];
                    for (j, table) in experts.tables.iter().enumerate() {
                        let look = &looks[j * 4 + turn];
                        for k in 0..5 {
                            let row: &[i8; ROW_BYTES] =
                                table[look.row[k][i] as usize * ROW_BYTES..][..ROW_BYTES].try_into().expect("a row");
                            let weight = _mm256_set1_epi16(i16::from(look.weight[k][i]));
                            for (g, blend) in blend.iter_mut().enumerate() {
                                // SAFETY: g < 6, so the 16 bytes lie within the row's 96.
                                let values =
                                    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(row.as_ptr().add(16 * g).cast()) });
                                *blend = _mm256_add_epi16(*blend, _mm256_mullo_epi16(values, weight));
                            }
                        }
                    }
                    let mut mixed = [0i32; 16];
                    for half in 0..2 {
                        let part = |g: usize| {
                            let pair = _mm256_set1_epi32(i32::from(gate[2 * g]) | i32::from(gate[2 * g + 1]) << 16);
                            _mm256_madd_epi16(blend[2 * g + half], pair)
                        };
                        let eight = _mm256_add_epi32(_mm256_add_epi32(part(0), part(1)), part(2));
                        // SAFETY: the array has room for two times eight words.
                        unsafe { _mm256_storeu_si256(mixed.as_mut_ptr().add(8 * half).cast(), eight) };
                    }
                    for o in 0..16 {
                        sum[o] += mixed[usize::from(order[o] & 15)];
                    }
                }
                let block = sum.map(|v| ((v >> shift) + i32::from(centre[i])).clamp(0, 255) as u8);
                store_block(&block, part, s, w, x0 + i);
            }
        }
    }
}
