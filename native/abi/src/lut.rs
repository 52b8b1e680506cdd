//! Exports of the look-up-table crate.

use sparrow_lut::{
    Cascade, Error, Experts, Fusion, Isa, Layer, Net, Pattern, Stage, StageShape, enlarge, with_threads,
};

use crate::args;
use crate::panic::guard;
use crate::slab::Slab;
use crate::status::Failure;

static CASCADES: Slab<Cascade> = Slab::new("table cascade");
static FUSIONS: Slab<Fusion> = Slab::new("table fusion");

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::argument(error.0)
    }
}

/// Numbers of `Isa::ALL`; 255 stands for the best of this machine.
fn isa(number: u32) -> Result<Isa, Failure> {
    if number == 255 {
        return Ok(Isa::best());
    }
    Isa::ALL
        .get(number as usize)
        .copied()
        .ok_or_else(|| Failure::argument(format!("instruction set {number} is unknown, expected 0 to 3 or 255")))
}

fn patterns(offsets: &[i8]) -> Result<Vec<Pattern>, Failure> {
    let parts = offsets.chunks(8).map(|part| {
        let eight = part
            .try_into()
            .map_err(|_| Failure::argument(format!("a pattern has {} offsets, expected 8", part.len())))?;
        Ok(Pattern::new(eight)?)
    });
    parts.collect()
}

/// Takes `count` elements off the front of `rest`.
fn take<'a, T>(rest: &mut &'a [T], count: usize, what: &str) -> Result<&'a [T], Failure> {
    let (part, tail) = rest
        .split_at_checked(count)
        .ok_or_else(|| Failure::argument(format!("{what} end {} elements early", count - rest.len())))?;
    *rest = tail;
    Ok(part)
}

/// Whether this machine has the instruction set of this number; `out_available` gets 0 or 1.
///
/// # Safety
/// `out_available` must be writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_lut_isa_available(number: u32, out_available: *mut u32) -> i32 {
    guard(|| {
        let available = isa(number)?.available();
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_available", out_available, u32::from(available)) }
    })
}

/// Opens stages in sequence. `stages` holds eight numbers for each: scale, step, shift, rotations, divisor, bias, centre
/// (0 or 1), patterns; `offsets` eight for each pattern (dy, dx of four pixels); `values` the tables in that order.
///
/// # Safety
/// The arrays must be readable for their lengths and `out_id` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_lut_cascade_open(
    stages: *const i32,
    stages_len: usize,
    offsets: *const i8,
    offsets_len: usize,
    values: *const i8,
    values_len: usize,
    out_id: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (shapes, offsets, mut values) = unsafe {
            (
                args::input("stages", stages, stages_len)?,
                args::input("offsets", offsets, offsets_len)?,
                args::input("values", values, values_len)?,
            )
        };
        let mut patterns = &patterns(offsets)?[..];
        let mut list = Vec::new();
        for shape in shapes.chunks(8) {
            let &[scale, step, shift, rotations, divisor, bias, centre, count] = shape else {
                return Err(Failure::argument(format!("a stage has {} numbers, expected 8", shape.len())));
            };
            let size = |name: &str, v: i32, top: i32| {
                if (0..=top).contains(&v) {
                    Ok(v as usize)
                } else {
                    Err(Failure::argument(format!("a stage's {name} is {v}, expected 0 to {top}")))
                }
            };
            let shape = StageShape {
                scale: size("scale", scale, 4)?,
                step: size("step", step, 2)?,
                shift: size("shift", shift, 6)? as u32,
                rotations: size("rotations", rotations, 4)?,
                divisor,
                bias,
                centre: centre != 0,
            };
            let own = take(&mut patterns, size("pattern count", count, 24)?, "the patterns")?;
            let rows = ((256usize >> shape.shift) + 1).pow(4);
            let part = take(&mut values, own.len() * rows * shape.scale * shape.scale, "the table values")?;
            list.push(Stage::new(shape, own, part)?);
        }
        if !values.is_empty() {
            return Err(Failure::argument(format!("{} table values are left over", values.len())));
        }
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_id", out_id, CASCADES.insert(Cascade::new(list)?)) }
    })
}

/// Runs a cascade on one plane; `out` is scale times as large either way.
///
/// # Safety
/// `source` must be readable and `out` writable for their lengths, apart from each other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_lut_cascade_run(
    id: u64,
    isa_number: u32,
    threads: u32,
    source: *const u8,
    source_len: usize,
    width: u32,
    height: u32,
    out: *mut u8,
    out_len: usize,
) -> i32 {
    guard(|| {
        let (cascade, isa) = (CASCADES.get(id)?, isa(isa_number)?);
        // SAFETY: by this function's own contract.
        let (source, out) = unsafe { (args::input("source", source, source_len)?, args::output("out", out, out_len)?) };
        Ok(with_threads(threads as usize, || cascade.run(isa, source, width as usize, height as usize, out))??)
    })
}

/// Forgets a cascade.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_lut_cascade_close(id: u64) -> i32 {
    guard(|| CASCADES.remove(id))
}

/// Opens experts with their gate net and residual branch. `shape` holds scale, shift, log2 of the divisor, experts, gate
/// layers, residual layers; `offsets` eight for each pattern; `values` `[patterns][experts][rows][scale²]`; `sizes` inputs and
/// outputs of each layer, gates first; `weights` `[outputs][3][3][inputs]` of each layer, `bias` and `shifts` one an output.
///
/// # Safety
/// The arrays must be readable for their lengths and `out_id` writable for one element.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_lut_fusion_open(
    shape: *const u32,
    shape_len: usize,
    offsets: *const i8,
    offsets_len: usize,
    values: *const i8,
    values_len: usize,
    sizes: *const u32,
    sizes_len: usize,
    weights: *const i8,
    weights_len: usize,
    bias: *const i32,
    bias_len: usize,
    shifts: *const u8,
    shifts_len: usize,
    out_id: *mut u64,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract, for all of these.
        let (shape, offsets, values) = unsafe {
            (
                args::input("shape", shape, shape_len)?,
                args::input("offsets", offsets, offsets_len)?,
                args::input("values", values, values_len)?,
            )
        };
        // SAFETY: as above.
        let (sizes, mut weights) =
            unsafe { (args::input("sizes", sizes, sizes_len)?, args::input("weights", weights, weights_len)?) };
        // SAFETY: as above.
        let (mut bias, mut shifts) =
            unsafe { (args::input("bias", bias, bias_len)?, args::input("shifts", shifts, shifts_len)?) };
        let &[scale, shift, divisor_shift, experts, gate_layers, trunk_layers] = shape else {
            return Err(Failure::argument(format!("the fusion's shape has {} numbers, expected 6", shape.len())));
        };
        let experts =
            Experts::new(scale as usize, shift, divisor_shift, &patterns(offsets)?, experts as usize, values)?;
        if sizes.len() / 2 != (gate_layers as usize).saturating_add(trunk_layers as usize) {
            return Err(Failure::argument(format!(
                "{} layers have sizes, expected {gate_layers} + {trunk_layers}",
                sizes.len() / 2
            )));
        }
        let mut layers = Vec::new();
        for (i, size) in sizes.chunks_exact(2).enumerate() {
            let (inputs, outputs) = (size[0].min(4096) as usize, size[1].min(4096) as usize);
            let signed = i + 1 == sizes.len() / 2;
            let weights = take(&mut weights, outputs * 9 * inputs, "the weights")?;
            let (bias, shifts) = (take(&mut bias, outputs, "the biases")?, take(&mut shifts, outputs, "the shifts")?);
            layers.push(Layer::new(inputs, outputs, weights, bias, shifts, !signed)?);
        }
        let trunk = layers.split_off(gate_layers as usize);
        let fusion = Fusion::new(experts, Net::new(layers)?, Net::new(trunk)?)?;
        // SAFETY: by this function's own contract.
        unsafe { args::write("out_id", out_id, FUSIONS.insert(fusion)) }
    })
}

/// Runs a fusion on a frame and its predecessor; without `residual`, only the blended experts.
///
/// # Safety
/// `frame` and `previous` must be readable and `out` writable for their lengths, `out` apart from the others.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_lut_fusion_run(
    id: u64,
    isa_number: u32,
    threads: u32,
    frame: *const u8,
    frame_len: usize,
    previous: *const u8,
    previous_len: usize,
    width: u32,
    height: u32,
    residual: u32,
    out: *mut u8,
    out_len: usize,
) -> i32 {
    guard(|| {
        let (fusion, isa) = (FUSIONS.get(id)?, isa(isa_number)?);
        // SAFETY: by this function's own contract.
        let (frame, previous, out) = unsafe {
            (
                args::input("frame", frame, frame_len)?,
                args::input("previous", previous, previous_len)?,
                args::output("out", out, out_len)?,
            )
        };
        Ok(with_threads(threads as usize, || {
            fusion.run(isa, frame, previous, width as usize, height as usize, residual != 0, out)
        })??)
    })
}

/// Forgets a fusion.
#[unsafe(no_mangle)]
pub extern "C" fn sparrow_lut_fusion_close(id: u64) -> i32 {
    guard(|| FUSIONS.remove(id))
}

/// Bicubic enlargement of one plane by 1 to 4. `across` and `down` say where its samples lie, in quarters: 2 in the middle, 1 at the first of two
/// luma samples.
///
/// # Safety
/// `source` must be readable and `out` writable for their lengths, apart from each other.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sparrow_lut_enlarge(
    threads: u32,
    source: *const u8,
    source_len: usize,
    width: u32,
    height: u32,
    scale: u32,
    across: u32,
    down: u32,
    out: *mut u8,
    out_len: usize,
) -> i32 {
    guard(|| {
        // SAFETY: by this function's own contract.
        let (source, out) = unsafe { (args::input("source", source, source_len)?, args::output("out", out, out_len)?) };
        Ok(with_threads(threads as usize, || {
            enlarge(source, width as usize, height as usize, scale as usize, [across, down], out)
        })??)
    })
}
