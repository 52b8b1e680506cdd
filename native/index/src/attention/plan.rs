//! Which way of attending meets the error budget at the least cost, measured on held-out queries.

use rayon::prelude::*;
use sparrow_kernels::best;

use super::cost::Cost;
use super::exact::ExactAttention;
use super::head::{AttentionHead, Report};
use super::ladder::{Ladder, Rung};
use super::nibble_values::NibbleValues;
use super::partial::Partial;
use crate::strategy::Strategy;

/// How a head meets an error budget; chosen for some budgets when it is built.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Plan {
    /// All keys, always.
    Exact,
    /// All keys by bytes and all values by four bits, those that weigh most in half precision.
    Bytes {
        /// Values of keys with more than this share of the mass are read in half precision.
        share: f32,
    },
    /// Whole clusters, those first whose estimate is worst.
    Clusters {
        /// Estimated error at which the head stops.
        threshold: f32,
        /// Whether queries are two bytes an element. (By one, their rounding is the same for all keys: what values have in common with keys makes it
        /// 0.1 to 0.3 % of the output.)
        fine: bool,
    },
    /// Single keys found by a search of the index.
    Keys {
        /// The search.
        strategy: Strategy,
    },
}

/// Shares for [`Plan::Bytes`], the cheaper first, and what they cost. (Four layers of a real context of 128K tokens: up to 200 values a query and errors of the
/// layers of 0.28 to 0.78 % with 1/2048, 480 values and 0.23 to 0.69 % with 1/4096, 120 and 0.35 to 0.90 % with 1/1024; 0.21 to 0.47 % are the keys'.
/// A head that needed more took 1.1 of the time with 1/8192, 1.4 with 1/16384.)
const SHARES: [(f32, f64); 4] = [(1.0 / 2048.0, 1.0), (1.0 / 4096.0, 1.05), (1.0 / 8192.0, 1.1), (1.0 / 16384.0, 1.4)];

/// What plans are measured with.
#[derive(Clone, Copy)]
pub(super) struct Sample<'a> {
    /// `[queries, dim]`.
    pub queries: &'a [f32],
    /// Exact attention of each of them.
    pub truth: &'a [Partial],
    /// Query heads that share the head.
    pub group: usize,
}

/// Budgets for which heads have plans, as parts of the one that they are built for. That one comes first: it says what is held in memory. (Half of it as well
/// took a tenth more of a build and kept no budget that these do not.)
pub(super) const LEVELS: [f32; 4] = [1.0, 10.0, 0.2, 0.1];

/// The first plan of a head, where one for `level` times its budget is wanted.
#[derive(Clone, Copy)]
pub(super) struct First {
    pub plan: Plan,
    pub level: f32,
}

impl AttentionHead {
    /// Measures on `queries` (`[queries, dim]`) what each plan needs for a mean relative error of `target`, and for looser and tighter ones ([`LEVELS`]),
    /// and keeps the cheapest of each; what no plan needs is dropped. Errors are judged against the output's own norm and `usual`, the
    /// root mean square norm of the outputs of the layer's heads: what a head says quietly need not be more precise than
    /// the layer as a whole. (0: against the own norm alone.) `truth` is exact attention of the queries; `group` query heads share this one.
    /// With `fixed` what the index has chosen for a fixed number of keys is kept besides; without, such a budget is answered by what the plan keeps.
    pub fn choose_plan(
        &mut self,
        queries: &[f32],
        truth: &[Partial],
        target: f32,
        usual: f32,
        group: usize,
        fixed: bool,
    ) {
        let sample = Sample { queries, truth, group };
        self.prepare(queries, usual);
        let mut rungs: Vec<Rung> = Vec::new();
        for level in LEVELS {
            let first = rungs.first().map(|rung| First { plan: rung.plan, level });
            let plan = self.cheapest(sample, level * target, first);
            rungs.push(Rung { holds: level * target, plan });
            self.hold_nibble_values(rungs[0].plan);
        }
        self.keep_plans(rungs, fixed);
    }

    /// Makes what plans are tried with.
    pub(super) fn prepare(&mut self, queries: &[f32], usual: f32) {
        self.usual = usual;
        self.share = self.measure_share(queries);
        self.nibble_values = NibbleValues::of(&self.values, self.value_dim);
    }

    /// The cheapest plan whose error is `target` at most on the sample. `first` says where to begin,
    /// and what is held in memory.
    pub(super) fn cheapest(&self, sample: Sample<'_>, target: f32, first: Option<First>) -> Plan {
        let cost = Cost::new(self.index.dim, sample.group);
        let keys = self.len() as f64;
        let packed = first.is_none_or(|first| first.plan == Plan::Exact);
        let exact = if packed { cost.exact() } else { cost.packing() };
        let mut plans: Vec<(f64, Plan)> = vec![(keys * exact, Plan::Exact)];
        // With values in half precision bytes gain nothing (Zen 1, 128K keys of 128, four queries to a group: 22.3 ms for 21.8).
        if self.nibble_values.is_some() {
            for (share, factor) in SHARES {
                let plan = Plan::Bytes { share };
                if self.try_plan(plan, sample, target, |_| 0.0).0 <= 0.9 * target {
                    plans.push((factor * keys * cost.bytes(), plan));
                    break;
                }
            }
        }
        let least = plans.iter().map(|plan| plan.0).fold(f64::INFINITY, f64::min);
        if let Some(found) = self.loosest_threshold(sample, target, first, cost, least) {
            plans.push(found);
        }
        let searched = first.is_none_or(|first| matches!(first.plan, Plan::Keys { .. }));
        for kind in [Strategy::Graph { pool: 0 }, Strategy::Flat { rerank: 0 }] {
            for effort in [100, 400] {
                let strategy = kind.with_effort(effort);
                // A pool of p looks at no fewer than 8 p keys: no need to try what cannot win.
                let looked = if matches!(kind, Strategy::Flat { .. }) { self.len() } else { 8 * effort };
                let least = looked as f64 * strategy.cost_per_key(self.index.dim, 1);
                if !searched || !self.index.can(strategy) || plans.iter().any(|plan| plan.0 < least) {
                    break;
                }
                let plan = Plan::Keys { strategy };
                let per_key = strategy.cost_per_key(self.index.dim, 1);
                let (error, found) = self.try_plan(plan, sample, target, |report| {
                    f64::from(report.scanned) * per_key + f64::from(report.read) * cost.value()
                });
                if error <= target {
                    plans.push((found, plan));
                    break;
                }
            }
        }
        plans.sort_by(|a, b| a.0.total_cmp(&b.0));
        plans[0].1
    }

    /// Takes plans for budgets, the first of them for the one that the head is built for, and drops what none of them needs.
    pub(super) fn keep_plans(&mut self, rungs: Vec<Rung>, fixed: bool) {
        let first = rungs[0].plan;
        self.ladder = Ladder::new(rungs);
        self.hold_nibble_values(first);
        // Other budgets than the usual one pack the keys in passing.
        if first != Plan::Exact {
            self.exact = None;
        }
        // What is read in whole clusters needs no graph: unless told otherwise, a fixed number of keys is then found by clusters too.
        let by_blocks = self.index.by_blocks();
        let searched = |plan: Plan| match plan {
            Plan::Exact => None,
            Plan::Bytes { .. } | Plan::Clusters { .. } => Some(by_blocks),
            Plan::Keys { strategy } => Some(strategy),
        };
        let found = if fixed { self.index.strategy } else { searched(first).unwrap_or(by_blocks) };
        let others: Vec<Strategy> = self.ladder.plans().filter_map(searched).collect();
        self.index.keep_only(found, &others);
    }

    /// Exact attention of each of the queries. What it needs is kept for the next call, and until a plan is chosen.
    pub fn exactly(&mut self, queries: &[f32]) -> Vec<Partial> {
        let index = &self.index;
        let exact = self.exact.get_or_insert_with(|| ExactAttention::build(&index.halves, index.dim));
        exact.attend(best(), queries, &self.values, self.scale)
    }

    /// The cheapest plan by clusters: about the largest threshold whose measured error is under the target. Errors grow
    /// about as thresholds do, so that the next to try follows from the last. One that costs `most` is of no use.
    fn loosest_threshold(
        &self,
        sample: Sample<'_>,
        target: f32,
        first: Option<First>,
        cost: Cost,
        most: f64,
    ) -> Option<(f64, Plan)> {
        let clusters = self.index.partition.clusters() as f64;
        const MOST: f32 = 0.5;
        // Errors grow about as thresholds do, and no faster: some of the queries to come are worse than any of a few.
        let (start, allowed) = match first {
            Some(First { plan: Plan::Clusters { threshold, .. }, level }) => {
                (level * threshold, (level * threshold).min(MOST))
            }
            _ => (0.4 * target, MOST),
        };
        let fine = first.is_some_and(|first| first.level < 1.0);
        let least = (0.01 * target).min(0.1 * allowed);
        let (mut low, mut high) = (least / 1.1, allowed * 1.1);
        let (mut threshold, mut found) = (start.clamp(least, allowed), None);
        for _ in 0..8 {
            let plan = Plan::Clusters { threshold, fine };
            let (error, found_cost) = self.try_plan(plan, sample, target, |report| {
                clusters * cost.cluster()
                    + (f64::from(report.scanned) - clusters) * cost.key()
                    + f64::from(report.read) * cost.value()
            });
            // A tenth is kept for queries other than these.
            if error <= 0.9 * target {
                found = Some((found_cost, plan));
                low = threshold;
            } else {
                high = threshold;
                // What looks at more can only cost more.
                if found_cost >= most {
                    break;
                }
            }
            if (0.78 * target..=0.9 * target).contains(&error) || high < 1.15 * low {
                break;
            }
            let next = threshold * (0.85 * target / error.max(1e-3 * target)).clamp(0.1, 10.0);
            // Inside what is known, and not again where it was.
            threshold = next.clamp(least, allowed).clamp(low * 1.05, high / 1.05);
        }
        found
    }

    /// (mean relative error, mean cost) of a plan.
    fn try_plan(
        &self,
        plan: Plan,
        sample: Sample<'_>,
        target: f32,
        cost: impl Fn(&Report) -> f64 + Sync,
    ) -> (f32, f64) {
        let found: Vec<(f32, f64)> = (sample.queries.par_chunks_exact(self.index.dim))
            .zip(sample.truth)
            .flat_map_iter(|(query, truth)| {
                let answers = self.attend_by(plan, query, target, false).into_iter();
                answers.map(|(partial, report)| (self.error_of(&partial, truth), cost(&report)))
            })
            .collect();
        let count = found.len().max(1);
        (found.iter().map(|x| x.0).sum::<f32>() / count as f32, found.iter().map(|x| x.1).sum::<f64>() / count as f64)
    }

    /// The error that plans are judged by: summed over a layer's heads its squares are those of the layer's error.
    fn error_of(&self, found: &Partial, truth: &Partial) -> f32 {
        let own: f32 = truth.output.iter().map(|x| x * x).sum();
        let judged = if self.usual > 0.0 { 0.5 * (own + self.usual * self.usual) } else { own };
        relative_error(found, truth) * (own / judged.max(f32::MIN_POSITIVE)).sqrt()
    }

    /// How much of the Cauchy-Schwarz bound on a cluster's score variance is there, averaged over clusters by mass.
    fn measure_share(&self, queries: &[f32]) -> f32 {
        let kernels = best();
        let partition = &self.index.partition;
        let (mut there, mut allowed) = (0f64, 0f64);
        for query in queries.chunks_exact(self.index.dim).take(16) {
            let mut scores = vec![0f32; partition.stride()];
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

/// |found - truth| / |truth| of the outputs.
pub fn relative_error(found: &Partial, truth: &Partial) -> f32 {
    let difference: f32 = found.output.iter().zip(&truth.output).map(|(a, b)| (a - b).powi(2)).sum();
    let norm: f32 = truth.output.iter().map(|x| x * x).sum();
    (difference / norm.max(f32::MIN_POSITIVE)).sqrt()
}
