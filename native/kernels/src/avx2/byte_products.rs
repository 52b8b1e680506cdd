//! Products of quantised weights with rows of whole numbers. Without a product of unsigned and signed bytes that holds all sums, signs go from the weights
//! to the rows.

use core::arch::x86_64::*;

use half::f16;

use crate::byte_products::{BLOCK, ByteRows, CodeFormat, PANEL, RowPart, check_panel};
use crate::prefetch::stream;

/// Outputs in a vector.
const LANES: usize = 8;
/// Vectors of outputs at a time: half a panel.
const VECTORS: usize = 2;
/// Rows at a time: with `VECTORS` of each kind of sum they fill the registers.
const ROWS: usize = 2;

#[target_feature(enable = "avx2,fma,f16c")]
pub(super) fn multiply_panel(format: CodeFormat, codes: &[u8], lines: &[f16], rows: &ByteRows, out: &mut [f32]) {
    check_panel(format, codes, lines, rows, out);
    let mut first = 0;
    while first < rows.len() {
        let count = (rows.len() - first).min(ROWS);
        let (part, out) = (rows.part(first, count), &mut out[first * PANEL..(first + count) * PANEL]);
        match count {
            1 => by_format::<1>(format, codes, lines, part, out),
            _ => by_format::<ROWS>(format, codes, lines, part, out),
        }
        first += count;
    }
}

#[target_feature(enable = "avx2,fma,f16c")]
fn by_format<const R: usize>(format: CodeFormat, codes: &[u8], lines: &[f16], part: RowPart<'_>, out: &mut [f32]) {
    for first in (0..PANEL).step_by(VECTORS * LANES) {
        match format {
            CodeFormat::Bytes => columns::<R, false, false, false>(codes, lines, &part, first, out),
            CodeFormat::ByteHalves => columns::<R, false, true, false>(codes, lines, &part, first, out),
            CodeFormat::ByteOffset => columns::<R, false, false, true>(codes, lines, &part, first, out),
            CodeFormat::NibbleOffset => columns::<R, true, false, true>(codes, lines, &part, first, out),
        }
    }
}

/// Sums of four products of bytes each: unsigned weights with a row's four numbers, added to `sum`.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(sum: __m256i, weights: __m256i, row: __m256i) -> __m256i {
    // Two products are at most 128 · 127 each: their sum fits 16 bits.
    _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(weights, row), _mm256_set1_epi16(1)))
}

/// `R` rows with the outputs `first..` of a panel.
#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn columns<const R: usize, const NIBBLES: bool, const HALVES: bool, const OFFSET: bool>(
    codes: &[u8],
    lines: &[f16],
    part: &RowPart<'_>,
    first: usize,
    out: &mut [f32],
) {
    let blocks = part.scales.len() / R;
    let code_bytes = PANEL * if NIBBLES { BLOCK / 2 } else { BLOCK };
    let line_count = 1 + usize::from(HALVES || OFFSET);
    let (codes, lines) = (&codes[..blocks * code_bytes], &lines[..blocks * line_count * PANEL]);
    let numbers =
        |x: &'_ [i8]| -> [*const i8; R] { std::array::from_fn(|r| x[r * blocks * BLOCK..][..blocks * BLOCK].as_ptr()) };
    let high = numbers(part.high);
    let low = numbers(part.low);
    let mut sums = [[_mm256_setzero_ps(); VECTORS]; R];
    let nibble = _mm256_set1_epi8(15);
    let turn = _mm256_set1_epi8(-128);
    for block in 0..blocks {
        let mut dots = [[_mm256_setzero_si256(); VECTORS]; R];
        let mut fine = [[_mm256_setzero_si256(); VECTORS]; R];
        let add = |group: usize,
                   codes: [__m256i; VECTORS],
                   dots: &mut [[__m256i; VECTORS]; R],
                   fine: &mut [[__m256i; VECTORS]; R]| {
            // Of signed codes the amounts; the rows take their signs.
            let amounts = if NIBBLES { codes } else { codes.map(|code| _mm256_abs_epi8(code)) };
            for r in 0..R {
                let with = |numbers: *const i8, sums: &mut [__m256i; VECTORS]| {
                    // SAFETY: the group is one of the eight of a block, which the row has.
                    let word = unsafe { numbers.add(block * BLOCK + 4 * group).cast::<i32>().read_unaligned() };
                    let x = _mm256_set1_epi32(word);
                    for v in 0..VECTORS {
                        let x = if NIBBLES { x } else { _mm256_sign_epi8(x, codes[v]) };
                        sums[v] = dot(sums[v], amounts[v], x);
                    }
                };
                with(high[r], &mut dots[r]);
                with(low[r], &mut fine[r]);
            }
        };
        let settle = |line: usize,
                      sums: &mut [[__m256; VECTORS]; R],
                      dots: &[[__m256i; VECTORS]; R],
                      fine: &[[__m256i; VECTORS]; R]| {
            for v in 0..VECTORS {
                let scale = halves(lines, (block * line_count + line) * PANEL + first + v * LANES);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let dot = _mm256_add_epi32(_mm256_slli_epi32::<7>(dots[r][v]), fine[r][v]);
                    let dot = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), _mm256_set1_ps(part.scales[r * blocks + block]));
                    sums[v] = _mm256_fmadd_ps(dot, scale, sums[v]);
                }
            }
        };
        for group in 0..if NIBBLES { 4 } else { 8 } {
            let both: [__m256i; VECTORS] = std::array::from_fn(|v| {
                let at = block * code_bytes + (group * PANEL + first + v * LANES) * 4;
                if v == 0 {
                    stream(codes, at);
                }
                let codes = &codes[at..at + 32];
                // SAFETY: 32 bytes.
                unsafe { _mm256_loadu_si256(codes.as_ptr().cast()) }
            });
            if NIBBLES {
                add(group, both.map(|x| _mm256_and_si256(x, nibble)), &mut dots, &mut fine);
                let upper = both.map(|x| _mm256_and_si256(_mm256_srli_epi16::<4>(x), nibble));
                add(group + 4, upper, &mut dots, &mut fine);
            } else {
                add(group, both.map(|x| _mm256_xor_si256(x, turn)), &mut dots, &mut fine);
            }
            if HALVES && group == 3 {
                settle(0, &mut sums, &dots, &fine);
                dots = [[_mm256_setzero_si256(); VECTORS]; R];
                fine = dots;
            }
        }
        settle(usize::from(HALVES), &mut sums, &dots, &fine);
        if OFFSET {
            for v in 0..VECTORS {
                let offset = halves(lines, (block * line_count + 1) * PANEL + first + v * LANES);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let at = r * blocks + block;
                    let sum = (part.sums[at][0] + part.sums[at][1]) as f32 * part.scales[at];
                    sums[v] = _mm256_fmadd_ps(_mm256_set1_ps(sum), offset, sums[v]);
                }
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out.as_chunks_mut::<PANEL>().0) {
        for (sum, out) in sums.into_iter().zip(out[first..].as_chunks_mut::<LANES>().0) {
            // SAFETY: the target is 8 elements long.
            unsafe { _mm256_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx2,fma,f16c")]
fn halves(lines: &[f16], at: usize) -> __m256 {
    let line = &lines[at..at + LANES];
    // SAFETY: 8 halves, each a transparent u16.
    _mm256_cvtph_ps(unsafe { _mm_loadu_si128(line.as_ptr().cast()) })
}
