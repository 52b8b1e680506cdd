//! Best-first search with a bounded pool.
//!
//! Several nodes are expanded at a time: all their edge lists are asked for, then all the vectors they lead to, so that
//! one round trip to memory is paid for many nodes. (128K keys of 64 bytes from DRAM, pool 300: 185 µs a query one at a
//! time, 123 µs eight at a time, at the same number of keys scanned.)

use super::adjacency::Adjacency;

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
    /// The search that last met each node; u16 keeps it small, and a wrap clears it.
    seen: Vec<u16>,
    search: u16,
    /// Best first; ids carry [`EXPANDED`].
    pool: Vec<(f32, u32)>,
    expanded: Vec<u32>,
    pending: Vec<u32>,
    scores: Vec<f32>,
}

impl Beam {
    /// Searches from `entries` with a pool of `size`. Returns the number of nodes scored.
    pub fn search(&mut self, graph: &Adjacency, scorer: &mut impl Scorer, entries: &[u32], size: usize) -> usize {
        self.start(graph.len());
        for entry in entries {
            self.meet(*entry, scorer);
        }
        let mut scored = self.score_pending(scorer, size, &mut 0);
        let mut first = 0;
        loop {
            let front = self.next_front(&mut first, graph);
            if front.1 == 0 {
                return scored;
            }
            for node in &front.0[..front.1] {
                for next in graph.list(*node) {
                    self.meet(*next, scorer);
                }
            }
            scored += self.score_pending(scorer, size, &mut first);
        }
    }

    /// Forgets the last search.
    fn start(&mut self, nodes: usize) {
        self.seen.resize(nodes, 0);
        self.search = self.search.wrapping_add(1);
        if self.search == 0 {
            self.seen.fill(0);
            self.search = 1;
        }
        self.pool.clear();
        self.expanded.clear();
        self.pending.clear();
    }

    #[inline(always)]
    fn meet(&mut self, node: u32, scorer: &impl Scorer) {
        let seen = &mut self.seen[node as usize];
        if *seen != self.search {
            *seen = self.search;
            scorer.prefetch(node);
            self.pending.push(node);
        }
    }

    /// Marks the best unexpanded nodes as expanded and returns them; everything before `first` is expanded.
    fn next_front(&mut self, first: &mut usize, graph: &Adjacency) -> ([u32; WIDTH], usize) {
        let mut front = ([0; WIDTH], 0);
        while *first < self.pool.len() && self.pool[*first].1 & EXPANDED != 0 {
            *first += 1;
        }
        for entry in &mut self.pool[*first..] {
            if entry.1 & EXPANDED == 0 {
                graph.prefetch(entry.1);
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
    fn score_pending(&mut self, scorer: &mut impl Scorer, size: usize, first: &mut usize) -> usize {
        let count = self.pending.len();
        self.scores.resize(count.max(self.scores.len()), 0.0);
        scorer.score(&self.pending, &mut self.scores[..count]);
        for (node, score) in self.pending.iter().zip(&self.scores) {
            if self.pool.len() == size {
                if *score <= self.pool[size - 1].0 {
                    continue;
                }
                self.pool.pop();
            }
            let place = self.pool.partition_point(|entry| entry.0 >= *score);
            self.pool.insert(place, (*score, *node));
            *first = (*first).min(place);
        }
        self.pending.clear();
        count
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

    #[test]
    fn the_wrap_of_the_search_number_forgets_old_searches() {
        let graph = Adjacency::from_lists(&[vec![1], vec![0]], 1);
        let mut beam = Beam::default();
        for _ in 0..70_000 {
            assert_eq!(beam.search(&graph, &mut Line(1.0), &[0], 2), 2);
        }
    }
}
