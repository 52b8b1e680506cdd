//! RMS norm of rows on their way into a product.

/// RMS norm (Zhang & Sennrich 2019): a row is divided by the root mean square of its first `width` numbers, then multiplied by the gains.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// One for each padded column.
    pub gains: &'a [f32],
    /// Numbers of a row that count; what follows is padding.
    pub width: usize,
    /// Added to the mean square.
    pub epsilon: f32,
}

impl Norm<'_> {
    /// Normalises one row in place.
    pub(crate) fn apply(&self, row: &mut [f32]) {
        // Sixteen sums: one would wait for itself.
        let mut sums = [0f32; 16];
        let (lines, rest) = row[..self.width].as_chunks::<16>();
        for line in lines {
            for (sum, x) in sums.iter_mut().zip(line) {
                *sum += x * x;
            }
        }
        let squares = sums.iter().sum::<f32>() + rest.iter().map(|x| x * x).sum::<f32>();
        let scale = 1.0 / (squares / self.width as f32 + self.epsilon).sqrt();
        for (x, gain) in row.iter_mut().zip(self.gains) {
            *x *= scale * gain;
        }
    }
}
