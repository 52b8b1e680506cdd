use sparrow_kernels::f16;

use crate::error::{IndexError, Result};

/// A borrowed row-major matrix of vectors, `[len, dim]`.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The elements, row after row.
    pub data: &'a [f32],
    /// Elements in a row.
    pub dim: usize,
}

impl<'a> Rows<'a> {
    /// Checks that `data` is whole rows of finite numbers; `what` names it in errors.
    pub fn new(what: &str, data: &'a [f32], dim: usize) -> Result<Self> {
        if dim == 0 || dim > MAX_DIM {
            return Err(IndexError::Argument(format!("{what}: dimension is {dim}, expected 1 to {MAX_DIM}")));
        }
        if !data.len().is_multiple_of(dim) {
            return Err(IndexError::Argument(format!(
                "{what}: {} elements are not whole rows of dimension {dim}",
                data.len()
            )));
        }
        if let Some(place) = data.iter().position(|x| !x.is_finite()) {
            let (row, column) = (place / dim, place % dim);
            return Err(IndexError::Argument(format!(
                "{what}: element {column} of row {row} is {}, expected a finite number",
                data[place]
            )));
        }
        Ok(Self { data, dim })
    }

    /// Checks that every element fits half precision, in which keys and values are held; `what` names them in errors.
    pub fn fit_halves(&self, what: &str) -> Result<()> {
        let largest = f32::from(f16::MAX);
        match self.data.iter().position(|x| x.abs() > largest) {
            None => Ok(()),
            Some(place) => Err(IndexError::Argument(format!(
                "{what}: element {} of row {} is {}, expected at most {largest} either way: they are held in half precision",
                place % self.dim,
                place / self.dim,
                self.data[place]
            ))),
        }
    }

    /// Checks that scores of these queries, and their squares, stay within single precision; `what` says who wants that in errors.
    pub fn fit_scores(&self, what: &str) -> Result<()> {
        let furthest = f32::from(f16::MAX);
        match self.data.iter().find(|x| x.abs() > furthest) {
            None => Ok(()),
            Some(far) => Err(IndexError::Argument(format!(
                "{what}: a query holds {far}, expected at most {furthest} either way"
            ))),
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.data.len() / self.dim
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.dim..][..self.dim]
    }

    /// All rows in order.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.data.chunks_exact(self.dim)
    }

    /// The given rows, copied one after another.
    pub fn take(&self, ids: &[u32]) -> Vec<f32> {
        ids.iter().flat_map(|id| self.row(*id as usize)).copied().collect()
    }

    /// The mean row; zeros when there are none.
    pub fn mean(&self) -> Vec<f32> {
        let mut sum = vec![0f64; self.dim];
        for row in self.iter() {
            for (sum, x) in sum.iter_mut().zip(row) {
                *sum += f64::from(*x);
            }
        }
        sum.iter().map(|sum| (sum / self.len().max(1) as f64) as f32).collect()
    }
}

/// Longest vectors accepted: as the widest embeddings in common use.
pub const MAX_DIM: usize = 4096;
