//! Packed weights and their products.

use half::f16;
use rayon::prelude::*;
use sparrow_kernels::Kernels;
use sparrow_kernels::byte_products::{BLOCK, ByteRows, CodeFormat, PANEL};
use sparrow_threads::with_threads;

use crate::error::DenseError;
use crate::norm::Norm;

/// Rows that are rounded and multiplied together: few enough to stay in the nearest cache beside a panel.
const GROUP: usize = 16;
/// Most weights of a matrix.
const MOST: usize = 1 << 33;

/// A matrix `[outputs][columns]` of quantised weights.
pub struct Matrix {
    format: CodeFormat,
    outputs: usize,
    columns: usize,
    codes: Vec<u8>,
    lines: Vec<f16>,
}

/// So many of a value, or an error where there is no memory for them, which would end the process otherwise.
fn filled<T: Clone>(value: T, count: usize) -> Result<Vec<T>, DenseError> {
    let mut values = Vec::new();
    if values.try_reserve_exact(count).is_err() {
        return Err(DenseError(format!("no memory for {} bytes of a matrix", count * size_of::<T>())));
    }
    values.resize(count, value);
    Ok(values)
}

impl Matrix {
    /// A matrix of zeros.
    ///
    /// # Errors
    /// For outputs that are no multiple of 32, columns that are no multiple of 32, none of them, or more than there is memory for.
    pub fn zeros(format: CodeFormat, outputs: usize, columns: usize) -> Result<Self, DenseError> {
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
        let codes = filled(0, blocks * format.code_bytes())?;
        Ok(Self { format, outputs, columns, codes, lines: filled(f16::ZERO, blocks * format.lines())? })
    }

    /// Outputs of the product.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Weights of an output.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Sets outputs from `first` on. Codes are `[output][column]`: signed bytes; or nibbles, of each 32 weights the first 16 in the low halves of 16 bytes.
    /// Lines are a scale for each 32 weights, or two scales, or scale and offset.
    ///
    /// # Errors
    /// When the lengths are not those of whole outputs that the matrix has.
    pub fn fill(&mut self, first: usize, codes: &[u8], lines: &[f16]) -> Result<(), DenseError> {
        let (format, blocks) = (self.format, self.columns / BLOCK);
        let (code_bytes, line_count) = (format.code_bytes(), format.lines());
        let count = codes.len() / (blocks * code_bytes);
        if codes.len() != count * blocks * code_bytes
            || lines.len() != count * blocks * line_count
            || first.checked_add(count).is_none_or(|end| end > self.outputs)
        {
            return Err(DenseError(format!(
                "{} codes and {} lines from output {first} on, expected those of whole outputs of {} weights, {} at most",
                codes.len(),
                lines.len(),
                self.columns,
                self.outputs
            )));
        }
        for i in 0..count {
            let (panel, place) = ((first + i) / PANEL, (first + i) % PANEL);
            for block in 0..blocks {
                let from = &codes[(i * blocks + block) * code_bytes..][..code_bytes];
                let to = &mut self.codes[(panel * blocks + block) * PANEL * code_bytes..][..PANEL * code_bytes];
                for (group, four) in from.as_chunks::<4>().0.iter().enumerate() {
                    let at = (group * PANEL + place) * 4;
                    // Signed codes become unsigned by turning their first bit over.
                    let turn = if format == CodeFormat::NibbleOffset { 0 } else { 128 };
                    to[at..at + 4].copy_from_slice(&four.map(|code| code ^ turn));
                }
                for line in 0..line_count {
                    self.lines[((panel * blocks + block) * line_count + line) * PANEL + place] =
                        lines[(i * blocks + block) * line_count + line];
                }
            }
        }
        Ok(())
    }

    /// Products of rows (`[rows][columns]`, normalised first where a norm is given): `out` is `[outputs / 32][rows][32]`. Rows are rounded to 15
    /// bits, each 32 numbers by the largest of them. A row's products do not depend on the others, nor on the machine.
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
        let (blocks, format) = (self.columns / BLOCK, self.format);
        let (code_bytes, line_count) = (blocks * PANEL * format.code_bytes(), blocks * PANEL * format.lines());
        with_threads(|| {
            let round = |rows: &[f32]| match norm {
                Some(norm) => {
                    let mut rows = rows.to_vec();
                    rows.chunks_exact_mut(self.columns).for_each(|row| norm.apply(row));
                    ByteRows::round(&rows, self.columns)
                }
                None => ByteRows::round(rows, self.columns),
            };
            let groups: Vec<ByteRows> = rows.par_chunks(GROUP * self.columns).map(round).collect();
            out.par_chunks_exact_mut(count * PANEL).enumerate().for_each(|(panel, out)| {
                let codes = &self.codes[panel * code_bytes..][..code_bytes];
                let lines = &self.lines[panel * line_count..][..line_count];
                for (rows, out) in groups.iter().zip(out.chunks_mut(GROUP * PANEL)) {
                    kernels.multiply_panel(format, codes, lines, rows, out);
                }
            });
        });
        Ok(())
    }
}
