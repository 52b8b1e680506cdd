//! Bicubic enlargement by an integer: the path of chroma, and the yardstick.

use crate::cascade::check_planes;
use crate::error::{Error, require};
use crate::plane::Plane;
use crate::rows::for_rows;

/// Cubic kernel with a = -0.5 (Keys).
fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

/// Where a plane's samples lie, across and down: in quarters of the way from one to the next, from the edge of the picture to the first. 2 is
/// the middle, where luma lies, and chroma between the luma samples that it stands for; 1 the first of two such luma samples.
pub type Siting = [u32; 2];

/// First tap (relative to the pixel) and four weights that sum to 256, for each of `scale` phases.
fn phases(scale: usize, quarters: u32) -> Vec<(isize, [i32; 4])> {
    let offset = f64::from(quarters) / 4.0;
    (0..scale)
        .map(|phase| {
            let position = (phase as f64 + offset) / scale as f64 - offset;
            let first = position.floor() - 1.0;
            let mut taps: [i32; 4] =
                std::array::from_fn(|i| (cubic(position - first - i as f64) * 256.0).round() as i32);
            let excess = taps.iter().sum::<i32>() - 256;
            let largest = if taps[1] >= taps[2] { 1 } else { 2 };
            taps[largest] -= excess;
            (first as isize, taps)
        })
        .collect()
}

/// `out` is `source` (`width x height`) enlarged `scale` (1 to 4) times either way: vertical pass to four fractional
/// bits, then horizontal, replicated borders. The result's samples lie as the source's do. Runs on the current rayon pool.
pub fn enlarge(
    source: &[u8],
    width: usize,
    height: usize,
    scale: usize,
    siting: Siting,
    out: &mut [u8],
) -> Result<(), Error> {
    require((1..=4).contains(&scale), || format!("the enlargement is {scale}, expected 1 to 4"))?;
    require(siting.iter().all(|q| (1..=2).contains(q)), || {
        format!("the samples lie {siting:?} quarters from the edges, expected 1 or 2")
    })?;
    check_planes(source.len(), out.len(), width, height, scale)?;
    let mut plane = Plane::default();
    plane.fill(source, width, height);
    let [across, down] = siting.map(|quarters| phases(scale, quarters));
    for_rows(out, scale * scale * width, |rows, part| {
        let mut middle = vec![0i32; width + 4];
        for (block, y) in part.chunks_exact_mut(scale * scale * width).zip(rows) {
            for (row, (first, taps)) in block.chunks_exact_mut(scale * width).zip(&down) {
                for (i, value) in middle.iter_mut().enumerate() {
                    let tap = |k: usize| taps[k] * i32::from(plane.at(y as isize + first + k as isize, i as isize - 2));
                    *value = (tap(0) + tap(1) + tap(2) + tap(3) + 8) >> 4;
                }
                for (x, pixels) in row.chunks_exact_mut(scale).enumerate() {
                    for (pixel, (first, taps)) in pixels.iter_mut().zip(&across) {
                        let four = &middle[x.wrapping_add_signed(first + 2)..][..4];
                        let sum: i32 = four.iter().zip(taps).map(|(v, t)| v * t).sum();
                        *pixel = ((sum + 2048) >> 12).clamp(0, 255) as u8;
                    }
                }
            }
        }
    });
    Ok(())
}
