//! Cache-line-aligned storage that is either owned or a part of a mapped file.

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use half::f16;
use memmap2::Mmap;

use crate::large::Large;

/// A type that any bytes are a value of, the same on disk as in memory (little endian).
///
/// # Safety
/// Every bit pattern must be valid, without padding, of alignment at most 64.
pub unsafe trait Pod: Copy + Send + Sync + 'static {}
// SAFETY: no invalid patterns, no padding.
unsafe impl Pod for u8 {}
// SAFETY: as above.
unsafe impl Pod for i8 {}
// SAFETY: as above.
unsafe impl Pod for u16 {}
// SAFETY: as above.
unsafe impl Pod for u32 {}
// SAFETY: as above.
unsafe impl Pod for f32 {}
// SAFETY: a transparent u16.
unsafe impl Pod for f16 {}

/// A cache line. Its bytes are only ever reached through pointers.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line {
    _bytes: [u8; 64],
}

enum Bytes {
    Owned(Vec<Line>),
    /// From one huge page on.
    Large(Large),
    Mapped(Arc<Mmap>, usize),
}

/// An array that starts on a cache line and can only grow. Growing a mapped one copies it into memory first.
pub struct Buffer<T: Pod> {
    bytes: Bytes,
    len: usize,
    kind: PhantomData<T>,
}

impl<T: Pod> Buffer<T> {
    /// A copy of `values`.
    pub fn new(values: &[T]) -> Self {
        let mut buffer = Self { bytes: Bytes::Owned(Vec::new()), len: 0, kind: PhantomData };
        buffer.extend_from_slice(values);
        buffer
    }

    /// So many zeros, of which large ones take memory as they are written; `None` where there is none.
    pub fn zeroed(len: usize) -> Option<Self> {
        let size = len.checked_mul(size_of::<T>())?;
        let bytes = match Large::new(size) {
            Some(large) => Bytes::Large(large),
            None => {
                let mut lines = Vec::new();
                lines.try_reserve_exact(size.div_ceil(64)).ok()?;
                lines.resize(size.div_ceil(64), Line { _bytes: [0; 64] });
                Bytes::Owned(lines)
            }
        };
        Some(Self { bytes, len, kind: PhantomData })
    }

    /// The elements, to be changed.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        if let Bytes::Mapped(..) = self.bytes {
            *self = Self::new(self);
        }
        let (start, len) = (self.reserve(self.len * size_of::<T>()), self.len);
        // SAFETY: `len` elements of our own memory, aligned to 64, zeros or what was written there; nothing else refers to them.
        unsafe { std::slice::from_raw_parts_mut(start.cast(), len) }
    }

    /// Appends `values`.
    pub fn extend_from_slice(&mut self, values: &[T]) {
        if let Bytes::Mapped(..) = self.bytes {
            *self = Self::new(self);
        }
        let used = self.len * size_of::<T>();
        let size = size_of_val(values);
        let start = self.reserve(used + size);
        // SAFETY: the target's `used + size` bytes were made above; source and target do not overlap, because `values`
        // cannot borrow from `self` while it is changed; T has no padding.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr().cast::<u8>(), start.add(used), size) };
        self.len += values.len();
    }

    /// Makes room for `size` bytes of memory of our own; returns its start.
    fn reserve(&mut self, size: usize) -> *mut u8 {
        let room = match &self.bytes {
            Bytes::Large(large) => large.capacity(),
            _ => 0,
        };
        if size > room {
            // What grows once grows again.
            let wanted = if self.len == 0 { size } else { size.max(room / 2 * 3) };
            if let Some(mut large) = Large::new(wanted) {
                let old = self.as_bytes();
                // SAFETY: there is room for more than the old bytes, and new memory overlaps with none.
                unsafe { std::ptr::copy_nonoverlapping(old.as_ptr(), large.as_mut_ptr(), old.len()) };
                self.bytes = Bytes::Large(large);
            } else if let Bytes::Large(_) = self.bytes {
                let mut lines = vec![Line { _bytes: [0; 64] }; size.div_ceil(64)];
                let old = self.as_bytes();
                // SAFETY: as above.
                unsafe { std::ptr::copy_nonoverlapping(old.as_ptr(), lines.as_mut_ptr().cast(), old.len()) };
                self.bytes = Bytes::Owned(lines);
            }
        }
        match &mut self.bytes {
            Bytes::Owned(lines) => {
                lines.resize(size.div_ceil(64), Line { _bytes: [0; 64] });
                lines.as_mut_ptr().cast()
            }
            Bytes::Large(large) => large.as_mut_ptr(),
            Bytes::Mapped(..) => unreachable!("made our own before"),
        }
    }

    /// Overwrites the elements from `start`.
    ///
    /// # Panics
    /// When they would not fit.
    pub fn overwrite(&mut self, start: usize, values: &[T]) {
        assert!(start + values.len() <= self.len, "{} elements from {start} in {}", values.len(), self.len);
        if let Bytes::Mapped(..) = self.bytes {
            *self = Self::new(self);
        }
        let first = self.reserve(self.len * size_of::<T>());
        // SAFETY: the range lies inside the initialised elements by the assertion; no overlap, as in `extend_from_slice`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), first.cast::<T>().add(start), values.len()) };
    }

    /// A copy of elements given as bytes; `None` when they are not whole elements.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if !bytes.len().is_multiple_of(size_of::<T>()) {
            return None;
        }
        let raw = Buffer::<u8>::new(bytes);
        Some(Self { bytes: raw.bytes, len: bytes.len() / size_of::<T>(), kind: PhantomData })
    }

    /// `len` elements of a mapped file from byte `offset`; `None` when they are not all inside it or not aligned.
    pub fn mapped(file: &MappedFile, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len.checked_mul(size_of::<T>())?)?;
        let fits = end <= file.0.len() && offset.is_multiple_of(align_of::<T>());
        fits.then(|| Self { bytes: Bytes::Mapped(file.0.clone(), offset), len, kind: PhantomData })
    }

    /// The same as bytes, as they are written to a file.
    pub fn as_bytes(&self) -> &[u8] {
        // SAFETY: T has no padding, so its elements are that many initialised bytes.
        unsafe { std::slice::from_raw_parts(self.as_ptr().cast(), size_of_val::<[T]>(self)) }
    }
}

impl<T: Pod> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        let start = match &self.bytes {
            Bytes::Owned(lines) => lines.as_ptr().cast::<u8>(),
            Bytes::Large(large) => large.as_ptr(),
            // SAFETY: `mapped` checked that the offset lies inside the file.
            Bytes::Mapped(file, offset) => unsafe { file.as_ptr().add(*offset) },
        };
        // SAFETY: `len` elements were copied to an allocation of at least that size aligned to 64, or checked to lie
        // inside a page-aligned mapping at an offset aligned for T; any bytes are a valid T; nobody writes either.
        unsafe { std::slice::from_raw_parts(start.cast(), self.len) }
    }
}

impl<T: Pod> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        match &self.bytes {
            Bytes::Mapped(file, offset) => {
                Self { bytes: Bytes::Mapped(file.clone(), *offset), len: self.len, kind: PhantomData }
            }
            _ => Self::new(self),
        }
    }
}

/// A file mapped for reading.
#[derive(Clone)]
pub struct MappedFile(Arc<Mmap>);

impl MappedFile {
    /// Maps the whole file.
    pub fn open(path: &str) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: a private read-only mapping. Another process that truncates or rewrites the file while it is mapped
        // can change what we read or raise SIGBUS; index files are written under a temporary name and renamed, never in
        // place, and callers are told not to do otherwise.
        let map = unsafe { memmap2::MmapOptions::new().map(&file) }?;
        Ok(Self(Arc::new(map)))
    }

    /// The file's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owned_buffers_start_on_a_cache_line_and_hold_what_they_were_given() {
        let values: Vec<u16> = (0..77).collect();
        let buffer = Buffer::new(&values);
        assert_eq!(&buffer[..], &values[..]);
        assert_eq!(buffer.as_ptr() as usize % 64, 0);
        assert_eq!(buffer.as_bytes().len(), 154);
        assert!(Buffer::<f32>::new(&[]).is_empty());
    }

    #[test]
    fn large_buffers_start_on_a_huge_page_and_grow_from_small_ones() {
        let mut buffer = Buffer::new(&[7u32; 5]);
        let mut plain = vec![7u32; 5];
        // Up to 10 MB, over the border of a huge page and of several reservations.
        for i in 0..40 {
            let more: Vec<u32> = (0..65_536).map(|j| j * 40 + i).collect();
            buffer.extend_from_slice(&more);
            plain.extend(more);
            buffer.extend_from_slice(&[i]);
            plain.push(i);
        }
        assert_eq!(buffer[..], plain[..]);
        let copy = buffer.clone();
        buffer.overwrite(plain.len() - 3, &[1, 2, 3]);
        assert_eq!(copy[..], plain[..]);
        assert_eq!(buffer[plain.len() - 3..], [1, 2, 3]);
        let whole = Buffer::new(&plain);
        assert_eq!(whole[..], plain[..]);
        if cfg!(all(target_os = "linux", not(miri))) {
            assert_eq!(whole.as_ptr() as usize % (1 << 21), 0);
            assert_eq!(copy.as_ptr() as usize % (1 << 21), 0);
        }
        let halves = Buffer::<u16>::from_bytes(whole.as_bytes()).expect("whole elements");
        assert_eq!(halves.as_bytes(), whole.as_bytes());
    }

    #[test]
    fn zeroed_buffers_hold_what_is_written_to_them() {
        for len in [0, 3, 5000, 3 << 20] {
            let mut buffer = Buffer::<u16>::zeroed(len).expect("there is memory");
            assert!(buffer.len() == len && buffer.iter().all(|x| *x == 0), "{len}");
            buffer.as_mut_slice().iter_mut().enumerate().for_each(|(i, x)| *x = i as u16);
            assert!(buffer.iter().enumerate().all(|(i, x)| *x == i as u16), "{len}");
        }
        assert!(Buffer::<f32>::zeroed(usize::MAX / 2).is_none() && Buffer::<u8>::zeroed(1 << 62).is_none());
    }

    #[test]
    fn buffers_grow_and_change_in_place() {
        let mut buffer = Buffer::new(&[1u32, 2, 3]);
        for i in 0..100 {
            buffer.extend_from_slice(&[i, i + 1]);
        }
        assert_eq!(buffer.len(), 203);
        buffer.overwrite(1, &[9, 8]);
        assert_eq!(buffer[..6], [1, 9, 8, 0, 1, 1]);
        assert_eq!(buffer[202], 100);
    }
}
