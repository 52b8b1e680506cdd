//! How an [`AttentionIndex`] is searched: candidates by graph, clusters or all bytes, then a second look in half precision.

use std::cell::RefCell;

use sparrow_kernels::{Kernels, best, prefetch};

use crate::attention_index::AttentionIndex;
use crate::graph::{Beam, Scorer};
use crate::quantiser::{ByteQuery, Quantiser};
use crate::strategy::Strategy;
use crate::top::{Hit, Top};
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
    top: Option<Top>,
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
                Strategy::Graph { pool } => self.walk(kernels, query, pool as usize, scratch),
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

    /// Candidates by graph, into `scratch.nodes`.
    fn walk(&self, kernels: &dyn Kernels, query: &[f32], pool: usize, scratch: &mut Scratch) -> usize {
        scratch.nodes.clear();
        let Some(graph) = &self.graph else { return 0 };
        graph.entries.find(kernels, query, &mut scratch.scores, &mut scratch.entries);
        let mut scorer = ByteScorer {
            kernels,
            codes: &self.codes,
            row_len: Quantiser::row_len(self.dim),
            query: &scratch.query.codes,
            dots: &mut scratch.dots,
        };
        let scored = scratch.beam.search(&graph.adjacency, &mut scorer, &scratch.entries, pool);
        scratch.nodes.extend(scratch.beam.found());
        scored + graph.entries.len()
    }

    /// Candidates by clusters: their keys as bytes, the best 1.5 k of them.
    fn probe(&self, kernels: &dyn Kernels, query: &[f32], probes: usize, k: usize, scratch: &mut Scratch) -> usize {
        self.partition.scores(kernels, query, &mut scratch.scores);
        let clusters = self.partition.clusters();
        // A cluster's best key is about half its spread above its mean for such a query (measured: 7 % fewer keys than
        // by the mean alone).
        let reach = 0.5 * self.geometry.query_norm(query);
        let scores = &mut scratch.scores[..clusters];
        scores.iter_mut().zip(&self.partition.spreads).for_each(|(score, spread)| *score += reach * spread);
        let top = scratch.top.get_or_insert_with(|| Top::new(0));
        top.reset(probes);
        top.push(kernels, scores, 0);
        scratch.nodes.clear();
        for (_, c) in top.unsorted() {
            scratch.nodes.extend(self.partition.range(*c as usize).map(|place| place as u32));
        }
        let scanned = scratch.nodes.len();
        scratch.dots.clear();
        scratch.dots.resize(scanned, 0);
        kernels.gather_dot_u8(&scratch.query.codes, &self.codes, &scratch.nodes, &mut scratch.dots);
        scratch.scores.clear();
        scratch.scores.extend(scratch.dots.iter().map(|dot| *dot as f32));
        top.reset(k + k / 2 + 8);
        top.push(kernels, &scratch.scores, 0);
        let best: Vec<u32> = top.unsorted().iter().map(|(_, place)| scratch.nodes[*place as usize]).collect();
        scratch.nodes.clear();
        scratch.nodes.extend(best);
        scanned + clusters
    }

    /// Candidates by scanning all bytes.
    fn sweep_all(&self, kernels: &dyn Kernels, rerank: usize, scratch: &mut Scratch) -> usize {
        let row_len = Quantiser::row_len(self.dim);
        let keys = self.len();
        let top = scratch.top.get_or_insert_with(|| Top::new(0));
        top.reset(rerank);
        const TILE: usize = 4096;
        scratch.dots.resize(TILE.max(scratch.dots.len()), 0);
        for (number, tile) in self.blocks.chunks(TILE * row_len).enumerate() {
            let dots = &mut scratch.dots[..tile.len() / row_len];
            kernels.scan_u8(&scratch.query.codes, row_len, tile, dots);
            scratch.scores.clear();
            scratch.scores.extend(dots.iter().map(|dot| *dot as f32));
            let first = number * TILE;
            let real = scratch.scores.len().min(keys - first);
            top.push(kernels, &scratch.scores[..real], first as u32);
        }
        scratch.nodes.clear();
        scratch.nodes.extend(top.unsorted().iter().map(|hit| hit.1));
        keys
    }

    /// Scores the candidates in half precision and keeps the best.
    fn rerank(&self, kernels: &dyn Kernels, query: &[f32], k: usize, scratch: &mut Scratch, hits: &mut Vec<Hit>) {
        for node in &scratch.nodes {
            let start = *node as usize * self.dim;
            for offset in (0..self.dim).step_by(32) {
                prefetch(&self.halves, start + offset);
            }
        }
        scratch.scores.clear();
        scratch.scores.resize(scratch.nodes.len(), 0.0);
        kernels.gather_dot_f16(query, &self.halves, &scratch.nodes, &mut scratch.scores);
        hits.clear();
        hits.extend(scratch.scores.iter().zip(&scratch.nodes).map(|(score, id)| Hit { score: *score, id: *id }));
        hits.sort_unstable_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
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
