//! Attention by whole clusters, the same for all queries of a group: keys and values of those that are opened by bytes, in one pass over
//! runs of memory, the others estimated.
//!
//! Where attention is even, a query wants most values of the clusters that it opens, and the queries of a group want much the same ones.
//! Reading those one after another as bytes takes a sixteenth of the time that a value at a random place takes.

use sparrow_kernels::best;

use super::by_cluster::{Guess, worst};
use super::head::{AttentionHead, Report};
use super::partial::Partial;
use super::some_blocks::{Part, SomeBlocks};

impl AttentionHead {
    /// Opens clusters until the estimated error of the rest is under `threshold` of the whole, in the mean square over the queries
    /// (`[queries, dim]`), and reads a part of them. The first part has the estimates, too.
    pub(super) fn by_shared(&self, queries: &[f32], threshold: f32, bound: bool, part: Part) -> Vec<(Partial, Report)> {
        let kernels = best();
        let partition = &self.index.partition;
        let clusters = partition.clusters();
        let mut scores = Vec::new();
        let stride = partition.scores(kernels, queries, &mut scores);
        let each = queries.chunks_exact(self.index.dim).zip(scores.chunks_exact(stride.max(1)));
        let guesses: Vec<Guess> = each.map(|(query, scores)| self.guess(kernels, query, &scores[..clusters])).collect();
        let mut errors = vec![0f32; clusters];
        for guess in &guesses {
            let total: f32 = guess.masses.iter().sum();
            let factor = 1.0 / (total * total).max(f32::MIN_POSITIVE);
            errors.iter_mut().zip(&guess.errors).for_each(|(sum, error)| *sum += factor * error);
        }
        let opened = worst(kernels, &errors, threshold * threshold * guesses.len() as f32);
        // Those, and what is in no cluster yet.
        let ranges = (0..clusters).filter(|c| opened[*c]).map(|c| partition.range(c));
        let blocks = SomeBlocks::of(ranges.chain(std::iter::once(partition.keys()..self.len())));
        let (running, keys) = self.read_blocks(queries, blocks.part(part));
        let each = running.into_iter().zip(guesses).zip(queries.chunks_exact(self.index.dim));
        let mut slope = Vec::new();
        each.map(|((mut running, guess), query)| {
            let mut report = Report { scanned: keys, read: keys, rest: 0.0, bound: 0.0 };
            if part.number == 0 {
                let Guess { view, masses, unit, .. } = guess;
                running.raise(unit);
                let exact = running.weight;
                let variance = self.slope.of(kernels, query, self.scale, &mut slope);
                let rest = self.rest(masses, variance, |c| !opened[c]);
                self.add_rest(kernels, rest, unit, &slope, &mut running);
                report.scanned += clusters as u32;
                report.rest = (1.0 - exact / running.weight).clamp(0.0, 1.0);
                report.bound =
                    if bound { self.bound(&view, query, |c| !opened[c], running.most, exact, 0.0) } else { 1.0 };
            }
            (running.finish(), report)
        })
        .collect()
    }
}
