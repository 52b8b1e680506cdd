//! Products of bytes, tiles and weights of scores of every instruction set of this machine against plain f64 sums.

use half::f16;
use sparrow_kernels::byte_products::{ByteRows, CodeFormat};
use sparrow_kernels::{Tile, available};

/// |found - expected| within the rounding of a sum of `terms`: the oracle is f64, the kernels f32.
fn close(set: &str, found: f32, expected: f64, magnitude: f64) {
    let allowed = 1e-6 * magnitude + 1e-30;
    assert!((f64::from(found) - expected).abs() <= allowed, "{set}: {found} against {expected} ± {allowed}");
}

fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    let terms = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
    (terms.clone().sum(), terms.map(f64::abs).sum())
}

/// A panel of 32 outputs and rows of `blocks` blocks: numbers of each format and the codes and lines that stand for them.
fn panel(format: CodeFormat, blocks: usize, state: &mut u32) -> (Vec<u8>, Vec<f16>, Vec<f32>) {
    let mut draw = || {
        *state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *state >> 8
    };
    let lines: Vec<f16> =
        (0..blocks * format.lines() * 32).map(|_| f16::from_f32((draw() % 2000) as f32 / 1e5 - 0.01)).collect();
    let mut codes = vec![0u8; blocks * format.code_bytes() * 32];
    let mut weights = vec![0f32; 32 * blocks * 32];
    for n in 0..32 {
        for k in 0..blocks * 32 {
            let (block, k_in, code) = (k / 32, k % 32, draw());
            let line = |i: usize| lines[(block * format.lines() + i) * 32 + n].to_f32();
            let at = block * format.code_bytes() * 32;
            weights[n * blocks * 32 + k] = if format == CodeFormat::NibbleOffset {
                let code = code % 16;
                codes[at + (k_in % 16 / 4 * 32 + n) * 4 + k_in % 4] |= (code as u8) << if k_in < 16 { 0 } else { 4 };
                code as f32 * line(0) + line(1)
            } else {
                // -128 too, which has no positive counterpart.
                let code = code as u8;
                codes[at + (k_in / 4 * 32 + n) * 4 + k_in % 4] = code ^ 128;
                let code = f32::from(code as i8);
                match format {
                    CodeFormat::ByteHalves => code * line(k_in / 16),
                    CodeFormat::ByteOffset => code * line(0) + line(1),
                    _ => code * line(0),
                }
            };
        }
    }
    (codes, lines, weights)
}

#[test]
fn panels_agree_with_f64_and_with_each_other_to_the_bit() {
    let mut state = 7;
    for format in [CodeFormat::Bytes, CodeFormat::ByteHalves, CodeFormat::ByteOffset, CodeFormat::NibbleOffset] {
        for (blocks, rows) in if cfg!(miri) { vec![(1, 2)] } else { vec![(1, 1), (3, 2), (4, 5), (12, 9), (37, 4)] } {
            let (codes, lines, weights) = panel(format, blocks, &mut state);
            let columns = blocks * 32;
            let values: Vec<f32> = (0..rows * columns)
                .map(|i| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    // The largest of a block to its ends, and blocks of zeros.
                    let size = if i % 7 == 0 { 100.0 } else { 1.0 };
                    if i / 32 % 5 == 4 { 0.0 } else { size * ((state >> 8) as f32 / 8_388_608.0 - 1.0) }
                })
                .collect();
            let x = ByteRows::round(&values, columns);
            let mut first: Option<Vec<u32>> = None;
            for set in available() {
                let mut out = vec![f32::NAN; rows * 32];
                set.multiply_panel(format, &codes, &lines, &x, &mut out);
                for (i, found) in out.iter().enumerate() {
                    let (row, weights) =
                        (&values[i / 32 * columns..][..columns], &weights[i % 32 * columns..][..columns]);
                    let (expected, _) = dot(row, weights);
                    // A number is off by half a 16,255th of the largest of its 32.
                    let unit: f64 = row
                        .chunks(32)
                        .zip(weights.chunks(32))
                        .map(|(x, w)| {
                            let most = x.iter().fold(0f64, |most, x| most.max(f64::from(x.abs())));
                            most / 32510.0 * w.iter().map(|w| f64::from(w.abs())).sum::<f64>()
                        })
                        .sum();
                    let off = (f64::from(*found) - expected).abs();
                    assert!(
                        off <= 1.01 * unit + 1e-5 * expected.abs() + 1e-6,
                        "{} {format:?}: {found} for {expected} ± {unit}",
                        set.name()
                    );
                }
                let bits: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
                assert_eq!(*first.get_or_insert_with(|| bits.clone()), bits, "{} {format:?}", set.name());
                // A row alone.
                let alone = ByteRows::round(&values[(rows - 1) * columns..], columns);
                let mut one = vec![f32::NAN; 32];
                set.multiply_panel(format, &codes, &lines, &alone, &mut one);
                assert_eq!(one, out[(rows - 1) * 32..], "{} {format:?}", set.name());
            }
        }
    }
}

#[test]
fn what_is_no_number_makes_no_number() {
    let mut state = 3;
    let (codes, lines, _) = panel(CodeFormat::Bytes, 2, &mut state);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = vec![0.5f32; 2 * 64];
        values[40] = bad;
        let x = ByteRows::round(&values, 64);
        for set in available() {
            let mut out = vec![0f32; 64];
            set.multiply_panel(CodeFormat::Bytes, &codes, &lines, &x, &mut out);
            assert!(
                out[..32].iter().all(|x| x.is_nan()) && out[32..].iter().all(|x| x.is_finite()),
                "{}: {bad}",
                set.name()
            );
        }
    }
    // Numbers so small that the factor to whole ones is none.
    let x = ByteRows::round(&[1e-42; 64], 64);
    for set in available() {
        let mut out = vec![1f32; 32];
        set.multiply_panel(CodeFormat::Bytes, &codes, &lines, &x, &mut out);
        assert!(out.iter().all(|x| x.abs() < 1e-30), "{}", set.name());
    }
}

#[test]
fn tiles_agree_with_f64() {
    for (rows, depth, add) in
        [(1, 1, false), (2, 64, true), (3, 70, false), (4, 5, true), (5, 128, false), (6, 64, true)]
    {
        let number = |i: usize| ((i * 7919 % 1009) as f32 - 504.0) / 100.0;
        let (a_stride, c_stride) = (depth + 3, 66);
        let a: Vec<f32> = (0..rows * a_stride).map(number).collect();
        let b: Vec<f32> = (0..depth * 64).map(|i| number(i + 5)).collect();
        let start: Vec<f32> = (0..rows * c_stride).map(|i| number(i + 11)).collect();
        for set in available() {
            let mut c = start.clone();
            set.multiply_tile(Tile { rows, depth, a_stride, c_stride, add }, &a, &b, &mut c);
            for (i, found) in c.iter().enumerate() {
                let (row, column) = (i / c_stride, i % c_stride);
                if column >= 64 {
                    assert_eq!(*found, start[i], "{}: written past a row's end", set.name());
                    continue;
                }
                let line: Vec<f32> = (0..depth).map(|k| b[k * 64 + column]).collect();
                let (sum, magnitude) = dot(&a[row * a_stride..][..depth], &line);
                let before = if add { f64::from(start[i]) } else { 0.0 };
                close(set.name(), *found, sum + before, magnitude + before.abs());
            }
        }
    }
}

#[test]
fn scores_become_powers_of_two() {
    for set in available() {
        let mut scores = [[0f32; 64]; 3];
        for (r, row) in scores.iter_mut().enumerate() {
            for (j, score) in row.iter_mut().enumerate() {
                *score = 10.0 - (j * j) as f32 * 0.11 * (r + 1) as f32;
            }
        }
        scores[2][7] = f32::NEG_INFINITY;
        let before = scores;
        let mut sums = [0f32; 3];
        set.weigh_rows(&mut scores, &[10.0, 10.0, 11.5], &mut sums);
        for (r, (row, before)) in scores.iter().zip(&before).enumerate() {
            let most = [10.0, 10.0, 11.5][r];
            for (found, score) in row.iter().zip(before) {
                let expected = (f64::from(*score) - most).exp2();
                // What is no normal number may be nothing.
                assert!(
                    (f64::from(*found) - expected).abs() <= 5e-7 * expected + 2e-38,
                    "{}: {found} for {expected}",
                    set.name()
                );
            }
            close(set.name(), sums[r], row.iter().map(|x| f64::from(*x)).sum(), 1.0);
        }
        let mut scores = [[0f32; 64]; 1];
        scores[0][63] = f32::NAN;
        let mut sums = [0f32];
        set.weigh_rows(&mut scores, &[0.0], &mut sums);
        assert!(sums[0].is_nan() && scores[0][0] == 1.0, "{}", set.name());
    }
}
