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
pub struct Top {
    k: usize,
    threshold: f32,
    kept: Vec<(f32, u32)>,
}

impl Top {
    /// Nothing seen yet.
    pub fn new(k: usize) -> Self {
        Self { k, threshold: f32::NEG_INFINITY, kept: Vec::new() }
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
        for (piece, scores) in scores.chunks(1024).enumerate() {
            kernels.above(scores, self.threshold, first + (piece * 1024) as u32, &mut self.kept);
            if self.kept.len() >= 4 * self.k + 16 {
                self.shrink();
            }
        }
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            self.kept.select_nth_unstable_by(self.k - 1, better);
            self.kept.truncate(self.k);
            self.threshold = self.kept[self.k - 1].0;
        }
    }

    /// The best, best first.
    pub fn sorted(&mut self) -> &[(f32, u32)] {
        if self.k > 0 {
            self.shrink();
        }
        self.kept.sort_unstable_by(better);
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
