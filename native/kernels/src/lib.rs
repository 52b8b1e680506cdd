//! SIMD kernels with run-time dispatch: inner products, distances, weighted sums, selection.
//!
//! [`Kernels`] is the contract; each implementation is a type whose constructor returns `None` on a machine that lacks
//! its instructions, so holding one is the proof that calling it is sound. [`best`] picks once per process.
//! Inner loops that run per key are batched ("many ids per call"), so dispatch costs nothing that can be measured.

mod affine;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod blocks;
mod buffer;
pub mod byte_products;
mod byte_weights;
mod cluster_masses;
mod kernel_set;
mod large;
mod nibble_rows;
mod portable;
mod prefetch;
mod split_weights;
mod tile;

pub use blocks::{LANES, pack_blocks, pack_byte_blocks, unpack_blocks};
pub use buffer::{Buffer, MappedFile, Pod};
pub use cluster_masses::{MOST_CORRECTION, MOST_VARIANCE};
pub use half::f16;
pub use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
pub use kernel_set::{Kernels, available, best};
pub use nibble_rows::{MOST_ROWS, pack_nibbles};
pub use prefetch::prefetch;
pub use split_weights::Picked;
pub use tile::{TILE_COLUMNS, TILE_ROWS, Tile};
