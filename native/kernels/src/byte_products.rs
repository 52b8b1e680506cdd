//! Products of quantised weights with rows rounded to whole numbers: layouts, and what every instruction set computes.
//!
//! Weights lie in panels of [`PANEL`] outputs. Of each block of [`BLOCK`] weights a panel holds eight groups, `[32 outputs][4 weights]`, as unsigned
//! codes that a byte product takes as they are; a group of nibbles holds weights `4 j..` in its low halves and `16 + 4 j..` in its high ones.

use half::f16;

/// Outputs of a panel.
pub const PANEL: usize = 32;
/// Weights that share a scale.
pub const BLOCK: usize = 32;
/// Added to signed codes of a byte: products want them unsigned.
pub(crate) const BIAS: i32 = 128;
/// The largest number of a block as a whole one: with more, half of it and all of it would not be a signed byte.
const MOST: f32 = 16_255.0;
/// Most rows whose sums an implementation holds at a time.
pub(crate) const ROWS: usize = 4;

/// What stands for 32 weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFormat {
    /// Signed bytes and a scale.
    Bytes,
    /// Signed bytes and a scale for each half.
    ByteHalves,
    /// Signed bytes, a scale and an offset.
    ByteOffset,
    /// Unsigned nibbles, a scale and an offset.
    NibbleOffset,
}

impl CodeFormat {
    /// Halves that a block of one output has beside its codes.
    pub fn lines(self) -> usize {
        if self == Self::Bytes { 1 } else { 2 }
    }

    /// Bytes of a block of one output's codes.
    pub fn code_bytes(self) -> usize {
        if self == Self::NibbleOffset { BLOCK / 2 } else { BLOCK }
    }

    pub(crate) fn offset(self) -> bool {
        matches!(self, Self::ByteOffset | Self::NibbleOffset)
    }
}

/// Rows rounded to 15 bits, `columns` numbers a row, 32 with a scale: `scale · (128 · high + low)`. (In 8 bits products took 0.9 of the time where it is
/// memory's, 0.6 to 0.9 where it is arithmetic's; these are as good as half precision.)
#[derive(Clone, Debug, Default)]
pub struct ByteRows {
    columns: usize,
    high: Vec<i8>,
    low: Vec<i8>,
    /// Of each block: its scale.
    scales: Vec<f32>,
    /// Of each block: the sums of its halves.
    sums: Vec<[i32; 2]>,
}

/// Rows `first..` of [`ByteRows`], as kernels read them.
pub(crate) struct RowPart<'a> {
    pub(crate) high: &'a [i8],
    pub(crate) low: &'a [i8],
    pub(crate) scales: &'a [f32],
    pub(crate) sums: &'a [[i32; 2]],
}

impl ByteRows {
    /// Rounds rows of `columns` numbers, a multiple of [`BLOCK`]. A block that is not finite becomes NaN.
    ///
    /// # Panics
    /// When the length is no multiple of the columns.
    pub fn round(values: &[f32], columns: usize) -> Self {
        assert!(
            columns.is_multiple_of(BLOCK) && columns > 0 && values.len().is_multiple_of(columns),
            "rows of {columns} numbers out of {}",
            values.len()
        );
        let blocks = values.len() / BLOCK;
        let mut rows = Self {
            columns,
            high: vec![0; values.len()],
            low: vec![0; values.len()],
            scales: Vec::with_capacity(blocks),
            sums: Vec::with_capacity(blocks),
        };
        for (block, values) in values.as_chunks::<BLOCK>().0.iter().enumerate() {
            // As bits, what is not finite is the largest of all, and comparing takes no branches.
            let largest = f32::from_bits(values.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7fff_ffff)));
            let finite = largest.is_finite();
            let factor = if largest > 0.0 && finite { MOST / largest } else { 0.0 };
            // The factor of denormal numbers may overflow.
            let factor = if factor.is_finite() { factor } else { 0.0 };
            rows.scales.push(if finite { largest / MOST } else { f32::NAN });
            // Of what is not finite, any: the scale is NaN.
            let codes = if finite { values.map(|x| whole(x * factor)) } else { [0; BLOCK] };
            let place = block * BLOCK..(block + 1) * BLOCK;
            for ((high, low), code) in rows.high[place.clone()].iter_mut().zip(&mut rows.low[place]).zip(codes) {
                let upper = (code + 64) >> 7;
                (*high, *low) = (upper as i8, (code - (upper << 7)) as i8);
            }
            let (first, second) = codes.split_at(BLOCK / 2);
            rows.sums.push([first.iter().sum(), second.iter().sum()]);
        }
        rows
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.high.len() / self.columns.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.high.is_empty()
    }

    pub(crate) fn part(&self, first: usize, count: usize) -> RowPart<'_> {
        let numbers = first * self.columns..(first + count) * self.columns;
        let blocks = numbers.start / BLOCK..numbers.end / BLOCK;
        RowPart {
            high: &self.high[numbers.clone()],
            low: &self.low[numbers],
            scales: &self.scales[blocks.clone()],
            sums: &self.sums[blocks],
        }
    }
}

/// The nearest whole number, of ties the even one, by an addition that leaves no bits for the rest: the instruction for it is not in every x86-64. At
/// most 2²² either way; anything for what is not finite.
#[inline(always)]
fn whole(x: f32) -> i32 {
    const UNITS: f32 = 12_582_912.0;
    (x + UNITS).to_bits().wrapping_sub(UNITS.to_bits()) as i32
}

/// Checks the sizes of [`Kernels::multiply_panel`](crate::Kernels::multiply_panel).
pub(crate) fn check_panel(format: CodeFormat, codes: &[u8], lines: &[f16], rows: &ByteRows, out: &[f32]) {
    let blocks = rows.columns / BLOCK;
    assert!(
        codes.len() == blocks * PANEL * format.code_bytes()
            && lines.len() == blocks * PANEL * format.lines()
            && out.len() == rows.len() * PANEL,
        "a panel of {} codes and {} lines for {} rows of {} into {} sums",
        codes.len(),
        lines.len(),
        rows.len(),
        rows.columns,
        out.len()
    );
}

/// The body of [`Kernels::multiply_panel`](crate::Kernels::multiply_panel), one number at a time.
pub(crate) fn multiply_panel(format: CodeFormat, codes: &[u8], lines: &[f16], rows: &ByteRows, out: &mut [f32]) {
    check_panel(format, codes, lines, rows, out);
    let blocks = rows.columns / BLOCK;
    for (row, out) in out.chunks_exact_mut(PANEL).enumerate() {
        let part = rows.part(row, 1);
        for (n, out) in out.iter_mut().enumerate() {
            let mut sum = 0f32;
            for block in 0..blocks {
                let codes = &codes[block * PANEL * format.code_bytes()..];
                let line = |i: usize| lines[(block * format.lines() + i) * PANEL + n].to_f32();
                let mut dots = [0i32; 2];
                for k in 0..BLOCK {
                    let at = block * BLOCK + k;
                    let x = 128 * i32::from(part.high[at]) + i32::from(part.low[at]);
                    let code = if format == CodeFormat::NibbleOffset {
                        let both = codes[(k % 16 / 4 * PANEL + n) * 4 + k % 4];
                        i32::from(if k < 16 { both & 15 } else { both >> 4 })
                    } else {
                        i32::from(codes[(k / 4 * PANEL + n) * 4 + k % 4]) - BIAS
                    };
                    dots[k / 16] += code * x;
                }
                let (scale, sums) = (part.scales[block], part.sums[block]);
                if format == CodeFormat::ByteHalves {
                    sum = (dots[0] as f32 * scale).mul_add(line(0), sum);
                    sum = (dots[1] as f32 * scale).mul_add(line(1), sum);
                } else {
                    sum = ((dots[0] + dots[1]) as f32 * scale).mul_add(line(0), sum);
                }
                if format.offset() {
                    sum = ((sums[0] + sums[1]) as f32 * scale).mul_add(line(1), sum);
                }
            }
            *out = sum;
        }
    }
}
