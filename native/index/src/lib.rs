//! Vector indexes for attention, and attention over what they find.
//!
//! [`AttentionIndex`] is the product: keys in clusters of like scores, as bytes and half-precision rows, with a graph
//! built from what queries want, and the cheapest way to search them chosen by measurement. [`FlatIndex`] is its oracle,
//! [`IvfIndex`] a baseline; all answer through [`VectorIndex`].
#![forbid(unsafe_code)]

mod attention;
mod attention_index;
mod byte_keys;
mod byte_space;
mod choose;
mod container;
mod cut;
mod error;
mod flat;
mod geometry;
mod graph;
mod hash64;
mod index_file;
mod ivf;
mod neighbours;
mod partition;
mod quantiser;
mod rng;
mod rows;
mod search;
mod spectrum;
mod strategy;
mod top;
mod vector_index;

pub use attention::{
    AttendOptions, AttentionHead, AttentionLayer, Budget, ExactAttention, LayerOptions, Partial, Plan, Report, merge,
    relative_error,
};
pub use attention_index::{AttentionIndex, BuildOptions};
pub use choose::Measured;
pub use container::seal;
pub use error::{IndexError, Result};
pub use flat::FlatIndex;
pub use ivf::IvfIndex;
pub use neighbours::exact_neighbours;
pub use rng::Rng;
pub use rows::{MAX_DIM, Rows};
pub use spectrum::score_spectrum;
pub use strategy::Strategy;
pub use top::Hit;
pub use vector_index::VectorIndex;
