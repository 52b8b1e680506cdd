//! Exact attention of a step's rows to the pages of their sequences.

use sparrow_kernels::Kernels;
use sparrow_threads::with_threads;

use crate::cache::KvPages;
use crate::decode::{attend_parts, merge};
use crate::error::DenseError;
use crate::prefill::attend_prompt;
use crate::rows::{Rows, check};

/// Sizes of attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    /// Query heads, a multiple of the KV heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Elements of a head, padding included: a multiple of 64.
    pub dim: usize,
    /// Elements of a head's output that are wanted, the first ones.
    pub kept: usize,
    /// Elements from one row's output to the next: at least `heads · kept`, zeros beyond them.
    pub stride: usize,
    /// Latest keys that a row sees, its own included; none: all.
    pub window: Option<usize>,
}

impl AttentionShape {
    /// # Errors
    /// For sizes that do not fit together.
    pub(crate) fn check(&self) -> Result<(), DenseError> {
        let Self { heads, kv_heads, dim, kept, stride, window } = *self;
        let fits = heads > 0
            && kv_heads > 0
            && heads.is_multiple_of(kv_heads)
            && dim > 0
            && dim.is_multiple_of(64)
            && (1..=dim).contains(&kept)
            && heads.checked_mul(kept).is_some_and(|outputs| outputs <= stride)
            && heads.checked_mul(dim).is_some()
            && window != Some(0);
        if fits { Ok(()) } else { Err(DenseError(format!("attention of {self:?}"))) }
    }
}

/// Attention of a layer's rows: `queries` are `[row][head][dim]`, scaled such that weights are powers of two; `out` is `[row][stride]`. For each row that
/// decodes, in their order, `log_masses` gets the binary logarithm of the sum of each head's weights.
///
/// # Errors
/// For rows without their pages, or lengths that do not fit.
pub fn attend(
    kernels: &dyn Kernels,
    shape: AttentionShape,
    (cache, layer): (&KvPages, usize),
    rows: &[Rows<'_>],
    queries: &[f32],
    out: &mut [f32],
    log_masses: &mut [f32],
) -> Result<(), DenseError> {
    shape.check()?;
    let (count, decodes) = (check(rows)?, rows.iter().filter(|rows| rows.decodes).count());
    for rows in rows {
        cache.check(layer, rows.pages)?;
    }
    let AttentionShape { heads, kv_heads, dim, stride, .. } = shape;
    let held = cache.shape();
    if held.kv_heads != kv_heads
        || held.dim != dim
        || count.checked_mul(heads * dim) != Some(queries.len())
        || count.checked_mul(stride) != Some(out.len())
        || log_masses.len() != decodes * heads
    {
        return Err(DenseError(format!(
            "{count} rows of which {decodes} decode, {} elements of queries, {} of outputs and {} masses, {shape:?} in a cache of {held:?}",
            queries.len(),
            out.len(),
            log_masses.len()
        )));
    }
    with_threads(|| {
        let mut masses = log_masses.chunks_exact_mut(heads);
        let states = attend_parts(kernels, shape, (cache, layer), rows, queries);
        let mut states = &states[..];
        for each in rows {
            let at = each.first..each.first + each.count;
            let out = &mut out[at.start * stride..at.end * stride];
            if each.decodes {
                let masses = masses.next().expect("one for each row that decodes");
                states = merge(shape, each.first, states, out, masses);
            } else {
                let queries = &queries[at.start * heads * dim..at.end * heads * dim];
                attend_prompt(kernels, shape, (cache, layer), *each, queries, out);
            }
        }
    });
    Ok(())
}
