//! AVX2 inner loops of table stages.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::arch::x86_64::*;
use std::ops::Range;

use crate::avx2::{store_block, turn_row};
use crate::cascade::{Stage, Tables};
use crate::phases::Phases;
use crate::plane::BLOCK;
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
