//! Where a search starts, chosen by the query.
//!
//! Training queries are compared by the correlation of the scores they give to all keys: two that rank keys alike are
//! near, whatever their offset. Each centroid of such a clustering keeps the keys that its members want most.

use sparrow_kernels::{Buffer, Kernels, f16, pack_blocks, unpack_blocks};

use crate::geometry::Geometry;
use crate::partition::{k_means, members, nearest};
use crate::rows::Rows;

/// Keys kept for a centroid.
const KEPT: usize = 16;
/// Keys a search starts from: half from the nearest centroid, half from the second.
const STARTS: usize = 16;

/// Entry points by query.
pub struct Entries {
    /// Centroids, in blocks: the nearest centroid of a query has the largest product with it. In half precision, since every query reads
    /// all of them, the largest element 1.
    blocks: Vec<f16>,
    /// `[centroids, KEPT]`, best first.
    nodes: Buffer<u32>,
    dim: usize,
}

impl Entries {
    /// `lists` are the best keys of the training queries, `width` each.
    pub fn build(keys: Rows<'_>, queries: Rows<'_>, lists: &[u32], width: usize, seed: u64) -> Self {
        let dim = keys.dim;
        let geometry = Geometry::of(keys);
        let mut directions = geometry.map(queries);
        directions.chunks_exact_mut(dim).for_each(normalise);
        let directions = Rows { data: &directions, dim };
        // One centroid for 512 keys, as measured best at 32K (64) and at 128K (256).
        let count = (keys.len() / 512).clamp(1, 1024).min(queries.len());
        let found = k_means(directions, count, seed);
        let (starts, order) = members(&nearest(directions, &found), count);
        let mut centroids = Vec::new();
        let mut nodes = Vec::new();
        for (c, centroid) in found.chunks_exact(dim).enumerate() {
            let listed = order[starts[c] as usize..starts[c + 1] as usize]
                .iter()
                .flat_map(|query| &lists[*query as usize * width..][..width]);
            let mut wanted = most_wanted(listed.copied().collect());
            if wanted.is_empty() {
                continue;
            }
            // A centroid with few keys repeats its first: a search meets each node once anyway.
            wanted.resize(KEPT, wanted[0]);
            nodes.extend(wanted);
            let mut direction = centroid.to_vec();
            normalise(&mut direction);
            centroids.extend(geometry.map_transposed(&direction));
        }
        Self { blocks: pack(&centroids, dim), nodes: Buffer::new(&nodes), dim }
    }

    /// What was saved; `None` when the parts do not fit each other or a graph of `graph` nodes.
    pub fn from_parts(centroids: Vec<f32>, nodes: Buffer<u32>, dim: usize, graph: usize) -> Option<Self> {
        let good = !centroids.is_empty()
            && centroids.len().is_multiple_of(dim)
            && nodes.len() == centroids.len() / dim * KEPT
            && nodes.iter().all(|node| (*node as usize) < graph)
            && centroids.iter().all(|x| x.is_finite());
        good.then(|| Self { blocks: pack(&centroids, dim), nodes, dim })
    }

    /// Centroids and nodes, for saving.
    pub fn parts(&self) -> (Vec<f32>, &Buffer<u32>) {
        let centroids = unpack_blocks(&self.blocks, self.dim, self.len());
        (centroids.into_iter().map(f16::to_f32).collect(), &self.nodes)
    }

    /// Number of centroids: what [`Entries::find`] scans.
    pub fn len(&self) -> usize {
        self.nodes.len() / KEPT
    }

    /// Nodes to start from; `scores` is scratch.
    pub fn find(&self, kernels: &dyn Kernels, query: &[f32], scores: &mut Vec<f32>, out: &mut Vec<u32>) {
        scores.clear();
        scores.resize(self.blocks.len() / self.dim, 0.0);
        kernels.scan_f16(query, self.dim, &self.blocks, scores);
        let (mut first, mut second) = ((f32::NEG_INFINITY, 0), (f32::NEG_INFINITY, 0));
        for (c, score) in scores[..self.len()].iter().enumerate() {
            if *score > first.0 {
                second = first;
                first = (*score, c);
            } else if *score > second.0 {
                second = (*score, c);
            }
        }
        out.clear();
        for (_, c) in [first, second] {
            out.extend(&self.nodes[c * KEPT..][..STARTS / 2]);
        }
    }

    /// Nodes from which all others must be reachable.
    pub fn roots(&self) -> Vec<u32> {
        let mut roots: Vec<u32> = self.nodes.chunks_exact(KEPT).flat_map(|nodes| &nodes[..4]).copied().collect();
        roots.sort_unstable();
        roots.dedup();
        roots
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        2 * self.blocks.len() + 4 * self.nodes.len()
    }
}

/// Blocks of the centroids, all times the same factor: which product is largest does not depend on it, and half precision ends at 65,504.
fn pack(centroids: &[f32], dim: usize) -> Vec<f16> {
    let most = centroids.iter().fold(f32::MIN_POSITIVE, |most, x| most.max(x.abs()));
    let halves: Vec<f16> = centroids.iter().map(|x| f16::from_f32(x / most)).collect();
    pack_blocks(&halves, dim, f16::ZERO)
}

fn normalise(row: &mut [f32]) {
    let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt() + 1e-12;
    row.iter_mut().for_each(|x| *x /= norm);
}

fn most_wanted(mut ids: Vec<u32>) -> Vec<u32> {
    ids.sort_unstable();
    let mut counted: Vec<(u32, u32)> = ids.chunk_by(|a, b| a == b).map(|same| (same.len() as u32, same[0])).collect();
    counted.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    counted.into_iter().take(KEPT).map(|entry| entry.1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_two_centroids_are_found_whatever_their_size() {
        for size in [1e-30f32, 1.0, 1e30] {
            let centroids: Vec<f32> = [3.0, 0.0, 0.0, 2.0, -4.0, -4.0].map(|x| size * x).to_vec();
            let nodes: Vec<u32> = (0..3 * KEPT as u32).collect();
            let entries = Entries::from_parts(centroids, Buffer::new(&nodes), 2, 3 * KEPT).unwrap();
            let (mut scores, mut found) = (Vec::new(), Vec::new());
            entries.find(sparrow_kernels::best(), &[0.4, 1.0], &mut scores, &mut found);
            let half = STARTS as u32 / 2;
            let expected: Vec<u32> = (16..16 + half).chain(0..half).collect();
            assert_eq!(found, expected, "{size}");
            let (centroids, nodes) = entries.parts();
            let again = Entries::from_parts(centroids.clone(), Buffer::new(nodes), 2, 3 * KEPT).unwrap();
            assert_eq!(again.parts().0, centroids, "what was saved is saved again");
        }
    }
}
