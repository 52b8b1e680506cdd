//! How an [`AttentionIndex`] is searched: candidates by graph, clusters or all bytes, then a second look in half precision.

use std::cell::RefCell;

use sparrow_kernels::{Kernels, best, prefetch};

use crate::attention_index::AttentionIndex;
use crate::cut::cut;
use crate::graph::{Beam, Scorer};
use crate::quantiser::ByteQuery;
use crate::strategy::Strategy;
use crate::top::{Hit, Top, better};
use crate::vector_index::VectorIndex;

/// Memory of a search, one per thread.
#[derive(Default)]
struct Scratch {
    beam: Beam,
    query: ByteQuery,
    scores: Vec<f32>,
    dots: Vec<i32>,
    nodes: Vec<u32>,
    entries: Vec<u32>,
    top: Top,
    /// Clusters to look at.
    probed: Vec<u32>,
    /// (score, place) of those that pass a threshold.
    passed: Vec<(f32, u32)>,
    ranks: Vec<u32>,
}

/// Longest lists that are put in order by comparing all with all. (118: 0.6 µs, by sorting 0.9.)
const RANKED: usize = 512;

/// Candidates by bytes that are scored again in half precision, for `k` wanted. (Recall@100 among all keys as bytes: 0.9998
/// from 120.)
fn rescored(k: usize) -> usize {
    k + k / 8 + 4
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl AttentionIndex {
    /// The `k` best keys found with `strategy`, best first, numbered by their place in cluster order; with or without those
    /// of the tail. Returns how many inner products that took.
    pub(crate) fn search_places(
        &self,
        query: &[f32],
        k: usize,
        strategy: Strategy,
        with_tail: bool,
        hits: &mut Vec<Hit>,
    ) -> usize {
        SCRATCH.with_borrow_mut(|scratch| {
            let kernels = best();
            self.quantiser.query(query, &mut scratch.query);
            let mut scanned = match strategy {
                Strategy::Graph { pool } => self.walk(kernels, query, pool as usize, k, scratch),
                Strategy::Clusters { probes } => self.probe(kernels, query, probes as usize, k, scratch),
                Strategy::Flat { rerank } => self.sweep_all(kernels, rerank as usize, scratch),
            };
            // The tail is in the bytes, but not in graph or clusters yet.
            let clustered = self.partition.keys() as u32;
            scratch.nodes.retain(|node| *node < clustered);
            if with_tail {
                let tail = clustered..self.len() as u32;
                scanned += tail.len();
                scratch.nodes.extend(tail);
            }
            self.rerank(kernels, query, k, scratch, hits);
            scanned
        })
    }

    /// Candidates by graph, into `scratch.nodes`: the best of the pool by bytes.
    fn walk(&self, kernels: &dyn Kernels, query: &[f32], pool: usize, k: usize, scratch: &mut Scratch) -> usize {
        scratch.nodes.clear();
        let (Some(graph), Some(codes)) = (&self.graph, self.codes.rows()) else { return 0 };
        graph.entries.find(kernels, query, &mut scratch.scores, &mut scratch.entries);
        let mut scorer = ByteScorer {
            kernels,
            codes,
            row_len: self.codes.row_len(),
            query: &scratch.query.codes,
            dots: &mut scratch.dots,
        };
        let scored = scratch.beam.search(&graph.adjacency, &mut scorer, &scratch.entries, pool);
        scratch.nodes.extend(scratch.beam.found().take(rescored(k)));
        scored + graph.entries.len()
    }

    /// Candidates by clusters: their keys as bytes, the best of them.
    fn probe(&self, kernels: &dyn Kernels, query: &[f32], probes: usize, k: usize, scratch: &mut Scratch) -> usize {
        let clusters = self.partition.clusters();
        let Scratch { query: bytes, scores, dots, nodes, passed, probed, .. } = scratch;
        self.centroids.scan(&bytes.codes, 0..clusters, dots);
        // A cluster's best key lies above its mean. (7 % fewer keys than by the mean alone.)
        let reach = self.geometry.reach(query) / bytes.scale;
        scores.clear();
        scores.extend(dots.iter().zip(&self.partition.spreads).map(|(dot, spread)| *dot as f32 + reach * spread));
        // Clusters of outliers are small: more where those chosen hold fewer keys than are wanted.
        let mut probes = probes.max(1);
        loop {
            passed.clear();
            kernels.above(scores, cut(kernels, scores, probes, 1 + probes / 8), 0, passed);
            let keys: usize = passed.iter().map(|entry| self.partition.range(entry.1 as usize).len()).sum();
            if keys >= k || probes >= clusters {
                break;
            }
            probes *= 2;
        }
        // Scores of all chosen clusters side by side, in their order.
        probed.clear();
        probed.extend(passed.iter().map(|entry| entry.1));
        scores.clear();
        for (number, c) in probed.iter().enumerate() {
            if let Some(next) = probed.get(number + 1) {
                self.codes.prefetch(self.partition.range(*next as usize));
            }
            let range = self.partition.range(*c as usize);
            let [skip, _] = self.codes.scan(&bytes.codes, range.clone(), dots);
            scores.extend(dots[skip..][..range.len()].iter().map(|dot| *dot as f32));
        }
        let wanted = rescored(k);
        let threshold = cut(kernels, scores, wanted, wanted / 16);
        passed.clear();
        let mut at = 0;
        for c in probed.iter() {
            let range = self.partition.range(*c as usize);
            kernels.above(&scores[at..at + range.len()], threshold, range.start as u32, passed);
            at += range.len();
        }
        // More only where many keys are equal.
        if passed.len() > 2 * wanted + 64 {
            passed.select_nth_unstable_by(wanted, better);
            passed.truncate(wanted);
        }
        nodes.clear();
        nodes.extend(passed.iter().map(|entry| entry.1));
        at + clusters
    }

    /// Candidates by scanning all bytes.
    fn sweep_all(&self, kernels: &dyn Kernels, rerank: usize, scratch: &mut Scratch) -> usize {
        let keys = self.len();
        let Scratch { query: bytes, scores, dots, nodes, top, .. } = scratch;
        top.reset(rerank);
        const TILE: usize = 4096;
        for first in (0..keys).step_by(TILE) {
            let range = first..(first + TILE).min(keys);
            self.codes.scan(&bytes.codes, range.clone(), dots);
            scores.clear();
            scores.extend(dots[..range.len()].iter().map(|dot| *dot as f32));
            top.push(kernels, scores, first as u32);
        }
        nodes.clear();
        nodes.extend(top.unsorted().iter().map(|hit| hit.1));
        keys
    }

    /// Scores the candidates in half precision and keeps the best.
    fn rerank(&self, kernels: &dyn Kernels, query: &[f32], k: usize, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
        let Scratch { nodes, scores, ranks, .. } = scratch;
        for node in nodes.iter() {
            let start = *node as usize * self.dim;
            for offset in (0..self.dim).step_by(32) {
                prefetch(&self.halves, start + offset);
            }
        }
        scores.clear();
        scores.resize(nodes.len(), 0.0);
        kernels.gather_dot_f16(query, &self.halves, nodes, scores);
        hits.clear();
        hits.extend(scores.iter().zip(nodes.iter()).map(|(score, id)| Hit { score: *score, id: *id }));
        if hits.len() > RANKED {
            hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        } else {
            ranks.clear();
            ranks.resize(hits.len(), 0);
            kernels.ranks(scores, ranks);
            // Equal scores have equal ranks: each takes the next free place.
            const FREE: u32 = u32::MAX;
            hits.iter_mut().for_each(|hit| hit.id = FREE);
            for ((score, node), rank) in scores.iter().zip(nodes.iter()).zip(ranks.iter()) {
                let mut place = *rank as usize;
                while hits[place].id != FREE {
                    place += 1;
                }
                hits[place] = Hit { score: *score, id: *node };
            }
        }
        hits.truncate(k);
    }
}

struct ByteScorer<'a> {
    kernels: &'a dyn Kernels,
    codes: &'a [u8],
    row_len: usize,
    query: &'a [i8],
    dots: &'a mut Vec<i32>,
}

impl Scorer for ByteScorer<'_> {
    fn score(&mut self, nodes: &[u32], out: &mut [f32]) {
        self.dots.clear();
        self.dots.resize(nodes.len(), 0);
        self.kernels.gather_dot_u8(self.query, self.codes, nodes, self.dots);
        out.iter_mut().zip(self.dots.iter()).for_each(|(out, dot)| *out = *dot as f32);
    }

    fn prefetch(&self, node: u32) {
        let start = node as usize * self.row_len;
        for offset in (0..self.row_len).step_by(64) {
            prefetch(self.codes, start + offset);
        }
    }
}
