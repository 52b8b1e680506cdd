//! Exports that every caller needs first: the ABI number and the text of a failure.

use crate::args;
use crate::panic::guard;
use crate::status::message;

/// Raised whenever a signature, a status code or the meaning of an argument changes; the caller refuses any other.
const ABI_VERSION: u32 = 6;

/// The ABI number of this library.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_abi_version() -> u32 {
    ABI_VERSION
}

/// Copies the message of a failed call's `status` as UTF-8: as much as fits `capacity` bytes at `text`; `out_len` gets its
/// whole length.
///
/// # Safety
/// `text` must be writable for `capacity` bytes and `out_len` for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_last_error(status: i32, text: *mut u8, capacity: u32, out_len: *mut u32) -> i32 {
    guard(|| {
        let message = message(status);
        // SAFETY: by this function's own contract.
        let target = unsafe { args::output("text", text, capacity as usize) }?;
        let len = message.len().min(target.len());
        target[..len].copy_from_slice(&message.as_bytes()[..len]);
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_len", out_len, message.len() as u32) }
    })
}
