//! The occlusion rule that keeps edge lists short and diverse.

use crate::top::better;
use sparrow_kernels::Kernels;

/// Mapped keys (the query geometry), where nodes are compared by squared distance.
#[derive(Clone, Copy)]
pub struct Space<'a> {
    /// `[nodes, dim]`.
    pub data: &'a [f32],
    /// Elements of a row.
    pub dim: usize,
    /// Instruction set.
    pub kernels: &'a dyn Kernels,
}

impl Space<'_> {
    /// Row of `node`.
    pub fn row(&self, node: u32) -> &[f32] {
        &self.data[node as usize * self.dim..][..self.dim]
    }

    /// (distance, id) of every one of `ids` but `node` from it, nearest first, each once.
    pub fn sorted_by_distance(&self, node: u32, ids: &mut Vec<u32>) -> Vec<(f32, u32)> {
        ids.retain(|id| *id != node);
        ids.sort_unstable();
        ids.dedup();
        let mut distances = vec![0f32; ids.len()];
        self.kernels.gather_l2_f32(self.row(node), self.data, ids, &mut distances);
        let mut sorted: Vec<(f32, u32)> = distances.iter().map(|d| -d).zip(ids.iter().copied()).collect();
        sorted.sort_unstable_by(better);
        sorted.iter_mut().for_each(|entry| entry.0 = -entry.0);
        sorted
    }

    /// Keeps at most `bound` of `candidates` (nearest first): one goes when a kept one is nearer to it than the node is,
    /// by the factor `slack` on squared distances. With `fill`, the nearest rejected ones take the places left over.
    pub fn prune(&self, candidates: &[(f32, u32)], bound: usize, slack: f32, fill: bool) -> Vec<u32> {
        let mut kept: Vec<u32> = Vec::with_capacity(bound);
        let mut rejected = Vec::new();
        let mut distances = vec![0f32; bound];
        for (distance, id) in candidates {
            if kept.len() == bound {
                break;
            }
            let distances = &mut distances[..kept.len()];
            self.kernels.gather_l2_f32(self.row(*id), self.data, &kept, distances);
            if distances.iter().any(|d| d * slack < *distance) {
                rejected.push(*id);
            } else {
                kept.push(*id);
            }
        }
        if fill {
            let room = bound - kept.len();
            kept.extend(rejected.into_iter().take(room));
        }
        kept
    }
}
