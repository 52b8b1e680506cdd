//! Softmax as far as it has come: sums of weighted values, the largest score, and the sum of weights in units of its power of two.
//!
//! Attention is computed in parts of [`PART`] pages from the context's start on, each for itself, that are joined in order: so that rows of prompts and rows that decode, whatever is
//! computed side by side, go through the same operations.

use crate::cache::PAGE;

/// Pages of a part.
pub(crate) const PART: usize = 8;

/// Nothing seen yet: `[sums of weighted values.., the largest score, the sum of weights]`.
pub(crate) fn clear(state: &mut [f32]) {
    state.fill(0.0);
    let at = state.len() - 2;
    state[at] = f32::NEG_INFINITY;
}

/// Goes over to units of a larger score.
pub(crate) fn raise(sums: &mut [f32], most: &mut f32, weights: &mut f32, largest: f32) {
    if largest > *most {
        let factor = (*most - largest).exp2();
        sums.iter_mut().for_each(|x| *x *= factor);
        *weights *= factor;
        *most = largest;
    }
}

/// What scores are taken relative to: where none is a number, all weights are none.
pub(crate) fn shift(most: f32) -> f32 {
    if most == f32::NEG_INFINITY { 0.0 } else { most }
}

/// Joins a part to what came before it; one in which nothing was seen changes nothing.
pub(crate) fn join(total: &mut [f32], part: &[f32]) {
    let at = part.len() - 2;
    if part[at + 1] == 0.0 {
        return;
    }
    if total[at + 1] == 0.0 {
        return total.copy_from_slice(part);
    }
    let (sums, rest) = total.split_at_mut(at);
    let [most, weights] = rest else { unreachable!("two follow the sums") };
    raise(sums, most, weights, part[at]);
    let factor = (shift(part[at]) - shift(*most)).exp2();
    for (sum, part) in sums.iter_mut().zip(part) {
        *sum += part * factor;
    }
    *weights += part[at + 1] * factor;
}

/// Whether a page ends a part.
pub(crate) fn ends_part(page: usize) -> bool {
    (page + 1).is_multiple_of(PART)
}

/// The part of a page that a row sees which sees the keys `start..end` of its context.
pub(crate) fn seen_of_page(page: usize, [start, end]: [usize; 2]) -> std::ops::Range<usize> {
    let of = |at: usize| at.saturating_sub(page * PAGE).min(PAGE);
    of(start)..of(end).max(of(start))
}
