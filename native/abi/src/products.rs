//! Exports of weight matrices in CPU memory and their products.

use std::sync::RwLock;

use sparrow_dense::{CodeFormat, DenseError, Format, Matrix, Norm};
use sparrow_kernels::f16;

use crate::args;
use crate::index::{read, write};
use crate::panic::guard;
use crate::slab::Slab;
use crate::status::Failure;

pub static MATRICES: Slab<RwLock<Matrix>> = Slab::new("dense matrix");

impl From<DenseError> for Failure {
    fn from(error: DenseError) -> Self {
        Failure::argument(error.to_string())
    }
}

/// 1 where products here are faster than those of shaders on a software adapter, otherwise 0.
///
/// # Safety
/// `out` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_products_pay(out: *mut u32) -> i32 {
    guard(|| {
        let pays = sparrow_kernels::best().products_pay();
        // SAFETY: by this function's own contract.
        unsafe { args::write("out", out, u32::from(pays)) }
    })
}

/// Makes a matrix of zeros. `format` is 0 for bytes with a scale for each 32, 1 for bytes with a scale for each 16, 2 for bytes with a scale and an
/// offset, 3 for nibbles with a scale and an offset, 4 for halves, 5 for floats; `outputs` and `columns` are multiples of 32.
///
/// # Safety
/// `out_handle` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matrix_open(format: u32, outputs: u32, columns: u32, out_handle: *mut u64) -> i32 {
    guard(|| {
        let format = match format {
            0 => Format::Coded(CodeFormat::Bytes),
            1 => Format::Coded(CodeFormat::ByteHalves),
            2 => Format::Coded(CodeFormat::ByteOffset),
            3 => Format::Coded(CodeFormat::NibbleOffset),
            4 => Format::Half,
            5 => Format::Float,
            _ => return Err(Failure::argument(format!("dense matrix: format is {format}, expected 0 to 5"))),
        };
        let matrix = Matrix::zeros(format, outputs as usize, columns as usize)?;
        // SAFETY: by this function's own contract.
        let out = unsafe { args::output("out_handle", out_handle, 1) }?;
        out[0] = MATRICES.insert(RwLock::new(matrix));
        Ok(())
    })
}

/// Sets outputs from `first` on: `codes` row by row as the format says, `lines` the halves (as their bits) of each block of 32, none of
/// floats.
///
/// # Safety
/// `codes` and `lines` must be readable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matrix_fill(
    handle: u64,
    first: u32,
    codes: *const u8,
    codes_len: u32,
    lines: *const u16,
    lines_len: u32,
) -> i32 {
    guard(|| {
        let matrix = MATRICES.get(handle)?;
        // SAFETY: by this function's own contract.
        let (codes, lines) = unsafe {
            (args::input("codes", codes, codes_len as usize)?, args::input("lines", lines, lines_len as usize)?)
        };
        let lines: Vec<f16> = lines.iter().map(|bits| f16::from_bits(*bits)).collect();
        Ok(write(&matrix).fill(first as usize, codes, &lines)?)
    })
}

/// Products of rows `[rows][columns]`, RMS-normalised first where there are gains (`[columns]`; none otherwise); `out` is `[rows][outputs]`.
/// The calling thread works, too.
///
/// # Safety
/// `rows` and `gains` must be readable and `out` writable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matrix_multiply(
    handle: u64,
    rows: *const f32,
    rows_len: u32,
    gains: *const f32,
    gains_len: u32,
    width: u32,
    epsilon: f32,
    out: *mut f32,
    out_len: u32,
) -> i32 {
    guard(|| {
        let matrix = MATRICES.get(handle)?;
        // SAFETY: by this function's own contract.
        let (rows, gains, out) = unsafe {
            (
                args::input("rows", rows, rows_len as usize)?,
                args::input("gains", gains, gains_len as usize)?,
                args::output("out", out, out_len as usize)?,
            )
        };
        let norm = (!gains.is_empty()).then_some(Norm { gains, width: width as usize, epsilon });
        Ok(read(&matrix).multiply_to_rows(sparrow_kernels::best(), rows, norm, out)?)
    })
}

/// The weights of some outputs, times a factor: `out` is `[outputs][columns]`.
///
/// # Safety
/// `outputs` must be readable and `out` writable for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_matrix_gather(
    handle: u64,
    outputs: *const u32,
    outputs_len: u32,
    factor: f32,
    out: *mut f32,
    out_len: u32,
) -> i32 {
    guard(|| {
        let matrix = MATRICES.get(handle)?;
        // SAFETY: by this function's own contract.
        let (outputs, out) = unsafe {
            (args::input("outputs", outputs, outputs_len as usize)?, args::output("out", out, out_len as usize)?)
        };
        Ok(read(&matrix).gather(outputs, factor, out)?)
    })
}

/// Frees a matrix.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_matrix_dispose(handle: u64) -> i32 {
    guard(|| MATRICES.remove(handle))
}
