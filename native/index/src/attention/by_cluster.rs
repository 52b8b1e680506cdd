//! Attention by whole clusters: those whose estimate is worst are computed, the rest is estimated (RetroInfer's zones,
//! with the number of clusters following the error instead of being fixed). Within a cluster, too, only the keys that
//! matter are read in full.

use rayon::prelude::*;
use sparrow_kernels::{best, f16, prefetch};

use super::estimate::bennett;
use super::exact::add_to_each;
use super::head::{AttentionHead, Report};
use super::limit::limit;
use super::memory::{Borrowed, borrow, give_picked, take_picked};
use super::partial::{Partial, Running};
use super::pieces::{PIECE, pieces};
use super::wanted::Wanted;
use crate::quantiser::{ByteQuery, ByteRest};

/// A cluster's scores are taken to spread by a variance of this at most, in units of the softmax.
const MOST_LEAN: f32 = 4.0;

impl AttentionHead {
    /// Whole clusters until the estimated error of the rest is under `threshold` of the whole; `fine` scores are of queries by two bytes.
    pub(super) fn by_cluster(
        &self,
        queries: &[f32],
        threshold: f32,
        fine: bool,
        bound: bool,
    ) -> Vec<(Partial, Report)> {
        let kernels = best();
        let partition = &self.index.partition;
        let (clusters, dim) = (partition.clusters(), self.index.dim);
        // One pass over the centroids for all queries of the group, and one over the mean values in the end.
        let stride = partition.stride().max(1);
        let mut centroids = borrow(queries.len() / dim * partition.stride());
        partition.scores(kernels, queries, &mut centroids);
        let mut masses = borrow(centroids.len());
        let each = || queries.chunks_exact(dim).zip(centroids.chunks_exact(stride).map(|scores| &scores[..clusters]));
        let mut asked: Vec<Asked> = each()
            .zip(masses.chunks_exact_mut(stride))
            .map(|((query, scores), masses)| self.ask(query, scores, threshold, fine, &mut masses[..clusters]))
            .collect();
        self.score(&mut asked);
        let each: Vec<_> = asked.iter().zip(each()).zip(masses.chunks_exact_mut(stride)).collect();
        let found: Vec<(Running, Report)> = each
            .into_par_iter()
            .map(|((one, (query, means)), masses)| self.answer(one, query, means, &mut masses[..clusters], bound))
            .collect();
        let (mut running, reports): (Vec<Running>, Vec<Report>) = found.into_iter().unzip();
        add_to_each(kernels, &masses, &self.value_means, &mut running);
        running.into_iter().map(Running::finish).zip(reports).collect()
    }

    /// What one query makes of the clusters, from the scores of their centroids. `masses` are estimates in units of `exp(unit)`.
    fn ask(&self, query: &[f32], scores: &[f32], threshold: f32, fine: bool, masses: &mut [f32]) -> Asked {
        let kernels = best();
        let partition = &self.index.partition;
        let reach = self.index.geometry.query_norm(query) * self.scale;
        let mut errors = borrow(scores.len());
        let line = [self.scale, self.share * reach * reach];
        let (unit, total) =
            kernels.cluster_masses(scores, &partition.spreads, &partition.starts, line, masses, &mut errors);
        // Half of the error may come from clusters not opened, half from keys not read in those that were.
        let allowed = 0.5 * (threshold * total).powi(2);
        let from = limit(kernels, &errors, allowed, 0.0);
        let mut chosen = Vec::new();
        // Strictly above: the largest number below the limit.
        kernels.above(&errors, from.next_down(), 0, &mut chosen);
        let keys = chosen.iter().map(|entry| partition.range(entry.1 as usize).len()).sum();
        let mut bytes = ByteQuery::default();
        self.index.quantiser.query(query, &mut bytes);
        let rest = fine.then(|| bytes.rest());
        Asked { chosen, bytes, rest, allowed, unit, scores: borrow(keys) }
    }

    /// Scaled scores by bytes of all keys of the chosen clusters, one cluster after another. Queries that choose the same
    /// cluster share its reading; runs of clusters are divided among threads.
    fn score(&self, asked: &mut [Asked]) {
        let partition = &self.index.partition;
        let wanted = any_of(asked, partition.clusters());
        let mut codes = Vec::new();
        let mut lines = Vec::new();
        let mut left: Vec<Wanted> = Vec::new();
        for Asked { chosen, bytes, rest, scores, .. } in asked.iter_mut() {
            codes.extend_from_slice(&bytes.codes);
            let more = rest.as_ref().map_or([0.0; 2], |rest| {
                codes.extend_from_slice(&rest.codes);
                [rest.scale, rest.offset]
            });
            lines.push([bytes.scale, bytes.offset + more[1], more[0]].map(|x| x * self.scale));
            left.push(Wanted { clusters: chosen, scores });
        }
        let mut tasks: Vec<(&[u32], Vec<Wanted>)> = Vec::new();
        for piece in pieces(wanted.iter().map(|c| partition.range(*c as usize).len())) {
            let some = &wanted[piece];
            let own = left.iter_mut().map(|left| left.up_to(some[some.len() - 1], partition)).collect();
            tasks.push((some, own));
        }
        tasks.into_par_iter().for_each(|(some, mut own)| self.score_some(some, &codes, &lines, &mut own));
    }

    /// As [`AttentionHead::score`] for some of the clusters.
    fn score_some(&self, clusters: &[u32], codes: &[i8], lines: &[[f32; 3]], wanted: &mut [Wanted]) {
        let kernels = best();
        let (index, partition) = (&self.index, &self.index.partition);
        // Of one or two rows a query.
        let own_codes = codes.len() / lines.len();
        let rows = own_codes / index.codes.row_len();
        let mut dots = Vec::new();
        for (i, c) in clusters.iter().enumerate() {
            if let Some(next) = clusters.get(i + 1) {
                index.codes.prefetch(partition.range(*next as usize));
            }
            let range = partition.range(*c as usize);
            let sharing = wanted.iter().filter(|wanted| wanted.next() == *c).count();
            let shared = (sharing > 1).then(|| index.codes.scan(codes, range.clone(), &mut dots));
            for (number, wanted) in wanted.iter_mut().enumerate().filter(|entry| entry.1.next() == *c) {
                let (first, [skip, width]) = match shared {
                    Some(place) => (number * rows, place),
                    None => (0, index.codes.scan(&codes[number * own_codes..][..own_codes], range.clone(), &mut dots)),
                };
                let at = |row: usize| &dots[(first + row) * width + skip..][..range.len()];
                let [unit, offset, more] = lines[number];
                let scores = wanted.take(range.len());
                kernels.affine(at(0), [unit, offset], scores);
                if rows == 2 {
                    scores.iter_mut().zip(at(1)).for_each(|(score, dot)| *score += more * *dot as f32);
                }
            }
        }
    }

    /// All of a query's answer but the mean values of clusters, whose weights `masses` becomes.
    fn answer(
        &self,
        asked: &Asked,
        query: &[f32],
        means: &[f32],
        masses: &mut [f32],
        bound: bool,
    ) -> (Running, Report) {
        let kernels = best();
        let partition = &self.index.partition;
        // A key may be far above what its cluster promised.
        let most = asked.unit.max(kernels.max(&asked.scores));
        let factor = (asked.unit - most).exp();
        asked.chosen.iter().for_each(|c| masses[c.1 as usize] = 0.0);
        let mut running = Running::new(self.value_dim);
        running.raise(most);
        let mut slope = Vec::new();
        let variance = self.slope.of(kernels, query, self.scale, &mut slope);
        // Within a cluster of normal scores, weighting by their exponentials moves their mean by the variance.
        let mut lean = factor * kernels.lean(masses, &partition.spreads, variance, MOST_LEAN);
        let parts = self.open(query, means, asked, asked.allowed * factor * factor, &mut running);
        let tail = self.add_tail(kernels, query, &mut running);
        let exact = running.weight;
        // Keys and tail may have raised the unit since.
        let estimated = kernels.scale_sum(masses, (asked.unit - running.most).exp());
        let factor = (most - running.most).exp();
        let (mut unread, mut read) = (0.0, 0);
        let mut chosen = asked.chosen.iter();
        for part in parts {
            for (own, (_, c)) in part.unread.iter().zip(&mut chosen) {
                masses[*c as usize] = own * factor;
                unread += own * factor;
            }
            lean += part.lean;
            read += part.read;
        }
        running.weight += estimated + unread;
        running.sum.iter_mut().zip(&slope).for_each(|(sum, slope)| *sum += lean * factor * slope);
        let bound = if bound {
            let left = |c: u32| asked.chosen.binary_search_by_key(&c, |entry| entry.1).is_err();
            self.bound(|c| means[c] * self.scale, query, left, running.most, exact, unread)
        } else {
            1.0
        };
        let report = Report {
            scanned: (asked.scores.len() + tail + masses.len()) as u32,
            read: (read + tail) as u32,
            // Where bytes put a key far too high nothing may be left that weighs.
            rest: (1.0 - exact / running.weight.max(f32::MIN_POSITIVE)).clamp(0.0, 1.0),
            bound,
        };
        (running, report)
    }

    /// Adds the keys of the opened clusters. The values of keys that matter are read; the scores of those that matter much are
    /// computed again in half precision. What the others weigh, whose squares sum to at most `allowed` (in units of `exp(running.most)`),
    /// is returned: they are given their cluster's mean value.
    fn open(&self, query: &[f32], means: &[f32], asked: &Asked, allowed: f32, running: &mut Running) -> Vec<Part> {
        let kernels = best();
        let partition = &self.index.partition;
        let most = running.most;
        let mut weights = borrow(asked.scores.len());
        let each = weights.par_chunks_mut(PIECE);
        each.zip(asked.scores.par_chunks(PIECE)).for_each(|(weights, scores)| {
            weights.copy_from_slice(scores);
            kernels.exp_sum(weights, most, 1.0);
        });
        let read_from = limit(kernels, &weights, allowed, 0.0);
        // Weights above this by bytes alone would add more than a quarter of the rest to the error.
        let [of_keys, of_query] = asked.bytes.noise();
        let noise = if asked.rest.is_some() { of_keys } else { of_keys.hypot(of_query) };
        let noise = (noise * self.scale).max(1e-6);
        let spare = 0.25 * allowed / (noise * noise);
        let full_from = if spare > allowed { limit(kernels, &weights, spare, read_from) } else { read_from };
        let mut tasks = Vec::new();
        let mut at = 0;
        for piece in pieces(asked.chosen.iter().map(|entry| partition.range(entry.1 as usize).len())) {
            let some = &asked.chosen[piece];
            let keys: usize = some.iter().map(|entry| partition.range(entry.1 as usize).len()).sum();
            tasks.push((some, at..at + keys));
            at += keys;
        }
        let parts: Vec<Part> = tasks
            .into_par_iter()
            .map(|(some, keys)| {
                let (weights, scores) = (&weights[keys.clone()], &asked.scores[keys]);
                self.open_some(query, means, some, weights, scores, [read_from, full_from], most)
            })
            .collect();
        parts.iter().for_each(|part| running.add(&part.running));
        parts
    }

    /// As [`AttentionHead::open`] for some of the clusters: values are read from the first of the weights in `from` on, scores computed again
    /// from the second on.
    #[expect(clippy::too_many_arguments, reason = "one step of open, split for its threads")]
    fn open_some(
        &self,
        query: &[f32],
        means: &[f32],
        clusters: &[(f32, u32)],
        weights: &[f32],
        scores: &[f32],
        from: [f32; 2],
        most: f32,
    ) -> Part {
        let kernels = best();
        let mut part = Part { running: Running::new(self.value_dim), unread: Vec::new(), lean: 0.0, read: 0 };
        part.running.raise(most);
        let mut picked = take_picked();
        let mut at = 0;
        for (_, c) in clusters {
            let c = *c as usize;
            let range = self.index.partition.range(c);
            let (weights, scores) = (&weights[at..at + range.len()], &scores[at..at + range.len()]);
            at += range.len();
            let first = [picked[0].places.len(), picked[1].places.len()];
            let [unread, product] = kernels.split_weights(weights, scores, from, range.start as u32, &mut picked);
            part.unread.push(unread);
            part.lean += product - unread * means[c] * self.scale;
            picked[0].places[first[0]..].iter().for_each(|place| self.ask_for(*place as usize, false));
            picked[1].places[first[1]..].iter().for_each(|place| self.ask_for(*place as usize, true));
        }
        let [some, full] = &picked;
        part.read = some.places.len() + full.places.len();
        part.running.weight += some.weights.iter().sum::<f32>();
        kernels.gather_add_f16(&some.weights, &self.values, &some.places, &mut part.running.sum);
        self.add_places(kernels, query, &full.places, &mut part.running);
        give_picked(picked);
        part
    }

    /// Hints that the value at a place is read soon, and with `key` the key.
    fn ask_for(&self, place: usize, key: bool) {
        let rows: [(&[f16], usize); 2] = [(&self.values, self.value_dim), (&self.index.halves, self.index.dim)];
        for (rows, dim) in &rows[..1 + usize::from(key)] {
            for at in (place * dim..(place + 1) * dim).step_by(32) {
                prefetch(rows, at);
            }
        }
    }

    /// An upper bound on the share of the clusters for which `left` holds, whose `means` are scaled scores, and of the `unread` mass; `exact` is
    /// the mass computed. Masses are in units of `exp(unit)`.
    pub(super) fn bound(
        &self,
        means: impl Fn(usize) -> f32,
        query: &[f32],
        left: impl Fn(u32) -> bool,
        unit: f32,
        exact: f32,
        unread: f32,
    ) -> f32 {
        let partition = &self.index.partition;
        let norm = self.index.geometry.query_norm(query) * self.scale;
        let mut most = unread;
        for c in (0..partition.clusters()).filter(|c| left(*c as u32)) {
            let (spread, reach) = (norm * partition.spreads[c], norm * partition.radii[c]);
            let factor = bennett(spread * spread, reach.min(80.0));
            most += partition.range(c).len() as f32 * (means(c) - unit).min(80.0).exp() * factor;
        }
        if most.is_finite() { (most / (most + exact)).min(1.0) } else { 1.0 }
    }
}

/// What a query makes of the clusters.
struct Asked {
    /// Clusters to open, ascending, each after its error.
    chosen: Vec<(f32, u32)>,
    bytes: ByteQuery,
    /// Where scores are fine.
    rest: Option<ByteRest>,
    /// Largest sum of squares of what is not read, in units of `exp(unit)`.
    allowed: f32,
    unit: f32,
    /// Scaled scores of the keys of the chosen clusters.
    scores: Borrowed,
}

/// The clusters that some query chose, ascending, each once.
fn any_of(asked: &[Asked], clusters: usize) -> Vec<u32> {
    let mut marks = vec![0u64; clusters.div_ceil(64)];
    asked.iter().flat_map(|one| &one.chosen).for_each(|(_, c)| marks[*c as usize / 64] |= 1 << (c % 64));
    let mut found = Vec::with_capacity(asked.iter().map(|one| one.chosen.len()).sum());
    for (first, mut bits) in (0..).step_by(64).zip(marks) {
        while bits != 0 {
            found.push(first + bits.trailing_zeros());
            bits &= bits - 1;
        }
    }
    found
}

/// What opening some clusters gave.
struct Part {
    /// The keys whose values were read.
    running: Running,
    /// Weight of the others of each cluster.
    unread: Vec<f32>,
    /// As of [`Rest`].
    lean: f32,
    /// Values read.
    read: usize,
}
