//! Attention over keys and values in CPU memory.

mod by_bytes;
mod by_cluster;
mod by_key;
mod cost;
mod estimate;
mod exact;
mod head;
mod ladder;
mod layer;
mod level;
mod limit;
mod memory;
mod nibble_values;
mod partial;
mod pieces;
mod plan;
mod slope;
mod wanted;

pub use exact::ExactAttention;
pub use head::{AttendOptions, AttentionHead, Budget, Report};
pub use layer::{AttentionLayer, LayerOptions};
pub use partial::{Partial, merge};
pub use plan::{Plan, relative_error};
