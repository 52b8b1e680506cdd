//! What a language model computes densely, for machines whose only adapter is software: products of quantised weights with rows of activations, and
//! exact attention of prompts.

#![forbid(unsafe_code)]

mod error;
mod feed_forward;
mod matrix;
mod norm;
mod prefill;

pub use error::DenseError;
pub use feed_forward::{Activation, feed_forward};
pub use matrix::Matrix;
pub use norm::Norm;
pub use prefill::{Prefill, PrefillShape};
pub use sparrow_kernels::byte_products::CodeFormat;
