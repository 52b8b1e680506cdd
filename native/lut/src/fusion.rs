//! Experts blended per pixel, and the residual branch.

use std::sync::{Mutex, PoisonError};

use crate::cascade::{check_isa, check_planes};
use crate::conv::{Net, Scratch};
use crate::error::{Error, require};
use crate::geometry::Pattern;
use crate::isa::Isa;
use crate::plane::Plane;
use crate::rows::for_rows;
use crate::scalar;
use crate::table::{check_len, rows};

/// Experts that a row has room for.
pub const MAX_EXPERTS: usize = 6;
/// All experts' outputs of one row lie together, for they share indices and weights: 1.7 times faster than apart.
pub const ROW_BYTES: usize = 16 * MAX_EXPERTS;

/// One-stage experts of one shape, for different damage.
pub struct Experts {
    pub(crate) patterns: Vec<Pattern>,
    /// For each pattern, rows of `ROW_BYTES`: expert pair g at 32 g, output o of expert e at `2 o + e % 2` in it.
    pub(crate) tables: Vec<Vec<i8>>,
    pub(crate) scale: usize,
    pub(crate) shift: u32,
    pub(crate) count: usize,
    divisor_shift: u32,
}

impl Experts {
    /// `values` is `[patterns][experts][rows][scale²]` int8; an expert alone is a centred stage with four rotations and
    /// divisor `1 << divisor_shift`.
    pub fn new(
        scale: usize,
        shift: u32,
        divisor_shift: u32,
        patterns: &[Pattern],
        count: usize,
        values: &[i8],
    ) -> Result<Self, Error> {
        require((2..=4).contains(&scale), || format!("experts enlarge by {scale}, expected 2 to 4"))?;
        require((1..=MAX_EXPERTS).contains(&count), || {
            format!("there are {count} experts, expected 1 to {MAX_EXPERTS}")
        })?;
        // Two patterns of 32 x 127 (or 64 x 127) share 16-bit lanes.
        require((1..=2).contains(&patterns.len()), || {
            format!("experts have {} patterns, expected 1 or 2", patterns.len())
        })?;
        require((4..=10).contains(&divisor_shift), || {
            format!("the experts' divisor is 2^{divisor_shift}, expected 2^4 to 2^10")
        })?;
        let outputs = scale * scale;
        patterns.iter().try_for_each(|pattern| pattern.within(1))?;
        require(values.len().is_multiple_of(patterns.len()), || {
            format!("{} table values do not divide among {} patterns", values.len(), patterns.len())
        })?;
        let len = values.len() / patterns.len();
        let mut tables = Vec::new();
        for part in values.chunks_exact(len.max(1)) {
            require(part.len() % count == 0, || {
                format!("{} table values do not divide among {count} experts", part.len())
            })?;
            let mut table = vec![0; rows(shift.clamp(4, 6)) * ROW_BYTES];
            for (e, expert) in part.chunks_exact(part.len() / count).enumerate() {
                check_len(expert, shift, outputs)?;
                for (row, from) in table.chunks_exact_mut(ROW_BYTES).zip(expert.chunks_exact(outputs)) {
                    for (o, &value) in from.iter().enumerate() {
                        row[32 * (e / 2) + 2 * o + e % 2] = value;
                    }
                }
            }
            tables.push(table);
        }
        require(tables.len() == patterns.len(), || {
            format!("there are {} tables, expected {}", tables.len(), patterns.len())
        })?;
        Ok(Self { patterns: patterns.to_vec(), tables, scale, shift, count, divisor_shift })
    }

    /// Bits below the point of a fused sum: the table's and the gate's.
    pub(crate) fn total_shift(&self) -> u32 {
        self.divisor_shift + 6
    }

    pub(crate) fn value(&self, pattern: usize, row: usize, expert: usize, output: usize) -> i8 {
        self.tables[pattern][row * ROW_BYTES + 32 * (expert / 2) + 2 * output + expert % 2]
    }
}

/// Experts, gates and residual on two frames.
pub struct Fusion {
    experts: Experts,
    gates: Net,
    trunk: Net,
    scratch: Mutex<Buffers>,
}

/// Kept from frame to frame, so that a stream allocates nothing.
#[derive(Default)]
struct Buffers {
    frame: Plane,
    previous: Plane,
    gate_scratch: Scratch,
    trunk_scratch: Scratch,
    half_gates: Vec<u8>,
    gates: Vec<u8>,
    residual: Vec<u8>,
}

impl Fusion {
    /// `gates` takes 2x2 pixels of both frames (8 channels) at half resolution, `trunk` both frames' pixels split into seven
    /// bits and one (4 channels).
    pub fn new(experts: Experts, gates: Net, trunk: Net) -> Result<Self, Error> {
        require(gates.inputs() == 8 && gates.outputs() == 16 && gates.last_hidden(), || {
            format!(
                "the gate net has {} inputs and {} outputs, expected 8 and 16, unsigned",
                gates.inputs(),
                gates.outputs()
            )
        })?;
        require(trunk.inputs() == 4 && trunk.outputs() == 16 && !trunk.last_hidden(), || {
            format!(
                "the residual net has {} inputs and {} outputs, expected 4 and 16, signed",
                trunk.inputs(),
                trunk.outputs()
            )
        })?;
        Ok(Self { experts, gates, trunk, scratch: Mutex::default() })
    }

    /// Output pixels a side for each input pixel.
    pub fn scale(&self) -> usize {
        self.experts.scale
    }

    /// Multiply-adds a pixel of the residual branch.
    pub fn cost(&self) -> usize {
        self.trunk.cost()
    }

    /// `frame` and `previous` (pass the frame itself after a cut) are `width x height`. With `residual` off, only the
    /// blended experts. Runs on the current rayon pool; one frame at a time.
    #[allow(clippy::too_many_arguments)] // two planes, their size, and how to run
    pub fn run(
        &self,
        isa: Isa,
        frame: &[u8],
        previous: &[u8],
        width: usize,
        height: usize,
        residual: bool,
        out: &mut [u8],
    ) -> Result<(), Error> {
        check_planes(frame.len(), out.len(), width, height, self.scale())?;
        require(previous.len() == frame.len(), || {
            format!("the previous frame has {} pixels, expected {}", previous.len(), frame.len())
        })?;
        check_isa(isa)?;
        let mut buffers = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let Buffers { frame: now, previous: before, gate_scratch, trunk_scratch, half_gates, gates, residual: extra } =
            &mut *buffers;
        now.fill(frame, width, height);
        before.fill(previous, width, height);
        let (half_w, half_h) = (width.div_ceil(2), height.div_ceil(2));
        gate_scratch.input.reshape(half_w, half_h, 8);
        let (now, before) = (&*now, &*before);
        gate_scratch.input.fill_rows(|y, row| gather_pairs(now, before, y, row));
        half_gates.resize(half_w * half_h * 16, 0);
        self.gates.run(isa, gate_scratch, half_gates);
        gates.resize(width * height * 8, 0);
        let half_gates = &*half_gates;
        for_rows(gates, width * 8, |rows, part| {
            for (row, y) in part.chunks_exact_mut(width * 8).zip(rows) {
                double_row(half_gates, half_w, half_h, y, row);
            }
        });
        if residual {
            extra.resize(width * height * 16, 0);
            trunk_scratch.input.reshape(width, height, 4);
            trunk_scratch.input.fill_rows(|y, row| gather_pixels(now, before, y, row));
            self.trunk.run(isa, trunk_scratch, extra);
        }
        // SAFETY: i8 and u8 have the same size, alignment and no invalid values.
        let extra: &[i8] = unsafe { std::slice::from_raw_parts(extra.as_ptr().cast(), extra.len()) };
        let extra = residual.then_some(extra);
        let gates = &*gates;
        for_rows(out, self.scale() * self.scale() * width, |rows, part| match isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `check_isa` above.
            Isa::Avx512 => unsafe { crate::avx512::fuse(&self.experts, now, gates, extra, rows, part) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Isa::Avx2 | Isa::AvxVnni => unsafe { crate::avx2::fuse(&self.experts, now, gates, extra, rows, part) },
            _ => scalar::fuse(&self.experts, now, gates, extra, rows, part),
        });
        Ok(())
    }
}

/// Eight activations for each 2x2 of pixels: four of the frame, four of the previous one, upper seven bits.
fn gather_pairs(now: &Plane, before: &Plane, y: usize, row: &mut [u8]) {
    for (x, pixel) in row.chunks_exact_mut(8).enumerate() {
        for (i, value) in pixel.iter_mut().enumerate() {
            let plane = if i < 4 { now } else { before };
            *value = plane.at((2 * y + i % 4 / 2) as isize, (2 * x + i % 2) as isize) >> 1;
        }
    }
}

/// Four activations a pixel: upper seven bits and lowest bit of both frames.
fn gather_pixels(now: &Plane, before: &Plane, y: usize, row: &mut [u8]) {
    for (x, pixel) in row.chunks_exact_mut(4).enumerate() {
        let (a, b) = (now.at(y as isize, x as isize), before.at(y as isize, x as isize));
        pixel.copy_from_slice(&[a >> 1, a & 1, b >> 1, b & 1]);
    }
}

/// Row `y` of gates at full resolution: bilinear between centres, `(9a + 3b + 3c + d + 8) >> 4`, borders clamped.
pub(crate) fn double_row(half: &[u8], w: usize, h: usize, y: usize, out: &mut [u8]) {
    let near = y / 2;
    let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(h - 1) };
    let (near, far) = (&half[near * w * 16..][..w * 16], &half[far * w * 16..][..w * 16]);
    // Eight gates of a cell at a time, in 16 bits, so that the compiler keeps them in one register.
    let mixed: Vec<[u16; 8]> = near
        .chunks_exact(16)
        .zip(far.chunks_exact(16))
        .map(|(n, f)| std::array::from_fn(|c| 3 * u16::from(n[c]) + u16::from(f[c])))
        .collect();
    for (x, pair) in out.chunks_mut(16).enumerate() {
        let here = mixed[x];
        let sides = [mixed[x.saturating_sub(1)], mixed[(x + 1).min(w - 1)]];
        for (pixel, side) in pair.chunks_exact_mut(8).zip(sides) {
            for c in 0..8 {
                pixel[c] = ((3 * here[c] + side[c] + 8) >> 4) as u8;
            }
        }
    }
}
