//! Attention-aware vector index.
#![forbid(unsafe_code)]
