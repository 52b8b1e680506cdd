//! AVX2 inner loops, with the VEX-coded byte dot product where the machine has it.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::avx512::copy_block;
use crate::cascade::{Stage, Tables};
use crate::conv::{Activations, Layer};
use crate::fusion::{Experts, ROW_BYTES};
use crate::geometry::source;
use crate::phases::Phases;
use crate::plane::{BLOCK, Plane};
use crate::simplex::{Corners, cell_corners, corners};
use crate::table::{CellTable, ROW, RowTable};

/// Rows of a stage.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn stage(stage: &Stage, frame: &Phases, rows: Range<usize>, out: &mut [u8]) {
    match &stage.tables {
        Tables::Rows(tables) => enlarge(stage, tables, frame, rows, out),
        Tables::Cells(tables) => refine(stage, tables, frame, rows, out),
    }
}

/// Byte shuffle that turns the output block of one table row.
fn turn_row(s: usize, turn: usize) -> [u8; 16] {
    std::array::from_fn(|o| if o < s * s { source(s, turn, o / s, o % s) as u8 } else { 15 })
}

/// `turn_row` for sixteen words in a register: what comes of the own half, and what of the other one with halves exchanged.
fn turn_words(s: usize, turn: usize) -> [[u8; 32]; 2] {
    let row = turn_row(s, turn);
    std::array::from_fn(|other| {
        std::array::from_fn(|i| {
            let place = usize::from(row[i / 2]);
            let own = place / 8 == i / 16;
            // The highest bit makes a zero.
            if own == (other == 0) { (place % 8 * 2 + i % 2) as u8 } else { 128 }
        })
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load16(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: the reference covers 16 readable bytes.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load32(bytes: &[u8; 32]) -> __m256i {
    // SAFETY: the reference covers 32 readable bytes.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_row(table: &[i8], row: u32) -> __m128i {
    let row: &[i8; ROW] = table[row as usize * ROW..][..ROW].try_into().expect("a row");
    // SAFETY: the reference covers 16 readable bytes.
    unsafe { _mm_loadu_si128(row.as_ptr().cast()) }
}

/// Corner k of a pixel in two tables, one lane each.
#[inline]
#[target_feature(enable = "avx2")]
fn row_pair(tables: [&RowTable; 2], looks: [&Corners; 2], k: usize, i: usize) -> __m256i {
    let low = _mm256_castsi128_si256(load_row(&tables[0].values, looks[0].row[k][i]));
    _mm256_inserti128_si256::<1>(low, load_row(&tables[1].values, looks[1].row[k][i]))
}

/// A word in every place of a lane, another one in the other lane.
#[inline]
#[target_feature(enable = "avx2")]
fn lanes(low: u32, high: u32) -> __m256i {
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(_mm_cvtsi32_si128(low as i32)), _mm_cvtsi32_si128(high as i32))
}

/// The sixteen outputs of one pixel and turn as words, summed over two tables; with `alone` of the first one only.
#[inline]
#[target_feature(enable = "avx2")]
fn interpolate_pair(tables: [&RowTable; 2], looks: [&Corners; 2], alone: bool, i: usize) -> __m256i {
    let [a, b] = looks;
    let high = if alone { [0, 0] } else { [b.packed[i], b.weight[4][i].into()] };
    let weights = lanes(a.packed[i], high[0]);
    let first = _mm256_shuffle_epi8(weights, _mm256_set1_epi16(0x0100));
    let second = _mm256_shuffle_epi8(weights, _mm256_set1_epi16(0x0302));
    let last = _mm256_shuffle_epi8(lanes(a.weight[4][i].into(), high[1]), _mm256_set1_epi16(0x0100));
    let rows0 = row_pair(tables, looks, 0, i);
    let rows1 = row_pair(tables, looks, 1, i);
    let rows2 = row_pair(tables, looks, 2, i);
    let rows3 = row_pair(tables, looks, 3, i);
    let rows4 = row_pair(tables, looks, 4, i);
    let zero = _mm256_setzero_si256();
    // Two corners' products with weights that sum to 64 at most fit 16 bits, and so do the sums of all five.
    let low = _mm256_maddubs_epi16(first, _mm256_unpacklo_epi8(rows0, rows1));
    let high = _mm256_maddubs_epi16(first, _mm256_unpackhi_epi8(rows0, rows1));
    let low = _mm256_add_epi16(low, _mm256_maddubs_epi16(second, _mm256_unpacklo_epi8(rows2, rows3)));
    let high = _mm256_add_epi16(high, _mm256_maddubs_epi16(second, _mm256_unpackhi_epi8(rows2, rows3)));
    let low = _mm256_add_epi16(low, _mm256_maddubs_epi16(last, _mm256_unpacklo_epi8(rows4, zero)));
    let high = _mm256_add_epi16(high, _mm256_maddubs_epi16(last, _mm256_unpackhi_epi8(rows4, zero)));
    // Outputs 0 to 7 of both patterns lie in `low`, the others in `high`.
    _mm256_add_epi16(_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
}

#[target_feature(enable = "avx2")]
fn enlarge(stage: &Stage, tables: &[RowTable], frame: &Phases, rows: Range<usize>, out: &mut [u8]) {
    let (s, w, turns) = (stage.scale, frame.width(), stage.rotations);
    let shuffle: [[__m256i; 2]; 4] = std::array::from_fn(|turn| turn_words(s, turn).map(|bytes| load32(&bytes)));
    let under = load16(&frame.under(s).map(|phase| if stage.centre { phase as u8 } else { 128 }));
    let mut looks: Vec<Corners> = (0..stage.patterns.len() * turns).map(|_| Corners::new()).collect();
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (j, pattern) in stage.patterns.iter().enumerate() {
                for turn in 0..turns {
                    corners(frame.blocks(*pattern, turn, y, x0), stage.shift, &mut looks[j * turns + turn]);
                }
            }
            let centres = frame.centres(y, x0);
            for i in 0..BLOCK.min(w - x0) {
                let mut sums = [_mm256_set1_epi32(stage.bias); 2];
                for (tables, looks) in tables.chunks(2).zip(looks.chunks(2 * turns)) {
                    let mut blend = _mm256_setzero_si256();
                    for turn in 0..turns {
                        let pair = [&looks[turn], &looks[looks.len() - turns + turn]];
                        let own = interpolate_pair([&tables[0], &tables[tables.len() - 1]], pair, tables.len() == 1, i);
                        let other = _mm256_permute2x128_si256::<1>(own, own);
                        let [from_own, from_other] = shuffle[turn];
                        let turned =
                            _mm256_or_si256(_mm256_shuffle_epi8(own, from_own), _mm256_shuffle_epi8(other, from_other));
                        blend = _mm256_add_epi16(blend, turned);
                        // Eight lookups of at most 32 x 127 fit 16 bits, four of 64 x 127.
                        if turn + 1 == turns || stage.shift == 6 && turn % 2 == 1 {
                            add_words(&mut sums, blend);
                            blend = _mm256_setzero_si256();
                        }
                    }
                }
                // Saturation on the way keeps what lies outside of a byte outside.
                let words = _mm256_packs_epi32(divide(sums[0], stage.divisor), divide(sums[1], stage.divisor));
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
                let pixels = u32::from_le_bytes(centres.map(|phase| phase[i]));
                let pixels = _mm_shuffle_epi8(_mm_cvtsi32_si128(pixels as i32), under);
                let words = _mm256_adds_epi16(words, _mm256_cvtepu8_epi16(pixels));
                let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                let mut block = [0u8; 16];
                // SAFETY: the array has room for 16 bytes.
                unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), bytes) };
                store_block(&block, part, s, w, x0 + i);
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn add_words(sums: &mut [__m256i; 2], words: __m256i) {
    sums[0] = _mm256_add_epi32(sums[0], _mm256_cvtepi16_epi32(_mm256_castsi256_si128(words)));
    sums[1] = _mm256_add_epi32(sums[1], _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(words)));
}

/// `floor((sum + divisor/2) / divisor)`: sums are multiples of 1/divisor, so adding a quarter of one before rounding to
/// nearest settles ties upwards and moves nothing else.
#[inline]
#[target_feature(enable = "avx2")]
fn divide(sum: __m256i, divisor: i32) -> __m256i {
    let quotient = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_set1_ps(1.0 / divisor as f32));
    _mm256_cvtps_epi32(_mm256_add_ps(quotient, _mm256_set1_ps(0.25 / divisor as f32)))
}

#[inline(always)]
fn store_block(block: &[u8; 16], part: &mut [u8], s: usize, w: usize, x: usize) {
    match s {
        4 => copy_block::<4>(block, part, w, x),
        3 => copy_block::<3>(block, part, w, x),
        _ => copy_block::<2>(block, part, w, x),
    }
}

/// One-output stages from cell tables: one load, one shuffle and one multiply-add a lookup.
#[target_feature(enable = "avx2")]
fn refine(stage: &Stage, tables: &[CellTable], frame: &Phases, rows: Range<usize>, out: &mut [u8]) {
    let (w, turns) = (frame.width(), stage.rotations);
    let mut look = Corners::new();
    // Weights and corner numbers of a pixel side by side, as the shuffle and the multiply-add take them.
    let mut weights = [[0u8; 8]; BLOCK];
    let mut places = [[0u8; 8]; BLOCK];
    for (part, y) in out.chunks_exact_mut(w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            let n = BLOCK.min(w - x0);
            let mut sums = [_mm_setzero_si128(); BLOCK];
            for (pattern, table) in stage.patterns.iter().zip(tables) {
                for turn in 0..turns {
                    let pixels = frame.blocks(*pattern, turn, y, x0);
                    cell_corners(pixels, stage.shift, &mut look);
                    for i in 0..BLOCK {
                        let (l, m) = (&look.weight, &look.mask);
                        weights[i] = [l[0][i], l[1][i], l[2][i], l[3][i], l[4][i], 0, 0, 0];
                        places[i] = [0, m[0][i], m[1][i], m[2][i], 15, 0, 0, 0];
                    }
                    for i in 0..n {
                        let cell: &[i8; 16] =
                            table.values[look.row[0][i] as usize * 16..][..16].try_into().expect("a cell");
                        // SAFETY: the references cover 16, 8 and 8 readable bytes.
                        let (cell, place, weight) = unsafe {
                            (
                                _mm_loadu_si128(cell.as_ptr().cast()),
                                _mm_loadl_epi64(places[i].as_ptr().cast()),
                                _mm_loadl_epi64(weights[i].as_ptr().cast()),
                            )
                        };
                        // A pair of products fits 16 bits; lookups add up in 32.
                        let words = _mm_maddubs_epi16(weight, _mm_shuffle_epi8(cell, place));
                        sums[i] = _mm_add_epi32(sums[i], _mm_madd_epi16(words, _mm_set1_epi16(1)));
                    }
                }
            }
            let centres = frame.centres(y, x0);
            for i in 0..n {
                let sum = _mm_add_epi32(sums[i], _mm_srli_si128::<4>(sums[i]));
                let sum = _mm_cvtsi128_si32(sum) + stage.bias;
                let pixel = if stage.centre { i32::from(centres[0][i]) } else { 0 };
                let quotient = (sum + stage.divisor / 2).div_euclid(stage.divisor);
                part[x0 + i] = (quotient + pixel).clamp(0, 255) as u8;
            }
        }
    }
}

/// Rows of the fusion; see `scalar::fuse`.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
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
    let order: [[u8; 16]; 4] = std::array::from_fn(|turn| turn_row(s, turn));
    let mut looks: Vec<Corners> = (0..experts.patterns.len() * 4).map(|_| Corners::new()).collect();
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x0 in (0..w).step_by(BLOCK) {
            for (j, pattern) in experts.patterns.iter().enumerate() {
                for turn in 0..4 {
                    let pixels = pattern.turned(turn, 1).map(|(dy, dx)| plane.block(y as isize + dy, x0 as isize + dx));
                    corners(pixels, experts.shift, &mut looks[j * 4 + turn]);
                }
            }
            let centre = plane.block(y as isize, x0 as isize);
            for i in 0..BLOCK.min(w - x0) {
                let pixel = y * w + x0 + i;
                let gate: &[u8; 8] = gates[pixel * 8..][..8].try_into().expect("eight weights");
                let extra: &[i8; 16] = match residual {
                    Some(residual) => residual[pixel * 16..][..16].try_into().expect("sixteen residuals"),
                    None => &[0; 16],
                };
                let mut sum: [i32; 16] =
                    std::array::from_fn(|o| (i32::from(extra[o]) << (shift - 1)) + (1 << (shift - 1)));
                for (turn, order) in order.iter().enumerate() {
                    let mut blend = [_mm256_setzero_si256(); 6];
                    for (j, table) in experts.tables.iter().enumerate() {
                        let look = &looks[j * 4 + turn];
                        for k in 0..5 {
                            let row: &[i8; ROW_BYTES] =
                                table[look.row[k][i] as usize * ROW_BYTES..][..ROW_BYTES].try_into().expect("a row");
                            let weight = _mm256_set1_epi16(i16::from(look.weight[k][i]));
                            for (g, blend) in blend.iter_mut().enumerate() {
                                // SAFETY: g < 6, so the 16 bytes lie within the row's 96.
                                let values =
                                    _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(row.as_ptr().add(16 * g).cast()) });
                                *blend = _mm256_add_epi16(*blend, _mm256_mullo_epi16(values, weight));
                            }
                        }
                    }
                    let mut mixed = [0i32; 16];
                    for half in 0..2 {
                        let part = |g: usize| {
                            let pair = _mm256_set1_epi32(i32::from(gate[2 * g]) | i32::from(gate[2 * g + 1]) << 16);
                            _mm256_madd_epi16(blend[2 * g + half], pair)
                        };
                        let eight = _mm256_add_epi32(_mm256_add_epi32(part(0), part(1)), part(2));
                        // SAFETY: the array has room for two times eight words.
                        unsafe { _mm256_storeu_si256(mixed.as_mut_ptr().add(8 * half).cast(), eight) };
                    }
                    for o in 0..16 {
                        sum[o] += mixed[usize::from(order[o] & 15)];
                    }
                }
                let block = sum.map(|v| ((v >> shift) + i32::from(centre[i])).clamp(0, 255) as u8);
                store_block(&block, part, s, w, x0 + i);
            }
        }
    }
}

/// Row `y` of a convolution without a byte dot product; see `scalar::convolve`.
///
/// # Safety
/// The machine has AVX2.
#[target_feature(enable = "avx2")]
pub(crate) unsafe fn convolve(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    tiles::<false>(layer, input, y, out);
}

/// Row `y` of a convolution with vpdpbusd in 256 bits.
///
/// # Safety
/// The machine has AVX2 and AVX-VNNI.
#[target_feature(enable = "avx2,avxvnni")]
pub(crate) unsafe fn convolve_vnni(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    tiles::<true>(layer, input, y, out);
}

/// Sixteen outputs (two registers) of six pixels at a time: twelve sums, two weights, one activation of 16 registers.
#[inline(always)]
fn tiles<const VNNI: bool>(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    let offsets = layer.offsets(input);
    let w = input.width;
    for group in 0..layer.outputs / 16 {
        let mut x = 0;
        while x + 6 <= w {
            tile::<6, VNNI>(layer, input, &offsets, group, y, x, out);
            x += 6;
        }
        while x < w {
            tile::<1, VNNI>(layer, input, &offsets, group, y, x, out);
            x += 1;
        }
    }
}

#[inline(always)]
fn tile<const P: usize, const VNNI: bool>(
    layer: &Layer,
    input: &Activations,
    offsets: &[isize],
    group: usize,
    y: usize,
    x: usize,
    out: &mut [u8],
) {
    let (c, outputs) = (input.channels, layer.outputs);
    assert!(layer.weights.len() == offsets.len() * 4 * outputs && c >= layer.inputs && group * 16 < outputs);
    assert!(y < input.height && x + P <= input.width && out.len() >= (x + P) * outputs);
    assert!(input.data.len() == (input.width + 2) * (input.height + 2) * c);
    assert!(layer.bias.len() == outputs && layer.shift.len() == outputs);
    // SAFETY: the callers enable AVX2 (and AVX-VNNI with VNNI) before this is inlined into them. Reads stay inside: a pixel
    // and its eight neighbours exist by the border, the other arrays have the asserted lengths; writes stay in `out`.
    unsafe {
        let first = |p: *const i32| {
            [_mm256_loadu_si256(p.add(16 * group).cast()), _mm256_loadu_si256(p.add(16 * group + 8).cast())]
        };
        let mut sum = [first(layer.bias.as_ptr()); P];
        let pixels = input.data.as_ptr().add(input.place(y, x));
        let mut weights = layer.weights.as_ptr().add(64 * group);
        let ones = _mm256_set1_epi16(1);
        for &offset in offsets {
            let w = [_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.add(32).cast())];
            let word = pixels.offset(offset);
            for (p, sum) in sum.iter_mut().enumerate() {
                let a = _mm256_set1_epi32(word.add(p * c).cast::<i32>().read_unaligned());
                for g in 0..2 {
                    sum[g] = if VNNI {
                        _mm256_dpbusd_avx_epi32(sum[g], a, w[g])
                    } else {
                        // Activations stop at 127, so a pair of products fits 16 bits.
                        _mm256_add_epi32(sum[g], _mm256_madd_epi16(_mm256_maddubs_epi16(a, w[g]), ones))
                    };
                }
            }
            weights = weights.add(4 * outputs);
        }
        let shift = first(layer.shift.as_ptr().cast());
        let (low, high) = if layer.hidden { (0, 127) } else { (-128, 127) };
        for (p, sum) in sum.iter().enumerate() {
            let clamp = |v| _mm256_min_epi32(_mm256_max_epi32(v, _mm256_set1_epi32(low)), _mm256_set1_epi32(high));
            let words = _mm256_packs_epi32(
                clamp(_mm256_srav_epi32(sum[0], shift[0])),
                clamp(_mm256_srav_epi32(sum[1], shift[1])),
            );
            let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(words);
            let (a, b) = (_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            let bytes = if layer.hidden { _mm_packus_epi16(a, b) } else { _mm_packs_epi16(a, b) };
            _mm_storeu_si128(out.as_mut_ptr().add((x + p) * outputs + 16 * group).cast(), bytes);
        }
    }
}
