//! Other people's indexes, each over the same vectors with the same single thread for searching.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use anndists::dist::distances::Distance;
use hnsw_rs::prelude::Hnsw;
use rayon::prelude::*;
use sparrow_index::{AttentionIndex, Hit, IvfIndex, Rng, Rows, Strategy, VectorIndex};
use sparrow_kernels::{best, pack_blocks};
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

/// An inverted file as published (IVF-Flat): vectors in single precision, list by list; ten rounds of k-means over all of
/// them, 4 √N lists, as FAISS advises; a heap of the k best. Products are computed by our kernels, four rows at a time.
/// (On the real heads faiss-cpu 1.15, IVF512 and IVF724 Flat, one thread, takes twice as long, in part for its Python call.)
pub struct IvfFlatPeer {
    /// Centroids in blocks.
    centroids: Vec<f32>,
    lists: Vec<List>,
    dim: usize,
    scratch: RefCell<(Vec<f32>, Vec<u32>)>,
}

struct List {
    ids: Vec<u32>,
    rows: Vec<f32>,
}

impl IvfFlatPeer {
    pub fn build(keys: Rows<'_>) -> Self {
        let (dim, count) = (keys.dim, (4.0 * (keys.len() as f64).sqrt()) as usize);
        let mut centroids = keys.take(&Rng::new(5).sample(keys.len(), count));
        for _ in 0..10 {
            let assigned = assign(keys, &centroids);
            let mut sums = vec![0f64; centroids.len()];
            let mut sizes = vec![0usize; count];
            for (row, c) in keys.iter().zip(&assigned) {
                sizes[*c as usize] += 1;
                sums[*c as usize * dim..][..dim].iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            for (c, size) in sizes.iter().enumerate().filter(|(_, size)| **size > 0) {
                let target = centroids[c * dim..][..dim].iter_mut();
                target.zip(&sums[c * dim..]).for_each(|(x, sum)| *x = (sum / *size as f64) as f32);
            }
        }
        let mut lists: Vec<List> = (0..count).map(|_| List { ids: Vec::new(), rows: Vec::new() }).collect();
        for (id, c) in assign(keys, &centroids).into_iter().enumerate() {
            lists[c as usize].ids.push(id as u32);
            lists[c as usize].rows.extend(keys.row(id));
        }
        Self { centroids: pack_blocks(&centroids, dim, 0.0), lists, dim, scratch: RefCell::default() }
    }
}

/// The nearest centroid of every row.
fn assign(rows: Rows<'_>, centroids: &[f32]) -> Vec<u32> {
    let dim = rows.dim;
    let halves: Vec<f32> = centroids.chunks_exact(dim).map(|c| 0.5 * best().dot_f32(c, c)).collect();
    let blocks = pack_blocks(centroids, dim, 0.0);
    let stride = blocks.len() / dim;
    let parts: Vec<Vec<u32>> = rows
        .data
        .par_chunks(512 * dim)
        .map(|part| {
            let mut scores = vec![0f32; 8 * stride];
            let mut found = Vec::new();
            for group in part.chunks(8 * dim) {
                let scores = &mut scores[..group.len() / dim * stride];
                best().scan_f32(group, dim, &blocks, scores);
                for scores in scores.chunks_exact_mut(stride) {
                    scores.iter_mut().zip(&halves).for_each(|(score, half)| *score -= half);
                    let most = best().max(&scores[..halves.len()]);
                    found.push(scores.iter().position(|x| *x == most).unwrap_or(0) as u32);
                }
            }
            found
        })
        .collect();
    parts.concat()
}

/// A heap of the largest scores: the least of them on top.
fn offer(heap: &mut BinaryHeap<Reverse<(Ordered, u32)>>, k: usize, score: f32, id: u32) {
    if heap.len() < k {
        heap.push(Reverse((Ordered(score), id)));
    } else if let Some(mut least) = heap.peek_mut()
        && score > least.0.0.0
    {
        *least = Reverse((Ordered(score), id));
    }
}

#[derive(PartialEq)]
struct Ordered(f32);

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Peer for IvfFlatPeer {
    fn name(&self) -> &'static str {
        "ivf-flat"
    }

    fn efforts(&self, _: usize) -> Vec<usize> {
        cluster_efforts(self.lists.len())
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, ids: &mut Vec<u32>) -> usize {
        let (scores, numbers) = &mut *self.scratch.borrow_mut();
        scores.resize(self.centroids.len() / self.dim, 0.0);
        best().scan_f32(query, self.dim, &self.centroids, scores);
        let mut probed = BinaryHeap::with_capacity(effort);
        (0..self.lists.len()).for_each(|c| offer(&mut probed, effort, scores[c], c as u32));
        let mut scanned = self.lists.len();
        let mut heap = BinaryHeap::with_capacity(k);
        for Reverse((_, c)) in probed {
            let list = &self.lists[c as usize];
            let count = list.ids.len();
            scanned += count;
            numbers.extend(numbers.len() as u32..count as u32);
            scores.resize(count.max(scores.len()), 0.0);
            best().gather_dot_f32(query, &list.rows, &numbers[..count], &mut scores[..count]);
            list.ids.iter().zip(scores.iter()).for_each(|(id, score)| offer(&mut heap, k, *score, *id));
        }
        ids.clear();
        ids.extend(heap.into_sorted_vec().into_iter().map(|Reverse((_, id))| id));
        scanned
    }
}

/// Numbers of clusters to try, in steps of at most a tenth.
fn cluster_efforts(clusters: usize) -> Vec<usize> {
    let mut efforts = vec![1];
    while efforts[efforts.len() - 1] < clusters {
        let last = efforts[efforts.len() - 1];
        efforts.push((last + (last / 10).max(1)).min(clusters));
    }
    efforts
}

/// Our own chosen strategy.
pub struct Chosen(pub AttentionIndex, RefCell<Vec<Hit>>);

impl Chosen {
    pub fn new(index: AttentionIndex) -> Self {
        Self(index, RefCell::default())
    }
}

impl Peer for Chosen {
    fn name(&self) -> &'static str {
        "chosen"
    }

    fn efforts(&self, k: usize) -> Vec<usize> {
        match self.0.strategy() {
            Strategy::Clusters { .. } => cluster_efforts(self.0.len().div_ceil(64)),
            _ => self.0.efforts(k),
        }
    }

    fn search(&self, query: &[f32], k: usize, effort: usize, ids: &mut Vec<u32>) -> usize {
        let hits = &mut *self.1.borrow_mut();
        let scanned = self.0.search(query, k, effort, hits);
        ids.clear();
        ids.extend(hits.iter().map(|hit| hit.id));
        scanned
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

/// An inverted file of our own parts: clusters of 64 by k-means on the raw keys, half-precision rows, selection by vector
/// comparison. Faster than any published one that was tried, so it is shown, as what our search gains beyond its kernels.
pub fn ivf_own(keys: Rows<'_>) -> Own<IvfIndex> {
    Own("ivf, our kernels", IvfIndex::build(keys, 64, 1))
}
