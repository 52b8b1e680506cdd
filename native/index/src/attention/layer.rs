//! All heads of a layer in one call.

use std::ops::Range;

use rayon::prelude::*;

use super::head::{AttendOptions, AttentionHead, Budget, Report};
use super::ladder::Rung;
use super::level::plans_for;
use super::partial::Partial;
use super::plan::{First, LEVELS, Plan, Sample};
use crate::attention_index::{AttentionIndex, BuildOptions};
use crate::error::{IndexError, Result};
use crate::rows::Rows;

/// Queries of a KV head that its layer's error is measured on: the latest of each of its query heads, 8 to 128 of them. (Layers of
/// four made heads of 128K keys, error of fresh queries where 0.8 % was measured: 1.56 % by 64, 1.02 % by 128, 0.82 % by 256.)
const MEASURED: usize = 256;
/// Part of those that plans are chosen on, of which many are tried. (Twice as many took a third of a build.)
const CHOOSING: usize = 4;

/// The KV heads of a layer, each shared by `query_heads / kv_heads` query heads.
pub struct AttentionLayer {
    heads: Vec<AttentionHead>,
    group: usize,
    dim: usize,
    value_dim: usize,
}

/// How a layer is laid out and built.
#[derive(Clone, Debug)]
pub struct LayerOptions {
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Heads of queries: a multiple of `kv_heads`.
    pub query_heads: usize,
    /// Elements of a key.
    pub dim: usize,
    /// Elements of a value.
    pub value_dim: usize,
    /// Factor on scores before the softmax, usually `1 / sqrt(dim)`.
    pub scale: f32,
    /// Mean relative error of the output of the usual budget. Budgets down to a tenth of it are kept by plans of their own, below by all keys.
    pub target: f32,
    /// Whether a fixed number of keys ([`Budget::Keys`]) is found by the cheapest search that `build` allows, whatever else a head needs for error
    /// budgets. (Four heads of 128K keys of 128, made ones, the best 100 of each of 16 queries on two cores: 2.4 ms by clusters, 1.1 by the graph. A key
    /// then takes 912 bytes for 688, a build four times as long.)
    pub fixed: bool,
    /// Of the indexes.
    pub build: BuildOptions,
}

impl LayerOptions {
    fn check(&self) -> Result<()> {
        let Self { kv_heads, query_heads, .. } = *self;
        if kv_heads == 0 || query_heads == 0 || query_heads % kv_heads != 0 {
            let text = format!("attention layer: {query_heads} query heads over {kv_heads} KV heads");
            return Err(IndexError::Argument(format!("{text}, expected a multiple")));
        }
        Ok(())
    }
}

impl AttentionLayer {
    /// `keys`: `[kv_heads, tokens, dim]`; `values`: `[kv_heads, tokens, value_dim]`; `queries`:
    /// `[query_heads, samples, dim]`, a sample of the prompt's own queries in order of position.
    pub fn build(keys: &[f32], values: &[f32], queries: &[f32], options: &LayerOptions) -> Result<Self> {
        options.check()?;
        let LayerOptions { kv_heads, dim, value_dim, .. } = *options;
        let (keys, values) = (split("keys", keys, kv_heads, dim)?, split("values", values, kv_heads, value_dim)?);
        let queries = split("queries", queries, kv_heads, dim)?;
        let rows = |rows: &Rows<'_>| rows.data.to_vec();
        Self::build_by_head(options, |head| Ok((rows(&keys[head]), rows(&values[head]), rows(&queries[head]))))
    }

    /// As [`AttentionLayer::build`], with (keys, values, queries) of each KV head from `part`: `[tokens, dim]`,
    /// `[tokens, value_dim]`, `[group, samples, dim]`. As many heads are built at a time as there are threads: what takes one
    /// thread in one head then leaves the others to other heads, and no more heads have working memory than have use for it.
    pub fn build_by_head<F>(options: &LayerOptions, part: F) -> Result<Self>
    where
        F: Fn(usize) -> Result<(Vec<f32>, Vec<f32>, Vec<f32>)> + Sync,
    {
        options.check()?;
        let LayerOptions { kv_heads, query_heads, dim, value_dim, scale, target, fixed, .. } = *options;
        let group = query_heads / kv_heads;
        let count = (MEASURED / group).clamp(8, 128);
        let build = BuildOptions { keep_all: true, ..options.build.clone() };
        let one = |head: usize| -> Result<(AttentionHead, Vec<f32>, Vec<Partial>)> {
            let (keys, values, queries) = part(head)?;
            let keys = Rows::new("keys", &keys, dim)?;
            let values = Rows::new("values", &values, value_dim)?;
            let queries = Rows::new("queries", &queries, dim)?;
            if queries.len() < group {
                let text =
                    format!("attention layer: {} queries for {group} query heads, expected one of each", queries.len());
                return Err(IndexError::Argument(text));
            }
            let sample = queries.take(&latest(queries.len(), group, count));
            let mut head = AttentionHead::new(AttentionIndex::build(keys, queries, &build)?, values, scale)?;
            let truth = head.exactly(&sample);
            Ok((head, sample, truth))
        };
        let (mut heads, mut samples, mut truths) = (Vec::new(), Vec::new(), Vec::new());
        let all: Vec<usize> = (0..kv_heads).collect();
        for some in all.chunks(rayon::current_num_threads()) {
            for built in some.par_iter().map(|head| one(*head)).collect::<Vec<_>>() {
                let (head, sample, truth) = built?;
                heads.push(head);
                samples.push(sample);
                truths.push(truth);
            }
        }
        let squares = truths.iter().flatten().flat_map(|truth| &truth.output).map(|x| f64::from(x * x)).sum::<f64>();
        let usual = (squares / truths.iter().map(Vec::len).sum::<usize>().max(1) as f64).sqrt() as f32;
        let all: Vec<Sample> =
            (samples.iter().zip(&truths)).map(|(queries, truth)| Sample { queries, truth, group }).collect();
        // Of each query head, the latest.
        let few: Vec<(Vec<f32>, Vec<Partial>)> = (all.iter())
            .map(|sample| {
                let rows = latest(sample.truth.len(), group, (count / CHOOSING).max(8));
                let truth = rows.iter().map(|row| sample.truth[*row as usize].clone()).collect();
                (Rows { data: sample.queries, dim }.take(&rows), truth)
            })
            .collect();
        let few: Vec<Sample> = few.iter().map(|(queries, truth)| Sample { queries, truth, group }).collect();
        heads.par_iter_mut().zip(&few).for_each(|(head, sample)| head.prepare(sample.queries, usual));
        let mut rungs: Vec<Vec<Rung>> = vec![Vec::new(); heads.len()];
        for level in LEVELS {
            let budget = level * target;
            let first = |rungs: &Vec<Rung>| rungs.first().map(|rung| First { plan: rung.plan, level });
            let first: Vec<Option<First>> = rungs.iter().map(first).collect();
            let (plans, holds) = plans_for(&heads, &few, &all, &first, budget);
            for ((rungs, plan), head) in rungs.iter_mut().zip(plans).zip(&mut heads) {
                rungs.push(Rung { holds, plan });
                head.hold_nibble_values(rungs[0].plan);
            }
        }
        heads.iter_mut().zip(rungs).for_each(|(head, rungs)| head.keep_plans(rungs, fixed));
        Ok(Self { heads, group, dim, value_dim })
    }

    /// The KV heads.
    pub fn heads(&self) -> &[AttentionHead] {
        &self.heads
    }

    /// Elements of a layer's query.
    pub fn query_len(&self) -> usize {
        self.heads.len() * self.group * self.dim
    }

    /// Elements of a value.
    pub fn value_dim(&self) -> usize {
        self.value_dim
    }

    /// Number of tokens.
    pub fn tokens(&self) -> usize {
        self.heads.first().map_or(0, AttentionHead::len)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.heads.iter().map(AttentionHead::bytes).sum()
    }

    /// Attention of one token: `queries` is `[query_heads, dim]`, the result one part for each query head.
    pub fn attend(&self, queries: &[f32], options: AttendOptions) -> Vec<(Partial, Report)> {
        // With more threads than heads a head is divided among some.
        let parts = rayon::current_num_threads().div_ceil(self.heads.len());
        let width = self.group * self.dim;
        let shares: Vec<(usize, Share)> = (0..self.heads.len())
            .flat_map(|head| self.shares(head, parts, options).map(move |share| (head, share)))
            .collect();
        let answer = |(head, share): &(usize, Share)| {
            let queries = &queries[head * width..][..width];
            match share {
                Share::Queries(own) => {
                    self.heads[*head].attend(&queries[own.start * self.dim..own.end * self.dim], options)
                }
                Share::Keys(places, share) => self.heads[*head].by_bytes(queries, places.clone(), *share),
            }
        };
        let found: Vec<Vec<(Partial, Report)>> = shares.par_iter().with_max_len(1).map(answer).collect();
        let mut answers: Vec<(Partial, Report)> = Vec::with_capacity(self.heads.len() * self.group);
        for ((head, share), found) in shares.iter().zip(found) {
            match share {
                Share::Keys(places, _) if places.start > 0 => {
                    for ((whole, report), (part, more)) in answers[head * self.group..].iter_mut().zip(found) {
                        whole.merge(&part);
                        report.scanned += more.scanned;
                        report.read += more.read;
                    }
                }
                _ => answers.extend(found),
            }
        }
        answers
    }

    /// How `parts` threads divide a head. Where all keys are read every query would read them again, so that the keys are divided;
    /// what other plans read depends on the query.
    fn shares(&self, head: usize, parts: usize, options: AttendOptions) -> impl Iterator<Item = Share> + use<> {
        let own = &self.heads[head];
        let plan = match options.budget {
            Budget::Error(error) if error > 0.0 => Some(own.plan(error)),
            _ => None,
        };
        let shares: Vec<Share> = if let Some(Plan::Bytes { share }) = plan {
            own.byte_parts(parts).into_iter().map(|places| Share::Keys(places, share)).collect()
        } else {
            // Queries that each look for keys of their own share nothing: the more pieces, the less the slowest thread is waited for.
            let alone = matches!(options.budget, Budget::Keys(k) if k < own.len());
            let together = if alone {
                1
            } else if matches!(plan, Some(Plan::Clusters { .. })) {
                // Clusters that several of them open are read once, by as many threads as there are. (Eight heads, four queries each, of 128K
                // keys of 128, 16 threads: 0.82 and 0.95 of the time that pairs of queries take.)
                self.group
            } else {
                self.group.div_ceil(parts.min(self.group))
            };
            (0..self.group)
                .step_by(together)
                .map(|first| Share::Queries(first..self.group.min(first + together)))
                .collect()
        };
        shares.into_iter()
    }

    /// Adds tokens: `keys` is `[kv_heads, tokens, dim]`, `values` `[kv_heads, tokens, value_dim]`.
    pub fn append(&mut self, keys: &[f32], values: &[f32]) -> Result<()> {
        let count = self.heads.len();
        let keys = split("keys", keys, count, self.dim)?;
        let values = split("values", values, count, self.value_dim)?;
        if keys[0].len() != values[0].len() {
            let (keys, values) = (keys[0].len(), values[0].len());
            return Err(IndexError::Argument(format!("append to a layer: {keys} keys but {values} values a head")));
        }
        // Before any head takes its part: what one of them refuses the others must not hold.
        keys.iter().try_for_each(|keys| keys.fit_halves("append keys"))?;
        values.iter().try_for_each(|values| values.fit_halves("append values"))?;
        let parts: Vec<_> = keys.into_iter().zip(values).collect();
        self.heads.par_iter_mut().zip(parts).try_for_each(|(head, (keys, values))| head.append(keys, values))
    }
}

/// What one thread does of a head.
enum Share {
    /// Some of the queries that share it.
    Queries(Range<usize>),
    /// All queries over some of the keys, by bytes with this share.
    Keys(Range<usize>, f32),
}

/// Rows of the latest `count` queries of each of `group` heads. Decoding goes on from there, with the text just before it in the window
/// and not among these keys; queries from the middle find their own surroundings here, and are answered by few keys.
fn latest(rows: usize, group: usize, count: usize) -> Vec<u32> {
    let samples = rows / group;
    (0..group)
        .flat_map(|member| (samples.saturating_sub(count)..samples).map(move |i| (member * samples + i) as u32))
        .collect()
}

/// Equal parts of `data` for each head.
fn split<'a>(what: &str, data: &'a [f32], heads: usize, dim: usize) -> Result<Vec<Rows<'a>>> {
    let all = Rows::new(what, data, dim)?;
    if !all.len().is_multiple_of(heads) {
        let text = format!("{what}: {} rows cannot be divided among {heads} heads", all.len());
        return Err(IndexError::Argument(text));
    }
    let each = all.len() / heads * dim;
    Ok((0..heads).map(|head| Rows { data: &data[head * each..][..each], dim }).collect())
}
