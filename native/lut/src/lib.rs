//! Look-up-table super-resolution on planes of bytes.
//!
//! [`Cascade`] runs tables of the MuLUT family (one stage or several); [`Fusion`] blends several one-stage experts per
//! pixel under the weights of a small net and adds a residual; [`enlarge`] is the bicubic path for chroma. Everything is
//! integer arithmetic with one definition, [`scalar`]: the SIMD paths here and the shaders give the same bytes.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_conv;
#[cfg(target_arch = "x86_64")]
mod avx2_stage;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avx512_conv;
mod cascade;
mod conv;
mod enlarge;
mod error;
mod fusion;
mod geometry;
mod isa;
mod phases;
mod plane;
mod rows;
pub mod scalar;
mod short_runs;
mod simplex;
mod table;
mod threads;

pub use cascade::{Cascade, Stage, StageShape};
pub use conv::{Layer, Net};
pub use enlarge::{Siting, enlarge};
pub use error::Error;
pub use fusion::{Experts, Fusion};
pub use geometry::Pattern;
pub use isa::Isa;
pub use threads::with_threads;
