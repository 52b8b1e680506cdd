//! Products of quantised weights with rows of whole numbers.

use core::arch::x86_64::*;

use half::f16;

use crate::byte_products::{BIAS, BLOCK, ByteRows, CodeFormat, PANEL, ROWS, RowPart, check_panel};
use crate::prefetch::stream;

/// Vectors of a panel.
const VECTORS: usize = PANEL / 16;

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn multiply_panel(format: CodeFormat, codes: &[u8], lines: &[f16], rows: &ByteRows, out: &mut [f32]) {
    check_panel(format, codes, lines, rows, out);
    let mut first = 0;
    while first < rows.len() {
        let count = (rows.len() - first).min(ROWS);
        let (part, out) = (rows.part(first, count), &mut out[first * PANEL..(first + count) * PANEL]);
        match count {
            1 => by_format::<1>(format, codes, lines, part, out),
            2 => by_format::<2>(format, codes, lines, part, out),
            3 => by_format::<3>(format, codes, lines, part, out),
            _ => by_format::<ROWS>(format, codes, lines, part, out),
        }
        first += count;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn by_format<const R: usize>(format: CodeFormat, codes: &[u8], lines: &[f16], part: RowPart<'_>, out: &mut [f32]) {
    match format {
        CodeFormat::Bytes => panel::<R, false, false, false>(codes, lines, part, out),
        CodeFormat::ByteHalves => panel::<R, false, true, false>(codes, lines, part, out),
        CodeFormat::ByteOffset => panel::<R, false, false, true>(codes, lines, part, out),
        CodeFormat::NibbleOffset => panel::<R, true, false, true>(codes, lines, part, out),
    }
}

/// `R` rows with a panel. Integer sums of a block, then single-precision ones over blocks: `2 · R` registers of the
/// products of upper halves, of lower ones and of these.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn panel<const R: usize, const NIBBLES: bool, const HALVES: bool, const OFFSET: bool>(
    codes: &[u8],
    lines: &[f16],
    part: RowPart<'_>,
    out: &mut [f32],
) {
    let blocks = part.scales.len() / R;
    let code_bytes = PANEL * if NIBBLES { BLOCK / 2 } else { BLOCK };
    let line_count = 1 + usize::from(HALVES || OFFSET);
    let codes: &[[u8; 64]] = &codes.as_chunks().0[..blocks * code_bytes / 64];
    let lines: &[[f16; 16]] = &lines.as_chunks().0[..blocks * line_count * VECTORS];
    let words =
        |x: &[i8]| -> [*const i8; R] { std::array::from_fn(|r| x[r * blocks * BLOCK..][..blocks * BLOCK].as_ptr()) };
    let high = words(part.high);
    let low = words(part.low);
    let mut sums = [[_mm512_setzero_ps(); VECTORS]; R];
    let nibble = _mm512_set1_epi8(15);
    for block in 0..blocks {
        let block_codes = &codes[block * code_bytes / 64..][..code_bytes / 64];
        let block_lines = &lines[block * line_count * VECTORS..][..line_count * VECTORS];
        let mut dots = [[_mm512_setzero_si512(); VECTORS]; R];
        let mut fine = [[_mm512_setzero_si512(); VECTORS]; R];
        // What codes have too much.
        if !NIBBLES {
            for (r, fine) in fine.iter_mut().enumerate() {
                let [a, b] = part.sums[r * blocks + block];
                *fine = [_mm512_set1_epi32(-BIAS * if HALVES { a } else { a + b }); VECTORS];
            }
        }
        let add = |group: usize,
                   codes: [__m512i; VECTORS],
                   dots: &mut [[__m512i; VECTORS]; R],
                   fine: &mut [[__m512i; VECTORS]; R]| {
            for r in 0..R {
                // SAFETY: the group is one of the eight of a block, which the row has.
                let x =
                    unsafe { _mm512_set1_epi32(high[r].add(block * BLOCK + 4 * group).cast::<i32>().read_unaligned()) };
                for v in 0..VECTORS {
                    dots[r][v] = _mm512_dpbusd_epi32(dots[r][v], codes[v], x);
                }
                // SAFETY: as above.
                let x =
                    unsafe { _mm512_set1_epi32(low[r].add(block * BLOCK + 4 * group).cast::<i32>().read_unaligned()) };
                for v in 0..VECTORS {
                    fine[r][v] = _mm512_dpbusd_epi32(fine[r][v], codes[v], x);
                }
            }
        };
        let settle = |line: usize,
                      sums: &mut [[__m512; VECTORS]; R],
                      dots: &[[__m512i; VECTORS]; R],
                      fine: &[[__m512i; VECTORS]; R]| {
            for v in 0..VECTORS {
                let scale = halves(&block_lines[line * VECTORS + v]);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let dot = _mm512_add_epi32(_mm512_slli_epi32::<7>(dots[r][v]), fine[r][v]);
                    let dot = _mm512_mul_ps(_mm512_cvtepi32_ps(dot), _mm512_set1_ps(part.scales[r * blocks + block]));
                    sums[v] = _mm512_fmadd_ps(dot, scale, sums[v]);
                }
            }
        };
        for group in 0..if NIBBLES { 4 } else { 8 } {
            let both: [__m512i; VECTORS] = std::array::from_fn(|v| {
                let at = group * VECTORS + v;
                // Panels come from memory once: ahead of what the processor guesses.
                stream(codes, block * code_bytes / 64 + at);
                // SAFETY: 64 bytes.
                unsafe { _mm512_loadu_si512(block_codes[at].as_ptr().cast()) }
            });
            if NIBBLES {
                add(group, both.map(|x| _mm512_and_si512(x, nibble)), &mut dots, &mut fine);
                add(group + 4, both.map(|x| _mm512_and_si512(_mm512_srli_epi16::<4>(x), nibble)), &mut dots, &mut fine);
            } else {
                add(group, both, &mut dots, &mut fine);
            }
            if HALVES && group == 3 {
                settle(0, &mut sums, &dots, &fine);
                dots = [[_mm512_setzero_si512(); VECTORS]; R];
                for (r, fine) in fine.iter_mut().enumerate() {
                    *fine = [_mm512_set1_epi32(-BIAS * part.sums[r * blocks + block][1]); VECTORS];
                }
            }
        }
        settle(usize::from(HALVES), &mut sums, &dots, &fine);
        if OFFSET {
            for v in 0..VECTORS {
                let offset = halves(&block_lines[VECTORS + v]);
                for (r, sums) in sums.iter_mut().enumerate() {
                    let at = r * blocks + block;
                    let sum = (part.sums[at][0] + part.sums[at][1]) as f32 * part.scales[at];
                    sums[v] = _mm512_fmadd_ps(_mm512_set1_ps(sum), offset, sums[v]);
                }
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out.as_chunks_mut::<PANEL>().0) {
        for (sum, out) in sums.into_iter().zip(out.as_chunks_mut::<16>().0) {
            // SAFETY: the target is 16 elements long.
            unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn halves(line: &[f16; 16]) -> __m512 {
    // SAFETY: 16 halves, each a transparent u16.
    _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(line.as_ptr().cast()) })
}
