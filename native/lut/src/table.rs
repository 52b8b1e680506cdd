//! Tables in the layouts that the inner loops read.

use crate::error::{Error, require};

/// Bytes of an output row: the 16 outputs of x4; smaller scales leave the rest zero, so that one kernel serves all.
pub const ROW: usize = 16;

/// Samples an axis at interval `1 << shift`.
pub fn samples(shift: u32) -> usize {
    (256 >> shift) + 1
}

/// Rows of a table at interval `1 << shift`.
pub fn rows(shift: u32) -> usize {
    samples(shift).pow(4)
}

pub fn check_shift(shift: u32) -> Result<(), Error> {
    require((4..=6).contains(&shift), || format!("the table interval is 2^{shift}, expected 2^4, 2^5 or 2^6"))
}

/// Checks that `values` holds `outputs` int8 for every row of a table at this interval.
pub fn check_len(values: &[i8], shift: u32, outputs: usize) -> Result<(), Error> {
    check_shift(shift)?;
    let expected = rows(shift) * outputs;
    require(values.len() == expected, || {
        format!(
            "a table has {} values, expected {expected} ({outputs} outputs at interval {})",
            values.len(),
            1 << shift
        )
    })
}

/// A table of 2 to 16 outputs a row, spread to rows of `ROW` bytes.
pub struct RowTable {
    pub values: Vec<i8>,
}

impl RowTable {
    pub fn new(values: &[i8], shift: u32, outputs: usize) -> Result<Self, Error> {
        check_len(values, shift, outputs)?;
        let mut spread = vec![0; rows(shift) * ROW];
        for (to, from) in spread.chunks_exact_mut(ROW).zip(values.chunks_exact(outputs)) {
            to[..outputs].copy_from_slice(from);
        }
        Ok(Self { values: spread })
    }
}

/// A table of one output, stored by cells: the 16 corners of a cell lie together (bit i of a corner's number = the upper
/// sample of axis i), so one 16-byte load serves a whole interpolation. Three times faster than rows of one byte.
pub struct CellTable {
    pub values: Vec<i8>,
}

impl CellTable {
    pub fn new(values: &[i8], shift: u32) -> Result<Self, Error> {
        check_len(values, shift, 1)?;
        let (l, n) = (samples(shift), samples(shift) - 1);
        let mut cells = vec![0; n.pow(4) * 16];
        for (number, cell) in cells.chunks_exact_mut(16).enumerate() {
            let low = [number / (n * n * n), number / (n * n) % n, number / n % n, number % n];
            for (corner, value) in cell.iter_mut().enumerate() {
                let row = low.iter().enumerate().fold(0, |row, (axis, m)| row * l + m + (corner >> axis & 1));
                *value = values[row];
            }
        }
        Ok(Self { values: cells })
    }
}
