//! A transformer's layer but for its attention.

use rayon::prelude::*;
use sparrow_kernels::Kernels;
use sparrow_kernels::byte_products::PANEL;
use sparrow_threads::with_threads;

use crate::attention::AttentionShape;
use crate::cache::KvPages;
use crate::error::DenseError;
use crate::feed_forward::{Activation, feed_forward};
use crate::matrix::Matrix;
use crate::norm::Norm;
use crate::rope::Rope;
use crate::rows::{Rows, check};
use crate::scratch::with_room;

/// Numbers of a layer.
#[derive(Clone, Copy, Debug)]
pub struct LayerShape {
    /// Sizes of its attention.
    pub attention: AttentionShape,
    /// True dimension of a head; what follows is padding.
    pub head_dim: usize,
    /// Width of the residual stream without padding.
    pub width: usize,
    /// Of all norms: added to the mean square.
    pub epsilon: f32,
    /// Factor of queries: log2(e) times that of scores.
    pub query_scale: f32,
    /// Factor of what is added to the residual stream.
    pub residual_scale: f32,
    /// Between the products of the feed-forward network.
    pub activation: Activation,
}

/// Weights of a layer. What a model does not have is empty.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// Its numbers.
    pub shape: LayerShape,
    /// Query, key and value projections, heads padded.
    pub qkv: &'a Matrix,
    /// Projection of attention's output.
    pub output: &'a Matrix,
    /// Up projection, with the gates of gated networks between its outputs.
    pub up: &'a Matrix,
    /// Down projection.
    pub down: &'a Matrix,
    /// Gains of the norm before attention, padded.
    pub attention_gains: &'a [f32],
    /// One for each output of `qkv`.
    pub qkv_bias: &'a [f32],
    /// Gains of query heads and of key heads, `[2][dim]`.
    pub head_gains: &'a [f32],
    /// One for each output of `output`.
    pub output_bias: &'a [f32],
    /// Gains of what attention yields, padded.
    pub attention_post_gains: &'a [f32],
    /// Gains of the norm before the feed-forward network, padded.
    pub feed_forward_gains: &'a [f32],
    /// Gains of what the feed-forward network yields, padded.
    pub feed_forward_post_gains: &'a [f32],
}

impl Layer<'_> {
    /// # Errors
    /// For weights that do not fit together.
    pub fn check(&self) -> Result<(), DenseError> {
        let LayerShape { attention, head_dim, width, .. } = self.shape;
        attention.check()?;
        let AttentionShape { heads, kv_heads, dim, stride, .. } = attention;
        let columns = self.qkv.columns();
        let empty_or = |some: &[f32], length: usize| some.is_empty() || some.len() == length;
        let fits = (1..=dim).contains(&head_dim)
            && (1..=columns).contains(&width)
            && self.qkv.outputs() >= (heads + 2 * kv_heads) * dim
            && self.output.columns() == stride
            && self.up.columns() == columns
            && [self.output, self.down].iter().all(|matrix| (width..=columns).contains(&matrix.outputs()))
            && self.attention_gains.len() == columns
            && self.feed_forward_gains.len() == columns
            && empty_or(self.qkv_bias, self.qkv.outputs())
            && empty_or(self.head_gains, 2 * dim)
            && empty_or(self.output_bias, self.output.outputs())
            && empty_or(self.attention_post_gains, columns)
            && empty_or(self.feed_forward_post_gains, columns);
        if fits { Ok(()) } else { Err(DenseError(format!("a layer of {:?} with weights of other sizes", self.shape))) }
    }

    fn norm<'a>(&self, gains: &'a [f32]) -> Norm<'a> {
        Norm { gains, width: self.shape.width, epsilon: self.shape.epsilon }
    }

    /// Queries of the rows `x` (`[row][columns]`), `[row][head][dim]`, rotated and scaled; their keys and values go to their pages.
    ///
    /// # Errors
    /// For rows without their pages, positions beyond the table, or lengths that do not fit.
    pub fn project(
        &self,
        kernels: &dyn Kernels,
        (cache, layer): (&mut KvPages, usize),
        rope: Rope<'_>,
        rows: &[Rows<'_>],
        x: &[f32],
        queries: &mut [f32],
    ) -> Result<(), DenseError> {
        let AttentionShape { heads, kv_heads, dim, .. } = self.shape.attention;
        let count = check(rows)?;
        for rows in rows {
            cache.check(layer, rows.pages)?;
            if rows.rotated.saturating_add(rows.count) > rope.positions() {
                return Err(DenseError(format!(
                    "{} rows from position {} on, of {}",
                    rows.count,
                    rows.rotated,
                    rope.positions()
                )));
            }
        }
        let held = cache.shape();
        if held.kv_heads != kv_heads
            || held.dim != dim
            || x.len() != count * self.qkv.columns()
            || queries.len() != count * heads * dim
        {
            return Err(DenseError(format!(
                "{count} rows of {} numbers and {} of queries, {:?} in a cache of {held:?}",
                x.len(),
                queries.len(),
                self.shape
            )));
        }
        let positions: Vec<usize> = rows.iter().flat_map(|rows| rows.rotated..rows.rotated + rows.count).collect();
        let own = 2 * kv_heads * dim;
        with_room(count * (self.qkv.outputs() + own), |room| {
            let (product, stored) = room.split_at_mut(count * self.qkv.outputs());
            with_threads(|| {
                self.qkv.multiply(kernels, x, Some(self.norm(self.attention_gains)), product)?;
                let product = &*product;
                let finish = |(row, (queries, stored)): (usize, (&mut [f32], &mut [f32]))| {
                    self.finish_row(rope, positions[row], product, [row, count], [queries, stored]);
                };
                let each = queries.par_chunks_exact_mut(heads * dim).zip(stored.par_chunks_exact_mut(own));
                each.enumerate().for_each(finish);
                Ok(())
            })?;
            let mut stored = stored.chunks_exact(own);
            for rows in rows {
                for row in 0..rows.count {
                    let (page, slot) = rows.place(row);
                    let (keys, values) = stored.next().expect("one for each row").split_at(kv_heads * dim);
                    cache.store(layer, page, slot, [keys, values]);
                }
            }
            Ok(())
        })
    }

    /// Queries, and keys and values, of one of the product's rows.
    fn finish_row(
        &self,
        rope: Rope<'_>,
        position: usize,
        product: &[f32],
        [row, count]: [usize; 2],
        [queries, stored]: [&mut [f32]; 2],
    ) {
        let LayerShape { attention: AttentionShape { heads, kv_heads, dim, .. }, head_dim, query_scale, .. } =
            self.shape;
        for (number, head) in queries.chunks_exact_mut(dim).chain(stored.chunks_exact_mut(dim)).enumerate() {
            let first = number * dim;
            for (panel, part) in head.chunks_exact_mut(PANEL).enumerate() {
                part.copy_from_slice(&product[((first / PANEL + panel) * count + row) * PANEL..][..PANEL]);
            }
            if !self.qkv_bias.is_empty() {
                head.iter_mut().zip(&self.qkv_bias[first..]).for_each(|(x, bias)| *x += bias);
            }
            if number >= heads + kv_heads {
                continue;
            }
            let query = number < heads;
            if !self.head_gains.is_empty() {
                let gains = &self.head_gains[if query { 0 } else { dim }..][..dim];
                Norm { gains, width: head_dim, epsilon: self.shape.epsilon }.apply(head);
            }
            rope.rotate(position, if query { query_scale } else { 1.0 }, head);
        }
    }

    /// Adds what attention yields (`attended` is `[row][stride]`) and then what the feed-forward network does to the rows `x`.
    ///
    /// # Errors
    /// When the lengths do not fit.
    pub fn complete(&self, kernels: &dyn Kernels, attended: &[f32], x: &mut [f32]) -> Result<(), DenseError> {
        let LayerShape { attention: AttentionShape { stride, .. }, activation, .. } = self.shape;
        let count = attended.len() / stride;
        if attended.len() != count * stride || x.len() != count * self.up.columns() {
            return Err(DenseError(format!("{} numbers for {} of rows", attended.len(), x.len())));
        }
        with_room(count * self.output.outputs().max(self.down.outputs()), |product| {
            with_threads(|| {
                let yielded = &mut product[..count * self.output.outputs()];
                self.output.multiply(kernels, attended, None, yielded)?;
                self.add(yielded, self.output_bias, self.attention_post_gains, x);
                let yielded = &mut product[..count * self.down.outputs()];
                let norm = self.norm(self.feed_forward_gains);
                feed_forward(kernels, [self.up, self.down], activation, x, Some(norm), yielded)?;
                self.add(yielded, &[], self.feed_forward_post_gains, x);
                Ok(())
            })
        })
    }

    /// Adds products in panels to the residual stream.
    fn add(&self, product: &[f32], bias: &[f32], post_gains: &[f32], x: &mut [f32]) {
        let columns = self.up.columns();
        let count = x.len() / columns;
        let scale = self.shape.residual_scale;
        let add = |(row, x): (usize, &mut [f32])| {
            let panels = product.chunks_exact(count * PANEL).map(|panel| &panel[row * PANEL..][..PANEL]);
            if post_gains.is_empty() {
                for (number, (panel, x)) in panels.zip(x.chunks_mut(PANEL)).enumerate() {
                    let bias = bias.get(number * PANEL..).unwrap_or(&[]);
                    for (i, (x, product)) in x.iter_mut().zip(panel).enumerate() {
                        *x += scale * bias.get(i).map_or(*product, |bias| product + bias);
                    }
                }
                return;
            }
            let mut yielded: Vec<f32> = panels.flatten().copied().collect();
            yielded.resize(columns, 0.0);
            self.norm(post_gains).apply(&mut yielded);
            x.iter_mut().zip(yielded).for_each(|(x, yielded)| *x += yielded);
        };
        if count == 1 {
            add((0, x));
        } else {
            x.par_chunks_exact_mut(columns).enumerate().for_each(add);
        }
    }
}
