//! Which pixels index a table, and how rotations move them and the outputs.

use crate::error::{Error, require};

/// Largest offset of a pattern pixel, in pixels.
pub const REACH: usize = 3;

/// Offsets (dy, dx) of the four pixels that index a table, most significant axis first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern([(isize, isize); 4]);

impl Pattern {
    /// From dy, dx of each pixel in turn.
    pub fn new(offsets: [i8; 8]) -> Result<Self, Error> {
        let far = offsets.iter().find(|o| usize::from(o.unsigned_abs()) > REACH);
        require(far.is_none(), || {
            format!("a pattern offset is {}, expected at most {REACH} either way", far.unwrap_or(&0))
        })?;
        Ok(Self(std::array::from_fn(|i| (isize::from(offsets[2 * i]), isize::from(offsets[2 * i + 1])))))
    }

    /// The pattern as an image turned by `quarter` quarter turns anticlockwise sees it, in the unturned image's frame:
    /// turning four offsets costs nothing, turning an image costs a pass over it.
    pub fn turned(self, quarter: usize) -> [(isize, isize); 4] {
        self.0.map(|(y, x)| match quarter {
            0 => (y, x),
            1 => (x, -y),
            2 => (-y, -x),
            _ => (-x, y),
        })
    }
}

/// Place in the table row that output (y, x) of an s x s block takes under `quarter` quarter turns.
pub fn source(s: usize, quarter: usize, y: usize, x: usize) -> usize {
    match quarter {
        0 => y * s + x,
        1 => (s - 1 - x) * s + y,
        2 => (s - 1 - y) * s + s - 1 - x,
        _ => x * s + s - 1 - y,
    }
}
