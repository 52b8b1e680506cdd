//! Best-first search with a bounded pool.
//!
//! Several nodes are expanded at a time: all their edge lists are asked for, then all the vectors they lead to, so that
//! one round trip to memory is paid for many nodes. (128K keys of 64 bytes from DRAM, pool 300: 185 µs a query one at a
//! time, 123 µs eight at a time, at the same number of keys scanned.) What passes into the pool is merged in one go, nodes met are
//! bits, lists are asked for as their nodes pass. (Eight heads of 128K keys of 128 bytes, pool 280, 3528 keys scanned: 110 µs a
//! query with insertions one by one, a number for each node and lists asked for as they are read, 66 so.)

use sparrow_kernels::{Kernels, best};

use super::adjacency::Adjacency;
use crate::top::sort_best_first;

/// Nodes expanded at a time.
const WIDTH: usize = 8;
/// Set in a pool entry once the node was expanded; so a graph has at most 2^31 nodes.
const EXPANDED: u32 = 1 << 31;

/// What a search maximises.
pub trait Scorer {
    /// Scores of `nodes`, into `out` (same length).
    fn score(&mut self, nodes: &[u32], out: &mut [f32]);
    /// Hints that `node` is scored soon.
    fn prefetch(&self, node: u32);
}

/// The memory of a search, used again by the next. One per thread.
#[derive(Default)]
pub struct Beam {
    /// A bit for each node that was met: 16 KB for 128K nodes stay in the nearest cache, and are cleared in a fraction of a
    /// microsecond.
    seen: Vec<u64>,
    /// Best first; ids carry [`EXPANDED`].
    pool: Vec<(f32, u32)>,
    expanded: Vec<u32>,
    /// Nodes met and not scored yet, the first `waiting` of it.
    pending: Vec<u32>,
    waiting: usize,
    scores: Vec<f32>,
    /// Those of the pending nodes that belong into the pool, best first.
    passed: Vec<(f32, u32)>,
    packed: Vec<u64>,
}

impl Beam {
    /// Searches from `entries` with a pool of `size`. Returns the number of nodes scored.
    pub fn search(&mut self, graph: &Adjacency, scorer: &mut impl Scorer, entries: &[u32], size: usize) -> usize {
        let kernels = best();
        self.start(graph.len());
        self.meet(entries, scorer);
        let mut scored = self.score_pending(kernels, graph, scorer, size, &mut 0);
        let mut first = 0;
        loop {
            let front = self.next_front(&mut first);
            if front.1 == 0 {
                return scored;
            }
            for node in &front.0[..front.1] {
                self.meet(graph.list(*node), scorer);
            }
            scored += self.score_pending(kernels, graph, scorer, size, &mut first);
        }
    }

    /// Forgets the last search.
    fn start(&mut self, nodes: usize) {
        self.seen.clear();
        self.seen.resize(nodes.div_ceil(64), 0);
        self.pool.clear();
        self.expanded.clear();
        self.waiting = 0;
    }

    /// Adds those of the nodes to the pending ones that were not met before. Half of them were, as chance has it: so there is no branch.
    #[inline(always)]
    fn meet(&mut self, nodes: &[u32], scorer: &impl Scorer) {
        let from = self.waiting;
        if self.pending.len() < from + nodes.len() {
            self.pending.resize(from + nodes.len(), 0);
        }
        let fresh = &mut self.pending[from..][..nodes.len()];
        let mut count = 0;
        for node in nodes {
            let word = &mut self.seen[*node as usize / 64];
            let bit = 1 << (node % 64);
            fresh[count] = *node;
            count += usize::from(*word & bit == 0);
            *word |= bit;
        }
        fresh[..count].iter().for_each(|node| scorer.prefetch(*node));
        self.waiting += count;
    }

    /// Marks the best unexpanded nodes as expanded and returns them; everything before `first` is expanded.
    fn next_front(&mut self, first: &mut usize) -> ([u32; WIDTH], usize) {
        let mut front = ([0; WIDTH], 0);
        while *first < self.pool.len() && self.pool[*first].1 & EXPANDED != 0 {
            *first += 1;
        }
        for entry in &mut self.pool[*first..] {
            if entry.1 & EXPANDED == 0 {
                self.expanded.push(entry.1);
                front.0[front.1] = entry.1;
                front.1 += 1;
                entry.1 |= EXPANDED;
                if front.1 == WIDTH {
                    break;
                }
            }
        }
        front
    }

    /// Scores the nodes met and inserts them into the pool; `first` moves back to the best insertion.
    fn score_pending(
        &mut self,
        kernels: &dyn Kernels,
        graph: &Adjacency,
        scorer: &mut impl Scorer,
        size: usize,
        first: &mut usize,
    ) -> usize {
        let count = std::mem::take(&mut self.waiting);
        let pending = &self.pending[..count];
        self.scores.resize(count.max(self.scores.len()), 0.0);
        let scores = &mut self.scores[..count];
        scorer.score(pending, scores);
        self.passed.clear();
        if self.pool.len() < size {
            self.passed.extend(scores.iter().copied().zip(0..));
        } else {
            kernels.above(scores, self.pool[size - 1].0, 0, &mut self.passed);
        }
        // Nearly all of them are expanded sooner or later; the lists come while the pool is put in order.
        self.passed.iter().for_each(|entry| graph.prefetch(pending[entry.1 as usize]));
        // Of equal ones the first met is first.
        sort_best_first(&mut self.passed, &mut self.packed);
        self.passed.iter_mut().for_each(|entry| entry.1 = pending[entry.1 as usize]);
        *first = (*first).min(self.merge(size));
        count
    }

    /// Merges what passed into the pool, behind its equals, and drops the worst that are more than `size`. Returns the place of the best
    /// insertion.
    fn merge(&mut self, size: usize) -> usize {
        let Self { pool, passed, .. } = self;
        let (mut old, mut new) = (pool.len(), passed.len());
        let behind = |pool: &[(f32, u32)], old: usize, new: usize| old == 0 || pool[old - 1].0 >= passed[new - 1].0;
        while old + new > size {
            if new > 0 && behind(pool, old, new) {
                new -= 1;
            } else {
                old -= 1;
            }
        }
        pool.resize(old + new, (0.0, 0));
        while new > 0 {
            let entry = passed[new - 1];
            // Eight at a time: searches with a pool of 1000 took a tenth longer entry by entry.
            while let Some(eight) = pool[..old].last_chunk::<8>().filter(|eight| eight[0].0 < entry.0) {
                let eight = *eight;
                old -= 8;
                pool[old + new..][..8].copy_from_slice(&eight);
            }
            while old > 0 && pool[old - 1].0 < entry.0 {
                old -= 1;
                pool[old + new] = pool[old];
            }
            new -= 1;
            pool[old + new] = entry;
        }
        old
    }

    /// The nodes of the pool, best first.
    pub fn found(&self) -> impl Iterator<Item = u32> + '_ {
        self.pool.iter().map(|entry| entry.1 & !EXPANDED)
    }

    /// The nodes that were expanded, in that order.
    pub fn expanded(&self) -> &[u32] {
        &self.expanded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes on a line; the score falls with the distance from a target.
    struct Line(f32);

    impl Scorer for Line {
        fn score(&mut self, nodes: &[u32], out: &mut [f32]) {
            out.iter_mut().zip(nodes).for_each(|(out, node)| *out = -(*node as f32 - self.0).abs());
        }
        fn prefetch(&self, _: u32) {}
    }

    #[test]
    fn a_search_walks_to_its_target_and_counts_every_node_once() {
        let lists: Vec<Vec<u32>> = (0..100u32).map(|i| (0..100).filter(|j| i.abs_diff(*j) == 1).collect()).collect();
        let graph = Adjacency::from_lists(&lists, 2);
        let mut beam = Beam::default();
        for target in [3.2f32, 99.0, 50.4] {
            let scored = beam.search(&graph, &mut Line(target), &[40], 5);
            let found: Vec<u32> = beam.found().collect();
            assert_eq!(found[0], target.round() as u32);
            assert_eq!(found.len(), 5);
            assert!((6..=100).contains(&scored), "{scored}");
        }
    }

    /// Scores by node.
    struct Given(Vec<f32>);

    impl Scorer for Given {
        fn score(&mut self, nodes: &[u32], out: &mut [f32]) {
            out.iter_mut().zip(nodes).for_each(|(out, node)| *out = self.0[*node as usize]);
        }
        fn prefetch(&self, _: u32) {}
    }

    #[test]
    fn a_pool_keeps_what_insertions_one_by_one_would_keep() {
        let mut rng = crate::rng::Rng::new(3);
        for size in [1, 2, 7, 30, 200] {
            // Few different scores: ties, which the first met wins.
            let scores: Vec<f32> =
                (0..300).map(|i| if i == 250 { f32::NEG_INFINITY } else { rng.below(40) as f32 }).collect();
            let mut beam = Beam::default();
            let graph = Adjacency::from_lists(&vec![Vec::new(); 300], 1);
            beam.start(300);
            let mut expected: Vec<(f32, u32)> = Vec::new();
            let mut at = 0;
            for batch in [1, 16, 3, 64, 0, 100, 116] {
                let nodes: Vec<u32> = (at..at + batch).collect();
                at += batch;
                beam.meet(&nodes, &Given(Vec::new()));
                let mut first = usize::MAX;
                beam.score_pending(best(), &graph, &mut Given(scores.clone()), size, &mut first);
                let mut least = usize::MAX;
                for node in nodes {
                    let score = scores[node as usize];
                    let place = expected.partition_point(|entry| entry.0 >= score);
                    if place < size {
                        expected.insert(place, (score, node));
                        expected.truncate(size);
                        least = least.min(place);
                    }
                }
                assert_eq!(beam.pool, expected, "size {size}");
                assert_eq!(
                    first.min(expected.len()),
                    least.min(expected.len()),
                    "size {size}: where to look for what to expand"
                );
            }
        }
    }

    #[test]
    fn every_search_forgets_the_one_before() {
        let graph = Adjacency::from_lists(&[vec![1], vec![0]], 1);
        let mut beam = Beam::default();
        for _ in 0..3 {
            assert_eq!(beam.search(&graph, &mut Line(1.0), &[0], 2), 2);
        }
    }
}
