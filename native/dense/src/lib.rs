//! A language model's layers, for machines whose only adapter is software: products of quantised weights with rows of activations, a cache of keys
//! and values, and exact attention.

#![forbid(unsafe_code)]

mod attention;
mod cache;
mod decode;
mod error;
mod feed_forward;
mod layer;
mod matrix;
mod norm;
mod prefill;
mod rope;
mod rows;
mod running;
mod scratch;

pub use attention::{AttentionShape, attend};
pub use cache::{KvPages, KvShape, PAGE};
pub use error::DenseError;
pub use feed_forward::{Activation, feed_forward};
pub use layer::{Layer, LayerShape};
pub use matrix::{Format, Matrix};
pub use norm::Norm;
pub use rope::Rope;
pub use rows::Rows;
pub use sparrow_kernels::byte_products::CodeFormat;
