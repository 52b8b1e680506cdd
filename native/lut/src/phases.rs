//! What a stage reads: the input frame, or the four phases of one twice as large that the stage before made of it.

use crate::geometry::Pattern;
use crate::plane::{BLOCK, Plane};

/// A frame of `step` x `step` pixels for each place, taken apart into planes of equal phase, so that neighbouring places lie
/// side by side in each.
#[derive(Default)]
pub struct Phases {
    step: usize,
    /// Phase (y, x) at `y * step + x`.
    planes: Vec<Plane>,
}

impl Phases {
    /// `source` is `step * width` x `step * height`.
    pub fn fill(&mut self, source: &[u8], width: usize, height: usize, step: usize) {
        self.step = step;
        self.planes.resize_with(step * step, Plane::default);
        if let [plane] = &mut self.planes[..] {
            plane.fill(source, width, height);
            return;
        }
        for (phase, plane) in self.planes.iter_mut().enumerate() {
            plane.reshape(width, height);
            for y in 0..height {
                let row = &source[(y * step + phase / step) * step * width..][..step * width];
                for (to, pixels) in plane.row_mut(y).iter_mut().zip(row.chunks_exact(step)) {
                    *to = pixels[phase % step];
                }
            }
            plane.replicate();
        }
    }

    /// Places a row.
    pub fn width(&self) -> usize {
        self.planes[0].width
    }

    /// Plane and row and column in it of a pixel (y, x) of place (0, 0).
    #[inline(always)]
    fn locate(&self, y: isize, x: isize) -> (&Plane, isize, isize) {
        // A step is 1 or 2 (`MAX_STEP`): dividing by it took a ninth of the time of a frame with one table (1,340 to 1,510 a second).
        let (mask, bits) = (self.step as isize - 1, self.step.trailing_zeros());
        let phase = (y & mask) * self.step as isize + (x & mask);
        (&self.planes[phase as usize], y >> bits, x >> bits)
    }

    /// The pattern's four pixels of `BLOCK` places from (y, x).
    #[inline(always)]
    pub fn blocks(&self, pattern: Pattern, turn: usize, y: usize, x: usize) -> [&[u8; BLOCK]; 4] {
        pattern.turned(turn, self.step).map(|(dy, dx)| {
            let (plane, dy, dx) = self.locate(dy, dx);
            plane.block(y as isize + dy, x as isize + dx)
        })
    }

    /// The pattern's four pixels of one place.
    pub fn pixels(&self, pattern: Pattern, turn: usize, y: usize, x: usize) -> [u8; 4] {
        pattern.turned(turn, self.step).map(|(dy, dx)| {
            let (plane, dy, dx) = self.locate(dy, dx);
            plane.at(y as isize + dy, x as isize + dx)
        })
    }

    /// All pixels of `BLOCK` places from (y, x), phase by phase; of one phase, four times that one.
    #[inline(always)]
    pub fn centres(&self, y: usize, x: usize) -> [&[u8; BLOCK]; 4] {
        std::array::from_fn(|phase| self.planes[phase % self.planes.len()].block(y as isize, x as isize))
    }

    /// For each output of an s x s block the phase that lies under it.
    pub fn under(&self, s: usize) -> [usize; 16] {
        let near = s / self.step;
        std::array::from_fn(|o| if o < s * s { o / s / near * self.step + o % s / near } else { 0 })
    }
}
