//! Products against plain f64, alone and beside others.

mod common;

use common::{Numbers, distance};
use half::f16;
use sparrow_dense::{Activation, CodeFormat, Format, Matrix, Norm, feed_forward};
use sparrow_kernels::available;

/// A matrix of signed bytes, and its weights `[output][column]`.
fn bytes(outputs: usize, columns: usize, numbers: &mut Numbers) -> (Matrix, Vec<f32>) {
    let codes: Vec<u8> = (0..outputs * columns).map(|_| (numbers.next() * 127.0) as i8 as u8).collect();
    let lines: Vec<f16> = (0..outputs * columns / 32).map(|_| f16::from_f32(numbers.next() / 500.0)).collect();
    let weights = codes.iter().enumerate().map(|(i, code)| f32::from(*code as i8) * lines[i / 32].to_f32()).collect();
    let mut matrix = Matrix::zeros(Format::Coded(CodeFormat::Bytes), outputs, columns).unwrap();
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
        assert!(Matrix::zeros(Format::Coded(CodeFormat::Bytes), outputs, columns).is_err(), "{outputs} {columns}");
    }
    let mut matrix = Matrix::zeros(Format::Coded(CodeFormat::NibbleOffset), 32, 64).unwrap();
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
}

#[test]
fn products_with_weights_in_floats_agree_with_f64_and_rows_with_themselves() {
    let mut numbers = Numbers(6);
    let (outputs, columns) = (96, 160);
    let weights: Vec<f32> = numbers.some(outputs * columns).iter().map(|w| f16::from_f32(*w).to_f32()).collect();
    let gains = vec![1.0; columns];
    let x = numbers.some(37 * columns);
    for format in [Format::Half, Format::Float] {
        let mut matrix = Matrix::zeros(format, outputs, columns).unwrap();
        for (output, row) in weights.chunks(columns).enumerate() {
            let bytes: Vec<u8> = match format {
                Format::Half => row.iter().flat_map(|w| f16::from_f32(*w).to_le_bytes()).collect(),
                _ => row.iter().flat_map(|w| w.to_le_bytes()).collect(),
            };
            matrix.fill(output, &bytes, &[]).unwrap();
            assert!(
                matrix.fill(output, &bytes[1..], &[]).is_err() && matrix.fill(output, &bytes, &[f16::ONE]).is_err()
            );
        }
        let expected = product(&wide(&x), columns, &weights);
        for set in available() {
            let mut out = vec![0f32; 37 * outputs];
            matrix.multiply_to_rows(set, &x, None, &mut out).unwrap();
            let off = distance(&out, &expected);
            assert!(off < 1e-6, "{} {format:?}: {off}", set.name());
            let norm = Norm { gains: &gains, width: columns, epsilon: 1e-5 };
            let mut normed = vec![0f32; 37 * outputs];
            matrix.multiply_to_rows(set, &x, Some(norm), &mut normed).unwrap();
            for (row, count) in [(0, 1), (5, 16), (36, 1), (3, 7)] {
                let mut some = vec![0f32; count * outputs];
                let x = &x[row * columns..][..count * columns];
                matrix.multiply_to_rows(set, x, None, &mut some).unwrap();
                assert_eq!(some, out[row * outputs..][..count * outputs], "{} {format:?} {row}", set.name());
                matrix.multiply_to_rows(set, x, Some(norm), &mut some).unwrap();
                assert_eq!(some, normed[row * outputs..][..count * outputs], "{} {format:?} {row}", set.name());
            }
        }
    }
}
