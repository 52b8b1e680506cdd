//! Which keys are read, in the blocks that they come in.

use std::ops::Range;

use sparrow_kernels::LANES;

/// Blocks of 16 keys, ascending, and which keys of each count.
#[derive(Default)]
pub(super) struct SomeBlocks {
    /// Numbers of the blocks.
    ids: Vec<u32>,
    /// A bit for each key of a block.
    lanes: Vec<u16>,
}

impl SomeBlocks {
    /// The keys of these ranges, which follow each other.
    pub fn of(ranges: impl Iterator<Item = Range<usize>>) -> Self {
        let mut blocks = Self::default();
        let mut run = 0..0;
        for range in ranges {
            if range.start == run.end {
                run.end = range.end;
            } else {
                blocks.add(run);
                run = range;
            }
        }
        blocks.add(run);
        blocks
    }

    fn add(&mut self, places: Range<usize>) {
        if places.is_empty() {
            return;
        }
        let (first, end) = (places.start / LANES, places.end.div_ceil(LANES));
        let shared = self.ids.last() == Some(&(first as u32));
        let at = self.ids.len() - usize::from(shared);
        let before = if shared { self.lanes.pop() } else { None };
        self.ids.extend(first as u32 + u32::from(shared)..end as u32);
        self.lanes.resize(self.ids.len(), u16::MAX);
        self.lanes[at] = u16::MAX << (places.start % LANES);
        let last = self.lanes.len() - 1;
        self.lanes[last] &= u16::MAX >> (end * LANES - places.end);
        self.lanes[at] |= before.unwrap_or(0);
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Those in a range of places among them.
    pub fn part(&self, range: Range<usize>) -> (&[u32], &[u16]) {
        (&self.ids[range.clone()], &self.lanes[range])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_become_lanes_of_blocks() {
        let ranges = [3..5, 5..7, 15..17, 20..20, 31..64, 70..71];
        let blocks = SomeBlocks::of(ranges.into_iter());
        assert_eq!(blocks.ids, [0, 1, 2, 3, 4]);
        assert_eq!(blocks.lanes, [0b1000_0000_0111_1000, 0b1000_0000_0000_0001, u16::MAX, u16::MAX, 0b100_0000]);
        assert_eq!([blocks.part(0..2).0, blocks.part(2..5).0].concat(), blocks.ids);
        let within = SomeBlocks::of([33..35, 40..41, 47..48].into_iter());
        assert_eq!((within.ids, within.lanes), (vec![2], vec![0b1000_0001_0000_0110]));
        assert_eq!(SomeBlocks::of(std::iter::once(0..0)).len(), 0);
    }
}
