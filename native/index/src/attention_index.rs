//! The index of one set of keys: clusters, bytes, graph, and the choice among them.

use std::cell::RefCell;

use rayon::prelude::*;
use sparrow_kernels::{Buffer, Kernels, best, f16, pack_byte_blocks, prefetch};

use crate::error::{IndexError, Result};
use crate::geometry::Geometry;
use crate::graph::{Beam, Graph, Scorer, Space};
use crate::neighbours::exact_neighbours;
use crate::partition::Partition;
use crate::quantiser::{ByteQuery, Quantiser};
use crate::rng::Rng;
use crate::rows::Rows;
use crate::strategy::Strategy;
use crate::top::{Hit, Top};
use crate::vector_index::VectorIndex;

/// Keys that the training queries name as their best; 100 is RoarGraph's figure, and 32 scanned a tenth more.
const LISTED: usize = 100;
/// Queries held out to measure recall on.
const HELD_OUT: usize = 64;
/// Appended keys that are scanned one by one before they are clustered and linked (RetroInfer's figure).
pub const TAIL: usize = 1024;

/// How an index is built.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// Same seed, same index, whatever the number of threads.
    pub seed: u64,
    /// About this many keys in a cluster.
    pub cluster_size: usize,
    /// Training queries at most; 0 lets the number of keys decide (one for 32 keys, at least 2048).
    pub max_queries: usize,
    /// The strategy is the cheapest that finds this share of the `k` best keys.
    pub recall: f32,
    /// See `recall`.
    pub k: usize,
    /// The strategies allowed; all when empty.
    pub strategies: Vec<&'static str>,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self { seed: 1, cluster_size: 64, max_queries: 0, recall: 0.95, k: 100, strategies: Vec::new() }
    }
}

/// What a strategy achieved on the held-out queries.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Strategy and effort.
    pub strategy: Strategy,
    /// Share of the `k` best keys found.
    pub recall: f32,
    /// Share of all keys looked at.
    pub scanned: f32,
}

/// An index for attention keys, or any vectors that are searched by inner product.
///
/// Inside, keys are stored in cluster order: neighbours lie side by side. Appended keys follow, first a tail that is
/// scanned one by one, and every [`TAIL`] keys as clusters and graph nodes of their own.
pub struct AttentionIndex {
    pub(crate) dim: usize,
    pub(crate) seed: u64,
    pub(crate) cluster_size: usize,
    /// Number of each key by its caller's count, in cluster order.
    pub(crate) ids: Buffer<u32>,
    /// `[keys, dim]` in cluster order.
    pub(crate) halves: Buffer<f16>,
    /// `[keys, row_len]`.
    pub(crate) codes: Buffer<u8>,
    /// The same in blocks, when the strategy scans all of them.
    pub(crate) blocks: Buffer<u8>,
    pub(crate) quantiser: Quantiser,
    pub(crate) geometry: Geometry,
    pub(crate) partition: Partition,
    pub(crate) graph: Option<Graph>,
    pub(crate) strategy: Strategy,
    pub(crate) measured: Vec<Measured>,
}

/// Memory of a search, one per thread.
#[derive(Default)]
pub(crate) struct Scratch {
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
    /// Builds an index over `keys` from a sample of the `queries` it will be asked; without queries, from the keys
    /// themselves.
    pub fn build(keys: Rows<'_>, queries: Rows<'_>, options: &BuildOptions) -> Result<Self> {
        if keys.is_empty() {
            return Err(IndexError::Argument("build an index: there are no keys, expected at least 1".into()));
        }
        if keys.len() >= 1 << 31 {
            return Err(IndexError::Argument(format!("build an index: {} keys, at most 2^31 - 1", keys.len())));
        }
        if queries.dim != keys.dim {
            let (q, k) = (queries.dim, keys.dim);
            return Err(IndexError::Argument(format!("build an index: queries of dimension {q}, keys of {k}")));
        }
        if options.cluster_size == 0 || !(0.0..=1.0).contains(&options.recall) || options.k == 0 {
            return Err(IndexError::Argument(format!("build an index: bad options {options:?}")));
        }
        let queries = if queries.is_empty() { keys } else { queries };
        let dim = keys.dim;
        let mut rng = Rng::new(options.seed);
        let wanted = if options.max_queries == 0 { (keys.len() / 32).max(2048) } else { options.max_queries };
        let chosen = rng.sample(queries.len(), wanted + HELD_OUT);
        // Every so many-th is held out; with few queries, they are measured on what they trained.
        let (held, trained) = split(&chosen);
        let (held, trained) = (queries.take(&held), queries.take(&trained));
        let (held, trained) = (Rows { data: &held, dim }, Rows { data: &trained, dim });

        let geometry = Geometry::of(trained);
        let (partition, order) = Partition::build(keys, &geometry, options.cluster_size, options.seed);
        let ordered = keys.take(&order);
        let ordered = Rows { data: &ordered, dim };
        let quantiser = Quantiser::fit(ordered);
        let allowed = |name: &str| options.strategies.is_empty() || options.strategies.contains(&name);
        let graph = allowed("graph").then(|| {
            let lists = exact_neighbours(ordered, trained, LISTED);
            let mapped = geometry.map(ordered);
            Graph::build(ordered, &mapped, trained, &lists, LISTED.min(keys.len()), options.seed)
        });
        let mut index = Self {
            dim,
            seed: options.seed,
            cluster_size: options.cluster_size,
            ids: Buffer::new(&order),
            halves: Buffer::new(&to_halves(ordered.data)),
            codes: Buffer::new(&encode(&quantiser, ordered)),
            blocks: Buffer::new(&[]),
            quantiser,
            geometry,
            partition,
            graph,
            strategy: Strategy::Flat { rerank: 0 },
            measured: Vec::new(),
        };
        index.choose(held, ordered, options);
        Ok(index)
    }

    /// Measures what each strategy needs for the wanted recall and keeps the cheapest.
    fn choose(&mut self, held: Rows<'_>, ordered: Rows<'_>, options: &BuildOptions) {
        let k = options.k.min(self.len());
        let truth = exact_neighbours(ordered, held, k);
        let mut kinds = vec![Strategy::Flat { rerank: 0 }, Strategy::Clusters { probes: 0 }];
        if self.graph.is_some() {
            kinds.push(Strategy::Graph { pool: 0 });
        }
        kinds.retain(|kind| options.strategies.is_empty() || options.strategies.contains(&kind.name()));
        if kinds.is_empty() {
            kinds.push(Strategy::Flat { rerank: 0 });
        }
        self.blocks = self.pack();
        let measured: Vec<Vec<Measured>> =
            kinds.iter().map(|kind| self.sweep(*kind, held, &truth, k, options.recall)).collect();
        let cost = |m: &Measured| f64::from(m.scanned) * m.strategy.cost_per_key(1);
        // Flat always reaches the recall, so there is a last of which the recall is enough.
        let reached = measured.iter().filter_map(|sweep| sweep.last()).filter(|last| last.recall >= options.recall);
        let cheapest = reached.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        let fallback = measured.iter().filter_map(|sweep| sweep.last()).max_by(|a, b| a.recall.total_cmp(&b.recall));
        self.strategy = cheapest.or(fallback).map_or(Strategy::Flat { rerank: 2 * k as u32 }, |m| m.strategy);
        self.measured = measured.into_iter().flatten().collect();
        match self.strategy {
            Strategy::Graph { .. } => self.blocks = Buffer::new(&[]),
            Strategy::Clusters { .. } => (self.blocks, self.graph) = (Buffer::new(&[]), None),
            Strategy::Flat { .. } => self.graph = None,
        }
    }

    /// Raises the effort until the recall is reached.
    fn sweep(&self, kind: Strategy, held: Rows<'_>, truth: &[u32], k: usize, wanted: f32) -> Vec<Measured> {
        let mut found = Vec::new();
        for effort in self.efforts_of(kind, k) {
            let strategy = kind.with_effort(effort);
            let each: Vec<(usize, usize)> = held
                .data
                .par_chunks_exact(self.dim)
                .zip(truth.par_chunks_exact(k))
                .map(|(query, truth)| {
                    let mut places = Vec::new();
                    let scanned = self.search_places(query, k, strategy, &mut places);
                    (places.iter().filter(|hit| truth.contains(&hit.id)).count(), scanned)
                })
                .collect();
            let (hits, scanned) = each.iter().fold((0, 0), |sum, x| (sum.0 + x.0, sum.1 + x.1));
            let recall = hits as f32 / truth.len().max(1) as f32;
            found.push(Measured {
                strategy,
                recall,
                scanned: scanned as f32 / (self.len() * held.len()).max(1) as f32,
            });
            if recall >= wanted {
                break;
            }
        }
        found
    }

    /// Efforts worth trying for a kind of strategy.
    pub(crate) fn efforts_of(&self, kind: Strategy, k: usize) -> Vec<usize> {
        match kind {
            Strategy::Graph { .. } => {
                [10, 11, 12, 13, 15, 18, 22, 28, 36, 48, 64, 100, 160].iter().map(|x| (x * k).div_ceil(10)).collect()
            }
            Strategy::Clusters { .. } => {
                let clusters = self.partition.clusters();
                let shares = [2, 3, 5, 7, 10, 14, 20, 28, 40, 60, 90, 130, 200, 300, 450, 700, 1000];
                let mut efforts: Vec<usize> = shares.iter().map(|s| (s * clusters / 1000).max(1)).collect();
                efforts.dedup();
                efforts
            }
            Strategy::Flat { .. } => [12, 15, 20, 40].iter().map(|x| (x * k).div_ceil(10)).collect(),
        }
    }

    /// The `k` best keys by inner product found with `strategy`, numbered as in [`Self::ids`]' order, best first. Returns how many inner
    /// products that took.
    pub(crate) fn search_places(&self, query: &[f32], k: usize, strategy: Strategy, hits: &mut Vec<Hit>) -> usize {
        SCRATCH.with_borrow_mut(|scratch| {
            let kernels = best();
            self.quantiser.query(query, &mut scratch.query);
            let mut scanned = match strategy {
                Strategy::Graph { pool } => self.walk(kernels, query, pool as usize, scratch),
                Strategy::Clusters { probes } => self.probe(kernels, query, probes as usize, k, scratch),
                Strategy::Flat { rerank } => self.sweep_all(kernels, rerank as usize, scratch),
            };
            // The tail is not in graph or clusters yet.
            let tail = self.partition.keys() as u32..self.len() as u32;
            if !matches!(strategy, Strategy::Flat { .. }) {
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

    /// As [`VectorIndex::search`] with a strategy of the caller's choice.
    pub fn search_with(&self, query: &[f32], k: usize, strategy: Strategy, hits: &mut Vec<Hit>) -> usize {
        let scanned = self.search_places(query, k, strategy, hits);
        hits.iter_mut().for_each(|hit| hit.id = self.ids[hit.id as usize]);
        scanned
    }

    /// The strategy chosen when the index was built.
    pub fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// What each strategy achieved on held-out queries; empty for an index from a file.
    pub fn measured(&self) -> &[Measured] {
        &self.measured
    }

    /// Keys that no search would have reached before repair; 0 without a graph.
    pub fn repaired(&self) -> usize {
        self.graph.as_ref().map_or(0, |graph| graph.repaired)
    }

    /// Adds keys, numbered from [`VectorIndex::len`] on.
    pub fn append(&mut self, keys: Rows<'_>) -> Result<()> {
        if keys.dim != self.dim {
            let (found, wanted) = (keys.dim, self.dim);
            return Err(IndexError::Argument(format!("append keys: dimension {found}, the index has {wanted}")));
        }
        if self.len() + keys.len() >= 1 << 31 {
            return Err(IndexError::Argument("append keys: more than 2^31 - 1 in all".into()));
        }
        let first = self.len() as u32;
        let numbers: Vec<u32> = (first..first + keys.len() as u32).collect();
        self.ids.extend_from_slice(&numbers);
        self.halves.extend_from_slice(&to_halves(keys.data));
        self.codes.extend_from_slice(&encode(&self.quantiser, keys));
        if self.len() - self.partition.keys() >= TAIL {
            self.absorb();
        }
        if let Strategy::Flat { .. } = self.strategy {
            self.blocks = self.pack();
        }
        Ok(())
    }

    /// Makes clusters and graph nodes of the tail.
    fn absorb(&mut self) {
        let from = self.partition.keys();
        let dim = self.dim;
        let wide: Vec<f32> = self.halves.iter().map(|x| x.to_f32()).collect();
        let tail = Rows { data: &wide[from * dim..], dim };
        let (partition, order) = Partition::build(tail, &self.geometry, self.cluster_size, self.seed ^ from as u64);
        let mut ordered = wide[..from * dim].to_vec();
        ordered.extend(tail.take(&order));
        let numbers: Vec<u32> = order.iter().map(|i| self.ids[from + *i as usize]).collect();
        self.ids.overwrite(from, &numbers);
        self.halves.overwrite(from * dim, &to_halves(&ordered[from * dim..]));
        let codes = encode(&self.quantiser, Rows { data: &ordered[from * dim..], dim });
        self.codes.overwrite(from * Quantiser::row_len(dim), &codes);
        self.partition.append(partition);
        if let Some(graph) = &mut self.graph {
            let mapped = self.geometry.map(Rows { data: &ordered, dim });
            let mut beam = Beam::default();
            for node in from..ordered.len() / dim {
                let space = Space { data: &mapped[..(node + 1) * dim], dim, kernels: best() };
                graph.insert(space, &mut beam);
            }
        }
    }

    fn pack(&self) -> Buffer<u8> {
        Buffer::new(&pack_byte_blocks(&self.codes, Quantiser::row_len(self.dim), 128))
    }
}

impl VectorIndex for AttentionIndex {
    fn len(&self) -> usize {
        self.ids.len()
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn bytes(&self) -> usize {
        let graph = self.graph.as_ref().map_or(0, Graph::bytes);
        4 * self.ids.len()
            + 2 * self.halves.len()
            + self.codes.len()
            + self.blocks.len()
            + self.partition.bytes()
            + graph
    }

    fn efforts(&self, k: usize) -> Vec<usize> {
        self.efforts_of(self.strategy, k)
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, hits: &mut Vec<Hit>) -> usize {
        self.search_with(query, k, self.strategy.with_effort(effort), hits)
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

/// (held out, trained on).
fn split(chosen: &[u32]) -> (Vec<u32>, Vec<u32>) {
    if chosen.len() < 4 * HELD_OUT {
        return (chosen.iter().copied().take(HELD_OUT).collect(), chosen.to_vec());
    }
    let every = chosen.len() / HELD_OUT;
    let held = |i: usize| i % every == every / 2 && i / every < HELD_OUT;
    let pick = |wanted: bool| (0..chosen.len()).filter(|i| held(*i) == wanted).map(|i| chosen[i]).collect();
    (pick(true), pick(false))
}

pub(crate) fn to_halves(values: &[f32]) -> Vec<f16> {
    values.par_iter().with_min_len(1 << 16).map(|x| f16::from_f32(*x)).collect()
}

fn encode(quantiser: &Quantiser, rows: Rows<'_>) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = rows
        .data
        .par_chunks(4096 * rows.dim)
        .map(|part| {
            let mut codes = Vec::new();
            part.chunks_exact(rows.dim).for_each(|row| quantiser.encode(row, &mut codes));
            codes
        })
        .collect();
    parts.concat()
}
