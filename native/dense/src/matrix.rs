//! Packed weights and their products.

use half::f16;
use rayon::prelude::*;
use sparrow_kernels::byte_products::{BLOCK, ByteRows, CodeFormat, PANEL};
use sparrow_kernels::{Buffer, Kernels, Pod};
use sparrow_threads::with_threads;

use crate::cache::LANES;
use crate::error::DenseError;
use crate::norm::Norm;
use crate::scratch::with_room;

/// Rows that are rounded and multiplied together: few enough to stay in the nearest cache beside a panel.
const GROUP: usize = 16;
/// Most weights of a matrix.
const MOST: usize = 1 << 33;

/// How a matrix holds its weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// In whole numbers with their scales.
    Coded(CodeFormat),
    /// In half precision.
    Half,
    /// In single precision.
    Float,
}

/// Panels of 32 outputs; floats in blocks of 16 outputs, as `sparrow_kernels::pack_blocks` has them.
enum Weights {
    Coded { format: CodeFormat, codes: Buffer<u8>, lines: Buffer<f16> },
    Half(Buffer<f16>),
    Float(Buffer<f32>),
}

/// A matrix `[outputs][columns]` of weights.
pub struct Matrix {
    outputs: usize,
    columns: usize,
    weights: Weights,
}

/// So many zeros, or an error where there is no memory for them, which would end the process otherwise.
fn zeroed<T: Pod>(count: usize) -> Result<Buffer<T>, DenseError> {
    Buffer::zeroed(count)
        .ok_or_else(|| DenseError(format!("no memory for {} bytes of a matrix", count * size_of::<T>())))
}

impl Matrix {
    /// A matrix of zeros.
    ///
    /// # Errors
    /// For outputs that are no multiple of 32, columns that are no multiple of 32, none of them, or more than there is memory for.
    pub fn zeros(format: Format, outputs: usize, columns: usize) -> Result<Self, DenseError> {
        if outputs == 0 || columns == 0 || !outputs.is_multiple_of(PANEL) || !columns.is_multiple_of(BLOCK) {
            return Err(DenseError(format!(
                "a matrix of {outputs} outputs of {columns} weights, expected multiples of {PANEL} and {BLOCK}"
            )));
        }
        let blocks = outputs.checked_mul(columns).filter(|weights| *weights <= MOST).map(|weights| weights / BLOCK);
        let Some(blocks) = blocks else {
            return Err(DenseError(format!(
                "a matrix of {outputs} outputs of {columns} weights, expected at most {MOST}"
            )));
        };
        let weights = match format {
            Format::Coded(format) => Weights::Coded {
                format,
                codes: zeroed(blocks * format.code_bytes())?,
                lines: zeroed(blocks * format.lines())?,
            },
            Format::Half => Weights::Half(zeroed(blocks * BLOCK)?),
            Format::Float => Weights::Float(zeroed(blocks * BLOCK)?),
        };
        Ok(Self { outputs, columns, weights })
    }

    /// Outputs of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Weights of an output.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Sets outputs from `first` on. Codes are `[output][column]`: signed bytes; or nibbles, of each 32 weights the first 16 in the low halves of 16 bytes;
    /// or the bytes of floats. Lines are a scale for each 32 weights, or two scales, or scale and offset; floats have none.
    ///
    /// # Errors
    /// When the lengths are not those of whole outputs that the matrix has.
    pub fn fill(&mut self, first: usize, codes: &[u8], lines: &[f16]) -> Result<(), DenseError> {
        let (columns, outputs) = (self.columns, self.outputs);
        let (row_bytes, row_lines) = match &self.weights {
            Weights::Coded { format, .. } => (columns / BLOCK * format.code_bytes(), columns / BLOCK * format.lines()),
            Weights::Half(_) => (2 * columns, 0),
            Weights::Float(_) => (4 * columns, 0),
        };
        let count = codes.len() / row_bytes;
        if codes.len() != count * row_bytes
            || lines.len() != count * row_lines
            || first.checked_add(count).is_none_or(|end| end > outputs)
        {
            return Err(DenseError(format!(
                "{} codes and {} lines from output {first} on, expected those of whole outputs of {columns} weights, {outputs} at most",
                codes.len(),
                lines.len(),
            )));
        }
        match &mut self.weights {
            Weights::Coded { format, codes: held, lines: held_lines } => {
                let (held, held_lines) = (held.as_mut_slice(), held_lines.as_mut_slice());
                let each = codes.chunks_exact(row_bytes).zip(lines.chunks_exact(row_lines));
                for (output, (codes, lines)) in (first..).zip(each) {
                    fill_coded(*format, output, (codes, lines), (held, held_lines));
                }
            }
            Weights::Half(held) => {
                for (output, row) in (first..).zip(codes.chunks_exact(row_bytes)) {
                    fill_block(held.as_mut_slice(), columns, output, row.as_chunks().0, f16::from_le_bytes);
                }
            }
            Weights::Float(held) => {
                for (output, row) in (first..).zip(codes.chunks_exact(row_bytes)) {
                    fill_block(held.as_mut_slice(), columns, output, row.as_chunks().0, f32::from_le_bytes);
                }
            }
        }
        Ok(())
    }

    /// Products of rows (`[rows][columns]`, normalised first where a norm is given): `out` is `[outputs / 32][rows][32]`. With
    /// coded weights rows are rounded to 15 bits, each 32 numbers by the largest of them, and their products do not depend on the machine. A row's products
    /// never depend on the others.
    ///
    /// # Errors
    /// When the lengths do not fit.
    pub fn multiply(
        &self,
        kernels: &dyn Kernels,
        rows: &[f32],
        norm: Option<Norm<'_>>,
        out: &mut [f32],
    ) -> Result<(), DenseError> {
        let count = rows.len() / self.columns;
        if rows.len() != count * self.columns || out.len() != count * self.outputs {
            return Err(DenseError(format!(
                "{} numbers into {} products, expected rows of {} and as many of {}",
                rows.len(),
                out.len(),
                self.columns,
                self.outputs
            )));
        }
        if let Some(norm) = norm
            && (norm.gains.len() != self.columns || norm.width == 0 || norm.width > self.columns)
        {
            return Err(DenseError(format!(
                "a norm of {} numbers with {} gains for rows of {}",
                norm.width,
                norm.gains.len(),
                self.columns
            )));
        }
        if count == 0 {
            return Ok(());
        }
        let columns = self.columns;
        let normed = |rows: &[f32]| {
            norm.map(|norm| {
                let mut rows = rows.to_vec();
                rows.chunks_exact_mut(columns).for_each(|row| norm.apply(row));
                rows
            })
        };
        with_threads(|| match &self.weights {
            Weights::Coded { format, codes, lines } => {
                let panel_codes = columns / BLOCK * PANEL * format.code_bytes();
                let panel_lines = columns / BLOCK * PANEL * format.lines();
                let round = |rows: &[f32]| ByteRows::round(normed(rows).as_deref().unwrap_or(rows), columns);
                let groups: Vec<ByteRows> = rows.par_chunks(GROUP * columns).map(round).collect();
                out.par_chunks_exact_mut(count * PANEL).enumerate().for_each(|(panel, out)| {
                    let codes = &codes[panel * panel_codes..][..panel_codes];
                    let lines = &lines[panel * panel_lines..][..panel_lines];
                    for (rows, out) in groups.iter().zip(out.chunks_mut(GROUP * PANEL)) {
                        kernels.multiply_panel(*format, codes, lines, rows, out);
                    }
                });
            }
            Weights::Half(halves) => {
                let normed = normed(rows);
                each_panel(normed.as_deref().unwrap_or(rows), columns, out, |panel, rows, out| {
                    kernels.scan_f16(rows, columns, &halves[panel * PANEL * columns..][..PANEL * columns], out);
                });
            }
            Weights::Float(floats) => {
                let normed = normed(rows);
                each_panel(normed.as_deref().unwrap_or(rows), columns, out, |panel, rows, out| {
                    kernels.scan_f32(rows, columns, &floats[panel * PANEL * columns..][..PANEL * columns], out);
                });
            }
        });
        Ok(())
    }

    /// The weights of some outputs, times a factor: `out` is `[outputs][columns]`.
    ///
    /// # Errors
    /// When there is no such output, or the length does not fit.
    pub fn gather(&self, outputs: &[u32], factor: f32, out: &mut [f32]) -> Result<(), DenseError> {
        if let Some(output) = outputs.iter().find(|output| **output as usize >= self.outputs) {
            return Err(DenseError(format!("output {output} of a matrix of {}", self.outputs)));
        }
        if out.len() != outputs.len() * self.columns {
            return Err(DenseError(format!(
                "{} weights, expected {} of each of {} outputs",
                out.len(),
                self.columns,
                outputs.len()
            )));
        }
        for (output, out) in outputs.iter().zip(out.chunks_exact_mut(self.columns)) {
            let output = *output as usize;
            let block_start = output / LANES * LANES * self.columns;
            let lane = output % LANES;
            match &self.weights {
                Weights::Coded { format, codes, lines } => read_coded(*format, output, (codes, lines), out),
                Weights::Half(held) => {
                    for (x, lanes) in out.iter_mut().zip(held[block_start..].chunks_exact(LANES)) {
                        *x = lanes[lane].to_f32();
                    }
                }
                Weights::Float(held) => {
                    for (x, lanes) in out.iter_mut().zip(held[block_start..].chunks_exact(LANES)) {
                        *x = lanes[lane];
                    }
                }
            }
            out.iter_mut().for_each(|x| *x *= factor);
        }
        Ok(())
    }

    /// As [`Matrix::multiply`] with the products of a row next to each other: `out` is `[rows][outputs]`.
    ///
    /// # Errors
    /// When the lengths do not fit.
    pub fn multiply_to_rows(
        &self,
        kernels: &dyn Kernels,
        rows: &[f32],
        norm: Option<Norm<'_>>,
        out: &mut [f32],
    ) -> Result<(), DenseError> {
        if rows.len() <= self.columns {
            return self.multiply(kernels, rows, norm, out);
        }
        let count = rows.len() / self.columns;
        with_room(out.len(), |product| {
            self.multiply(kernels, rows, norm, product)?;
            let product = &*product;
            with_threads(|| {
                out.par_chunks_exact_mut(self.outputs).enumerate().for_each(|(row, out)| {
                    for (out, panel) in out.chunks_exact_mut(PANEL).zip(product.chunks_exact(count * PANEL)) {
                        out.copy_from_slice(&panel[row * PANEL..][..PANEL]);
                    }
                });
            });
            Ok(())
        })
    }
}

/// Multiplies groups of rows by each panel.
fn each_panel(rows: &[f32], columns: usize, out: &mut [f32], multiply: impl Fn(usize, &[f32], &mut [f32]) + Sync) {
    out.par_chunks_exact_mut(rows.len() / columns * PANEL).enumerate().for_each(|(panel, out)| {
        for (rows, out) in rows.chunks(GROUP * columns).zip(out.chunks_mut(GROUP * PANEL)) {
            multiply(panel, rows, out);
        }
    });
}

/// Puts an output's weights into its panel.
fn fill_coded(
    format: CodeFormat,
    output: usize,
    (codes, lines): (&[u8], &[f16]),
    (held, held_lines): (&mut [u8], &mut [f16]),
) {
    let (code_bytes, line_count) = (format.code_bytes(), format.lines());
    let blocks = codes.len() / code_bytes;
    let (panel, place) = (output / PANEL, output % PANEL);
    for (block, from) in codes.chunks_exact(code_bytes).enumerate() {
        let to = &mut held[(panel * blocks + block) * PANEL * code_bytes..][..PANEL * code_bytes];
        for (group, four) in from.as_chunks::<4>().0.iter().enumerate() {
            let at = (group * PANEL + place) * 4;
            // Signed codes become unsigned by turning their first bit over.
            let turn = if format == CodeFormat::NibbleOffset { 0 } else { 128 };
            to[at..at + 4].copy_from_slice(&four.map(|code| code ^ turn));
        }
        for line in 0..line_count {
            held_lines[((panel * blocks + block) * line_count + line) * PANEL + place] =
                lines[block * line_count + line];
        }
    }
}

/// An output's weights from its panel: `scale · code + offset`, without one where the format has none.
fn read_coded(format: CodeFormat, output: usize, (codes, lines): (&[u8], &[f16]), out: &mut [f32]) {
    let (code_bytes, line_count) = (format.code_bytes(), format.lines());
    let blocks = out.len() / BLOCK;
    let (panel, place) = (output / PANEL, output % PANEL);
    for (block, out) in out.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
        let at = panel * blocks + block;
        let from = &codes[at * PANEL * code_bytes..][..PANEL * code_bytes];
        let line = |line: usize| lines[(at * line_count + line) * PANEL + place].to_f32();
        for (i, x) in out.iter_mut().enumerate() {
            let byte = |i: usize| from[(i / 4 * PANEL + place) * 4 + i % 4];
            *x = match format {
                CodeFormat::Bytes => f32::from((byte(i) ^ 128) as i8) * line(0),
                CodeFormat::ByteHalves => f32::from((byte(i) ^ 128) as i8) * line(i / (BLOCK / 2)),
                CodeFormat::ByteOffset => f32::from((byte(i) ^ 128) as i8).mul_add(line(0), line(1)),
                CodeFormat::NibbleOffset => {
                    f32::from(byte(i % (BLOCK / 2)) >> (i / (BLOCK / 2) * 4) & 15).mul_add(line(0), line(1))
                }
            };
        }
    }
}

/// Puts an output's weights into its block of 16.
fn fill_block<T, const N: usize>(
    held: &mut [T],
    columns: usize,
    output: usize,
    row: &[[u8; N]],
    read: fn([u8; N]) -> T,
) {
    let block = &mut held[output / LANES * LANES * columns..][..LANES * columns];
    for (lanes, bytes) in block.chunks_exact_mut(LANES).zip(row) {
        lanes[output % LANES] = read(*bytes);
    }
}
