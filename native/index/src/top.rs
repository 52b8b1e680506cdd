//! The k best of a stream of scores.

use sparrow_kernels::Kernels;

/// A key found by a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// Its inner product with the query.
    pub score: f32,
    /// Its number.
    pub id: u32,
}

/// Better first: higher score, then lower id.
pub fn better(a: &(f32, u32), b: &(f32, u32)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Keeps the k best scores seen. A running threshold lets most scores pass at the cost of one vector comparison for
/// sixteen.
#[derive(Default)]
pub struct Top {
    k: usize,
    threshold: f32,
    kept: Vec<(f32, u32)>,
    /// The same as integers whose order is that of [`better`]: comparing them takes no branch.
    packed: Vec<u64>,
}

/// A number that is smaller for a better entry. Scores are no NaN.
fn pack(entry: (f32, u32)) -> u64 {
    let bits = entry.0.to_bits();
    // The usual trick: negative numbers reversed, positive ones above them.
    let rising = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(!rising) << 32 | u64::from(entry.1)
}

fn unpack(packed: u64) -> (f32, u32) {
    let rising = !((packed >> 32) as u32);
    let bits = if rising >> 31 == 1 { rising & !(1 << 31) } else { !rising };
    (f32::from_bits(bits), packed as u32)
}

/// Sorts (score, id) pairs, better first; `packed` is scratch.
pub fn sort_best_first(entries: &mut [(f32, u32)], packed: &mut Vec<u64>) {
    packed.clear();
    packed.extend(entries.iter().map(|entry| pack(*entry)));
    packed.sort_unstable();
    entries.iter_mut().zip(packed).for_each(|(entry, packed)| *entry = unpack(*packed));
}

impl Top {
    /// Nothing seen yet.
    pub fn new(k: usize) -> Self {
        Self { k, threshold: f32::NEG_INFINITY, ..Self::default() }
    }

    /// Starts anew, keeping the memory.
    pub fn reset(&mut self, k: usize) {
        self.k = k;
        self.threshold = f32::NEG_INFINITY;
        self.kept.clear();
    }

    /// Looks at the scores of keys `first`, `first + 1`, … Scores of `-inf` and NaN are never kept.
    pub fn push(&mut self, kernels: &dyn Kernels, scores: &[f32], first: u32) {
        if self.k == 0 {
            return;
        }
        // In pieces, so that the threshold rises before the list grows to the length of the input.
        let piece = (2 * self.k).next_multiple_of(64).min(1024);
        for (number, scores) in scores.chunks(piece).enumerate() {
            kernels.above(scores, self.threshold, first + (number * piece) as u32, &mut self.kept);
            if self.kept.len() >= 4 * self.k + 16 {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            self.packed.clear();
            self.packed.extend(self.kept.iter().map(|entry| pack(*entry)));
            self.packed.select_nth_unstable(self.k - 1);
            self.kept.clear();
            self.kept.extend(self.packed[..self.k].iter().map(|packed| unpack(*packed)));
            self.threshold = self.kept[self.k - 1].0;
        }
    }

    /// The best, best first.
    pub fn sorted(&mut self) -> &[(f32, u32)] {
        if self.k > 0 {
            self.shrink();
        }
        sort_best_first(&mut self.kept, &mut self.packed);
        &self.kept
    }

    /// The best, in no order.
    pub fn unsorted(&mut self) -> &[(f32, u32)] {
        if self.k > 0 {
            self.shrink();
        }
        &self.kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn packing_keeps_the_order_and_the_entry(entries in proptest::collection::vec((-1e9f32..1e9, any::<u32>()), 0..60)) {
            let mut entries: Vec<(f32, u32)> = entries.into_iter().chain([(0.0, 3), (-0.0, 1), (f32::NEG_INFINITY, 2)]).collect();
            let mut sorted = entries.clone();
            sorted.sort_by(better);
            sort_best_first(&mut entries, &mut Vec::new());
            prop_assert_eq!(entries.iter().map(|x| x.0.to_bits()).collect::<Vec<_>>(), sorted.iter().map(|x| x.0.to_bits()).collect::<Vec<_>>());
            prop_assert_eq!(entries.iter().map(|x| x.1).collect::<Vec<_>>(), sorted.iter().map(|x| x.1).collect::<Vec<_>>());
        }

        #[test]
        fn the_k_best_survive(scores in proptest::collection::vec(-3i8..3, 0..3000), k in 0usize..40, cut in 1usize..700) {
            let scores: Vec<f32> = scores.into_iter().map(f32::from).collect();
            let mut expected: Vec<(f32, u32)> = scores.iter().copied().zip(0..).collect();
            expected.sort_by(better);
            expected.truncate(k);
            let mut top = Top::new(k);
            for (i, piece) in scores.chunks(cut).enumerate() {
                top.push(sparrow_kernels::best(), piece, (i * cut) as u32);
            }
            let found: Vec<f32> = top.sorted().iter().map(|x| x.0).collect();
            prop_assert_eq!(found, expected.iter().map(|x| x.0).collect::<Vec<_>>());
            prop_assert!(top.sorted().iter().all(|(score, id)| scores[*id as usize] == *score));
        }
    }
}
