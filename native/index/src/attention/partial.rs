//! Softmax over a part of the keys, and how parts become a whole.

/// Attention over some keys: the normalised output, and the logarithm of the sum of their exponentials (the log-mass). An
/// empty part has log-mass `-inf` and output zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    /// `[value_dim]`.
    pub output: Vec<f32>,
    /// Log-sum-exp of the scaled scores.
    pub lse: f32,
}

impl Partial {
    /// Attention over no keys.
    pub fn empty(value_dim: usize) -> Self {
        Self { output: vec![0.0; value_dim], lse: f32::NEG_INFINITY }
    }

    /// Folds in attention over other keys. In any order and grouping the result is that of attention over all of them
    /// (spec: RetrievalAttention section 3.3, equations 4 and 5).
    pub fn merge(&mut self, other: &Partial) {
        merge(&mut self.output, &mut self.lse, &other.output, other.lse);
    }
}

/// As [`Partial::merge`] over borrowed parts.
pub fn merge(output: &mut [f32], lse: &mut f32, other: &[f32], other_lse: f32) {
    let most = lse.max(other_lse);
    if most == f32::NEG_INFINITY {
        return;
    }
    // A true logaddexp: neither exponential can overflow.
    let (own, theirs) = ((*lse - most).exp(), (other_lse - most).exp());
    let total = own + theirs;
    for (x, y) in output.iter_mut().zip(other) {
        *x = (own * *x + theirs * y) / total;
    }
    *lse = most + total.ln();
}

/// Accumulates weighted values against a running maximum (online softmax).
pub(crate) struct Running {
    /// Weighted sum of values, in units of `exp(most)`.
    pub sum: Vec<f32>,
    /// Sum of weights, in units of `exp(most)`.
    pub weight: f32,
    /// Largest scaled score so far.
    pub most: f32,
}

impl Running {
    pub fn new(value_dim: usize) -> Self {
        Self { sum: vec![0.0; value_dim], weight: 0.0, most: f32::NEG_INFINITY }
    }

    /// Makes `most` the unit when it is larger than the present one.
    pub fn raise(&mut self, most: f32) {
        if most > self.most {
            let factor = if self.most == f32::NEG_INFINITY { 0.0 } else { (self.most - most).exp() };
            self.sum.iter_mut().for_each(|x| *x *= factor);
            self.weight *= factor;
            self.most = most;
        }
    }

    /// What to take from scores, the largest of which is given and counts in `most`, before they are scaled to logarithms of weights. Of large
    /// scores `most / scale` may be off by more than a unit of the softmax.
    pub fn shift(&self, largest: f32, scale: f32) -> f32 {
        if largest * scale == self.most { largest } else { (self.most / scale).max(largest) }
    }

    /// Folds in what was accumulated elsewhere.
    pub fn add(&mut self, other: &Running) {
        self.raise(other.most);
        let factor = if other.most == f32::NEG_INFINITY { 0.0 } else { (other.most - self.most).exp() };
        self.sum.iter_mut().zip(&other.sum).for_each(|(sum, x)| *sum += factor * x);
        self.weight += factor * other.weight;
    }

    pub fn finish(self) -> Partial {
        // A weight of zero or less is what subtracting estimates can leave of nothing: an empty part.
        if self.weight <= 0.0 || self.most == f32::NEG_INFINITY {
            return Partial::empty(self.sum.len());
        }
        let lse = self.most + self.weight.ln();
        Partial { output: self.sum.into_iter().map(|x| x / self.weight).collect(), lse }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parts_change_nothing_and_give_no_nan() {
        let mut none = Partial::empty(2);
        none.merge(&Partial::empty(2));
        assert_eq!(none, Partial::empty(2));
        let some = Partial { output: vec![1.0, -2.0], lse: 3.0 };
        none.merge(&some);
        assert_eq!(none, some);
        none.merge(&Partial::empty(2));
        assert_eq!(none, some);
    }

    #[test]
    fn log_masses_far_apart_do_not_overflow() {
        let mut a = Partial { output: vec![1.0], lse: -900.0 };
        a.merge(&Partial { output: vec![2.0], lse: 900.0 });
        assert_eq!(a, Partial { output: vec![2.0], lse: 900.0 });
    }
}
