//! The definition in plain loops: what every other path must equal bit for bit.

// One index runs over several arrays side by side.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use crate::cascade::{Stage, Tables};
use crate::conv::{Activations, Layer};
use crate::fusion::Experts;
use crate::geometry::source;
use crate::phases::Phases;
use crate::plane::Plane;
use crate::table::{ROW, samples};

/// Row numbers of the five corners (plain layout) and their weights for one lookup.
pub fn simplex(pixels: [u8; 4], shift: u32) -> ([usize; 5], [i32; 5]) {
    let l = samples(shift);
    let stride = [l * l * l, l * l, l, 1];
    let fraction = pixels.map(|p| i32::from(p) & ((1 << shift) - 1));
    let mut axes = [0usize, 1, 2, 3];
    axes.sort_by_key(|&axis| std::cmp::Reverse(fraction[axis]));
    let mut rows = [pixels.iter().zip(stride).map(|(&p, s)| usize::from(p >> shift) * s).sum(); 5];
    for k in 0..4 {
        rows[k + 1] = rows[k] + stride[axes[k]];
    }
    let f = axes.map(|axis| fraction[axis]);
    (rows, [(1 << shift) - f[0], f[0] - f[1], f[1] - f[2], f[2] - f[3], f[3]])
}

fn pixels(plane: &Plane, y: usize, x: usize, offsets: [(isize, isize); 4]) -> [u8; 4] {
    offsets.map(|(dy, dx)| plane.at(y as isize + dy, x as isize + dx))
}

/// `clamp(floor((sum + divisor/2) / divisor) + pixel)`.
fn finish(sum: i32, divisor: i32, pixel: i32) -> u8 {
    ((sum + divisor / 2).div_euclid(divisor) + pixel).clamp(0, 255) as u8
}

/// Rows `rows` of a stage; `out` holds `scale` output rows for each.
pub(crate) fn stage(stage: &Stage, frame: &Phases, rows: Range<usize>, out: &mut [u8]) {
    let (s, w) = (stage.scale, frame.width());
    let under = frame.under(s);
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x in 0..w {
            let mut sum = [stage.bias; ROW];
            for (j, pattern) in stage.patterns.iter().enumerate() {
                for turn in 0..stage.rotations {
                    let values = frame.pixels(*pattern, turn, y, x);
                    let (corner, weight) = simplex(values, stage.shift);
                    for (i, sum) in sum.iter_mut().enumerate().take(s * s) {
                        let place = source(s, turn, i / s, i % s);
                        for k in 0..5 {
                            *sum +=
                                weight[k] * i32::from(value(&stage.tables, j, values, stage.shift, corner, k, place));
                        }
                    }
                }
            }
            let centres = frame.centres(y, x);
            for (i, sum) in sum.into_iter().enumerate().take(s * s) {
                let pixel = if stage.centre { i32::from(centres[under[i]][0]) } else { 0 };
                part[i / s * s * w + s * x + i % s] = finish(sum, stage.divisor, pixel);
            }
        }
    }
}

fn value(tables: &Tables, j: usize, pixels: [u8; 4], shift: u32, corner: [usize; 5], k: usize, place: usize) -> i8 {
    match tables {
        Tables::Rows(tables) => tables[j].values[corner[k] * ROW + place],
        Tables::Cells(tables) => {
            let (n, l) = (256usize >> shift, samples(shift));
            let cell = pixels.iter().fold(0, |cell, &p| cell * n + usize::from(p >> shift));
            // The corner's number: which axes the path from corner 0 has walked.
            let walked = corner[k] - corner[0];
            let bits = ((walked / (l * l * l)) & 1)
                | ((walked / (l * l) % l) & 1) << 1
                | ((walked / l % l) & 1) << 2
                | ((walked % l) & 1) << 3;
            tables[j].values[cell * 16 + bits]
        }
    }
}

/// Rows `rows` of the fusion: `gates` holds 8 weights a pixel (64 = 1), `residual` 16 half levels a pixel, for the whole
/// frame.
pub(crate) fn fuse(
    experts: &Experts,
    plane: &Plane,
    gates: &[u8],
    residual: Option<&[i8]>,
    rows: Range<usize>,
    out: &mut [u8],
) {
    let (s, w) = (experts.scale, plane.width);
    let shift = experts.total_shift();
    for (part, y) in out.chunks_exact_mut(s * s * w).zip(rows) {
        for x in 0..w {
            let gate = &gates[(y * w + x) * 8..][..8];
            let mut sum = [0i32; 16];
            for (j, pattern) in experts.patterns.iter().enumerate() {
                for turn in 0..4 {
                    let (corner, weight) = simplex(pixels(plane, y, x, pattern.turned(turn, 1)), experts.shift);
                    for (i, sum) in sum.iter_mut().enumerate().take(s * s) {
                        let place = source(s, turn, i / s, i % s);
                        for (e, &g) in gate.iter().enumerate().take(experts.count) {
                            for k in 0..5 {
                                *sum += i32::from(g) * weight[k] * i32::from(experts.value(j, corner[k], e, place));
                            }
                        }
                    }
                }
            }
            let pixel = i32::from(plane.at(y as isize, x as isize));
            for (i, sum) in sum.into_iter().enumerate().take(s * s) {
                let extra = residual.map_or(0, |residual| i32::from(residual[(y * w + x) * 16 + i])) << (shift - 1);
                part[i / s * s * w + s * x + i % s] = finish(sum + extra, 1 << shift, pixel);
            }
        }
    }
}

/// Row `y` of a 3x3 convolution; `out` holds `w * outputs` activations (as i8 bits in the last layer).
pub(crate) fn convolve(layer: &Layer, input: &Activations, y: usize, out: &mut [u8]) {
    let n = layer.outputs;
    let offsets = layer.offsets(input);
    let mut sums = vec![0i32; n];
    for (x, pixel) in out.chunks_exact_mut(n).enumerate() {
        sums.copy_from_slice(&layer.bias);
        for (&offset, weights) in offsets.iter().zip(layer.weights.chunks_exact(4 * n)) {
            let at = input.place(y, x).wrapping_add_signed(offset);
            let word: [i32; 4] = std::array::from_fn(|k| i32::from(input.data[at + k]));
            for (sum, w) in sums.iter_mut().zip(weights.chunks_exact(4)) {
                *sum += (0..4).map(|k| word[k] * i32::from(w[k])).sum::<i32>();
            }
        }
        for (o, (value, &sum)) in pixel.iter_mut().zip(&sums).enumerate() {
            *value = layer.requantise(sum, o);
        }
    }
}
