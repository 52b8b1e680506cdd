//! All heads of a layer in one call.

use rayon::prelude::*;

use super::head::{AttendOptions, AttentionHead, Budget, Report};
use super::partial::Partial;
use crate::attention_index::{AttentionIndex, BuildOptions};
use crate::error::{IndexError, Result};
use crate::rows::Rows;

/// Queries of each query head on which a KV head's plan is chosen.
const MEASURED: usize = 32;
/// Queries of each query head on which the size of outputs is measured.
const NORMED: usize = 8;

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
    /// Mean relative error of the output that the default budget allows.
    pub target: f32,
    /// Of the indexes.
    pub build: BuildOptions,
}

impl AttentionLayer {
    /// `keys`: `[kv_heads, tokens, dim]`; `values`: `[kv_heads, tokens, value_dim]`; `queries`:
    /// `[query_heads, samples, dim]`, a sample of the prompt's own queries in order of position.
    pub fn build(keys: &[f32], values: &[f32], queries: &[f32], options: &LayerOptions) -> Result<Self> {
        let LayerOptions { kv_heads, query_heads, dim, value_dim, scale, .. } = *options;
        if kv_heads == 0 || query_heads == 0 || query_heads % kv_heads != 0 {
            let text = format!("attention layer: {query_heads} query heads over {kv_heads} KV heads");
            return Err(IndexError::Argument(format!("{text}, expected a multiple")));
        }
        let group = query_heads / kv_heads;
        let (keys, values) = (split("keys", keys, kv_heads, dim)?, split("values", values, kv_heads, value_dim)?);
        let queries = split("queries", queries, kv_heads, dim)?;
        // Heads one after another: each uses all threads, and only one head's working memory is needed at a time.
        let sampled = |queries: &Rows<'_>, count: usize| queries.take(&latest(queries.len(), group, count));
        let mut heads = Vec::with_capacity(kv_heads);
        let (mut squares, mut count) = (0f64, 0u32);
        for ((keys, values), queries) in keys.iter().zip(values).zip(&queries) {
            let build = BuildOptions { keep_all: true, ..options.build.clone() };
            let index = AttentionIndex::build(*keys, *queries, &build)?;
            let head = AttentionHead::new(index, values, scale)?;
            let all = AttendOptions { budget: Budget::All, bound: false };
            for (partial, _) in head.attend(&sampled(queries, NORMED), all) {
                squares += partial.output.iter().map(|x| f64::from(x * x)).sum::<f64>();
                count += 1;
            }
            heads.push(head);
        }
        let usual = (squares / f64::from(count.max(1))).sqrt() as f32;
        for (head, queries) in heads.iter_mut().zip(&queries) {
            head.choose_plan(&sampled(queries, MEASURED), options.target, usual);
        }
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
        let each = self.heads.par_iter().zip(queries.par_chunks_exact(self.group * self.dim));
        each.flat_map_iter(|(head, queries)| head.attend(queries, options)).collect()
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
        let parts: Vec<_> = keys.into_iter().zip(values).collect();
        self.heads.par_iter_mut().zip(parts).try_for_each(|(head, (keys, values))| head.append(keys, values))
    }
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
