//! Weights of keys from their products, as bytes, in one pass.

use core::arch::x86_64::*;

use super::load_f32;
use crate::blocks::LANES;
use crate::byte_weights::{EXP2, LEAST, MOST, check, factor, largest};
use crate::nibble_rows::DITHER;

/// As the portable one, to the bit.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn byte_weights(
    dots: &[i32],
    [unit, offset]: [f32; 2],
    bar: f32,
    first: u32,
    codes: &mut [u8],
    heavy: &mut Vec<(f32, u32)>,
) -> (f32, f32) {
    check(dots.len(), codes.len());
    let (factor, step) = factor(largest(dots), unit, offset, bar);
    let [unit, offset, bars, factor] = [unit, offset, bar, factor].map(|x| _mm512_set1_ps(x));
    let [c1, c2, c3] = EXP2.map(|x| _mm512_set1_ps(x));
    let (one, least, most) = (_mm512_set1_ps(1.0), _mm512_set1_ps(LEAST), _mm512_set1_ps(MOST));
    let dither: [__m512; DITHER.len() / LANES] = std::array::from_fn(|i| load_f32(&DITHER, LANES * i));
    let mut sums = _mm512_setzero_ps();
    let blocks = dots.as_chunks::<LANES>().0.iter().zip(codes.as_chunks_mut::<LANES>().0);
    for (number, (dots, codes)) in blocks.enumerate() {
        // SAFETY: sixteen elements are there.
        let dots = _mm512_cvtepi32_ps(unsafe { _mm512_loadu_si512(dots.as_ptr().cast()) });
        let log = _mm512_min_ps(_mm512_max_ps(_mm512_fmadd_ps(dots, unit, offset), least), most);
        let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(log);
        let f = _mm512_sub_ps(log, whole);
        let p = _mm512_fmadd_ps(_mm512_fmadd_ps(_mm512_fmadd_ps(c3, f, c2), f, c1), f, one);
        let weights = _mm512_scalef_ps(p, whole);
        sums = _mm512_add_ps(sums, weights);
        let mut above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(weights, bars);
        let light = _mm512_maskz_mov_ps(!above, weights);
        let rounded = _mm512_cvtps_epi32(_mm512_fmadd_ps(light, factor, dither[number % dither.len()]));
        // SAFETY: sixteen bytes are there.
        unsafe { _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtusepi32_epi8(rounded)) };
        if above != 0 {
            let mut each = [0f32; LANES];
            // SAFETY: sixteen elements of our own.
            unsafe { _mm512_storeu_ps(each.as_mut_ptr(), weights) };
            while above != 0 {
                let lane = above.trailing_zeros() as usize;
                above &= above - 1;
                heavy.push((each[lane], first + (number * LANES + lane) as u32));
            }
        }
    }
    let mut each = [0f32; LANES];
    // SAFETY: sixteen elements of our own.
    unsafe { _mm512_storeu_ps(each.as_mut_ptr(), sums) };
    (each.iter().sum(), step)
}

/// The largest product.
#[target_feature(enable = "avx512f")]
pub(super) fn largest_dot(dots: &[i32]) -> i32 {
    largest(dots)
}
