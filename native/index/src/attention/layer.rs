//! All heads of a layer in one call.

use rayon::prelude::*;

use super::head::{AttendOptions, AttentionHead, Report};
use super::partial::Partial;
use crate::attention_index::{AttentionIndex, BuildOptions};
use crate::error::{IndexError, Result};
use crate::rng::Rng;
use crate::rows::Rows;

/// Queries of each query head on which a KV head's plan is chosen.
const MEASURED: usize = 16;

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
    /// `[query_heads, samples, dim]`, a sample of the prompt's own queries.
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
        let heads: Result<Vec<AttentionHead>> = keys
            .iter()
            .zip(values)
            .zip(queries)
            .map(|((keys, values), queries)| {
                let build = BuildOptions { keep_all: true, ..options.build.clone() };
                let index = AttentionIndex::build(*keys, queries, &build)?;
                let mut head = AttentionHead::new(index, values, scale)?;
                let sample = Rng::new(build.seed ^ 0x5eed).sample(queries.len(), MEASURED * group);
                head.choose_plan(&queries.take(&sample), options.target);
                Ok(head)
            })
            .collect();
        Ok(Self { heads: heads?, group, dim, value_dim })
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
