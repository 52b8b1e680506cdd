use sparrow_kernels::{best, f16};

use crate::geometry::Geometry;
use crate::partition::Partition;
use crate::rows::Rows;
use crate::top::{Hit, Top};
use crate::vector_index::VectorIndex;

/// A plain inverted file: k-means on the raw keys, the clusters of best mean score scanned. A baseline.
pub struct IvfIndex {
    partition: Partition,
    ids: Vec<u32>,
    halves: Vec<f16>,
    dim: usize,
}

impl IvfIndex {
    /// Clusters of about `size` keys.
    pub fn build(keys: Rows<'_>, size: usize, seed: u64) -> Self {
        let (partition, ids) = Partition::build(keys, &Geometry::identity(keys.dim), size, seed);
        let halves = keys.take(&ids).into_iter().map(f16::from_f32).collect();
        Self { partition, ids, halves, dim: keys.dim }
    }
}

impl VectorIndex for IvfIndex {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn bytes(&self) -> usize {
        self.partition.bytes() + 4 * self.ids.len() + 2 * self.halves.len()
    }

    fn efforts(&self, _: usize) -> Vec<usize> {
        let clusters = self.partition.clusters();
        let shares =
            [0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.045, 0.06, 0.08, 0.11, 0.15, 0.2, 0.3, 0.45, 1.0];
        let mut efforts: Vec<usize> = shares.iter().map(|s| ((s * clusters as f64) as usize).max(1)).collect();
        efforts.dedup();
        efforts
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, hits: &mut Vec<Hit>) -> usize {
        let kernels = best();
        let mut scores = vec![0f32; self.partition.stride()];
        self.partition.scores(kernels, query, &mut scores);
        let clusters = self.partition.clusters();
        let mut probed = Top::new(effort);
        probed.push(kernels, &scores[..clusters], 0);
        let mut rows: Vec<u32> = Vec::new();
        for (_, c) in probed.unsorted() {
            rows.extend(self.partition.range(*c as usize).map(|row| row as u32));
        }
        let mut scores = vec![0f32; rows.len()];
        kernels.gather_dot_f16(query, &self.halves, &rows, &mut scores);
        let mut top = Top::new(k);
        top.push(kernels, &scores, 0);
        hits.clear();
        hits.extend(
            top.sorted()
                .iter()
                .map(|(score, place)| Hit { score: *score, id: self.ids[rows[*place as usize] as usize] }),
        );
        rows.len() + clusters
    }
}
