//! AVX2 inner loops of the convolutions, with the VEX-coded byte dot product where the machine has it.

use std::arch::x86_64::*;

use crate::conv::{Activations, Layer};

/// Pixels a tile: two sums of 8 outputs each, two weights and an activation leave one of 16 registers.
const PIXELS: usize = 6;

/// Where a tile lies: its first pixel and its 16 outputs.
#[derive(Clone, Copy)]
struct Tile {
    y: usize,
    x: usize,
    group: usize,
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

#[inline(always)]
fn tiles<const VNNI: bool>(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    let all = layer.offsets(input);
    let w = input.width;
    for group in 0..layer.outputs / 16 {
        let offsets: Vec<isize> = layer.short[group].words.iter().map(|&word| all[word]).collect();
        let mut x = 0;
        while x + PIXELS <= w {
            tile::<PIXELS, VNNI>(layer, input, &offsets, Tile { y, x, group }, out);
            x += PIXELS;
        }
        while x < w {
            tile::<1, VNNI>(layer, input, &offsets, Tile { y, x, group }, out);
            x += 1;
        }
    }
}

/// `offsets` are of the words of `layer.short`, in its order.
#[inline(always)]
fn tile<const P: usize, const VNNI: bool>(
    layer: &Layer,
    input: &Activations,
    offsets: &[isize],
    at: Tile,
    out: &mut [u8],
) {
    let (c, outputs) = (input.channels, layer.outputs);
    let short = &layer.short[at.group];
    assert!(short.weights.len() == offsets.len() * 64 && c >= layer.inputs && at.group * 16 < outputs);
    assert!(at.y < input.height && at.x + P <= input.width && out.len() >= (at.x + P) * outputs);
    assert!(input.data.len() == (input.width + 2) * (input.height + 2) * c);
    assert!(layer.bias.len() == outputs && layer.shift.len() == outputs);
    // SAFETY: the callers enable AVX2 (and AVX-VNNI with VNNI) before this is inlined into them. Reads stay inside: a pixel
    // and its eight neighbours exist by the border, the other arrays have the asserted lengths; writes stay in `out`.
    unsafe {
        let pair = |p: *const i32| {
            [_mm256_loadu_si256(p.add(16 * at.group).cast()), _mm256_loadu_si256(p.add(16 * at.group + 8).cast())]
        };
        let mut sum = [pair(layer.bias.as_ptr()); P];
        let pixels = input.data.as_ptr().add(input.place(at.y, at.x));
        let mut weights = short.weights.as_ptr();
        // Joins a word's activations and weights to each sum.
        macro_rules! word {
            ($sum:expr, $offset:expr, $join:expr) => {
                let w = [_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.add(32).cast())];
                weights = weights.add(64);
                let word = pixels.offset($offset);
                for (p, sum) in $sum.iter_mut().enumerate() {
                    let a = _mm256_set1_epi32(word.add(p * c).cast::<i32>().read_unaligned());
                    for g in 0..2 {
                        sum[g] = $join(sum[g], a, w[g]);
                    }
                }
            };
        }
        if VNNI {
            for &offset in offsets {
                word!(sum, offset, |sum, a, w| _mm256_dpbusd_avx_epi32(sum, a, w));
            }
        } else {
            // The short sums have the registers; the wide ones wait in memory until a run ends. Activations stop at 127, so a
            // pair of products fits 16 bits; a run's pairs together do too.
            let ones = _mm256_set1_epi16(1);
            let mut begin = 0;
            for &end in &short.ends {
                let mut few = [[_mm256_setzero_si256(); 2]; P];
                word!(few, offsets[begin], |_, a, w| _mm256_maddubs_epi16(a, w));
                for &offset in &offsets[begin + 1..end] {
                    word!(few, offset, |sum, a, w| _mm256_add_epi16(sum, _mm256_maddubs_epi16(a, w)));
                }
                for (sum, few) in sum.iter_mut().zip(few) {
                    for g in 0..2 {
                        sum[g] = _mm256_add_epi32(sum[g], _mm256_madd_epi16(few[g], ones));
                    }
                }
                begin = end;
            }
        }
        let shift = pair(layer.shift.as_ptr().cast());
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
            _mm_storeu_si128(out.as_mut_ptr().add((at.x + p) * outputs + 16 * at.group).cast(), bytes);
        }
    }
}
