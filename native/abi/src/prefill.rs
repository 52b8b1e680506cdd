//! Exports of exact attention of a prompt's rows.

use std::sync::Mutex;

use sparrow_dense::{Prefill, PrefillShape};
use sparrow_kernels::HalfBitsSliceExt;

use crate::args;
use crate::panic::guard;
use crate::slab::Slab;
use crate::status::Failure;

static PREFILLS: Slab<Mutex<Prefill>> = Slab::new("prefill attention");

/// Begins attention of successive rows of one sequence, the first at `position`; `queries` are `[row][head][dim]`, scaled for powers of two. A row sees its
/// `window` latest keys, its own included, or all of them where that is 0.
///
/// # Safety
/// `queries` must be readable for its length and `out_handle` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_prefill_open(
    heads: u32,
    kv_heads: u32,
    dim: u32,
    window: u32,
    position: u32,
    queries: *const f32,
    queries_len: u32,
    out_handle: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let queries = unsafe { args::input("queries", queries, queries_len as usize) }?;
        let shape = PrefillShape {
            heads: heads as usize,
            kv_heads: kv_heads as usize,
            dim: dim as usize,
            window: (window > 0).then_some(window as usize),
        };
        let prefill = Prefill::new(shape, position as usize, queries)?;
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_handle", out_handle, PREFILLS.insert(Mutex::new(prefill))) }
    })
}

/// Attends to pages `first..` of the sequence, each given once, as halves (their bits) `[page][KV head][64][dim]`. The calling thread works, too.
///
/// # Safety
/// `keys` and `values` must be readable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_prefill_attend(
    handle: u64,
    first: u32,
    keys: *const u16,
    keys_len: u32,
    values: *const u16,
    values_len: u32,
) -> i32 {
    guard(|| {
        let prefill = PREFILLS.get(handle)?;
        // SAFETY: by this function's own contract.
        let (keys, values) = unsafe {
            (args::input("keys", keys, keys_len as usize)?, args::input("values", values, values_len as usize)?)
        };
        let mut prefill = lock(&prefill)?;
        Ok(prefill.attend(
            sparrow_kernels::best(),
            first as usize,
            keys.reinterpret_cast(),
            values.reinterpret_cast(),
        )?)
    })
}

/// Writes the outputs, `out[row · stride + head · kept + j]` for the first `kept` elements of each head, zeros between rows.
///
/// # Safety
/// `out` must be writable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_prefill_finish(
    handle: u64,
    kept: u32,
    stride: u32,
    out: *mut f32,
    out_len: u32,
) -> i32 {
    guard(|| {
        let prefill = PREFILLS.get(handle)?;
        // SAFETY: by this function's own contract.
        let out = unsafe { args::output("out", out, out_len as usize) }?;
        Ok(lock(&prefill)?.finish(kept as usize, stride as usize, out)?)
    })
}

/// Frees it.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_prefill_dispose(handle: u64) -> i32 {
    guard(|| PREFILLS.remove(handle))
}

fn lock(prefill: &Mutex<Prefill>) -> Result<std::sync::MutexGuard<'_, Prefill>, Failure> {
    prefill.lock().map_err(|_| Failure::argument("prefill attention: an earlier call of it failed".to_string()))
}
