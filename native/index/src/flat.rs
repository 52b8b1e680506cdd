use sparrow_kernels::{best, pack_blocks};

use crate::rows::Rows;
use crate::top::{Hit, Top};
use crate::vector_index::VectorIndex;

/// All keys in single precision, scanned: the oracle.
pub struct FlatIndex {
    blocks: Vec<f32>,
    len: usize,
    dim: usize,
}

impl FlatIndex {
    /// Copies the keys.
    pub fn build(keys: Rows<'_>) -> Self {
        Self { blocks: pack_blocks(keys.data, keys.dim, 0.0), len: keys.len(), dim: keys.dim }
    }
}

impl VectorIndex for FlatIndex {
    fn len(&self) -> usize {
        self.len
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn bytes(&self) -> usize {
        4 * self.blocks.len()
    }

    fn efforts(&self, _: usize) -> Vec<usize> {
        vec![1]
    }

    fn search(&self, query: &[f32], k: usize, _: usize, hits: &mut Vec<Hit>) -> usize {
        let mut scores = vec![0f32; self.blocks.len() / self.dim];
        best().scan_f32(query, self.dim, &self.blocks, &mut scores);
        let mut top = Top::new(k);
        top.push(best(), &scores[..self.len], 0);
        hits.clear();
        hits.extend(top.sorted().iter().map(|(score, id)| Hit { score: *score, id: *id }));
        self.len
    }
}
