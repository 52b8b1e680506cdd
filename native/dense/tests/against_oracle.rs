//! Products and attention against plain f64, alone and beside others.

use half::f16;
use sparrow_dense::{Activation, CodeFormat, Matrix, Norm, Prefill, PrefillShape, feed_forward};
use sparrow_kernels::{Kernels, available};

/// Numbers between -1 and 1 that follow from a seed.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / 8_388_608.0 - 1.0
    }

    fn some(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next()).collect()
    }
}

/// A matrix of signed bytes, and its weights `[output][column]`.
fn bytes(outputs: usize, columns: usize, numbers: &mut Numbers) -> (Matrix, Vec<f32>) {
    let codes: Vec<u8> = (0..outputs * columns).map(|_| (numbers.next() * 127.0) as i8 as u8).collect();
    let lines: Vec<f16> = (0..outputs * columns / 32).map(|_| f16::from_f32(numbers.next() / 500.0)).collect();
    let weights = codes.iter().enumerate().map(|(i, code)| f32::from(*code as i8) * lines[i / 32].to_f32()).collect();
    let mut matrix = Matrix::zeros(CodeFormat::Bytes, outputs, columns).unwrap();
    // In two parts, neither of whole panels.
    let cut = outputs / 2 + 5;
    matrix.fill(cut, &codes[cut * columns..], &lines[cut * columns / 32..]).unwrap();
    matrix.fill(0, &codes[..cut * columns], &lines[..cut * columns / 32]).unwrap();
    (matrix, weights)
}

fn product(rows: &[f64], columns: usize, weights: &[f32]) -> Vec<f64> {
    let line = |row: &[f64], weights: &[f32]| row.iter().zip(weights).map(|(x, w)| x * f64::from(*w)).sum();
    rows.chunks(columns).flat_map(|row| weights.chunks(columns).map(move |weights| line(row, weights))).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|x| f64::from(*x)).collect()
}

/// Products in panels as rows.
fn rows_of(panels: &[f32], rows: usize) -> Vec<f32> {
    let outputs = panels.len() / rows;
    (0..rows * outputs)
        .map(|i| {
            let (row, n) = (i / outputs, i % outputs);
            panels[(n / 32 * rows + row) * 32 + n % 32]
        })
        .collect()
}

/// Root mean square of the difference over that of what is expected.
fn distance(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let off: f64 = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - b).powi(2)).sum();
    (off / expected.iter().map(|b| b * b).sum::<f64>()).sqrt()
}

#[test]
fn products_of_normalised_rows_agree_with_f64() {
    let mut numbers = Numbers(1);
    let (outputs, columns, width, epsilon) = (96, 160, 150, 1e-5);
    let (matrix, weights) = bytes(outputs, columns, &mut numbers);
    let gains: Vec<f32> = (0..columns).map(|i| if i < width { 1.0 + numbers.next() / 2.0 } else { 0.0 }).collect();
    for rows in [2, 3, 16, 37] {
        let mut x = numbers.some(rows * columns);
        x.chunks_mut(columns).for_each(|row| row[width..].fill(0.0));
        // Of nothing the norm is nothing: what is added to the mean square sees to it.
        x[..columns].fill(0.0);
        x.iter_mut().skip(columns).for_each(|x| *x /= 100.0);
        let normed: Vec<f64> = x
            .chunks(columns)
            .flat_map(|row| {
                let squares: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
                let scale = 1.0 / (squares / width as f64 + f64::from(epsilon)).sqrt();
                row.iter()
                    .zip(&gains)
                    .map(move |(x, gain)| f64::from(*x) * scale * f64::from(*gain))
                    .collect::<Vec<_>>()
            })
            .collect();
        for set in available() {
            let mut out = vec![0f32; rows * outputs];
            let norm = Norm { gains: &gains, width, epsilon };
            matrix.multiply(set, &x, Some(norm), &mut out).unwrap();
            let off = distance(&rows_of(&out, rows), &product(&normed, columns, &weights));
            assert!(off < 4e-5, "{} {rows}: {off}", set.name());
            matrix.multiply(set, &x, None, &mut out).unwrap();
            let off = distance(&rows_of(&out, rows), &product(&wide(&x), columns, &weights));
            assert!(off < 4e-5, "{} {rows}: {off}", set.name());
        }
    }
}

#[test]
fn feed_forward_agrees_with_f64() {
    let mut numbers = Numbers(2);
    for activation in [Activation::SwiGlu, Activation::GeGlu, Activation::Relu2] {
        let (width, hidden, columns) = (64, 96, 128);
        let (up, up_weights) = bytes(hidden * activation.outputs(), width, &mut numbers);
        let (down, down_weights) = bytes(64, columns, &mut numbers);
        let x: Vec<f32> = numbers.some(5 * width).iter().map(|x| 20.0 * x).collect();
        let first = product(&wide(&x), width, &up_weights);
        let mut between = vec![0f64; 5 * columns];
        for row in 0..5 {
            for i in 0..hidden {
                let at = row * hidden * activation.outputs();
                between[row * columns + i] = match activation {
                    Activation::Relu2 => first[at + i].max(0.0).powi(2),
                    _ => {
                        let [x, y] = [first[at + 2 * i], first[at + 2 * i + 1]];
                        let gelu =
                            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
                        y * if activation == Activation::GeGlu { gelu } else { x / (1.0 + (-x).exp()) }
                    }
                };
            }
        }
        let expected = product(&between, columns, &down_weights);
        for set in available() {
            let mut out = vec![0f32; 5 * 64];
            feed_forward(set, [&up, &down], activation, &x, None, &mut out).unwrap();
            let off = distance(&rows_of(&out, 5), &expected);
            assert!(off < 1e-4, "{} {activation:?}: {off}", set.name());
        }
        let mut bad = x.clone();
        bad[width + 3] = f32::NAN;
        for set in available() {
            let mut out = vec![0f32; 5 * 64];
            feed_forward(set, [&up, &down], activation, &bad, None, &mut out).unwrap();
            let rows = rows_of(&out, 5);
            let told = rows.chunks(64).map(|row| row.iter().filter(|x| x.is_nan()).count());
            assert_eq!(told.collect::<Vec<_>>(), [0, 64, 0, 0, 0], "{} {activation:?}", set.name());
        }
        let mut none = vec![0f32; 5 * up.outputs()];
        assert!(feed_forward(available()[0], [&down, &up], activation, &x, None, &mut none).is_err());
    }
}

#[test]
fn gates_far_from_zero_give_numbers() {
    let mut numbers = Numbers(3);
    let (up, _) = bytes(64, 32, &mut numbers);
    let (down, _) = bytes(32, 32, &mut numbers);
    for activation in [Activation::SwiGlu, Activation::GeGlu] {
        for size in [1e4, -1e4, 1e9] {
            for set in available() {
                let mut out = vec![f32::NAN; 32];
                feed_forward(set, [&up, &down], activation, &[size; 32], None, &mut out).unwrap();
                assert!(out.iter().all(|x| x.is_finite()), "{} {activation:?} {size}: {out:?}", set.name());
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    for (outputs, columns) in [(0, 32), (32, 0), (33, 32), (32, 40), (1 << 40, 1 << 40)] {
        assert!(Matrix::zeros(CodeFormat::Bytes, outputs, columns).is_err(), "{outputs} {columns}");
    }
    let mut matrix = Matrix::zeros(CodeFormat::NibbleOffset, 32, 64).unwrap();
    let line = [f16::ONE; 4];
    assert!(matrix.fill(31, &[0; 32], &line).is_ok());
    for (first, codes, lines) in [(32, 32, 4), (usize::MAX, 32, 4), (0, 31, 4), (0, 32, 3), (0, 32 * 33, 4 * 33)] {
        assert!(matrix.fill(first, &vec![0; codes], &vec![f16::ONE; lines]).is_err(), "{first} {codes} {lines}");
    }
    let set = available()[0];
    let mut out = [0f32; 64];
    assert!(matrix.multiply(set, &[0.0; 64], None, &mut out).is_err());
    assert!(matrix.multiply(set, &[0.0; 127], None, &mut out).is_err());
    for (gains, width) in [(63, 64), (64, 0), (64, 65)] {
        let norm = Norm { gains: &vec![1.0; gains], width, epsilon: 0.0 };
        assert!(matrix.multiply(set, &[0.0; 128], Some(norm), &mut out).is_err(), "{gains} {width}");
    }
    assert!(matrix.multiply(set, &[], None, &mut []).is_ok());
    let shape = PrefillShape { heads: 4, kv_heads: 2, dim: 64, window: None };
    for wrong in [
        PrefillShape { heads: 0, ..shape },
        PrefillShape { kv_heads: 3, ..shape },
        PrefillShape { kv_heads: 0, ..shape },
        PrefillShape { dim: 32, ..shape },
        PrefillShape { window: Some(0), ..shape },
    ] {
        assert!(Prefill::new(wrong, 0, &[0.0; 256]).is_err(), "{wrong:?}");
    }
    assert!(Prefill::new(shape, 0, &[0.0; 255]).is_err() && Prefill::new(shape, 0, &[]).is_err());
    let mut prefill = Prefill::new(shape, 0, &[0.0; 256]).unwrap();
    let page = vec![f16::ZERO; 2 * 64 * 64];
    assert!(
        prefill.attend(set, 0, &page, &page[1..]).is_err() && prefill.attend(set, 0, &page[64..], &page[64..]).is_err()
    );
    assert!(prefill.attend(set, 0, &page, &page).is_ok());
    for (kept, stride, length) in [(65, 260, 260), (64, 255, 255), (64, 256, 255)] {
        assert!(prefill.finish(kept, stride, &mut vec![0.0; length]).is_err(), "{kept} {stride} {length}");
    }
}

/// A sequence's keys and values, `[page][KV head][64][dim]`, and its queries.
struct Scene {
    shape: PrefillShape,
    keys: Vec<f16>,
    values: Vec<f16>,
    queries: Vec<f32>,
}

impl Scene {
    fn new(shape: PrefillShape, tokens: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let count = tokens.div_ceil(64) * shape.kv_heads * 64 * shape.dim;
        let mut halves = || -> Vec<f16> { numbers.some(count).into_iter().map(f16::from_f32).collect() };
        let (keys, values) = (halves(), halves());
        // Scores between some -10 and 10.
        let queries = numbers.some(tokens * shape.heads * shape.dim).into_iter().map(|x| 2.0 * x).collect();
        Self { shape, keys, values, queries }
    }

    /// Outputs of rows `first..end`, pages given `run` at a time.
    fn attend(&self, set: &dyn Kernels, first: usize, end: usize, run: usize) -> Vec<f32> {
        let PrefillShape { heads, kv_heads, dim, window } = self.shape;
        let row = heads * dim;
        let mut prefill = Prefill::new(self.shape, first, &self.queries[first * row..end * row]).unwrap();
        let page = kv_heads * 64 * dim;
        let start = window.map_or(0, |window| (first + 1).saturating_sub(window) / 64);
        for at in (start..end.div_ceil(64)).step_by(run) {
            let some = at * page..(at + run).min(end.div_ceil(64)) * page;
            prefill.attend(set, at, &self.keys[some.clone()], &self.values[some]).unwrap();
        }
        let mut out = vec![f32::NAN; (end - first) * (row + 8)];
        prefill.finish(dim, row + 8, &mut out).unwrap();
        assert!(out.chunks(row + 8).all(|out| out[row..].iter().all(|x| *x == 0.0)));
        // Without the end of each head.
        let kept = dim - 20;
        let mut short = vec![f32::NAN; (end - first) * heads * kept];
        prefill.finish(kept, heads * kept, &mut short).unwrap();
        for (i, short) in short.chunks(kept).enumerate() {
            let whole = &out[i / heads * (row + 8) + i % heads * dim..][..kept];
            assert!(short.iter().zip(whole).all(|(a, b)| a.to_bits() == b.to_bits()), "{short:?} of {whole:?}");
        }
        out.chunks(row + 8).flat_map(|out| &out[..row]).copied().collect()
    }

    fn expected(&self, first: usize, end: usize) -> Vec<f64> {
        let PrefillShape { heads, kv_heads, dim, window } = self.shape;
        let at = |of: &[f16], token: usize, head: usize, j: usize| {
            of[((token / 64 * kv_heads + head) * 64 + token % 64) * dim + j].to_f64()
        };
        let mut out = Vec::new();
        for token in first..end {
            for head in 0..heads {
                let kv = head / (heads / kv_heads);
                let least = window.map_or(0, |window| (token + 1).saturating_sub(window));
                let weights: Vec<f64> = (least..=token)
                    .map(|key| {
                        let query = &self.queries[(token * heads + head) * dim..][..dim];
                        let score: f64 =
                            query.iter().enumerate().map(|(j, q)| f64::from(*q) * at(&self.keys, key, kv, j)).sum();
                        score.exp2()
                    })
                    .collect();
                let total: f64 = weights.iter().sum();
                for j in 0..dim {
                    let sum: f64 =
                        weights.iter().enumerate().map(|(i, w)| w * at(&self.values, least + i, kv, j)).sum();
                    out.push(sum / total);
                }
            }
        }
        out
    }
}

#[test]
fn attention_agrees_with_f64_and_rows_with_themselves() {
    for (heads, kv_heads, dim, window, tokens) in [
        (2, 1, 64, None, 200),
        (3, 3, 128, None, 70),
        (4, 2, 64, Some(50), 300),
        (2, 2, 256, Some(1), 67),
        // More pages than are widened at a time.
        (1, 1, 256, None, 600),
    ] {
        let scene = Scene::new(PrefillShape { heads, kv_heads, dim, window }, tokens, tokens as u64);
        let expected = scene.expected(0, tokens);
        for set in available() {
            let whole = scene.attend(set, 0, tokens, 100);
            let off = distance(&whole, &expected);
            assert!(off < 2e-6, "{} {:?}: {off}", set.name(), scene.shape);
            // In chunks, and with a page at a time, a row's bits are the same.
            let row = heads * dim;
            for (first, end) in [(0, 1), (0, 63), (1, 64), (63, tokens), (tokens - 1, tokens)] {
                for run in [1, 3] {
                    let part = scene.attend(set, first, end, run);
                    assert_eq!(part, whole[first * row..end * row], "{} {first}..{end} {:?}", set.name(), scene.shape);
                }
            }
        }
    }
}

#[test]
fn what_a_row_does_not_see_does_not_matter() {
    let shape = PrefillShape { heads: 2, kv_heads: 1, dim: 64, window: None };
    let mut scene = Scene::new(shape, 100, 9);
    let set = available()[0];
    let before = scene.attend(set, 0, 70, 9);
    // Keys of tokens from 70 on.
    for token in 70..128 {
        let at = (token / 64 * 64 + token % 64) * 64;
        scene.keys[at..at + 64].fill(f16::from_f32(60000.0));
        scene.values[at..at + 64].fill(f16::from_f32(-60000.0));
    }
    assert_eq!(scene.attend(set, 0, 70, 9), before);
}

#[test]
fn scores_of_any_size_give_numbers_and_what_is_none_shows() {
    let shape = PrefillShape { heads: 1, kv_heads: 1, dim: 64, window: Some(64) };
    for set in available() {
        for size in [1e5, -1e5] {
            let mut scene = Scene::new(shape, 130, 4);
            scene.keys.fill(f16::from_f32(1.0));
            scene.queries.fill(size);
            assert!(
                scene.attend(set, 0, 130, 2).iter().all(|x| x.is_finite() && x.abs() <= 1.0),
                "{} {size}",
                set.name()
            );
        }
        let mut scene = Scene::new(shape, 66, 5);
        scene.queries[64 * 64 + 3] = f32::NAN;
        let out = scene.attend(set, 0, 66, 2);
        let bad: Vec<usize> = (0..66).filter(|row| out[row * 64..][..64].iter().any(|x| x.is_nan())).collect();
        assert_eq!(bad, [64], "{}", set.name());
    }
}
