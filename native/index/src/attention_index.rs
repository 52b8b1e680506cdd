//! The index of one set of keys: clusters, bytes, graph, and the choice among them.

use rayon::prelude::*;
use sparrow_kernels::{Buffer, best, f16};

use crate::byte_keys::ByteKeys;
use crate::choose::Measured;
use crate::error::{IndexError, Result};
use crate::geometry::Geometry;
use crate::graph::{Beam, Graph, Space};
use crate::neighbours::exact_neighbours;
use crate::partition::Partition;
use crate::quantiser::Quantiser;
use crate::rng::Rng;
use crate::rows::Rows;
use crate::strategy::Strategy;
use crate::top::Hit;
use crate::vector_index::VectorIndex;

/// Keys that the training queries name as their best; 100 is RoarGraph's figure, and 32 scanned a tenth more.
const LISTED: usize = 100;
/// Queries held out to measure recall on.
const HELD_OUT: usize = 64;
/// Appended keys that are scanned one by one before they are clustered and linked (RetroInfer's figure).
pub const TAIL: usize = 1024;
/// One tail key of this many may be clipped by its bytes before all keys get new ones. A few must not: the bytes of all others would be coarser.
const CLIPPED: usize = 16;

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
    /// The strategies allowed; all when empty, and then a graph is built only where it could be the cheapest.
    pub strategies: Vec<&'static str>,
    /// Keeps what every measured strategy needs, not only the chosen one.
    pub keep_all: bool,
    /// Threads that will search at the same time. They share what memory can deliver, so that many of them favour the strategy that reads least.
    pub threads: usize,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            seed: 1,
            cluster_size: 64,
            max_queries: 0,
            recall: 0.95,
            k: 100,
            strategies: Vec::new(),
            keep_all: false,
            threads: 1,
        }
    }
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
    /// The same as bytes.
    pub(crate) codes: ByteKeys,
    /// Centroids of the clusters as bytes.
    pub(crate) centroids: ByteKeys,
    pub(crate) quantiser: Quantiser,
    pub(crate) geometry: Geometry,
    pub(crate) partition: Partition,
    pub(crate) graph: Option<Graph>,
    pub(crate) strategy: Strategy,
    /// Share of the clusters that `strategy` opens, kept as appended keys become more of them; 0 where it is none of clusters.
    pub(crate) opened: f32,
    /// Keys wanted where its recall was measured.
    pub(crate) wanted: usize,
    pub(crate) measured: Vec<Measured>,
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
        keys.fit_halves("keys")?;
        if queries.dim != keys.dim {
            let (q, k) = (queries.dim, keys.dim);
            return Err(IndexError::Argument(format!("build an index: queries of dimension {q}, keys of {k}")));
        }
        queries.fit_scores("build an index")?;
        if options.cluster_size == 0 || !(0.0..=1.0).contains(&options.recall) || options.k == 0 || options.threads == 0
        {
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
        let codes = ByteKeys::new(&encode(&quantiser, ordered), dim, true, true);
        let centroids = encode_centroids(&quantiser, &partition, dim);
        let mut index = Self {
            dim,
            seed: options.seed,
            cluster_size: options.cluster_size,
            ids: Buffer::new(&order),
            halves: Buffer::new(&to_halves(ordered.data)),
            codes,
            centroids,
            quantiser,
            geometry,
            partition,
            graph: None,
            strategy: Strategy::Flat { rerank: 0 },
            opened: 0.0,
            wanted: options.k,
            measured: Vec::new(),
        };
        index.choose(held, ordered, options, |index| {
            let lists = exact_neighbours(ordered, trained, LISTED);
            let mapped = index.geometry.map(ordered);
            index.graph = Some(Graph::build(ordered, &mapped, trained, &lists, LISTED.min(keys.len()), options.seed));
        });
        Ok(index)
    }

    /// Searches with `strategy` from now on.
    pub(crate) fn set_strategy(&mut self, strategy: Strategy) {
        self.strategy = strategy;
        self.opened = match strategy {
            Strategy::Clusters { probes } => probes as f32 / self.partition.clusters().max(1) as f32,
            Strategy::Graph { .. } | Strategy::Flat { .. } => 0.0,
        };
    }

    /// Searches with `strategy` from now on, and drops what neither it nor `others` need.
    pub(crate) fn keep_only(&mut self, strategy: Strategy, others: &[Strategy]) {
        self.set_strategy(strategy);
        let walks = |strategy: &Strategy| matches!(strategy, Strategy::Graph { .. });
        let kept = || std::iter::once(&strategy).chain(others);
        if !kept().any(walks) {
            self.graph = None;
        }
        self.codes.keep(kept().any(walks), kept().any(|kept| !walks(kept)));
    }

    /// Whether a search with this strategy is possible.
    pub(crate) fn can(&self, strategy: Strategy) -> bool {
        match strategy {
            Strategy::Graph { .. } => self.graph.is_some() && self.codes.rows().is_some(),
            Strategy::Clusters { .. } | Strategy::Flat { .. } => self.codes.blocks().is_some(),
        }
    }

    /// As [`VectorIndex::search`] with a strategy of the caller's choice.
    ///
    /// # Panics
    /// When the index was not built with `keep_all` and does not hold what the strategy needs.
    pub fn search_with(&self, query: &[f32], k: usize, strategy: Strategy, hits: &mut Vec<Hit>) -> usize {
        assert!(self.can(strategy), "the index holds nothing for {strategy:?}");
        let scanned = self.search_places(query, k, strategy, true, hits);
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
        keys.fit_halves("append keys")?;
        let first = self.len() as u32;
        let numbers: Vec<u32> = (first..first + keys.len() as u32).collect();
        self.ids.extend_from_slice(&numbers);
        self.halves.extend_from_slice(&to_halves(keys.data));
        self.codes.push(&encode(&self.quantiser, keys));
        if self.len() - self.partition.keys() >= TAIL {
            self.absorb();
        }
        Ok(())
    }

    /// Makes clusters and graph nodes of the tail.
    fn absorb(&mut self) {
        let from = self.partition.keys();
        let dim = self.dim;
        let wide = to_floats(&self.halves[from * dim..]);
        let tail = Rows { data: &wide, dim };
        let (partition, order) = Partition::build(tail, &self.geometry, self.cluster_size, self.seed ^ from as u64);
        let ordered = tail.take(&order);
        let numbers: Vec<u32> = order.iter().map(|i| self.ids[from + *i as usize]).collect();
        self.ids.overwrite(from, &numbers);
        self.halves.overwrite(from * dim, &to_halves(&ordered));
        if CLIPPED * self.quantiser.clipped(tail) > tail.len() {
            let all = to_floats(&self.halves);
            let all = Rows { data: &all, dim };
            self.quantiser = Quantiser::fit(all);
            self.codes.overwrite(0, &encode(&self.quantiser, all));
        } else {
            self.codes.overwrite(from, &encode(&self.quantiser, Rows { data: &ordered, dim }));
        }
        self.partition.append(partition);
        if let Strategy::Clusters { probes } = &mut self.strategy {
            // The same number would find ever less: appended keys lie everywhere, in clusters of their own. (2,000 keys of 32 elements that grow
            // to 20,000: recall@100 0.36, by share 0.99.)
            *probes = ((self.opened * self.partition.clusters() as f32).round() as u32).max(1);
        }
        self.centroids = encode_centroids(&self.quantiser, &self.partition, dim);
        if let Some(graph) = &mut self.graph {
            let mapped = self.geometry.map(Rows { data: &to_floats(&self.halves), dim });
            let mut beam = Beam::default();
            for node in from..mapped.len() / dim {
                let space = Space { data: &mapped[..(node + 1) * dim], dim, kernels: best() };
                graph.insert(space, &mut beam);
            }
        }
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
            + self.codes.bytes()
            + self.centroids.bytes()
            + self.partition.bytes()
            + self.geometry.bytes()
            + graph
    }

    fn efforts(&self, k: usize) -> Vec<usize> {
        self.efforts_of(self.strategy, k)
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, hits: &mut Vec<Hit>) -> usize {
        self.search_with(query, k, self.strategy.with_effort(effort), hits)
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

fn to_floats(halves: &[f16]) -> Vec<f32> {
    halves.par_iter().with_min_len(1 << 16).map(|x| x.to_f32()).collect()
}

pub(crate) fn to_halves(values: &[f32]) -> Vec<f16> {
    values.par_iter().with_min_len(1 << 16).map(|x| f16::from_f32(*x)).collect()
}

pub(crate) fn encode_centroids(quantiser: &Quantiser, partition: &Partition, dim: usize) -> ByteKeys {
    ByteKeys::new(&encode(quantiser, Rows { data: &partition.centroids(), dim }), dim, false, true)
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
