use core::arch::x86_64::*;

use super::{load_f32, low16};
use crate::blocks::LANES;
use crate::split_weights::Picked;

/// Nothing here branches on weights: where a key or two of each sixteen are picked no branch is foreseen. (A loop over the picked took twice as long.)
#[target_feature(enable = "avx512f,popcnt")]
pub(super) fn split_weights(
    weights: &[f32],
    scores: &[f32],
    bars: [f32; 2],
    first: u32,
    picked: &mut [Picked; 2],
) -> [f32; 2] {
    assert_eq!(weights.len(), scores.len(), "weights and scores of different numbers");
    for picked in &mut *picked {
        // Whole vectors are stored, past what is kept of them.
        picked.weights.reserve(weights.len() + LANES);
        picked.places.reserve(weights.len() + LANES);
    }
    let [low, high] = bars.map(|bar| _mm512_set1_ps(bar));
    let lanes = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    let (mut sum, mut product) = (_mm512_setzero_ps(), _mm512_setzero_ps());
    for start in (0..weights.len()).step_by(LANES) {
        // Lanes past the end are zero: nothing in either sum.
        let (some, own) = (load_f32(weights, start), load_f32(scores, start));
        let above = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(some, low) & low16(weights.len() - start);
        let far = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(some, high) & above;
        sum = _mm512_mask_add_ps(sum, !above, sum, some);
        product = _mm512_mask3_fmadd_ps(some, own, product, !above);
        let places = _mm512_add_epi32(lanes, _mm512_set1_epi32((first + start as u32) as i32));
        for (mask, Picked { weights, places: ids }) in [above & !far, far].into_iter().zip(&mut *picked) {
            let count = mask.count_ones() as usize;
            // SAFETY: at most one element for each weight so far is kept, and sixteen more fit than there are weights.
            unsafe {
                let (at, id_at) = (weights.len(), ids.len());
                _mm512_storeu_ps(weights.as_mut_ptr().add(at), _mm512_maskz_compress_ps(mask, some));
                _mm512_storeu_si512(ids.as_mut_ptr().add(id_at).cast(), _mm512_maskz_compress_epi32(mask, places));
                weights.set_len(at + count);
                ids.set_len(id_at + count);
            }
        }
    }
    [_mm512_reduce_add_ps(sum), _mm512_reduce_add_ps(product)]
}
