//! The exported C ABI: nothing but exports.
//!
//! Every export has the shape `extern "C" fn(arguments…, out pointers…) -> i32`: it runs inside [`panic::guard`], which
//! turns a [`status::Failure`] or a panic into a status; results leave through out-pointers; objects are known to the
//! caller by the id of their place in a [`slab::Slab`]. Pointers become slices in one place, [`args`]; lengths are `u32`
//! counts of elements, which cross into JavaScript as numbers.
//! The caller's half of each module is a file of `ffi/` with the same name; `scripts/checks/check_ffi.ts` compares them.
#![allow(clippy::too_many_arguments, reason = "a C call has no structures: shapes cross one by one")]

pub mod args;
mod core;
mod decode;
mod grammar;
mod index;
mod kernels;
mod layers;
mod lut;
mod panic;

mod products;
pub mod slab;
pub mod status;
