use crate::blocks::LANES;

/// Weights of some keys, and which keys they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picked {
    /// One for each place.
    pub weights: Vec<f32>,
    /// Numbers of keys.
    pub places: Vec<u32>,
}

impl Picked {
    /// Forgets all of them, and keeps the memory.
    pub fn clear(&mut self) {
        self.weights.clear();
        self.places.clear();
    }

    fn push(&mut self, weight: f32, place: u32) {
        self.weights.push(weight);
        self.places.push(place);
    }
}

/// The body of [`crate::Kernels::split_weights`], inlined into each set so that the compiler vectorises it for that set.
#[inline(always)]
pub(crate) fn split_weights(
    weights: &[f32],
    scores: &[f32],
    bars: [f32; 2],
    first: u32,
    picked: &mut [Picked; 2],
) -> [f32; 2] {
    assert_eq!(weights.len(), scores.len(), "weights and scores of different numbers");
    let (mut sums, mut products) = ([0f32; LANES], [0f32; LANES]);
    let (heads, tail) = weights.as_chunks::<LANES>();
    let (score_heads, score_tail) = scores.as_chunks::<LANES>();
    let mut pick = |weights: &[f32], from: usize| {
        for (weight, place) in weights.iter().zip(first + from as u32..).filter(|entry| *entry.0 >= bars[0]) {
            picked[usize::from(*weight >= bars[1])].push(*weight, place);
        }
    };
    for (number, (weights, scores)) in heads.iter().zip(score_heads).enumerate() {
        let mut any = 0u32;
        for lane in 0..LANES {
            let heavy = weights[lane] >= bars[0];
            any |= u32::from(heavy);
            let light = if heavy { 0.0 } else { weights[lane] };
            sums[lane] += light;
            products[lane] += light * scores[lane];
        }
        if any != 0 {
            pick(weights, number * LANES);
        }
    }
    for (lane, (weight, score)) in tail.iter().zip(score_tail).enumerate() {
        let light = if *weight >= bars[0] { 0.0 } else { *weight };
        sums[lane] += light;
        products[lane] += light * score;
    }
    pick(tail, weights.len() - tail.len());
    [sums.iter().sum(), products.iter().sum()]
}
