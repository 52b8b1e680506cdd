//! How many words of a convolution's products 16 bits bear.

/// Greatest sum of weights of one sign under a 16-bit sum of products with activations to 127: 258 * 127 = 32,766.
const SHORT: i32 = i16::MAX as i32 / 127;

/// The words of a layer for 16 of its outputs, in runs over which no 16-bit lane of sums can overflow.
pub(crate) struct ShortRuns {
    /// Numbers of words, run by run.
    pub(crate) words: Vec<usize>,
    /// Where each run ends in `words`.
    pub(crate) ends: Vec<usize>,
    /// `[words][16][4]`, in the order of `words`.
    pub(crate) weights: Vec<i8>,
}

impl ShortRuns {
    /// As few runs as first fit finds for the outputs from `16 * group` on of `packed`, a layer's `[words][outputs][4]`.
    /// A lane is two of the four; products of one sign alone stay within it, whatever the activations, and so does
    /// every sum on the way. One word always fits (two weights, -128 at the least). Each run saves as many widenings as it
    /// has words but one. (Layers of the embedded nets have few weights near 127: 32 inputs make 72 words and some 9
    /// runs; taken in the words' own order, 11.)
    pub(crate) fn new(packed: &[i8], outputs: usize, group: usize) -> Self {
        let own = |word: usize| &packed[word * 4 * outputs + 64 * group..][..64];
        let mut left: Vec<usize> = (0..packed.len() / (4 * outputs)).collect();
        let (mut words, mut ends) = (Vec::new(), Vec::new());
        while !left.is_empty() {
            let mut sums = [[0i32; 2]; 32];
            left.retain(|&word| {
                let more: [[i32; 2]; 32] = std::array::from_fn(|lane| {
                    let pair = [i32::from(own(word)[2 * lane]), i32::from(own(word)[2 * lane + 1])];
                    [pair[0].max(0) + pair[1].max(0), -(pair[0].min(0) + pair[1].min(0))]
                });
                let fits =
                    sums.iter().zip(&more).all(|(sum, more)| sum[0] + more[0] <= SHORT && sum[1] + more[1] <= SHORT);
                if fits {
                    for (sum, more) in sums.iter_mut().zip(&more) {
                        sum[0] += more[0];
                        sum[1] += more[1];
                    }
                    words.push(word);
                }
                !fits
            });
            ends.push(words.len());
        }
        let weights = words.iter().flat_map(|&word| own(word)).copied().collect();
        Self { words, ends, weights }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conv::{Activations, Layer};
    use crate::isa::Isa;

    #[test]
    fn runs_end_before_a_lane_could_overflow() {
        let word = |pair: [i8; 2]| [0, 0, pair[0], pair[1]].repeat(16);
        let runs = |pairs: &[[i8; 2]]| {
            let packed: Vec<i8> = pairs.iter().flat_map(|&pair| word(pair)).collect();
            let ShortRuns { words, ends, weights } = ShortRuns::new(&packed, 16, 0);
            for (&word, weights) in words.iter().zip(weights.chunks_exact(64)) {
                assert_eq!(weights, &packed[64 * word..][..64]);
            }
            (words, ends)
        };
        assert_eq!(runs(&[[127, 2], [100, 29], [0, 0]]), (vec![0, 1, 2], vec![3]));
        assert_eq!(runs(&[[127, 2], [100, 30], [0, 0]]), (vec![0, 2, 1], vec![2, 3]));
        assert_eq!(runs(&[[-128, -1], [-100, -29], [127, 127]]), (vec![0, 1, 2], vec![3]));
        assert_eq!(runs(&[[-128, -128], [-2, 0], [-1, 0]]), (vec![0, 1, 2], vec![2, 3]));
    }

    /// Layers whose runs are as full as can be, on the activations that fill them.
    #[test]
    fn full_runs_agree() {
        let mut input = Activations::default();
        input.reshape(13, 3, 8);
        input.fill_rows(|_, row| row.fill(127));
        for sign in [1i8, -1] {
            for extra in 0..4 {
                let weights: Vec<i8> = (0..20 * 9 * 8).map(|i| sign * (62 + (i % 7) as i8 + extra)).collect();
                let layer = Layer::new(8, 20, &weights, &[0; 20], &[14; 20], false).expect("a layer");
                let row = |isa| {
                    let mut out = vec![1; 13 * 32];
                    layer.row(isa, &input, 1, &mut out);
                    out
                };
                for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
                    assert_eq!(row(isa), row(Isa::Scalar), "{}, {sign} * {extra}", isa.name());
                }
            }
        }
    }
}
