//! Which pixels index a table, and how rotations move them and the outputs.

use crate::error::{Error, require};

/// Largest offset of a pattern pixel, in places.
pub const REACH: usize = 3;

/// Largest step: pixels a side that a stage reads for each place.
pub const MAX_STEP: usize = 2;

/// Offsets (dy, dx) of the four pixels that index a table, most significant axis first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pattern([(isize, isize); 4]);

impl Pattern {
    /// From dy, dx of each pixel in turn, which `within` checks against the step they are read with.
    pub fn new(offsets: [i8; 8]) -> Result<Self, Error> {
        let most = (REACH * MAX_STEP) as u8;
        let far = offsets.iter().find(|o| o.unsigned_abs() > most);
        require(far.is_none(), || {
            format!("a pattern offset is {}, expected at most {most} either way", far.unwrap_or(&0))
        })?;
        Ok(Self(std::array::from_fn(|i| (isize::from(offsets[2 * i]), isize::from(offsets[2 * i + 1])))))
    }

    /// Refuses offsets that lie more than `REACH` places outside in any rotation.
    pub fn within(self, step: usize) -> Result<(), Error> {
        let reach = (REACH * step) as isize;
        let inside = -reach..reach + step as isize;
        let far =
            self.turned(2, step).into_iter().chain(self.0).flat_map(|(y, x)| [y, x]).find(|o| !inside.contains(o));
        require(far.is_none(), || {
            format!("a pattern offset is {}, expected at most {reach} either way", far.unwrap_or(0))
        })
    }

    /// The pattern as an image turned by `quarter` quarter turns anticlockwise sees it, in the unturned image's frame:
    /// turning four offsets costs nothing, turning an image costs a pass over it. The turn is about the middle of the
    /// `step` x `step` pixels of a place.
    pub fn turned(self, quarter: usize, step: usize) -> [(isize, isize); 4] {
        let end = step as isize - 1;
        self.0.map(|(y, x)| match quarter {
            0 => (y, x),
            1 => (x, end - y),
            2 => (end - y, end - x),
            _ => (end - x, y),
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
