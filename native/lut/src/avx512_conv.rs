//! AVX-512 (F, BW, VBMI, VNNI) inner loop of the convolutions.

use std::arch::x86_64::*;

use crate::conv::{Activations, Layer};

/// Row `y` of a convolution; see `scalar::convolve`.
///
/// # Safety
/// The machine has the instructions that `Isa::Avx512` stands for.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(crate) unsafe fn convolve(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    // Pixels a tile: as many as leave registers for the weights (32 registers hold tile x groups sums).
    match layer.outputs / 16 {
        1 => tiles::<1, 14>(layer, input, y, out),
        2 => tiles::<2, 12>(layer, input, y, out),
        3 => tiles::<3, 8>(layer, input, y, out),
        _ => tiles::<4, 6>(layer, input, y, out),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn tiles<const G: usize, const P: usize>(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    let offsets = layer.offsets(input);
    let w = input.width;
    let mut x = 0;
    while x + P <= w {
        tile::<G, P>(layer, input, &offsets, y, x, out);
        x += P;
    }
    while x < w {
        tile::<G, 1>(layer, input, &offsets, y, x, out);
        x += 1;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn tile<const G: usize, const P: usize>(
    layer: &Layer,
    input: &Activations,
    offsets: &[isize],
    y: usize,
    x: usize,
    out: &mut [u8],
) {
    let c = input.channels;
    let base = input.place(y, x);
    assert!(layer.outputs == 16 * G && layer.weights.len() == offsets.len() * 64 * G && input.channels >= layer.inputs);
    assert!(y < input.height && x + P <= input.width && out.len() >= (x + P) * 16 * G);
    assert!(input.data.len() == (input.width + 2) * (input.height + 2) * c);
    assert!(layer.bias.len() == 16 * G && layer.shift.len() == 16 * G);
    // SAFETY: all reads stay inside: a pixel of the image and its eight neighbours exist by the border (`place` +
    // `offsets` with the sizes asserted above), weights, bias and shift have the asserted lengths; writes stay within
    // `out` by the assertion on its length.
    unsafe {
        let mut sum = [[_mm512_setzero_si512(); G]; P];
        for g in 0..G {
            let bias = _mm512_loadu_si512(layer.bias.as_ptr().add(16 * g).cast());
            for sum in &mut sum {
                sum[g] = bias;
            }
        }
        let pixels = input.data.as_ptr().add(base);
        let mut weights = layer.weights.as_ptr();
        for &offset in offsets {
            let w: [__m512i; G] = std::array::from_fn(|g| _mm512_loadu_si512(weights.add(64 * g).cast()));
            let word = pixels.offset(offset);
            for (p, sum) in sum.iter_mut().enumerate() {
                let a = _mm512_set1_epi32(word.add(p * c).cast::<i32>().read_unaligned());
                for g in 0..G {
                    sum[g] = _mm512_dpbusd_epi32(sum[g], a, w[g]);
                }
            }
            weights = weights.add(64 * G);
        }
        for g in 0..G {
            let shift = _mm512_loadu_si512(layer.shift.as_ptr().add(16 * g).cast());
            for (p, sum) in sum.iter().enumerate() {
                let value = _mm512_srav_epi32(sum[g], shift);
                let bytes = if layer.hidden {
                    _mm512_cvtepi32_epi8(_mm512_min_epi32(
                        _mm512_max_epi32(value, _mm512_setzero_si512()),
                        _mm512_set1_epi32(127),
                    ))
                } else {
                    _mm512_cvtsepi32_epi8(value)
                };
                _mm_storeu_si128(out.as_mut_ptr().add((x + p) * 16 * G + 16 * g).cast(), bytes);
            }
        }
    }
}
