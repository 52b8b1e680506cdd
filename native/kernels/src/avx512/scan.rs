//! Inner products of queries with all keys of a run of blocks.

use core::arch::x86_64::*;

use half::f16;

use super::{load_f16, load_f32};
use crate::blocks::LANES;
use crate::portable::scan_shape;
use crate::prefetch::stream;

/// The places of `Q` queries' scores, from that of query `first`.
#[inline(always)]
fn each_query<const Q: usize, T>(out: &mut [T], first: usize, keys: usize) -> [&mut [T]; Q] {
    let mut rest = &mut out[first * keys..];
    std::array::from_fn(|_| rest.split_off_mut(..keys).unwrap_or_default())
}

/// Scores of `Q` queries starting with number `first`, `B` blocks at a time: `Q · B` sums, enough to hide the latency of the
/// multiply-add and few enough for registers. `load` widens the 16 keys' elements of one dimension. (2048 keys of 128 from
/// the cache, eight queries, one Zen 4 core: 114 GFLOP/s, with one block at
/// a time and two sums a query 42.)
macro_rules! scan {
    ($name:ident, $tile:ident, $element:ty, $features:literal, $load:ident) => {
        #[target_feature(enable = $features)]
        fn $name<const Q: usize, const B: usize>(
            queries: &[f32],
            first: usize,
            dim: usize,
            blocks: &[$element],
            out: &mut [f32],
        ) {
            let query: [&[f32]; Q] = std::array::from_fn(|q| &queries[(first + q) * dim..][..dim]);
            let keys = blocks.len() / dim;
            let mut out: [&mut [f32]; Q] = each_query(out, first, keys);
            let count = keys / LANES;
            let whole = count / B * B;
            for number in (0..whole).step_by(B) {
                $tile::<Q, B>(query, dim, blocks, number, &mut out);
            }
            for number in whole..count {
                $tile::<Q, 1>(query, dim, blocks, number, &mut out);
            }
        }

        #[inline]
        #[target_feature(enable = $features)]
        fn $tile<const Q: usize, const B: usize>(
            query: [&[f32]; Q],
            dim: usize,
            blocks: &[$element],
            number: usize,
            out: &mut [&mut [f32]; Q],
        ) {
            let block: [&[[$element; LANES]]; B] =
                std::array::from_fn(|b| &blocks[(number + b) * dim * LANES..][..dim * LANES].as_chunks().0[..dim]);
            let mut sums = [[_mm512_setzero_ps(); B]; Q];
            for j in 0..dim {
                // A cache line is 16 elements of four bytes, 32 of two.
                if Q > 1 && j.is_multiple_of(4 / size_of::<$element>()) {
                    (0..B).for_each(|b| stream(blocks, ((number + b) * dim + j) * LANES));
                }
                let values: [__m512; B] = std::array::from_fn(|b| $load(&block[b][j], 0));
                for q in 0..Q {
                    let factor = _mm512_set1_ps(query[q][j]);
                    for b in 0..B {
                        sums[q][b] = _mm512_fmadd_ps(values[b], factor, sums[q][b]);
                    }
                }
            }
            for (sums, out) in sums.into_iter().zip(out) {
                for (sum, out) in sums.into_iter().zip(out[number * LANES..][..B * LANES].as_chunks_mut::<LANES>().0) {
                    // SAFETY: the target is 16 elements long.
                    unsafe { _mm512_storeu_ps(out.as_mut_ptr(), sum) };
                }
            }
        }
    };
}
scan!(some_f32, tile_f32, f32, "avx512f", load_f32);
scan!(some_f16, tile_f16, f16, "avx512f,avx512bw,avx512vl", load_f16);

/// As the scans above, over bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn some_u8<const Q: usize, const B: usize>(queries: &[i8], first: usize, dim: usize, blocks: &[u8], out: &mut [i32]) {
    let groups = dim / 4;
    let query: [&[[i8; 4]]; Q] = std::array::from_fn(|q| &queries[(first + q) * dim..][..dim].as_chunks().0[..groups]);
    let keys = blocks.len() / dim;
    let mut out: [&mut [i32]; Q] = each_query(out, first, keys);
    let count = keys / LANES;
    let whole = count / B * B;
    for number in (0..whole).step_by(B) {
        tile_u8::<Q, B>(query, groups, blocks, number, &mut out);
    }
    for number in whole..count {
        tile_u8::<Q, 1>(query, groups, blocks, number, &mut out);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn tile_u8<const Q: usize, const B: usize>(
    query: [&[[i8; 4]]; Q],
    groups: usize,
    blocks: &[u8],
    number: usize,
    out: &mut [&mut [i32]; Q],
) {
    let block: [&[[u8; 64]]; B] =
        std::array::from_fn(|b| &blocks[(number + b) * groups * 64..][..groups * 64].as_chunks().0[..groups]);
    let mut sums = [[_mm512_setzero_si512(); B]; Q];
    for j in 0..groups {
        if Q > 1 {
            (0..B).for_each(|b| stream(blocks, ((number + b) * groups + j) * 64));
        }
        // SAFETY: a group is 64 bytes.
        let values: [__m512i; B] = std::array::from_fn(|b| unsafe { _mm512_loadu_si512(block[b][j].as_ptr().cast()) });
        for q in 0..Q {
            let four = _mm512_set1_epi32(i32::from_le_bytes(query[q][j].map(|x| x as u8)));
            for b in 0..B {
                sums[q][b] = _mm512_dpbusd_epi32(sums[q][b], values[b], four);
            }
        }
    }
    for (sums, out) in sums.into_iter().zip(out) {
        for (sum, out) in sums.into_iter().zip(out[number * LANES..][..B * LANES].as_chunks_mut::<LANES>().0) {
            // SAFETY: the target is 16 elements long.
            unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), sum) };
        }
    }
}

/// One query of `GROUPS` times four dimensions, which stay in registers over all keys. (32K keys of 32
/// dimensions: 12 µs.)
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn one_u8<const GROUPS: usize>(query: &[i8], blocks: &[u8], out: &mut [i32]) {
    let fours = &query.as_chunks::<4>().0[..GROUPS];
    let query: [__m512i; GROUPS] =
        std::array::from_fn(|j| _mm512_set1_epi32(i32::from_le_bytes(fours[j].map(|x| x as u8))));
    for (block, out) in blocks.chunks_exact(GROUPS * 64).zip(out.chunks_exact_mut(LANES)) {
        // Two sums hide the latency of the product.
        let mut sums = [_mm512_setzero_si512(); 2];
        for j in 0..GROUPS {
            // SAFETY: a block is `GROUPS` times 64 bytes.
            let values = unsafe { _mm512_loadu_si512(block.as_ptr().add(64 * j).cast()) };
            sums[j & 1] = _mm512_dpbusd_epi32(sums[j & 1], values, query[j]);
        }
        // SAFETY: the target is 16 elements long.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_add_epi32(sums[0], sums[1])) };
    }
}

/// Runs a scan over all queries, eight or fewer at a time: as many as share a read without spilling registers. `$few` is how many blocks
/// two to four of them take at a time.
macro_rules! in_groups {
    ($kernel:ident, $few:literal, $queries:expr, $dim:expr, $blocks:expr, $out:expr) => {{
        let (count, _) = scan_shape($queries.len(), $dim, $blocks.len(), $out.len());
        let mut first = 0;
        while first < count {
            first += match count - first {
                8.. => ($kernel::<8, 2>($queries, first, $dim, $blocks, $out), 8),
                6.. => ($kernel::<6, 2>($queries, first, $dim, $blocks, $out), 6),
                4.. => ($kernel::<4, $few>($queries, first, $dim, $blocks, $out), 4),
                3.. => ($kernel::<3, $few>($queries, first, $dim, $blocks, $out), 3),
                2.. => ($kernel::<2, $few>($queries, first, $dim, $blocks, $out), 2),
                _ => ($kernel::<1, 8>($queries, first, $dim, $blocks, $out), 1),
            }
            .1;
        }
    }};
}

#[target_feature(enable = "avx512f")]
pub(super) fn scan_f32(queries: &[f32], dim: usize, blocks: &[f32], out: &mut [f32]) {
    in_groups!(some_f32, 4, queries, dim, blocks, out)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn scan_f16(queries: &[f32], dim: usize, blocks: &[f16], out: &mut [f32]) {
    // One, as in `scan_u8`. (Attention over 67 MB of keys and values of 64, one thread, three queries: 28.8 ns a key with four blocks at a
    // time, 29.0 with two, 21.5 with one; four queries 31.0, 31.6, 23.3.)
    in_groups!(some_f16, 1, queries, dim, blocks, out)
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn scan_u8(queries: &[i8], dim: usize, blocks: &[u8], out: &mut [i32]) {
    if queries.len() == dim && matches!(dim, 32 | 64) {
        scan_shape(dim, dim, blocks.len(), out.len());
        return if dim == 32 { one_u8::<8>(queries, blocks, out) } else { one_u8::<16>(queries, blocks, out) };
    }
    // One: products of bytes are quick to follow one another, and what reads along one run of memory is fetched ahead. (Three queries over
    // 67 MB of keys of 64, two threads on one Zen 4 core, whole step with values: 12.9 ns a key with four blocks, 8.0 with one.)
    in_groups!(some_u8, 1, queries, dim, blocks, out)
}
