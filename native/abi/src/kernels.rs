//! Exports of the kernel crate: which instruction set is in use.

use crate::args;
use crate::panic::guard;

/// The name of the instruction set that the kernels chose on this machine, as UTF-8 of at most 16 bytes; `out_len` gets
/// its length.
///
/// # Safety
/// `name` must be writable for 16 bytes and `out_len` for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_kernels_isa(name: *mut u8, out_len: *mut u32) -> i32 {
    guard(|| {
        let isa = sparrow_kernels::best().name();
        // SAFETY: by this function's own contract.
        unsafe { args::output("name", name, 16) }?[..isa.len()].copy_from_slice(isa.as_bytes());
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_len", out_len, isa.len() as u32) }
    })
}
