//! AVX-512 (F, BW, VBMI, VNNI) inner loops.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::cascade::{Stage, Tables};
use crate::conv::{Activations, Layer};
use crate::fusion::{Experts, ROW_BYTES};
use crate::geometry::source;
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
pub(crate) unsafe fn stage(stage: &Stage, plane: &Plane, rows: Range<usize>, out: &mut [u8]) {
    match &stage.tables {
        // One 16-byte load serves a whole lookup there, so wider registers have nothing to add.
        // SAFETY: AVX-512 machines have AVX2.
        Tables::Cells(_) => unsafe { crate::avx2::stage(stage, plane, rows, out) },
        Tables::Rows(tables) => enlarge(stage, tables, plane, rows, out),
    }
}

#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn enlarge(stage: &Stage, tables: &[RowTable], plane: &Plane, rows: Range<usize>, out: &mut [u8]) {
    let (s, w, turns) = (stage.scale, plane.width, stage.rotations);
    let shuffle: [__m512i; 5] =
        std::array::from_fn(|i| load64(&transpose(s, if i < 4 { [i; 4] } else { [0, 1, 2, 3] })));
    let mut looks: Vec<Corners> = (0..stage.patterns.len() * turns).map(|_| Corners::new()).collect();
    // Weights of the fifth corners of a pattern's four rotations, one byte each.
    let mut fifth = vec![[0u32; BLOCK]; stage.patterns.len()];
    let scale = _mm512_set1_ps(1.0 / stage.divisor as f32);
    // Rounds half up: sums are multiples of 1/divisor, so a quarter of one settles ties and moves nothing else.
    let tie = _mm512_set1_ps(0.25 / stage.divisor as f32);
    let bias = _mm512_set1_epi32(stage.bias);
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (j, pattern) in stage.patterns.iter().enumerate() {
                for turn in 0..turns {
                    let pixels = pattern.turned(turn).map(|(dy, dx)| plane.block(y as isize + dy, x0 as isize + dx));
                    corners(pixels, stage.shift, &mut looks[j * turns + turn]);
                }
                for i in 0..BLOCK {
                    fifth[j][i] =
                        (0..turns).map(|turn| u32::from(looks[j * turns + turn].weight[4][i]) << (8 * turn)).sum();
                }
            }
            let centre = plane.block(y as isize, x0 as isize);
            let mut blocks = Blocks::new();
            for i in 0..BLOCK.min(w - x0) {
                let (mut even, mut odd) = (bias, _mm512_setzero_si512());
                for (j, table) in tables.iter().enumerate() {
                    let mut last = [0u32; 4];
                    for turn in 0..turns {
                        let look = &looks[j * turns + turn];
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
                    odd = _mm512_dpbusd_epi32(odd, _mm512_set1_epi32(fifth[j][i] as i32), quad);
                }
                let sum = _mm512_cvtepi32_ps(_mm512_add_epi32(even, odd));
                let pixel = if stage.centre { i32::from(centre[i]) } else { 0 };
                let value =
                    _mm512_add_epi32(_mm512_cvtps_epi32(_mm512_fmadd_ps(sum, scale, tie)), _mm512_set1_epi32(pixel));
                blocks.push(value, part, s, w, x0 + i);
            }
        }
    }
}

/// Gathers the 4x4 blocks of four pixels, whose rows then make one store each instead of four.
struct Blocks {
    held: [__m512i; 4],
}

impl Blocks {
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn new() -> Self {
        Self { held: [_mm512_setzero_si512(); 4] }
    }

    /// Takes the outputs of pixel `x`; pixels come in order, from a multiple of 4 on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn push(&mut self, value: __m512i, part: &mut [u8], s: usize, w: usize, x: usize) {
        if s != 4 || x >= w / 4 * 4 {
            return store_block(value, part, s, w, x);
        }
        self.held[x % 4] = value;
        if x % 4 < 3 {
            return;
        }
        let [a, b, c, d] = self.held;
        // Lane y of each register is row y of its block; packing puts the four blocks' rows side by side in it.
        let rows = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
        let lanes = [
            _mm512_castsi512_si128(rows),
            _mm512_extracti32x4_epi32::<1>(rows),
            _mm512_extracti32x4_epi32::<2>(rows),
            _mm512_extracti32x4_epi32::<3>(rows),
        ];
        for (y, lane) in lanes.into_iter().enumerate() {
            let to: &mut [u8; 16] = (&mut part[y * 4 * w + 4 * (x - 3)..][..16]).try_into().expect("sixteen bytes");
            // SAFETY: the reference covers 16 writable bytes.
            unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), lane) };
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

/// Rows of the fusion; see `scalar::fuse`.
///
/// # Safety
/// The machine has the instructions that `Isa::Avx512` stands for.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(crate) unsafe fn fuse(
    experts: &Experts,
    plane: &Plane,
    gates: &[u8],
    residual: &[i8],
    rows: Range<usize>,
    out: &mut [u8],
) {
    let (s, w) = (experts.scale, plane.width);
    let shift = experts.total_shift();
    let turned: [__m512i; 4] = std::array::from_fn(|turn| {
        let order: [i32; 16] =
            std::array::from_fn(|o| if o < s * s { source(s, turn, o / s, o % s) as i32 } else { 15 });
        // SAFETY: the array has 64 readable bytes.
        unsafe { _mm512_loadu_si512(order.as_ptr().cast()) }
    });
    let half = _mm512_set1_epi32(1 << (shift - 1));
    let total = _mm_cvtsi32_si128(shift as i32);
    let unit = _mm_cvtsi32_si128(shift as i32 - 1);
    let mut looks: Vec<Corners> = (0..experts.patterns.len() * 4).map(|_| Corners::new()).collect();
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (j, pattern) in experts.patterns.iter().enumerate() {
                for turn in 0..4 {
                    let pixels = pattern.turned(turn).map(|(dy, dx)| plane.block(y as isize + dy, x0 as isize + dx));
                    corners(pixels, experts.shift, &mut looks[j * 4 + turn]);
                }
            }
            let centre = plane.block(y as isize, x0 as isize);
            let mut blocks = Blocks::new();
            for i in 0..BLOCK.min(w - x0) {
                let pixel = y * w + x0 + i;
                let gate: &[u8; 8] = gates[pixel * 8..][..8].try_into().expect("eight weights");
                let pair = |k: usize| _mm512_set1_epi32(i32::from(gate[2 * k]) | i32::from(gate[2 * k + 1]) << 16);
                let pairs = [pair(0), pair(1), pair(2)];
                let extra: &[i8; 16] = residual[pixel * 16..][..16].try_into().expect("sixteen residuals");
                // SAFETY: the reference covers 16 readable bytes.
                let extra = _mm512_cvtepi8_epi32(unsafe { _mm_loadu_si128(extra.as_ptr().cast()) });
                let start = _mm512_add_epi32(_mm512_sll_epi32(extra, unit), half);
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
                    1 => blend(experts, &looks, i, [groups[0]], &pairs, &turned, start),
                    2 => blend(experts, &looks, i, [groups[0], groups[1]], &pairs, &turned, start),
                    _ => blend(experts, &looks, i, [0, 1, 2], &pairs, &turned, start),
                };
                let value = _mm512_add_epi32(_mm512_sra_epi32(sum, total), _mm512_set1_epi32(i32::from(centre[i])));
                blocks.push(value, part, s, w, x0 + i);
            }
        }
    }
}

/// `sum` plus the gated experts of pixel `i`; `groups` are the pairs of experts to look at.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn blend<const N: usize>(
    experts: &Experts,
    looks: &[Corners],
    i: usize,
    groups: [usize; N],
    pairs: &[__m512i; 3],
    turned: &[__m512i; 4],
    mut sum: __m512i,
) -> __m512i {
    for turn in 0..4 {
        // Both patterns of a rotation share 16-bit lanes: 2 x 32 x 127 fits.
        let mut blend = [_mm512_setzero_si512(); N];
        for (j, table) in experts.tables.iter().enumerate() {
            let look = &looks[j * 4 + turn];
            for k in 0..5 {
                let start = look.row[k][i] as usize * ROW_BYTES;
                debug_assert!(start + ROW_BYTES <= table.len());
                let weight = _mm512_set1_epi16(i16::from(look.weight[k][i]));
                for (blend, g) in blend.iter_mut().zip(groups) {
                    // SAFETY: rows come from `corners` at the tables' own shift, and g < 3 keeps to the row's 96 bytes.
                    let values = unsafe { _mm256_loadu_si256(table.as_ptr().add(start + 32 * g).cast()) };
                    *blend = _mm512_add_epi16(*blend, _mm512_mullo_epi16(_mm512_cvtepi8_epi16(values), weight));
                }
            }
        }
        let mut mixed = _mm512_setzero_si512();
        for (blend, g) in blend.into_iter().zip(groups) {
            mixed = _mm512_add_epi32(mixed, _mm512_madd_epi16(blend, pairs[g]));
        }
        sum = _mm512_add_epi32(sum, _mm512_permutexvar_epi32(turned[turn], mixed));
    }
    sum
}

/// Row `y` of a convolution; see `scalar::convolve`.
///
/// # Safety
/// The machine has the instructions that `Isa::Avx512` stands for.
#[target_feature(enable = "avx2,avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(crate) unsafe fn convolve(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    // Pixels a tile: as many as leave registers for the weights (32 registers hold tile x groups sums).
    match layer.outputs / 16 {
        1 => tiles::<1, 14>(layer, input, y, out),
        2 => tiles::<2, 12>(layer, input, y, out),
        3 => tiles::<3, 8>(layer, input, y, out),
        _ => tiles::<4, 6>(layer, input, y, out),
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn tiles<const G: usize, const P: usize>(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    let offsets = layer.offsets(input);
    let w = input.width;
    let mut x = 0;
    while x + P <= w {
        tile::<G, P>(layer, input, &offsets, y, x, out);
        x += P;
    }
    while x < w {
        tile::<G, 1>(layer, input, &offsets, y, x, out);
        x += 1;
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
fn tile<const G: usize, const P: usize>(
    layer: &Layer,
    input: &Activations,
    offsets: &[isize],
    y: usize,
    x: usize,
    out: &mut [u8],
) {
    let c = input.channels;
    let base = input.place(y, x);
    assert!(layer.outputs == 16 * G && layer.weights.len() == offsets.len() * 64 * G && input.channels == layer.inputs);
    assert!(y < input.height && x + P <= input.width && out.len() >= (x + P) * 16 * G);
    assert!(input.data.len() == (input.width + 2) * (input.height + 2) * c);
    assert!(layer.bias.len() == 16 * G && layer.shift.len() == 16 * G);
    // SAFETY: all reads stay inside: a pixel of the image and its eight neighbours exist by the zero border (`place` +
    // `offsets` with the sizes asserted above), weights, bias and shift have the asserted lengths; writes stay within
    // `out` by the assertion on its length.
    unsafe {
        let mut sum = [[_mm512_setzero_si512(); G]; P];
        for g in 0..G {
            let bias = _mm512_loadu_si512(layer.bias.as_ptr().add(16 * g).cast());
            for sum in &mut sum {
                sum[g] = bias;
            }
        }
        let pixels = input.data.as_ptr().add(base);
        let mut weights = layer.weights.as_ptr();
        for &offset in offsets {
            let w: [__m512i; G] = std::array::from_fn(|g| _mm512_loadu_si512(weights.add(64 * g).cast()));
            let word = pixels.offset(offset);
            for (p, sum) in sum.iter_mut().enumerate() {
                let a = _mm512_set1_epi32(word.add(p * c).cast::<i32>().read_unaligned());
                for g in 0..G {
                    sum[g] = _mm512_dpbusd_epi32(sum[g], a, w[g]);
                }
            }
            weights = weights.add(64 * G);
        }
        for g in 0..G {
            let shift = _mm512_loadu_si512(layer.shift.as_ptr().add(16 * g).cast());
            for (p, sum) in sum.iter().enumerate() {
                let value = _mm512_srav_epi32(sum[g], shift);
                let bytes = if layer.hidden {
                    _mm512_cvtepi32_epi8(_mm512_min_epi32(
                        _mm512_max_epi32(value, _mm512_setzero_si512()),
                        _mm512_set1_epi32(127),
                    ))
                } else {
                    _mm512_cvtsepi32_epi8(value)
                };
                _mm_storeu_si128(out.as_mut_ptr().add((x + p) * 16 * G + 16 * g).cast(), bytes);
            }
        }
    }
}
