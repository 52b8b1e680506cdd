//! Keys in clusters of like scores: the order in which everything else is stored, and what is known of each cluster
//! without looking at its keys.

use rayon::prelude::*;
use sparrow_kernels::{Buffer, HalfFloatSliceExt, Kernels, best, f16, pack_blocks, unpack_blocks};

use crate::byte_space::ByteSpace;
use crate::geometry::Geometry;
use crate::rng::Rng;
use crate::rows::Rows;

/// Rounds of k-means over the sample. (On a 128K head, rounds 6 to 10 changed the keys scanned at recall 0.95 by under
/// 2 %.)
const ROUNDS: usize = 6;
/// Sampled rows for each centroid in those rounds.
const SAMPLE: usize = 16;
/// Rows assigned by one task; fixed, so that results do not depend on the number of threads.
const CHUNK: usize = 512;

/// A key so many times further from its cluster's mean than is usual there goes to clusters of such keys: few, but a query that wants
/// one of them cannot tell from a cluster of other keys that it is there. (Four made heads of 128K keys with heavy-tailed norms, decode
/// steps planned for 0.8 % error, of 512 fresh tokens: mean error 1.2 %, of the worst hundredth 8.3 %, 2.2 ms a step without; 0.7 %,
/// 2.9 %, 1.7 ms with. At 1.2 the same, at 1.8 worst hundredth 8.4 %.)
const FAR: f32 = 1.35;
/// Keys of a cluster of those. (The figures above are with 8; with 16 the worst hundredth was 4.9 % off. 10 keeps a 128K-key index with its
/// graph within 300 bytes a key.)
const OUTLIERS: usize = 10;

/// What a query can learn of each cluster from its centroid.
#[derive(Clone)]
pub struct Partition {
    /// Keys of cluster c are `starts[c]..starts[c + 1]` in cluster order.
    pub starts: Vec<u32>,
    /// Root mean square distance of the keys from their mean, in the query geometry.
    pub spreads: Vec<f32>,
    /// Largest distance of a key from their mean, in the query geometry.
    pub radii: Vec<f32>,
    /// Means of the raw keys, in blocks: a query's product with one is the mean score of its keys. In half precision as keys are, since
    /// every query reads all of them.
    blocks: Buffer<f16>,
    dim: usize,
}

impl Partition {
    /// Clusters the keys by k-means in the query geometry, about `size` keys each. Returns the partition and the key
    /// numbers in cluster order.
    pub fn build(keys: Rows<'_>, geometry: &Geometry, size: usize, seed: u64) -> (Self, Vec<u32>) {
        let mapped = geometry.map(keys);
        let mapped = Rows { data: &mapped, dim: keys.dim };
        let bytes = ByteSpace::of(mapped);
        let nearest = |rows: Rows<'_>, centroids: &[f32]| bytes.nearest(rows, centroids);
        let centroids = k_means_by(mapped, keys.len().div_ceil(size), seed, nearest);
        let mut assigned = nearest(mapped, &centroids);
        let mut clusters = centroids.len() / keys.dim;
        let far = outliers(mapped, &assigned, clusters);
        if !far.is_empty() {
            let own = mapped.take(&far);
            let own = Rows { data: &own, dim: keys.dim };
            let centroids = k_means_by(own, far.len().div_ceil(OUTLIERS), seed ^ 1, nearest);
            for (id, cluster) in far.iter().zip(nearest(own, &centroids)) {
                assigned[*id as usize] = clusters as u32 + cluster;
            }
            clusters += centroids.len() / keys.dim;
        }
        let (starts, order) = members(&assigned, clusters);
        // Empty clusters vanish: their start is their successor's.
        let starts: Vec<u32> = starts
            .iter()
            .copied()
            .zip(starts[1..].iter().copied())
            .filter(|(a, b)| a < b)
            .map(|x| x.0)
            .chain([keys.len() as u32])
            .collect();
        let mut partition =
            Self { starts, spreads: Vec::new(), radii: Vec::new(), blocks: Buffer::new(&[]), dim: keys.dim };
        partition.measure(keys, mapped, &order);
        (partition, order)
    }

    /// What was saved; `None` when the parts do not fit each other.
    pub fn from_parts(
        starts: Vec<u32>,
        centroids: Vec<f32>,
        spreads: Vec<f32>,
        radii: Vec<f32>,
        dim: usize,
    ) -> Option<Self> {
        let clusters = starts.len().checked_sub(1)?;
        let good = starts[0] == 0
            && starts.is_sorted_by(|a, b| a < b)
            && centroids.len() == clusters.checked_mul(dim)?
            && spreads.len() == clusters
            && radii.len() == clusters
            && spreads.iter().chain(&radii).all(|x| x.is_finite())
            && centroids.iter().all(|x| f16::from_f32(*x).is_finite());
        let blocks = pack(&centroids, dim);
        good.then_some(Self { starts, spreads, radii, blocks, dim })
    }

    /// Appends the clusters of `more`, whose keys follow ours.
    pub fn append(&mut self, more: Partition) {
        let mut centroids = self.centroids();
        centroids.extend(more.centroids());
        let base = self.keys() as u32;
        self.starts.extend(more.starts[1..].iter().map(|start| start + base));
        self.spreads.extend(more.spreads);
        self.radii.extend(more.radii);
        self.blocks = pack(&centroids, self.dim);
    }

    /// Computes centroids, spreads and radii; `order` lists the keys of each cluster.
    fn measure(&mut self, keys: Rows<'_>, mapped: Rows<'_>, order: &[u32]) {
        let dim = self.dim;
        let found: Vec<(Vec<f32>, f32, f32)> = (0..self.clusters())
            .into_par_iter()
            .map(|c| {
                let ids = &order[self.starts[c] as usize..self.starts[c + 1] as usize];
                let (raw, near) = (keys.take(ids), mapped.take(ids));
                let centre = Rows { data: &near, dim }.mean();
                let distances: Vec<f32> = near.chunks_exact(dim).map(|row| best().l2_f32(row, &centre)).collect();
                let spread = (distances.iter().sum::<f32>() / ids.len() as f32).sqrt();
                let radius = distances.iter().copied().fold(0.0, f32::max).sqrt();
                (Rows { data: &raw, dim }.mean(), spread, radius)
            })
            .collect();
        let mut centroids = Vec::new();
        for (centroid, spread, radius) in found {
            centroids.extend(centroid);
            self.spreads.push(spread);
            self.radii.push(radius);
        }
        self.blocks = pack(&centroids, dim);
    }

    /// The centroids as they are held, `[clusters, dim]`.
    pub fn centroids(&self) -> Vec<f32> {
        unpack_blocks(&self.blocks, self.dim, self.clusters()).into_iter().map(f16::to_f32).collect()
    }

    /// Number of clusters.
    pub fn clusters(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of keys in all clusters.
    pub fn keys(&self) -> usize {
        self.starts[self.clusters()] as usize
    }

    /// The keys of cluster `c`, in cluster order.
    pub fn range(&self, c: usize) -> std::ops::Range<usize> {
        self.starts[c] as usize..self.starts[c + 1] as usize
    }

    /// The cluster of the key at `place`.
    pub fn cluster_of(&self, place: u32) -> usize {
        self.starts.partition_point(|start| *start <= place) - 1
    }

    /// Mean scores of every cluster for each of the queries go to `out[q · stride + c]`, where `stride` is [`Partition::stride`].
    pub fn scores(&self, kernels: &dyn Kernels, queries: &[f32], out: &mut [f32]) {
        kernels.scan_f16(queries, self.dim, &self.blocks, out);
    }

    /// Scores of one query, those of filled up blocks included: no fewer than there are clusters.
    pub fn stride(&self) -> usize {
        self.blocks.len() / self.dim
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * (self.starts.len() + 2 * self.spreads.len()) + 2 * self.blocks.len()
    }
}

/// Rows in blocks, in half precision.
fn pack(rows: &[f32], dim: usize) -> Buffer<f16> {
    let mut halves = vec![f16::ZERO; rows.len()];
    halves.convert_from_f32_slice(rows);
    Buffer::new(&pack_blocks(&halves, dim, f16::ZERO))
}

/// Lloyd's algorithm on a sample of the rows. Random starts: evenly strided ones resonate with periodic inputs.
pub fn k_means(rows: Rows<'_>, clusters: usize, seed: u64) -> Vec<f32> {
    k_means_by(rows, clusters, seed, nearest)
}

/// As [`k_means`], with `nearest` to assign rows to centroids.
fn k_means_by(rows: Rows<'_>, clusters: usize, seed: u64, nearest: impl Fn(Rows<'_>, &[f32]) -> Vec<u32>) -> Vec<f32> {
    let mut rng = Rng::new(seed);
    let clusters = clusters.clamp(1, rows.len());
    let sampled = rows.take(&rng.sample(rows.len(), clusters * SAMPLE));
    let sample = Rows { data: &sampled, dim: rows.dim };
    let mut centroids = sample.take(&rng.sample(sample.len(), clusters));
    for _ in 0..ROUNDS {
        let (starts, order) = members(&nearest(sample, &centroids), clusters);
        centroids.par_chunks_exact_mut(rows.dim).enumerate().for_each(|(c, centroid)| {
            let ids = &order[starts[c] as usize..starts[c + 1] as usize];
            if !ids.is_empty() {
                centroid.copy_from_slice(&Rows { data: &sample.take(ids), dim: rows.dim }.mean());
            }
        });
    }
    centroids
}

/// The nearest centroid of every row, ties to the lower number.
pub fn nearest(rows: Rows<'_>, centroids: &[f32]) -> Vec<u32> {
    // |x - c|² is least where <x, c> - |c|²/2 is most: one more dimension makes that a plain product.
    let (dim, wide) = (rows.dim, rows.dim + 1);
    let extended: Vec<f32> = centroids
        .chunks_exact(dim)
        .flat_map(|c| c.iter().copied().chain([-0.5 * c.iter().map(|x| x * x).sum::<f32>()]))
        .collect();
    let count = extended.len() / wide;
    let blocks = pack_blocks(&extended, wide, 0.0);
    let stride = blocks.len() / wide;
    let kernels = best();
    let parts: Vec<Vec<u32>> = rows
        .data
        .par_chunks(CHUNK * dim)
        .map(|part| {
            let mut scores = vec![0f32; 8 * stride];
            let mut found = Vec::with_capacity(part.len() / dim);
            for group in part.chunks(8 * dim) {
                let queries: Vec<f32> =
                    group.chunks_exact(dim).flat_map(|row| row.iter().copied().chain([1.0])).collect();
                let scores = &mut scores[..group.len() / dim * stride];
                kernels.scan_f32(&queries, wide, &blocks, scores);
                for scores in scores.chunks_exact(stride) {
                    let scores = &scores[..count];
                    let most = kernels.max(scores);
                    found.push(scores.iter().position(|x| *x == most).unwrap_or(0) as u32);
                }
            }
            found
        })
        .collect();
    parts.concat()
}

/// Rows further from their cluster's mean than `FAR` times the root mean square of its rows, ascending.
fn outliers(rows: Rows<'_>, assigned: &[u32], clusters: usize) -> Vec<u32> {
    let (starts, order) = members(assigned, clusters);
    let mut far: Vec<u32> = (0..clusters)
        .into_par_iter()
        .flat_map_iter(|c| {
            let ids = &order[starts[c] as usize..starts[c + 1] as usize];
            let near = rows.take(ids);
            let centre = if ids.is_empty() { Vec::new() } else { Rows { data: &near, dim: rows.dim }.mean() };
            let squares: Vec<f32> = near.chunks_exact(rows.dim).map(|row| best().l2_f32(row, &centre)).collect();
            let limit = FAR * FAR * squares.iter().sum::<f32>() / ids.len().max(1) as f32;
            let found: Vec<u32> = ids.iter().zip(squares).filter(|x| x.1 > limit).map(|x| *x.0).collect();
            found
        })
        .collect();
    far.sort_unstable();
    far
}

/// Lists the members of each of `groups`: (starts, members in order).
pub fn members(assigned: &[u32], groups: usize) -> (Vec<u32>, Vec<u32>) {
    let mut starts = vec![0u32; groups + 1];
    assigned.iter().for_each(|group| starts[*group as usize + 1] += 1);
    for group in 0..groups {
        starts[group + 1] += starts[group];
    }
    let mut next = starts.clone();
    let mut order = vec![0u32; assigned.len()];
    for (id, group) in assigned.iter().enumerate() {
        order[next[*group as usize] as usize] = id as u32;
        next[*group as usize] += 1;
    }
    (starts, order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_far_from_the_others_does_not_share_their_cluster() {
        let (count, dim) = (600, 8);
        let mut rng = Rng::new(9);
        let mut keys: Vec<f32> = (0..count * dim).map(|_| rng.normal()).collect();
        // In the direction of its own cluster, so that k-means by itself leaves it there.
        let lone = 77;
        keys[lone * dim..][..dim].iter_mut().for_each(|x| *x *= 6.0);
        let geometry = Geometry::identity(dim);
        let (partition, order) = Partition::build(Rows { data: &keys, dim }, &geometry, 100, 1);
        let place = order.iter().position(|id| *id as usize == lone).unwrap();
        let own = partition.cluster_of(place as u32);
        let largest = (0..partition.clusters()).filter(|c| *c != own).map(|c| partition.radii[c]).fold(0.0, f32::max);
        assert!(partition.range(own).len() <= 20, "{} keys share its cluster", partition.range(own).len());
        assert!(largest < 6.0, "a key {largest} from its cluster's mean");
    }

    fn data(count: usize, dim: usize, seed: u64) -> Vec<f32> {
        let mut rng = Rng::new(seed);
        (0..count * dim).map(|_| rng.normal()).collect()
    }

    #[test]
    fn every_key_is_in_one_cluster_and_centroids_are_means() {
        let (count, dim) = (1000, 7);
        let (keys, queries) = (data(count, dim, 1), data(200, dim, 2));
        let keys = Rows { data: &keys, dim };
        let geometry = Geometry::of(Rows { data: &queries, dim });
        let (partition, order) = Partition::build(keys, &geometry, 32, 3);
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..count as u32).collect::<Vec<_>>());
        assert_eq!(partition.keys(), count);
        let mapped = geometry.map(keys);
        for c in 0..partition.clusters() {
            let ids = &order[partition.range(c)];
            assert!(!ids.is_empty());
            let taken = keys.take(ids);
            let mean = Rows { data: &taken, dim }.mean();
            let mean: Vec<f32> = mean.into_iter().map(|x| f16::from_f32(x).to_f32()).collect();
            assert_eq!(mean, partition.centroids()[c * dim..][..dim]);
            let near = Rows { data: &mapped, dim }.take(ids);
            let centre = Rows { data: &near, dim }.mean();
            for row in near.chunks_exact(dim) {
                let distance: f32 = row.iter().zip(&centre).map(|(a, b)| (a - b) * (a - b)).sum();
                assert!(distance.sqrt() <= partition.radii[c] * 1.0001);
            }
        }
    }

    #[test]
    fn nearest_agrees_with_plain_distances() {
        let dim = 9;
        let (rows, centroids) = (data(300, dim, 4), data(37, dim, 5));
        let found = nearest(Rows { data: &rows, dim }, &centroids);
        for (row, found) in rows.chunks_exact(dim).zip(found) {
            let distance = |c: &[f32]| -> f64 { row.iter().zip(c).map(|(a, b)| f64::from(a - b).powi(2)).sum() };
            let least = centroids.chunks_exact(dim).map(distance).fold(f64::INFINITY, f64::min);
            assert!(distance(&centroids[found as usize * dim..][..dim]) <= least * 1.00001);
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (keys, queries) = (data(3000, 16, 6), data(300, 16, 7));
        let build = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let geometry = Geometry::of(Rows { data: &queries, dim: 16 });
                let (partition, order) = Partition::build(Rows { data: &keys, dim: 16 }, &geometry, 64, 1);
                (partition.centroids(), partition.spreads, order)
            })
        };
        assert_eq!(build(1), build(5));
    }
}
