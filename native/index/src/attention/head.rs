//! Attention of one KV head over keys and values in CPU memory, for the query heads that share it.

use rayon::prelude::*;
use sparrow_kernels::{Buffer, Kernels, best, f16};

use super::estimate::View;
use super::exact::{ExactAttention, add, attend_rows};
use super::ladder::Ladder;
use super::nibble_values::NibbleValues;
use super::partial::{Partial, Running};
use super::plan::Plan;
use super::slope::Slope;
use crate::attention_index::{AttentionIndex, to_halves};
use crate::error::{IndexError, Result};
use crate::rows::Rows;
use crate::strategy::Strategy;
use crate::vector_index::VectorIndex;

/// How much of the context a step looks at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Every key.
    All,
    /// The best `k` keys of each query and nothing else: the paper's fixed budget.
    Keys(usize),
    /// As much as keeps the mean relative error of the layer's output under this; the rest is estimated from clusters.
    Error(f32),
}

/// What a step did for one query.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Report {
    /// Keys and centroids scored.
    pub scanned: u32,
    /// Keys whose values were read.
    pub read: u32,
    /// Estimated share of the attention mass that was not computed key by key; for a fixed budget 1 where no bound was asked for.
    pub rest: f32,
    /// No more than this share was left out or estimated; 1 when it was not asked for.
    pub bound: f32,
}

/// What a call wants.
#[derive(Clone, Copy, Debug)]
pub struct AttendOptions {
    /// How much to look at.
    pub budget: Budget,
    /// Whether to compute [`Report::bound`], which costs as much again as the estimate does; under a fixed budget [`Report::rest`], too, for
    /// which nothing else reads the clusters.
    pub bound: bool,
}

/// Keys, values and index of one KV head.
pub struct AttentionHead {
    pub(crate) index: AttentionIndex,
    /// `[keys, value_dim]`, in the index's order.
    pub(crate) values: Buffer<f16>,
    pub(crate) value_dim: usize,
    /// Mean value of each cluster, `[clusters, value_dim]`.
    pub(crate) value_means: Buffer<f16>,
    /// Part of the bound on a cluster's score variance that is there on average.
    pub(crate) share: f32,
    /// How values follow keys within clusters.
    pub(super) slope: Slope,
    /// Root mean square norm of the outputs of the layer's heads; 0 when it is not known.
    pub(super) usual: f32,
    pub(crate) scale: f32,
    pub(super) ladder: Ladder,
    pub(super) exact: Option<ExactAttention>,
    /// Held while the plan reads them.
    pub(super) nibble_values: Option<NibbleValues>,
}

impl AttentionHead {
    /// Wraps an index over the keys; `values` are in the caller's order. The plan is [`Plan::Exact`] until a layer chooses one.
    pub fn new(index: AttentionIndex, values: Rows<'_>, scale: f32) -> Result<Self> {
        if values.len() != index.len() {
            let (found, wanted) = (values.len(), index.len());
            return Err(IndexError::Argument(format!("attention head: {found} values for {wanted} keys")));
        }
        values.fit_halves("values")?;
        let ordered = to_halves(&values.take(&index.ids));
        let slope = Slope::measure(&index.partition, &index.halves, index.dim, &ordered, values.dim);
        let mut head = Self {
            index,
            values: Buffer::new(&ordered),
            value_dim: values.dim,
            value_means: Buffer::new(&[]),
            share: 1.0,
            slope,
            usual: 0.0,
            scale,
            ladder: Ladder::always(Plan::Exact),
            exact: None,
            nibble_values: None,
        };
        head.measure_values();
        Ok(head)
    }

    /// Mean values of the clusters that have none yet.
    fn measure_values(&mut self) {
        let done = self.value_means.len() / self.value_dim;
        let more: Vec<Vec<f16>> = (done..self.index.partition.clusters())
            .into_par_iter()
            .map(|c| {
                let range = self.index.partition.range(c);
                let weight = 1.0 / range.len() as f32;
                let rows = &self.values[range.start * self.value_dim..range.end * self.value_dim];
                let mut mean = vec![0f32; self.value_dim];
                best().add_rows_f16(&vec![weight; range.len()], rows, &mut mean);
                mean.into_iter().map(f16::from_f32).collect()
            })
            .collect();
        self.value_means.extend_from_slice(&more.concat());
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The plan that keeps this error.
    pub fn plan(&self, error: f32) -> Plan {
        self.ladder.plan(error)
    }

    /// How a fixed number of keys is found.
    pub fn search(&self) -> Strategy {
        self.index.strategy
    }

    /// Sets one plan for all budgets of error, for measuring; an [`AttentionLayer`](super::AttentionLayer) picks them.
    ///
    /// # Panics
    /// When the index does not hold what the plan's search needs.
    pub fn set_plan(&mut self, plan: Plan) {
        let needed = match plan {
            Plan::Keys { strategy } => strategy,
            Plan::Bytes { .. } => Strategy::Flat { rerank: 0 },
            Plan::Exact | Plan::Clusters { .. } => self.index.strategy,
        };
        assert!(self.index.can(needed), "the index holds nothing for {needed:?}");
        self.ladder = Ladder::always(plan);
        self.hold_nibble_values(plan);
    }

    /// Makes or drops the values' codes, as a plan wants.
    pub(super) fn hold_nibble_values(&mut self, plan: Plan) {
        if !matches!(plan, Plan::Bytes { .. }) {
            self.nibble_values = None;
        } else if self.nibble_values.is_none() {
            self.nibble_values = NibbleValues::of(&self.values, self.value_dim);
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let exact = self.exact.as_ref().map_or(0, ExactAttention::bytes);
        let bytes = self.nibble_values.as_ref().map_or(0, NibbleValues::bytes);
        self.index.bytes() + 2 * (self.values.len() + self.value_means.len()) + exact + bytes + self.slope.bytes()
    }

    /// Adds keys with their values.
    pub fn append(&mut self, keys: Rows<'_>, values: Rows<'_>) -> Result<()> {
        if keys.len() != values.len() || values.dim != self.value_dim {
            return Err(IndexError::Argument(format!(
                "append to an attention head: {} keys, {} values of dimension {}, expected dimension {}",
                keys.len(),
                values.len(),
                values.dim,
                self.value_dim
            )));
        }
        values.fit_halves("append values")?;
        let (clustered, first) = (self.index.partition.keys(), self.index.len());
        self.index.append(keys)?;
        self.values.extend_from_slice(&to_halves(values.data));
        if self.index.partition.keys() > clustered {
            // The tail was put in the order of its clusters: the values follow. Key numbers count from `clustered` on.
            let old = self.values[clustered * self.value_dim..].to_vec();
            let row = |id: u32| &old[(id as usize - clustered) * self.value_dim..][..self.value_dim];
            let moved: Vec<f16> = self.index.ids[clustered..].iter().flat_map(|id| row(*id)).copied().collect();
            self.values.overwrite(clustered * self.value_dim, &moved);
            self.measure_values();
        }
        debug_assert!(first <= self.index.len());
        if self.exact.is_some() {
            self.exact = Some(ExactAttention::build(&self.index.halves, self.index.dim));
        }
        Ok(())
    }

    /// Attention of each query (`[queries, dim]`).
    pub fn attend(&self, queries: &[f32], options: AttendOptions) -> Vec<(Partial, Report)> {
        match options.budget {
            Budget::Keys(k) if k < self.len() => self.each(queries, |query| self.best_keys(query, k, options.bound)),
            Budget::Error(error) if error > 0.0 => self.attend_by(self.plan(error), queries, error, options.bound),
            _ => self.attend_all(queries),
        }
    }

    /// As [`AttentionHead::attend`] by this plan, which may take more of it to keep `error`.
    pub(super) fn attend_by(&self, plan: Plan, queries: &[f32], error: f32, bound: bool) -> Vec<(Partial, Report)> {
        match plan {
            Plan::Exact => self.attend_all(queries),
            Plan::Bytes { share } => self.by_bytes(queries, 0..self.len(), share),
            Plan::Clusters { threshold, fine } => self.by_cluster(queries, threshold, fine, bound),
            Plan::Keys { strategy } => self.each(queries, |query| self.by_key(query, strategy, error, bound)),
        }
    }

    fn each(&self, queries: &[f32], one: impl Fn(&[f32]) -> (Partial, Report)) -> Vec<(Partial, Report)> {
        queries.chunks_exact(self.index.dim).map(one).collect()
    }

    /// Attention over every key.
    fn attend_all(&self, queries: &[f32]) -> Vec<(Partial, Report)> {
        let report = Report { scanned: self.len() as u32, read: self.len() as u32, rest: 0.0, bound: 0.0 };
        let (kernels, index) = (best(), &self.index);
        let partials = match &self.exact {
            Some(exact) => exact.attend(kernels, queries, &self.values, self.scale),
            None => attend_rows(kernels, queries, &index.halves, index.dim, &self.values, self.scale),
        };
        partials.into_iter().map(|partial| (partial, report)).collect()
    }

    /// Adds the keys at these places, exactly.
    pub(super) fn add_places(&self, kernels: &dyn Kernels, query: &[f32], places: &[u32], running: &mut Running) {
        if places.is_empty() {
            return;
        }
        let mut scores = vec![0f32; places.len()];
        kernels.gather_dot_f16(query, &self.index.halves, places, &mut scores);
        let largest = kernels.max(&scores);
        running.raise(largest * self.scale);
        running.weight += kernels.exp_sum(&mut scores, running.shift(largest, self.scale), self.scale);
        kernels.gather_add_f16(&scores, &self.values, places, &mut running.sum);
    }

    /// Adds the keys that are in no cluster yet.
    pub(super) fn add_tail(&self, kernels: &dyn Kernels, query: &[f32], running: &mut Running) -> usize {
        let from = self.index.partition.keys();
        let places: Vec<u32> = (from as u32..self.len() as u32).collect();
        let mut scores = vec![0f32; places.len()];
        kernels.gather_dot_f16(query, &self.index.halves, &places, &mut scores);
        add(kernels, &mut scores, &self.values[from * self.value_dim..], self.scale, running);
        places.len()
    }

    /// The paper's step: the `k` best keys, the rest dropped.
    fn best_keys(&self, query: &[f32], k: usize, with_rest: bool) -> (Partial, Report) {
        let kernels = best();
        let mut hits = Vec::new();
        let scanned = self.index.search_places(query, k, self.index.strategy_for(k), true, &mut hits);
        let places: Vec<u32> = hits.iter().map(|hit| hit.id).collect();
        let mut running = Running::new(self.value_dim);
        self.add_places(kernels, query, &places, &mut running);
        let partial = running.finish();
        // Centroids are more bytes than a search of the graph reads.
        let (rest, bound) = if with_rest { self.left_out(kernels, query, &hits) } else { (1.0, 1.0) };
        (partial, Report { scanned: scanned as u32, read: places.len() as u32, rest, bound })
    }

    /// Fills `view` for one query; returns the logarithm of the estimated mass of all clusters.
    pub(super) fn view(&self, kernels: &dyn Kernels, query: &[f32], view: &mut View) -> f32 {
        let partition = &self.index.partition;
        let mut scores = vec![0f32; partition.stride()];
        partition.scores(kernels, query, &mut scores);
        let norm = self.index.geometry.query_norm(query);
        view.fill(&scores[..partition.clusters()], &partition.spreads, self.scale, norm, self.share);
        let most = kernels.max(&view.logs);
        let mass: f32 =
            view.logs.iter().enumerate().map(|(c, log)| partition.range(c).len() as f32 * (log - most).exp()).sum();
        most + mass.ln()
    }
}
