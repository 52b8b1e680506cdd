//! The one place where the caller's pointers become slices.

use crate::status::Failure;

/// A type that any bytes are a value of.
///
/// # Safety
/// Every bit pattern must be valid and the type must have no padding.
pub unsafe trait Plain: Copy {}
// SAFETY: integers and floats have no invalid patterns and no padding.
unsafe impl Plain for u8 {}
// SAFETY: as above.
unsafe impl Plain for i8 {}
// SAFETY: as above.
unsafe impl Plain for u16 {}
// SAFETY: as above.
unsafe impl Plain for u32 {}
// SAFETY: as above.
unsafe impl Plain for i32 {}
// SAFETY: as above.
unsafe impl Plain for u64 {}
// SAFETY: as above.
unsafe impl Plain for f32 {}

/// Reads `len` elements at `pointer`; an empty slice whatever the pointer when `len` is 0.
///
/// # Safety
/// When not null, `pointer` must be readable for `len` elements for as long as the slice is used, and nothing may write there.
pub unsafe fn input<'a, T: Plain>(name: &str, pointer: *const T, len: usize) -> Result<&'a [T], Failure> {
    if len == 0 {
        return Ok(&[]);
    }
    check(name, pointer, len)?;
    // SAFETY: not null, aligned and of a possible size by `check`; readable and unshared by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// As [`input`], for a result.
///
/// # Safety
/// When not null, `pointer` must be writable for `len` elements for as long as the slice is used, and nothing else may touch it.
pub unsafe fn output<'a, T: Plain>(name: &str, pointer: *mut T, len: usize) -> Result<&'a mut [T], Failure> {
    if len == 0 {
        return Ok(&mut []);
    }
    check(name, pointer, len)?;
    // SAFETY: not null, aligned and of a possible size by `check`; writable and unshared by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(pointer, len) })
}

/// Writes one result.
///
/// # Safety
/// As [`output`] with one element.
pub unsafe fn write<T: Plain>(name: &str, pointer: *mut T, value: T) -> Result<(), Failure> {
    // SAFETY: by the caller's promise.
    unsafe { output(name, pointer, 1) }?[0] = value;
    Ok(())
}

/// UTF-8 text such as a path.
///
/// # Safety
/// As [`input`].
pub unsafe fn text<'a>(name: &str, pointer: *const u8, len: usize) -> Result<&'a str, Failure> {
    // SAFETY: by the caller's promise.
    let bytes = unsafe { input(name, pointer, len) }?;
    std::str::from_utf8(bytes).map_err(|error| Failure::argument(format!("{name} is not UTF-8: {error}")))
}

fn check<T>(name: &str, pointer: *const T, len: usize) -> Result<(), Failure> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{name} is null, expected {len} elements")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(format!("{name} is not aligned to its element of {} bytes", size_of::<T>())));
    }
    if len > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::argument(format!("{name} has {len} elements, more than memory can hold")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_misaligned_and_impossible_lengths_are_refused() {
        let words = [0u32; 2];
        let odd = words.as_ptr().cast::<u8>().wrapping_add(1).cast::<u32>();
        // SAFETY: every call is refused before it reads.
        unsafe {
            assert!(input::<u32>("x", std::ptr::null(), 1).is_err());
            assert!(input("x", odd, 1).is_err());
            assert!(input("x", words.as_ptr(), usize::MAX).is_err());
            assert!(input::<u32>("x", std::ptr::null(), 0).unwrap().is_empty());
        }
    }
}
