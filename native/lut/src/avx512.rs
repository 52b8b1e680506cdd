//! AVX-512 (F, BW, VBMI, VNNI) inner loops.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::cascade::{Stage, Tables};
use crate::fusion::{Experts, ROW_BYTES};
use crate::geometry::source;
use crate::phases::Phases;
use crate::plane::{BLOCK, Plane};
use crate::simplex::{Corners, corners};
use crate::table::{ROW, RowTable};

/// Byte shuffle that transposes four table rows (4 x 16) to sixteen quadruples for vpdpbusd, and turns the output block of
/// row k by `turns[k]` quarter turns on the way.
fn transpose(s: usize, turns: [usize; 4]) -> [u8; 64] {
    std::array::from_fn(|i| {
        let (output, row) = (i / 4, i % 4);
        // Outputs past s² read place 15, which is zero in every row of a smaller scale.
        let place = if output < s * s { source(s, turns[row], output / s, output % s) } else { ROW - 1 };
        (row * 16 + place) as u8
    })
}

/// Four table rows side by side.
///
/// # Safety
/// `table` holds the rows. `corners` numbers rows below `rows(shift)`, which a table's constructor requires it to hold:
/// checking each of a frame's two million loads again costs a fifth of its time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn four_rows(table: &[i8], rows: [u32; 4]) -> __m512i {
    debug_assert!(rows.iter().all(|&row| (row as usize + 1) * ROW <= table.len()));
    // SAFETY: by this function's own contract.
    let load = |row: u32| unsafe { _mm_loadu_si128(table.as_ptr().add(row as usize * ROW).cast()) };
    let z = _mm512_castsi128_si512(load(rows[0]));
    let z = _mm512_inserti32x4::<1>(z, load(rows[1]));
    let z = _mm512_inserti32x4::<2>(z, load(rows[2]));
    _mm512_inserti32x4::<3>(z, load(rows[3]))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load64(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: the reference covers 64 readable bytes.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Rows of a stage.
///
/// # Safety
/// The machine has the instructions that `Isa::Avx512` stands for.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(crate) unsafe fn stage(stage: &Stage, frame: &Phases, rows: Range<usize>, out: &mut [u8]) {
    match &stage.tables {
        // One 16-byte load serves a whole lookup there, so wider registers have nothing to add.
        // SAFETY: AVX-512 machines have AVX2.
        Tables::Cells(_) => unsafe { crate::avx2_stage::stage(stage, frame, rows, out) },
        Tables::Rows(tables) => enlarge(stage, tables, frame, rows, out),
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn enlarge(stage: &Stage, tables: &[RowTable], frame: &Phases, rows: Range<usize>, out: &mut [u8]) {
    match stage.rotations {
        4 => enlarge_turned::<4>(stage, tables, frame, rows, out),
        _ => enlarge_turned::<1>(stage, tables, frame, rows, out),
    }
}

/// `enlarge` with `T` rotations, a constant so that the lookups of a pixel are straight code.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn enlarge_turned<const T: usize>(
    stage: &Stage,
    tables: &[RowTable],
    frame: &Phases,
    rows: Range<usize>,
    out: &mut [u8],
) {
    let (s, w) = (stage.scale, frame.width());
    let shuffle: [__m512i; 5] =
        std::array::from_fn(|i| load64(&transpose(s, if i < 4 { [i; 4] } else { [0, 1, 2, 3] })));
    let mut looks: Vec<Turns<T>> = stage.patterns.iter().map(|_| Turns::new()).collect();
    let scale = _mm512_set1_ps(1.0 / stage.divisor as f32);
    // Rounds half up: sums are multiples of 1/divisor, so a quarter of one settles ties and moves nothing else.
    let tie = _mm512_set1_ps(0.25 / stage.divisor as f32);
    let bias = _mm512_set1_epi32(stage.bias);
    let under = frame.under(s).map(|phase| phase as i32);
    // SAFETY: the array has sixteen words.
    let under = unsafe { _mm512_loadu_si512(under.as_ptr().cast()) };
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (pattern, looks) in stage.patterns.iter().zip(&mut looks) {
                looks.fill(stage.shift, |turn| frame.blocks(*pattern, turn, y, x0));
            }
            let centres = frame.centres(y, x0);
            store_pixels(part, s, w, x0, |i| {
                let (mut even, mut odd) = (bias, _mm512_setzero_si512());
                for (table, looks) in tables.iter().zip(&looks) {
                    let mut last = [0u32; 4];
                    for turn in 0..T {
                        let look = &looks.looks[turn];
                        // SAFETY: rows come from `corners` at the table's own shift.
                        let quad = unsafe {
                            four_rows(&table.values, [look.row[0][i], look.row[1][i], look.row[2][i], look.row[3][i]])
                        };
                        let quad = _mm512_permutexvar_epi8(shuffle[turn], quad);
                        let weights = _mm512_set1_epi32(look.packed[i] as i32);
                        if turn % 2 == 0 {
                            even = _mm512_dpbusd_epi32(even, weights, quad);
                        } else {
                            odd = _mm512_dpbusd_epi32(odd, weights, quad);
                        }
                        last[turn] = look.row[4][i];
                    }
                    // SAFETY: as above; rotations that are not used leave row 0.
                    let quad = unsafe { four_rows(&table.values, last) };
                    let quad = _mm512_permutexvar_epi8(shuffle[4], quad);
                    odd = _mm512_dpbusd_epi32(odd, _mm512_set1_epi32(looks.fifth[i] as i32), quad);
                }
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
                let value = _mm512_cvtps_epi32(_mm512_fmadd_ps(sum, scale, tie));
                let pixel = match (stage.centre, stage.step) {
                    (false, _) => _mm512_setzero_si512(),
                    // Gathering one phase four times took a hundredth of the time of a frame.
                    (true, 1) => _mm512_set1_epi32(centres[0][i].into()),
                    (true, _) => {
                        let phases = _mm_setr_epi32(
                            centres[0][i].into(),
                            centres[1][i].into(),
                            centres[2][i].into(),
                            centres[3][i].into(),
                        );
                        _mm512_permutexvar_epi32(under, _mm512_castsi128_si512(phases))
                    }
                };
                _mm512_add_epi32(value, pixel)
            });
        }
    }
}

/// The lookups of one pattern in `T` rotations at 64 pixels.
struct Turns<const T: usize> {
    looks: [Corners; T],
    /// Weights of the rotations' fifth corners, one byte each.
    fifth: [u32; BLOCK],
}

impl<const T: usize> Turns<T> {
    fn new() -> Self {
        Self { looks: std::array::from_fn(|_| Corners::new()), fifth: [0; BLOCK] }
    }

    #[inline]
    #[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
    fn fill<'a>(&mut self, shift: u32, pixels: impl Fn(usize) -> [&'a [u8; BLOCK]; 4]) {
        for (turn, look) in self.looks.iter_mut().enumerate() {
            corners(pixels(turn), shift, look);
        }
        for i in 0..BLOCK {
            let mut word = 0;
            for turn in 0..T {
                word |= u32::from(self.looks[turn].weight[4][i]) << (8 * turn);
            }
            self.fifth[i] = word;
        }
    }
}

/// Writes the blocks of up to 64 pixels from `x0` on; `value` gives pixel `x0 + i`'s outputs, and may be asked for pixels past the
/// row's end. Four blocks of 4x4 at a time: their rows then make one store each instead of four.
#[inline]
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn store_pixels(part: &mut [u8], s: usize, w: usize, x0: usize, value: impl Fn(usize) -> __m512i) {
    let n = BLOCK.min(w - x0);
    for i in (0..BLOCK).step_by(4).take_while(|&i| i < n) {
        let mut held = [_mm512_setzero_si512(); 4];
        for (k, held) in held.iter_mut().enumerate() {
            *held = value(i + k);
        }
        if s == 4 && i + 4 <= n {
            // Lane y of each register is row y of its block; packing puts the four blocks' rows side by side in it.
            let [a, b, c, d] = held;
            let rows = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
            let lanes = [
                _mm512_castsi512_si128(rows),
                _mm512_extracti32x4_epi32::<1>(rows),
                _mm512_extracti32x4_epi32::<2>(rows),
                _mm512_extracti32x4_epi32::<3>(rows),
            ];
            for (y, lane) in lanes.into_iter().enumerate() {
                let to: &mut [u8; 16] =
                    (&mut part[y * 4 * w + 4 * (x0 + i)..][..16]).try_into().expect("sixteen bytes");
                // SAFETY: the reference covers 16 writable bytes.
                unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), lane) };
            }
        } else {
            for (k, &held) in held.iter().enumerate().take(n - i) {
                store_block(held, part, s, w, x0 + i + k);
            }
        }
    }
}

/// Clamps sixteen outputs to bytes and writes the s x s block of pixel `x`.
#[inline]
#[target_feature(enable = "avx512f")]
fn store_block(value: __m512i, part: &mut [u8], s: usize, w: usize, x: usize) {
    let bytes = _mm512_cvtusepi32_epi8(_mm512_max_epi32(value, _mm512_setzero_si512()));
    let mut block = [0u8; 16];
    // SAFETY: the array has room for 16 bytes.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), bytes) };
    match s {
        4 => copy_block::<4>(&block, part, w, x),
        3 => copy_block::<3>(&block, part, w, x),
        _ => copy_block::<2>(&block, part, w, x),
    }
}

/// A block of constant width, so that each row is one move.
#[inline(always)]
pub(crate) fn copy_block<const S: usize>(block: &[u8; 16], part: &mut [u8], w: usize, x: usize) {
    for row in 0..S {
        part[row * S * w + S * x..][..S].copy_from_slice(&block[row * S..][..S]);
    }
}

/// Byte shuffle that takes four table rows' outputs of one expert of a pair (rows of 32 bytes, two a register) to sixteen
/// quadruples for vpdpbusd, and turns the output block of row k by `turns[k]` quarter turns on the way.
fn transpose_pair(s: usize, turns: [usize; 4], expert: usize) -> [u8; 64] {
    std::array::from_fn(|i| {
        let (output, row) = (i / 4, i % 4);
        // As in `transpose`.
        let place = if output < s * s { source(s, turns[row], output / s, output % s) } else { ROW - 1 };
        (row * 32 + 2 * place + expert) as u8
    })
}

/// Rows of the fusion; see `scalar::fuse`.
///
/// # Safety
/// The machine has the instructions that `Isa::Avx512` stands for.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(crate) unsafe fn fuse(
    experts: &Experts,
    plane: &Plane,
    gates: &[u8],
    residual: Option<&[i8]>,
    rows: Range<usize>,
    out: &mut [u8],
) {
    let (s, w) = (experts.scale, plane.width);
    let shift = experts.total_shift();
    let shuffle: [[__m512i; 2]; 5] = std::array::from_fn(|i| {
        std::array::from_fn(|e| load64(&transpose_pair(s, if i < 4 { [i; 4] } else { [0, 1, 2, 3] }, e)))
    });
    let half = _mm512_set1_epi32(1 << (shift - 1));
    let total = _mm_cvtsi32_si128(shift as i32);
    let unit = _mm_cvtsi32_si128(shift as i32 - 1);
    let mut looks: Vec<Turns<4>> = experts.patterns.iter().map(|_| Turns::new()).collect();
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (pattern, looks) in experts.patterns.iter().zip(&mut looks) {
                looks.fill(experts.shift, |turn| {
                    pattern.turned(turn, 1).map(|(dy, dx)| plane.block(y as isize + dy, x0 as isize + dx))
                });
            }
            let centre = plane.block(y as isize, x0 as isize);
            store_pixels(part, s, w, x0, |i| {
                let x = (x0 + i).min(w - 1);
                let gate: &[u8; 8] = gates[(y * w + x) * 8..][..8].try_into().expect("eight weights");
                let start = match residual {
                    None => half,
                    Some(residual) => {
                        let residual: &[i8; 16] =
                            residual[(y * w + x) * 16..][..16].try_into().expect("sixteen residuals");
                        // SAFETY: the reference covers 16 readable bytes.
                        let extra = unsafe { _mm_loadu_si128(residual.as_ptr().cast()) };
                        _mm512_add_epi32(_mm512_sll_epi32(_mm512_cvtepi8_epi32(extra), unit), half)
                    }
                };
                // Gates are often zero: clean areas leave the experts of heavy damage alone, and the other way round.
                let mut groups = [0; 3];
                let mut count = 0;
                for g in 0..3 {
                    if gate[2 * g] | gate[2 * g + 1] != 0 {
                        groups[count] = g;
                        count += 1;
                    }
                }
                let sum = match count {
                    0 => start,
                    1 => blend(experts, &looks, i, [groups[0]], gate, &shuffle, start),
                    2 => blend(experts, &looks, i, [groups[0], groups[1]], gate, &shuffle, start),
                    _ => blend(experts, &looks, i, [0, 1, 2], gate, &shuffle, start),
                };
                _mm512_add_epi32(_mm512_sra_epi32(sum, total), _mm512_set1_epi32(i32::from(centre[i])))
            });
        }
    }
}

/// `sum` plus the gated experts of pixel `i`; `groups` are the pairs of experts to look at.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn blend<const N: usize>(
    experts: &Experts,
    looks: &[Turns<4>],
    i: usize,
    groups: [usize; N],
    gate: &[u8; 8],
    shuffle: &[[__m512i; 2]; 5],
    mut sum: __m512i,
) -> __m512i {
    let mut sums = [[_mm512_setzero_si512(); 2]; N];
    for (table, looks) in experts.tables.iter().zip(looks) {
        // Adds four corners, weighed by the bytes of `weights`, to both experts of each pair.
        let mut add = |rows: [u32; 4], weights: u32, shuffle: &[__m512i; 2]| {
            let weights = _mm512_set1_epi32(weights as i32);
            for (sums, g) in sums.iter_mut().zip(groups) {
                let load = |row: u32| {
                    let start = row as usize * ROW_BYTES + 32 * g;
                    debug_assert!(start + 32 <= table.len());
                    // SAFETY: rows come from `corners` at the tables' own shift, and g < 3 keeps to the row's 96 bytes.
                    unsafe { _mm256_loadu_si256(table.as_ptr().add(start).cast()) }
                };
                let two = |a, b| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load(a)), load(b));
                let (low, high) = (two(rows[0], rows[1]), two(rows[2], rows[3]));
                for (sum, &shuffle) in sums.iter_mut().zip(shuffle) {
                    *sum = _mm512_dpbusd_epi32(*sum, weights, _mm512_permutex2var_epi8(low, shuffle, high));
                }
            }
        };
        let mut last = [0u32; 4];
        for turn in 0..4 {
            let look = &looks.looks[turn];
            add([look.row[0][i], look.row[1][i], look.row[2][i], look.row[3][i]], look.packed[i], &shuffle[turn]);
            last[turn] = look.row[4][i];
        }
        add(last, looks.fifth[i], &shuffle[4]);
    }
    for (sums, g) in sums.into_iter().zip(groups) {
        for (e, part) in sums.into_iter().enumerate() {
            sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(part, _mm512_set1_epi32(i32::from(gate[2 * g + e]))));
        }
    }
    sum
}
