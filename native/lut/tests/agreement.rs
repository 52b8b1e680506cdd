//! Every instruction set gives the bytes of the scalar definition.

use proptest::prelude::*;
use sparrow_lut::{Cascade, Experts, Fusion, Isa, Layer, Net, Pattern, Stage, StageShape, enlarge};

const S: [i8; 8] = [0, 0, 0, 1, 1, 0, 1, 1];
const D: [i8; 8] = [0, 0, 0, 2, 2, 0, 2, 2];
const Y: [i8; 8] = [0, 0, 1, 1, 1, 2, 2, 1];
const E: [i8; 8] = [0, 0, 0, 1, 0, 2, 1, 0];

/// Reproducible bytes.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u8 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 56) as u8
    }

    /// Full range, -127 and 127 among them.
    fn table(&mut self, len: usize) -> Vec<i8> {
        (0..len).map(|_| (self.next() as i8).max(-127)).collect()
    }

    /// Flat areas, ramps and noise side by side: ties and extremes of the simplex sort.
    fn frame(&mut self, w: usize, h: usize) -> Vec<u8> {
        let kind: Vec<u8> = (0..w * h / 16 + 1).map(|_| self.next()).collect();
        (0..w * h)
            .map(|i| match kind[i / 16] % 4 {
                0 => 255,
                1 => kind[i / 16],
                2 => (i * 5) as u8,
                _ => self.next(),
            })
            .collect()
    }
}

fn patterns(list: &[[i8; 8]]) -> Vec<Pattern> {
    list.iter().map(|&p| Pattern::new(p).unwrap()).collect()
}

fn table_len(shift: u32) -> usize {
    ((256usize >> shift) + 1).pow(4)
}

fn others() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().skip(1).filter(|isa| isa.available())
}

fn layer(noise: &mut Noise, inputs: usize, outputs: usize, hidden: bool) -> Layer {
    let weights = noise.table(outputs * 9 * inputs);
    let bias: Vec<i32> = (0..outputs).map(|_| i32::from(noise.next()) * 64 - 4096).collect();
    let shift: Vec<u8> = (0..outputs).map(|_| noise.next() % 15).collect();
    Layer::new(inputs, outputs, &weights, &bias, &shift, hidden).unwrap()
}

fn fusion(noise: &mut Noise, scale: usize, count: usize, channels: usize) -> Fusion {
    let shift = 5;
    let values = noise.table(2 * count * table_len(shift) * scale * scale);
    let experts = Experts::new(scale, shift, 8, &patterns(&[S, E]), count, &values).unwrap();
    let gates =
        Net::new(vec![layer(noise, 8, 16, true), layer(noise, 16, 16, true), layer(noise, 16, count, true)]).unwrap();
    let trunk = Net::new(vec![
        layer(noise, 4, channels, true),
        layer(noise, channels, channels, true),
        layer(noise, channels, scale * scale, false),
    ])
    .unwrap();
    Fusion::new(experts, gates, trunk).unwrap()
}

/// Sums of lookups are largest where every entry is: partial sums of 16 bits must not run over.
#[test]
fn stages_of_extreme_tables_agree() {
    let (w, h) = (70, 3);
    let frame = Noise(1).frame(w, h);
    for shift in 4..=6 {
        for (count, entry, scale) in [(1, 127, 4), (2, -127, 4), (4, 127, 3), (3, -127, 1), (24, 127, 4)] {
            let list = patterns(&[S; 24][..count]);
            let values = vec![entry; count * table_len(shift) * scale * scale];
            let all = (count as i32 * 4 * 127) << shift;
            // The largest sum is a byte's middle, so that what is cut off shows.
            let divisor = (all / 100).min(1024);
            let bias = if entry < 0 { all + 100 * divisor } else { 100 * divisor - all };
            let shape = StageShape { scale, step: 1, shift, rotations: 4, divisor, bias, centre: false };
            let cascade = Cascade::new(vec![Stage::new(shape, &list, &values).unwrap()]).unwrap();
            let mut expected = vec![0; w * h * scale * scale];
            cascade.run(Isa::Scalar, &frame, w, h, &mut expected).unwrap();
            assert!(expected.iter().all(|byte| *byte == 100), "shift {shift}, {count} tables: {}", expected[0]);
            for isa in others() {
                let mut out = vec![1; expected.len()];
                cascade.run(isa, &frame, w, h, &mut out).unwrap();
                assert_eq!(out, expected, "{}, shift {shift}, {count} tables", isa.name());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn stages_agree(w in 1usize..150, h in 1usize..20, scale in 1usize..5, shift in 4u32..7, turns in any::<bool>(), centre in any::<bool>(), count in 1usize..5, seed in any::<u64>()) {
        let mut noise = Noise(seed);
        let list = patterns(&[S, D, Y, E][..count]);
        let values = noise.table(count * table_len(shift) * scale * scale);
        let rotations = if turns { 4 } else { 1 };
        let divisor = [48, 192, 256, 512, 7][seed as usize % 5];
        let shape = StageShape { scale, step: 1, shift, rotations, divisor, bias: i32::from(noise.next()) * 100, centre };
        let cascade = Cascade::new(vec![Stage::new(shape, &list, &values).unwrap()]).unwrap();
        let frame = noise.frame(w, h);
        let mut expected = vec![0; w * h * scale * scale];
        cascade.run(Isa::Scalar, &frame, w, h, &mut expected).unwrap();
        for isa in others() {
            let mut out = vec![1; expected.len()];
            cascade.run(isa, &frame, w, h, &mut out).unwrap();
            prop_assert_eq!(&out, &expected, "{}", isa.name());
        }
    }

    #[test]
    fn stages_by_phases_agree(w in 1usize..150, h in 1usize..12, four in any::<bool>(), turns in any::<bool>(), centre in any::<bool>(), seed in any::<u64>()) {
        let (mut noise, scale) = (Noise(seed), if four { 4 } else { 2 });
        let rotations = if turns { 4 } else { 1 };
        let shape = StageShape { scale: 2, step: 1, shift: 5, rotations, divisor: 64, bias: 0, centre };
        let first = Stage::new(shape, &patterns(&[S, Y]), &noise.table(2 * table_len(5) * 4)).unwrap();
        let shape = StageShape { scale, step: 2, divisor: 192, ..shape };
        let list = patterns(&[[0, 0, -6, 1, 6, 3, 2, -5], [1, 1, 0, 1, 1, 0, 0, 0], [-1, -1, 5, 0, 0, 4, 3, 3]]);
        let second = Stage::new(shape, &list, &noise.table(3 * table_len(5) * scale * scale)).unwrap();
        let cascade = Cascade::new(vec![first, second]).unwrap();
        let frame = noise.frame(w, h);
        let mut expected = vec![0; w * h * scale * scale];
        cascade.run(Isa::Scalar, &frame, w, h, &mut expected).unwrap();
        for isa in others() {
            let mut out = vec![1; expected.len()];
            cascade.run(isa, &frame, w, h, &mut out).unwrap();
            prop_assert_eq!(&out, &expected, "{}", isa.name());
        }
        if turns {
            // The ensemble is exact through both stages: a turned frame gives the turned result.
            let turned: Vec<u8> = (0..w * h).map(|i| frame[i % h * w + w - 1 - i / h]).collect();
            let mut out = vec![0; expected.len()];
            cascade.run(Isa::best(), &turned, h, w, &mut out).unwrap();
            let (sw, sh) = (scale * w, scale * h);
            let back: Vec<u8> = (0..sw * sh).map(|i| expected[i % sh * sw + sw - 1 - i / sh]).collect();
            prop_assert_eq!(&out, &back);
        }
    }

    #[test]
    fn fusions_agree(w in 1usize..100, h in 1usize..20, scale in 2usize..5, count in 1usize..7, wide in any::<bool>(), seed in any::<u64>()) {
        let mut noise = Noise(seed);
        let fusion = fusion(&mut noise, scale, count, if wide { 32 } else { 20 });
        let (frame, previous) = (noise.frame(w, h), noise.frame(w, h));
        for residual in [false, true] {
            let mut expected = vec![0; w * h * scale * scale];
            fusion.run(Isa::Scalar, &frame, &previous, w, h, residual, &mut expected).unwrap();
            for isa in others() {
                let mut out = vec![1; expected.len()];
                fusion.run(isa, &frame, &previous, w, h, residual, &mut out).unwrap();
                prop_assert_eq!(&out, &expected, "{} residual {}", isa.name(), residual);
            }
        }
    }
}

#[test]
fn a_flat_table_gives_back_the_pixel() {
    let shape = StageShape { scale: 4, step: 1, shift: 5, rotations: 4, divisor: 256, bias: 0, centre: true };
    let cascade = Cascade::new(vec![Stage::new(shape, &patterns(&[S]), &vec![0; table_len(5) * 16]).unwrap()]).unwrap();
    let frame: Vec<u8> = (0..35).collect();
    let mut out = vec![0; 35 * 16];
    cascade.run(Isa::best(), &frame, 7, 5, &mut out).unwrap();
    for (i, &value) in out.iter().enumerate() {
        assert_eq!(value, frame[i / 28 / 4 * 7 + i % 28 / 4]);
    }
}

#[test]
fn a_linear_table_interpolates_exactly() {
    // Entry = sum of the four cell coordinates; interpolation of a linear function is exact, so q times the output is
    // the sum of the four pixels.
    let l = 17;
    let values: Vec<i8> =
        (0..l * l * l * l).map(|i| (i / (l * l * l) + i / (l * l) % l + i / l % l + i % l) as i8).collect();
    let shape = StageShape { scale: 1, step: 1, shift: 4, rotations: 1, divisor: 4, bias: 0, centre: false };
    let cascade = Cascade::new(vec![Stage::new(shape, &patterns(&[S]), &values).unwrap()]).unwrap();
    let frame = [10, 20, 33, 250];
    for isa in Isa::ALL.into_iter().filter(|isa| isa.available()) {
        let mut out = [0; 4];
        cascade.run(isa, &frame, 2, 2, &mut out).unwrap();
        assert_eq!(out[0], ((10 + 20 + 33 + 250 + 2) / 4) as u8, "{}", isa.name());
    }
}

#[test]
fn bicubic_keeps_flat_areas_and_odd_sizes() {
    for (w, h) in [(1, 1), (3, 2), (70, 5)] {
        for scale in 1..=4 {
            let mut out = vec![0; w * h * scale * scale];
            enlarge(&vec![77; w * h], w, h, scale, [2, 2], &mut out).unwrap();
            assert!(out.iter().all(|&v| v == 77));
        }
    }
}

#[test]
fn bicubic_keeps_samples_where_they_lie() {
    // A ramp of 8 a sample, read where the result's samples lie.
    let (w, h) = (24, 16);
    for scale in 1..=4 {
        for siting in [[2, 2], [1, 2], [2, 1], [1, 1]] {
            for axis in 0..2 {
                let source: Vec<u8> = (0..w * h).map(|i| (8 * if axis == 0 { i % w } else { i / w }) as u8).collect();
                let mut out = vec![0; w * h * scale * scale];
                enlarge(&source, w, h, scale, siting, &mut out).unwrap();
                let side = [w, h][axis] * scale;
                for at in 2 * scale..side - 2 * scale {
                    let offset = f64::from(siting[axis]) / 4.0;
                    let expected = 8.0 * ((at as f64 + offset) / scale as f64 - offset);
                    let found = out[if axis == 0 { 5 * w * scale + at } else { at * w * scale + 5 }];
                    assert!(
                        (f64::from(found) - expected).abs() < 0.7,
                        "x{scale} {siting:?}: {found} at {at}, {expected}"
                    );
                }
            }
        }
    }
    assert!(enlarge(&[0], 1, 1, 2, [0, 2], &mut [0; 4]).is_err());
}

#[test]
fn wrong_sizes_are_refused() {
    assert!(Pattern::new([0, 0, 0, 9, 0, 0, 0, 0]).is_err());
    let shape = StageShape { scale: 4, step: 1, shift: 5, rotations: 4, divisor: 256, bias: 0, centre: true };
    assert!(Stage::new(shape, &patterns(&[S]), &[0; 10]).is_err());
    assert!(Stage::new(StageShape { shift: 9, ..shape }, &patterns(&[S]), &[0; 10]).is_err());
    assert!(Cascade::new(vec![]).is_err());
    let cascade = Cascade::new(vec![Stage::new(shape, &patterns(&[S]), &vec![0; table_len(5) * 16]).unwrap()]).unwrap();
    assert!(cascade.run(Isa::Scalar, &[0; 5], 2, 3, &mut [0; 96]).is_err());
    assert!(cascade.run(Isa::Scalar, &[0; 6], 2, 3, &mut [0; 95]).is_err());
    assert!(cascade.run(Isa::Scalar, &[], 0, 0, &mut []).is_err());
}
