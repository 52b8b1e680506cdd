//! Rotary position embedding.

use crate::error::DenseError;

/// Positions are split as 256 a + b; `ropeTable` of the model must agree.
const FINE: usize = 256;

/// cos and sin of positions by the addition theorem (RoPE: Su et al. 2021, adjacent pairs): 256 rows for b, then one for each a.
#[derive(Clone, Copy)]
pub struct Rope<'a> {
    /// `[256 fine, then coarse][dim / 2]` of (cos, sin).
    table: &'a [[f32; 2]],
    pairs: usize,
}

impl<'a> Rope<'a> {
    /// A table for heads of `dim` elements.
    ///
    /// # Errors
    /// For a table that is not of whole rows.
    pub fn new(table: &'a [f32], dim: usize) -> Result<Self, DenseError> {
        let (pairs, rest) = table.as_chunks::<2>();
        if dim < 2 || !rest.is_empty() || !pairs.len().is_multiple_of(dim / 2) || pairs.len() / (dim / 2) <= FINE {
            return Err(DenseError(format!("a table of {} rotations for heads of {dim}", pairs.len())));
        }
        Ok(Self { table: pairs, pairs: dim / 2 })
    }

    /// Positions that it reaches.
    pub(crate) fn positions(&self) -> usize {
        (self.table.len() / self.pairs - FINE) * FINE
    }

    /// Rotates a head, and multiplies it by a factor.
    pub(crate) fn rotate(&self, position: usize, factor: f32, head: &mut [f32]) {
        let row = |row: usize| &self.table[row * self.pairs..][..self.pairs];
        let rotations = row(position % FINE).iter().zip(row(FINE + position / FINE));
        for ([x, y], (fine, coarse)) in head.as_chunks_mut::<2>().0.iter_mut().zip(rotations) {
            let cos = fine[0] * coarse[0] - fine[1] * coarse[1];
            let sin = fine[0] * coarse[1] + fine[1] * coarse[0];
            (*x, *y) = (factor * (*x * cos - *y * sin), factor * (*x * sin + *y * cos));
        }
    }
}
