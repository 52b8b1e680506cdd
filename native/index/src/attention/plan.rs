//! Which way of attending meets the error budget at the least cost, measured on held-out queries.

use rayon::prelude::*;
use sparrow_kernels::best;

use super::exact::ExactAttention;
use super::head::{AttendOptions, AttentionHead, Budget};
use super::partial::Partial;
use crate::strategy::Strategy;

/// How a head meets an error budget; chosen when it is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// All keys, always.
    Exact,
    /// Whole clusters, those first whose estimate is worst.
    Clusters {
        /// Estimated error at which the head stops, for a measured error of 1 %.
        threshold: f32,
    },
    /// Single keys found by a search of the index.
    Keys {
        /// The search.
        strategy: Strategy,
    },
}

impl AttentionHead {
    /// Measures on `queries` (`[queries, dim]`) what each plan needs for a mean relative error of `target`, and keeps the
    /// cheapest; what the others would need is dropped.
    pub fn choose_plan(&mut self, queries: &[f32], target: f32) {
        let exact = ExactAttention::build(&self.index.halves, self.index.dim);
        let truth = exact.attend(best(), queries, &self.values, self.scale);
        self.share = self.measure_share(queries);
        let mut plans: Vec<(f64, Plan)> = vec![(self.len() as f64 * cost::EXACT, Plan::Exact)];
        if let Some(found) = self.loosest_threshold(queries, &truth, target) {
            plans.push(found);
        }
        for kind in [Strategy::Graph { pool: 0 }, Strategy::Flat { rerank: 0 }] {
            for effort in [100, 400] {
                let strategy = kind.with_effort(effort);
                // A pool of p looks at no fewer than 8 p keys: no need to try what cannot win.
                let looked = if matches!(kind, Strategy::Flat { .. }) { self.len() } else { 8 * effort };
                let least = looked as f64 * strategy.cost_per_key(1);
                if !self.index.can(strategy) || plans.iter().any(|plan| plan.0 < least) {
                    break;
                }
                let plan = Plan::Keys { strategy };
                let per_key = strategy.cost_per_key(1);
                let (error, cost) =
                    self.try_plan(plan, queries, &truth, |scanned| scanned * per_key + effort as f64 * cost::VALUE);
                if error <= target {
                    plans.push((cost, plan));
                    break;
                }
            }
        }
        plans.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.plan = plans[0].1;
        match self.plan {
            Plan::Exact => {
                self.index.keep_only(self.index.by_blocks());
                self.exact = Some(exact);
            }
            // What is read in whole clusters needs no graph: a fixed number of keys is then found by clusters too.
            Plan::Clusters { .. } => self.index.keep_only(self.index.by_blocks()),
            Plan::Keys { strategy } => self.index.keep_only(strategy),
        }
    }

    /// The cheapest plan by clusters: the largest threshold whose measured error is under the target, by bisection.
    fn loosest_threshold(&mut self, queries: &[f32], truth: &[Partial], target: f32) -> Option<(f64, Plan)> {
        let (mut low, mut high) = (1e-4f32, 0.5f32);
        let mut found = None;
        for round in 0..9 {
            // The ends first: most heads are easy or hopeless.
            let threshold = match round {
                0 => high,
                1 => low,
                _ => (low * high).sqrt(),
            };
            let plan = Plan::Clusters { threshold };
            let (error, cost) = self.try_plan(plan, queries, truth, |scanned| scanned * cost::CLUSTERS);
            // A tenth is kept for queries other than these.
            let good = error <= 0.9 * target;
            if good {
                found = Some((cost, plan));
                low = threshold;
            } else {
                high = threshold;
            }
            if (round == 0 && good) || (round == 1 && !good) {
                break;
            }
        }
        found
    }

    /// (mean relative error, mean cost) of a plan.
    fn try_plan(
        &mut self,
        plan: Plan,
        queries: &[f32],
        truth: &[Partial],
        cost: impl Fn(f64) -> f64 + Sync,
    ) -> (f32, f64) {
        self.plan = plan;
        let options = AttendOptions { budget: Budget::Error(0.01), bound: false };
        let found: Vec<(f32, f64)> = queries
            .par_chunks_exact(self.index.dim)
            .zip(truth)
            .flat_map_iter(|(query, truth)| {
                let answers = self.attend(query, options).into_iter();
                answers.map(|(partial, report)| (relative_error(&partial, truth), cost(f64::from(report.scanned))))
            })
            .collect();
        let count = found.len().max(1);
        (found.iter().map(|x| x.0).sum::<f32>() / count as f32, found.iter().map(|x| x.1).sum::<f64>() / count as f64)
    }

    /// How much of the Cauchy-Schwarz bound on a cluster's score variance is there, averaged over clusters by mass.
    fn measure_share(&self, queries: &[f32]) -> f32 {
        let kernels = best();
        let partition = &self.index.partition;
        let (mut there, mut allowed) = (0f64, 0f64);
        for query in queries.chunks_exact(self.index.dim).take(16) {
            let mut scores = Vec::new();
            partition.scores(kernels, query, &mut scores);
            let most = kernels.max(&scores[..partition.clusters()]);
            let norm = self.index.geometry.query_norm(query);
            // Every seventh cluster is enough, and seven divides no usual stride.
            for c in (0..partition.clusters()).step_by(7) {
                let places: Vec<u32> = partition.range(c).map(|place| place as u32).collect();
                let mut found = vec![0f32; places.len()];
                kernels.gather_dot_f16(query, &self.index.halves, &places, &mut found);
                let weight = f64::from(((scores[c] - most) * self.scale).exp());
                there += weight * found.iter().map(|x| f64::from(x - scores[c]).powi(2)).sum::<f64>();
                allowed += weight * found.len() as f64 * f64::from(norm * partition.spreads[c]).powi(2);
            }
        }
        if allowed > 0.0 { (there / allowed).clamp(0.0, 1.0) as f32 } else { 1.0 }
    }
}

/// Nanoseconds of the parts of a step, for choosing a plan (64 dimensions, from DRAM, one thread, AVX-512).
mod cost {
    /// A key and its value among all of them.
    pub const EXACT: f64 = 22.0;
    /// A key of an open cluster, as bytes, with the few that are read in full; or a centroid and its mean value.
    pub const CLUSTERS: f64 = 9.0;
    /// A value at a random place.
    pub const VALUE: f64 = 40.0;
}

/// |found - truth| / |truth| of the outputs.
pub fn relative_error(found: &Partial, truth: &Partial) -> f32 {
    let difference: f32 = found.output.iter().zip(&truth.output).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f32 = truth.output.iter().map(|x| x * x).sum();
    (difference / norm.max(f32::MIN_POSITIVE)).sqrt()
}
