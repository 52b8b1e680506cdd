//! Other people's indexes, each over the same vectors with the same single thread for searching.

use std::cell::Cell;

use anndists::dist::distances::Distance;
use hnsw_rs::prelude::Hnsw;
use rayon::prelude::*;
use sparrow_index::{Hit, IvfIndex, Rows, VectorIndex};
use sparrow_kernels::best;
#[cfg(feature = "usearch")]
use usearch::{IndexOptions, MetricKind, ScalarKind};

/// An index with an effort knob.
pub trait Peer {
    fn name(&self) -> &'static str;
    /// Efforts to try, rising.
    fn efforts(&self, k: usize) -> Vec<usize>;
    /// Ids of the best `k`, and how many keys were scored (0 when the peer cannot tell).
    fn search(&self, query: &[f32], k: usize, effort: usize, ids: &mut Vec<u32>) -> usize;
}

thread_local! {
    static SCORED: Cell<usize> = const { Cell::new(0) };
}

/// Inner product as a distance. hnsw_rs wants no negative ones, so it is measured from a bound on all products; the kernel
/// is ours, so that both sides compute at the same speed.
#[derive(Clone)]
struct FromBound(f32);

impl Distance<f32> for FromBound {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        SCORED.set(SCORED.get() + 1);
        (self.0 - best().dot_f32(a, b)).max(0.0)
    }
}

/// hnsw_rs with the usual parameters: 16 links, 200 candidates while building.
pub struct HnswPeer(Hnsw<'static, f32, FromBound>);

impl HnswPeer {
    pub fn build(keys: Rows<'_>, queries: Rows<'_>) -> Self {
        let longest = |rows: Rows<'_>| rows.iter().map(|row| best().dot_f32(row, row)).fold(0f32, f32::max).sqrt();
        let most = longest(keys);
        let hnsw = Hnsw::new(16, keys.len(), 16, 200, FromBound(most * most.max(longest(queries))));
        (0..keys.len()).into_par_iter().for_each(|i| hnsw.insert_slice((keys.row(i), i)));
        Self(hnsw)
    }
}

const POOLS: [usize; 11] = [100, 110, 125, 150, 200, 280, 400, 600, 1000, 2000, 4000];

impl Peer for HnswPeer {
    fn name(&self) -> &'static str {
        "hnsw_rs"
    }

    fn efforts(&self, _: usize) -> Vec<usize> {
        POOLS.to_vec()
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, ids: &mut Vec<u32>) -> usize {
        SCORED.set(0);
        let found = self.0.search(query, k, effort);
        ids.clear();
        ids.extend(found.iter().map(|neighbour| neighbour.d_id as u32));
        SCORED.get()
    }
}

/// usearch with half-precision keys and the same parameters.
#[cfg(feature = "usearch")]
pub struct UsearchPeer(usearch::Index);

#[cfg(feature = "usearch")]
impl UsearchPeer {
    pub fn build(keys: Rows<'_>) -> Result<Self, String> {
        let options = IndexOptions {
            dimensions: keys.dim,
            metric: MetricKind::IP,
            quantization: ScalarKind::F16,
            connectivity: 16,
            expansion_add: 200,
            expansion_search: 100,
            ..IndexOptions::default()
        };
        let text = |error: &dyn std::fmt::Display| format!("usearch: {error}");
        let index = usearch::Index::new(&options).map_err(|error| text(&error))?;
        index.reserve(keys.len()).map_err(|error| text(&error))?;
        (0..keys.len())
            .into_par_iter()
            .try_for_each(|i| index.add(i as u64, keys.row(i)))
            .map_err(|error| text(&error))?;
        Ok(Self(index))
    }
}

#[cfg(feature = "usearch")]
impl Peer for UsearchPeer {
    fn name(&self) -> &'static str {
        "usearch"
    }

    fn efforts(&self, _: usize) -> Vec<usize> {
        POOLS.to_vec()
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, ids: &mut Vec<u32>) -> usize {
        self.0.change_expansion_search(effort);
        ids.clear();
        if let Ok(found) = self.0.search(query, k) {
            ids.extend(found.keys.iter().map(|key| *key as u32));
        }
        0
    }
}

/// Any of our own behind the same face.
pub struct Own<I>(pub &'static str, pub I);

impl<I: VectorIndex> Peer for Own<I> {
    fn name(&self) -> &'static str {
        self.0
    }

    fn efforts(&self, k: usize) -> Vec<usize> {
        self.1.efforts(k)
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, ids: &mut Vec<u32>) -> usize {
        let mut hits: Vec<Hit> = Vec::new();
        let scanned = self.1.search(query, k, effort, &mut hits);
        ids.clear();
        ids.extend(hits.iter().map(|hit| hit.id));
        scanned
    }
}

/// A plain inverted file.
pub fn ivf(keys: Rows<'_>) -> Own<IvfIndex> {
    Own("ivf", IvfIndex::build(keys, 64, 1))
}
