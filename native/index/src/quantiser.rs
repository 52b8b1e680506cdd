use crate::rows::Rows;

/// Keys as bytes: `(k - mean) / step` rounded, plus 128, with a step for each dimension. The steps are folded into the
/// query, which is rounded to bytes in turn, so that a score is one integer dot product and an affine map.
#[derive(Clone)]
pub struct Quantiser {
    mean: Vec<f32>,
    step: Vec<f32>,
}

/// A query as the byte kernels take it: `score ≈ scale · dot + offset`.
#[derive(Default)]
pub struct ByteQuery {
    /// One byte a dimension, zeros up to the row length.
    pub codes: Vec<i8>,
    /// Score of one unit of the integer product; positive.
    pub scale: f32,
    /// Score of a product of 0.
    pub offset: f32,
    /// The query with the steps folded in.
    folded: Vec<f32>,
}

/// What rounding to bytes leaves of a query, as bytes again: with it, scores are off by the rounding of keys only.
pub struct ByteRest {
    /// As [`ByteQuery::codes`].
    pub codes: Vec<i8>,
    /// Score of one unit of the integer product.
    pub scale: f32,
    /// What to add to the score of a product of 0.
    pub offset: f32,
}

impl ByteQuery {
    /// About the standard deviations of the difference between a score by bytes and the exact one, of what the key's rounding and of what the
    /// query's adds: rounding a code is off by 1/√12 of its step on average, and codes of keys are about 40 large. The query's rounding is the
    /// same for all keys.
    pub fn noise(&self) -> [f32; 2] {
        let squares: f32 = self.folded.iter().map(|x| x * x).sum();
        let query = self.scale * self.scale * 1600.0 * self.folded.len() as f32;
        [squares, query].map(|square| (square / 12.0).sqrt())
    }

    /// The part of the query that its bytes leave out, at most half a unit of each.
    pub fn rest(&self) -> ByteRest {
        let scale = self.scale / 254.0;
        let mut codes: Vec<i8> = (self.folded.iter().zip(&self.codes))
            .map(|(x, code)| ((x / self.scale - f32::from(*code)) * 254.0).round() as i8)
            .collect();
        codes.resize(self.codes.len(), 0);
        let sum: i32 = codes.iter().map(|x| i32::from(*x)).sum();
        ByteRest { codes, scale, offset: -128.0 * scale * sum as f32 }
    }
}

impl Quantiser {
    /// Fits mean and steps to the rows.
    pub fn fit(rows: Rows<'_>) -> Self {
        let mean = rows.mean();
        let mut step = vec![0f32; rows.dim];
        for row in rows.iter() {
            for (step, (x, mean)) in step.iter_mut().zip(row.iter().zip(&mean)) {
                *step = step.max((x - mean).abs());
            }
        }
        // A dimension without spread still needs a positive step.
        step.iter_mut().for_each(|step| *step = (*step / 127.0).max(1e-20));
        Self { mean, step }
    }

    /// How many of the rows reach further out than codes do by more than a quarter.
    pub fn clipped(&self, rows: Rows<'_>) -> usize {
        let out = |(x, (mean, step)): (&f32, (&f32, &f32))| (x - mean).abs() > 1.25 * 127.0 * step;
        rows.iter().filter(|row| row.iter().zip(self.mean.iter().zip(&self.step)).any(out)).count()
    }

    /// Bytes in a row: whole quarters of a cache line up to 64 dimensions, whole lines beyond, so that a row touches as
    /// few lines as it can.
    pub fn row_len(dim: usize) -> usize {
        if dim <= 16 {
            16
        } else if dim <= 32 {
            32
        } else {
            dim.next_multiple_of(64)
        }
    }

    /// Appends the codes of one key, filled up to the row length.
    pub fn encode(&self, row: &[f32], codes: &mut Vec<u8>) {
        let end = codes.len() + Self::row_len(row.len());
        codes.extend(row.iter().zip(self.mean.iter().zip(&self.step)).map(|(x, (mean, step))| {
            // Keys appended later may lie outside the fitted range: they are clipped.
            (((x - mean) / step).round().clamp(-127.0, 127.0) + 128.0) as u8
        }));
        codes.resize(end, 128);
    }

    /// Prepares a query.
    pub fn query(&self, query: &[f32], out: &mut ByteQuery) {
        let row_len = Self::row_len(query.len());
        out.folded.clear();
        out.folded.extend(query.iter().zip(&self.step).map(|(q, step)| q * step));
        let largest = out.folded.iter().fold(0f32, |most, x| if x.abs() > most { x.abs() } else { most });
        let unit = (largest / 127.0).max(f32::MIN_POSITIVE);
        // Adding and taking away 1.5 * 2^23 rounds to the nearest integer without a call.
        const ROUND: f32 = 12_582_912.0;
        out.codes.clear();
        out.codes.extend(out.folded.iter().map(|x| ((x / unit + ROUND) - ROUND) as i8));
        out.codes.resize(row_len, 0);
        let sum: i32 = out.codes.iter().map(|x| i32::from(*x)).sum();
        let centre: f32 = query.iter().zip(&self.mean).map(|(q, mean)| q * mean).sum();
        out.scale = unit;
        out.offset = centre - unit * 128.0 * sum as f32;
    }

    /// Means, then steps, for saving.
    pub fn parameters(&self) -> Vec<f32> {
        [&self.mean[..], &self.step[..]].concat()
    }

    /// What [`Quantiser::parameters`] returned; `None` when it cannot be that.
    pub fn from_parameters(parameters: &[f32], dim: usize) -> Option<Self> {
        if parameters.len() != 2 * dim || parameters.iter().any(|x| !x.is_finite()) {
            return None;
        }
        let (mean, step) = parameters.split_at(dim);
        step.iter().all(|x| *x > 0.0).then(|| Self { mean: mean.to_vec(), step: step.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    #[test]
    fn byte_scores_are_close_to_exact_ones() {
        let mut rng = Rng::new(5);
        for dim in [3, 32, 64, 100] {
            let data: Vec<f32> = (0..200 * dim).map(|i| rng.normal() * (1 + i % dim) as f32 + 3.0).collect();
            let rows = Rows { data: &data, dim };
            let quantiser = Quantiser::fit(rows);
            let mut codes = Vec::new();
            rows.iter().for_each(|row| quantiser.encode(row, &mut codes));
            let query: Vec<f32> = (0..dim).map(|_| rng.normal()).collect();
            let mut prepared = ByteQuery::default();
            quantiser.query(&query, &mut prepared);
            let ids: Vec<u32> = (0..200).collect();
            let mut dots = vec![0; 200];
            sparrow_kernels::best().gather_dot_u8(&prepared.codes, &codes, &ids, &mut dots);
            let exact: Vec<f32> = rows.iter().map(|row| row.iter().zip(&query).map(|(a, b)| a * b).sum()).collect();
            let error =
                exact.iter().zip(&dots).map(|(x, dot)| (prepared.scale * *dot as f32 + prepared.offset - x).powi(2));
            let mean = exact.iter().sum::<f32>() / 200.0;
            let spread: f32 = exact.iter().map(|x| (x - mean).powi(2)).sum();
            let relative = (error.sum::<f32>() / spread).sqrt();
            assert!(relative < 0.02, "dimension {dim}: relative error {relative}");
            // With the rest of the query what is left is what rounding keys makes.
            let rest = prepared.rest();
            let mut more = vec![0; 200];
            sparrow_kernels::best().gather_dot_u8(&rest.codes, &codes, &ids, &mut more);
            let off: f32 = (exact.iter().zip(dots.iter().zip(&more)))
                .map(|(x, (dot, more))| {
                    let score =
                        prepared.scale * *dot as f32 + rest.scale * *more as f32 + prepared.offset + rest.offset;
                    (score - x).powi(2)
                })
                .sum();
            let ratio = (off / 200.0).sqrt() / prepared.noise()[0];
            assert!((0.8..1.2).contains(&ratio), "dimension {dim}: {ratio} of the noise of keys");
        }
    }
}
