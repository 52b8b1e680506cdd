//! A plane of bytes with a border, so that inner loops need no bounds.

use crate::geometry::REACH;

/// Pixels read at once from any place in a row.
pub const BLOCK: usize = 64;

/// `width` x `height` bytes with `REACH` replicated pixels around them and slack to the right for whole blocks.
#[derive(Default)]
pub struct Plane {
    pub width: usize,
    pub height: usize,
    stride: usize,
    data: Vec<u8>,
}

impl Plane {
    /// Takes the shape, keeping the allocation where it is large enough.
    pub fn reshape(&mut self, width: usize, height: usize) {
        self.width = width;
        self.height = height;
        self.stride = width.next_multiple_of(BLOCK) + 2 * REACH + BLOCK;
        self.data.resize(self.stride * (height + 2 * REACH), 0);
    }

    /// Copies `source` (row-major, no padding) and replicates its border.
    pub fn fill(&mut self, source: &[u8], width: usize, height: usize) {
        self.reshape(width, height);
        for (y, row) in source.chunks_exact(width).enumerate().take(height) {
            self.row_mut(y).copy_from_slice(row);
        }
        self.replicate();
    }

    /// Writes the border from the pixels.
    pub fn replicate(&mut self) {
        let (w, stride) = (self.width, self.stride);
        for y in 0..self.height {
            let row = &mut self.data[(y + REACH) * stride..][..stride];
            let (first, last) = (row[REACH], row[REACH + w - 1]);
            row[..REACH].fill(first);
            row[REACH + w..].fill(last);
        }
        for y in 0..REACH {
            self.data.copy_within(REACH * stride..(REACH + 1) * stride, y * stride);
            let end = (REACH + self.height - 1) * stride;
            self.data.copy_within(end..end + stride, (REACH + self.height + y) * stride);
        }
    }

    pub fn row_mut(&mut self, y: usize) -> &mut [u8] {
        let start = (y + REACH) * self.stride + REACH;
        &mut self.data[start..start + self.width]
    }

    /// `BLOCK` pixels from (y, x); y and x may lie up to `REACH` outside.
    #[inline(always)]
    pub fn block(&self, y: isize, x: isize) -> &[u8; BLOCK] {
        let start = (y + REACH as isize) as usize * self.stride + (x + REACH as isize) as usize;
        self.data[start..start + BLOCK].try_into().expect("a slice of BLOCK bytes")
    }

    #[inline(always)]
    pub fn at(&self, y: isize, x: isize) -> u8 {
        self.data[(y + REACH as isize) as usize * self.stride + (x + REACH as isize) as usize]
    }
}
