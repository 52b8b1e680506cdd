//! AVX2 inner loops of the fusion and its convolutions, with the VEX-coded byte dot product where the machine has it.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::avx512::copy_block;
use crate::conv::{Activations, Layer};
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

/// Row `y` of a convolution without a byte dot product; see `scalar::convolve`.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn convolve(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    tiles::<false>(layer, input, y, out);
}

/// Row `y` of a convolution with vpdpbusd in 256 bits.
///
/// # Safety
/// The machine has AVX2 and AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
pub(crate) unsafe fn convolve_vnni(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    tiles::<true>(layer, input, y, out);
}

/// Sixteen outputs (two registers) of six pixels at a time: twelve sums, two weights, one activation of 16 registers.
#[inline(always)]
fn tiles<const VNNI: bool>(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    let offsets = layer.offsets(input);
    let w = input.width;
    for group in 0..layer.outputs / 16 {
        let mut x = 0;
        while x + 6 <= w {
            tile::<6, VNNI>(layer, input, &offsets, group, y, x, out);
            x += 6;
        }
        while x < w {
            tile::<1, VNNI>(layer, input, &offsets, group, y, x, out);
            x += 1;
        }
    }
}

#[inline(always)]
fn tile<const P: usize, const VNNI: bool>(
    layer: &Layer,
    input: &Activations,
    offsets: &[isize],
    group: usize,
    y: usize,
    x: usize,
    out: &mut [u8],
) {
    let (c, outputs) = (input.channels, layer.outputs);
    assert!(layer.weights.len() == offsets.len() * 4 * outputs && c >= layer.inputs && group * 16 < outputs);
    assert!(y < input.height && x + P <= input.width && out.len() >= (x + P) * outputs);
    assert!(input.data.len() == (input.width + 2) * (input.height + 2) * c);
    assert!(layer.bias.len() == outputs && layer.shift.len() == outputs);
    // SAFETY: the callers enable AVX2 (and AVX-VNNI with VNNI) before this is inlined into them. Reads stay inside: a pixel
    // and its eight neighbours exist by the border, the other arrays have the asserted lengths; writes stay in `out`.
    unsafe {
        let first = |p: *const i32| {
            [_mm256_loadu_si256(p.add(16 * group).cast()), _mm256_loadu_si256(p.add(16 * group + 8).cast())]
        };
        let mut sum = [first(layer.bias.as_ptr()); P];
        let pixels = input.data.as_ptr().add(input.place(y, x));
        let mut weights = layer.weights.as_ptr().add(64 * group);
        let ones = _mm256_set1_epi16(1);
        for &offset in offsets {
            let w = [_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.add(32).cast())];
            let word = pixels.offset(offset);
            for (p, sum) in sum.iter_mut().enumerate() {
                let a = _mm256_set1_epi32(word.add(p * c).cast::<i32>().read_unaligned());
                for g in 0..2 {
                    sum[g] = if VNNI {
                        _mm256_dpbusd_avx_epi32(sum[g], a, w[g])
                    } else {
                        // Activations stop at 127, so a pair of products fits 16 bits.
                        _mm256_add_epi32(sum[g], _mm256_madd_epi16(_mm256_maddubs_epi16(a, w[g]), ones))
                    };
                }
            }
            weights = weights.add(4 * outputs);
        }
        let shift = first(layer.shift.as_ptr().cast());
        let (low, high) = if layer.hidden { (0, 127) } else { (-128, 127) };
        for (p, sum) in sum.iter().enumerate() {
            let clamp = |v| _mm256_min_epi32(_mm256_max_epi32(v, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
            let words = _mm256_packs_epi32(
                clamp(_mm256_srav_epi32(sum[0], shift[0])),
                clamp(_mm256_srav_epi32(sum[1], shift[1])),
            );
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let (a, b) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let bytes = if layer.hidden { _mm_packus_epi16(a, b) } else { _mm_packs_epi16(a, b) };
            _mm_storeu_si128(out.as_mut_ptr().add((x + p) * outputs + 16 * group).cast(), bytes);
        }
    }
}
