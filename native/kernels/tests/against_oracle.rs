//! Every instruction set of this machine against plain f64 sums, at lengths around every vector width.

use std::panic::AssertUnwindSafe;

use half::f16;
use proptest::collection::vec;
use proptest::prelude::*;
use sparrow_kernels::{Picked, available, pack_blocks, pack_byte_blocks, pack_nibbles};

/// |found - expected| within the rounding of a sum of `terms`: the oracle is f64, the kernels f32.
fn close(set: &str, found: f32, expected: f64, magnitude: f64) {
    let allowed = 1e-6 * magnitude + 1e-30;
    assert!((f64::from(found) - expected).abs() <= allowed, "{set}: {found} against {expected} ± {allowed}");
}

fn dot(a: &[f32], b: &[f32]) -> (f64, f64) {
    let terms = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
    (terms.clone().sum(), terms.map(f64::abs).sum())
}

/// Rows of `dim`, a query, and ids into the rows: values span nine orders of magnitude, as attention keys do not but may.
fn problem() -> impl Strategy<Value = (usize, Vec<f32>, Vec<f32>, Vec<u32>)> {
    let value = prop_oneof![-1f32..1.0, -1e4f32..1e4, -1e-5f32..1e-5];
    (1usize..131, 1usize..40).prop_flat_map(move |(dim, rows)| {
        (Just(dim), vec(value.clone(), dim), vec(value.clone(), dim * rows), vec(0..rows as u32, 0..70))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 200 }))]

    #[test]
    fn gathers_agree_with_f64((dim, query, rows, ids) in problem()) {
        let halves: Vec<f16> = rows.iter().map(|x| f16::from_f32(*x)).collect();
        let widened: Vec<f32> = halves.iter().map(|x| x.to_f32()).collect();
        for set in available() {
            let mut out = vec![f32::NAN; ids.len()];
            set.gather_dot_f32(&query, &rows, &ids, &mut out);
            for (found, id) in out.iter().zip(&ids) {
                let (expected, magnitude) = dot(&query, &rows[*id as usize * dim..][..dim]);
                close(set.name(), *found, expected, magnitude);
            }
            set.gather_l2_f32(&query, &rows, &ids, &mut out);
            for (found, id) in out.iter().zip(&ids) {
                let row = &rows[*id as usize * dim..][..dim];
                let expected: f64 = query.iter().zip(row).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
                close(set.name(), *found, expected, expected);
            }
            set.gather_dot_f16(&query, &halves, &ids, &mut out);
            for (found, id) in out.iter().zip(&ids) {
                let (expected, magnitude) = dot(&query, &widened[*id as usize * dim..][..dim]);
                close(set.name(), *found, expected, magnitude);
            }
            close(set.name(), set.dot_f32(&query, &rows[..dim]), dot(&query, &rows[..dim]).0, dot(&query, &rows[..dim]).1);
        }
    }

    #[test]
    fn scans_agree_with_f64(dim in 1usize..70, keys in 1usize..50, count in 1usize..12, seed in any::<u32>()) {
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / 8e6 - 1.0 };
        let rows: Vec<f32> = (0..keys * dim).map(|_| next()).collect();
        let queries: Vec<f32> = (0..count * dim).map(|_| next()).collect();
        let blocks = pack_blocks(&rows, dim, 0.0);
        let halves: Vec<f16> = rows.iter().map(|x| f16::from_f32(*x)).collect();
        let half_blocks = pack_blocks(&halves, dim, f16::ZERO);
        let padded = blocks.len() / dim;
        for set in available() {
            let mut out = vec![f32::NAN; count * padded];
            let mut half_out = vec![f32::NAN; count * padded];
            set.scan_f32(&queries, dim, &blocks, &mut out);
            set.scan_f16(&queries, dim, &half_blocks, &mut half_out);
            for q in 0..count {
                for i in 0..padded {
                    let (expected, half) = if i < keys {
                        let query = &queries[q * dim..][..dim];
                        let wide: Vec<f32> = halves[i * dim..][..dim].iter().map(|x| x.to_f32()).collect();
                        (dot(query, &rows[i * dim..][..dim]), dot(query, &wide))
                    } else { ((0.0, 0.0), (0.0, 0.0)) };
                    close(set.name(), out[q * padded + i], expected.0, expected.1);
                    close(set.name(), half_out[q * padded + i], half.0, half.1);
                }
            }
        }
    }

    #[test]
    fn bytes_are_exact(groups in prop_oneof![Just(8usize), Just(16), 1usize..40], keys in 1usize..40, count in prop_oneof![Just(1usize), 1usize..12], seed in any::<u32>(), extreme in any::<bool>()) {
        let dim = groups * 4;
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); if extreme { 255 } else { (state >> 16) as u8 } };
        let rows: Vec<u8> = (0..keys * dim).map(|_| next()).collect();
        let queries: Vec<i8> = (0..count * dim).map(|_| if extreme { -128 } else { next() as i8 }).collect();
        let exact = |q: usize, i: usize| -> i32 {
            queries[q * dim..][..dim].iter().zip(&rows[i * dim..][..dim]).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum()
        };
        let blocks = pack_byte_blocks(&rows, dim, 0);
        let padded = blocks.len() / dim;
        let ids: Vec<u32> = (0..keys as u32).rev().collect();
        for set in available() {
            let mut out = vec![i32::MIN; count * padded];
            set.scan_u8(&queries, dim, &blocks, &mut out);
            let mut gathered = vec![i32::MIN; keys];
            for q in 0..count {
                set.gather_dot_u8(&queries[q * dim..][..dim], &rows, &ids, &mut gathered);
                for i in 0..keys {
                    prop_assert_eq!(out[q * padded + i], exact(q, i), "{} scan", set.name());
                    prop_assert_eq!(gathered[keys - 1 - i], exact(q, i), "{} gather", set.name());
                }
            }
        }
    }

    #[test]
    fn weighted_sums_agree_with_f64((dim, _, rows, ids) in problem(), seed in any::<u32>()) {
        let halves: Vec<f16> = rows.iter().map(|x| f16::from_f32(*x)).collect();
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / 1.7e7 };
        let weights: Vec<f32> = ids.iter().map(|_| next()).collect();
        let dense: Vec<f32> = (0..rows.len() / dim).map(|_| next()).collect();
        for set in available() {
            let mut sum = vec![0.5f32; dim];
            let mut dense_sum = vec![0.0f32; dim];
            set.gather_add_f16(&weights, &halves, &ids, &mut sum);
            set.add_rows_f16(&dense, &halves, &mut dense_sum);
            for j in 0..dim {
                let at = |id: usize| f64::from(halves[id * dim + j].to_f32());
                let terms = weights.iter().zip(&ids).map(|(w, id)| f64::from(*w) * at(*id as usize));
                close(set.name(), sum[j], 0.5 + terms.clone().sum::<f64>(), 0.5 + terms.map(f64::abs).sum::<f64>());
                let terms = dense.iter().enumerate().map(|(i, w)| f64::from(*w) * at(i));
                close(set.name(), dense_sum[j], terms.clone().sum(), terms.map(f64::abs).sum());
            }
        }
    }

    #[test]
    fn several_weighted_sums_are_those_of_each(dim in prop_oneof![1usize..70, Just(32), Just(64), Just(96), Just(128)], rows in prop_oneof![4 => 0usize..40, 1 => 250usize..530], more in 0usize..20, count in 0usize..10, seed in any::<u32>()) {
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / 8e6 - 1.0 };
        let halves: Vec<f16> = (0..rows * dim).map(|_| f16::from_f32(next())).collect();
        let weights: Vec<f32> = (0..count * (rows + more)).map(|_| next()).collect();
        let before: Vec<f32> = (0..count * dim).map(|_| next()).collect();
        for set in available() {
            let mut sums = before.clone();
            set.add_rows_to_each_f16(&weights, &halves, dim, &mut sums);
            for (at, found) in sums.iter().enumerate() {
                let (q, j) = (at / dim, at % dim);
                let terms = (0..rows).map(|i| f64::from(weights[q * (rows + more) + i]) * f64::from(halves[i * dim + j].to_f32()));
                let magnitude = f64::from(before[at].abs()) + terms.clone().map(f64::abs).sum::<f64>();
                close(set.name(), *found, f64::from(before[at]) + terms.sum::<f64>(), magnitude);
            }
        }
    }

    #[test]
    fn nibble_rows_add_up_exactly(dim in (1usize..9).prop_map(|n| 16 * n), rows in 0usize..150, more in 0usize..20, count in 0usize..8, seed in any::<u32>()) {
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / (1 << 24) as f32 };
        let codes: Vec<u8> = (0..rows * dim).map(|_| (next() * 16.0) as u8).collect();
        let packed = pack_nibbles(&codes, dim);
        let stride = 2 * packed.len() / dim + more;
        let weights: Vec<u8> = (0..count * stride).map(|_| (next() * 256.0) as u8).collect();
        let units: Vec<f32> = (0..count).map(|_| next() + 0.01).collect();
        let lines: Vec<[f32; 2]> = (0..dim).map(|_| [next() + 0.01, next() - 0.5]).collect();
        let before: Vec<f32> = (0..count * dim).map(|_| next() - 0.5).collect();
        for set in available() {
            let mut sums = before.clone();
            set.add_nibble_rows(&weights, &units, &packed, &lines, &mut sums);
            for (at, found) in sums.iter().enumerate() {
                let (q, j) = (at / dim, at % dim);
                // The last rows are filled up: with codes of 0, which weigh too.
                let own = &weights[q * stride..][..rows.next_multiple_of(8)];
                let total: i32 = own.iter().zip((0..rows).map(|i| codes[i * dim + j])).map(|(w, code)| i32::from(*w) * i32::from(code)).sum();
                let weight: i32 = own.iter().map(|w| i32::from(*w)).sum();
                let expected = before[at] + units[q] * (total as f32 * lines[j][0] + weight as f32 * lines[j][1]);
                prop_assert_eq!(*found, expected, "{}", set.name());
            }
        }
    }

    #[test]
    fn byte_weights_are_near_their_powers_and_the_same_in_every_set(blocks in 1usize..70, spread in 0f32..40.0, share in 0f32..1.2, seed in any::<u32>()) {
        let mut state = seed;
        let mut next = || { state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); (state >> 8) as f32 / (1 << 24) as f32 };
        let dots: Vec<i32> = (0..16 * blocks).map(|_| ((next() - 0.3) * 1e6) as i32).collect();
        let most = *dots.iter().max().unwrap();
        let line = [spread * 1e-6, -(most as f32) * spread * 1e-6];
        let exact = |dot: i32| (f64::from(dot) * f64::from(line[0]) + f64::from(line[1])).exp2();
        let mut all = Vec::new();
        for set in available() {
            let (mut codes, mut heavy) = (vec![7u8; dots.len()], vec![(0.0, 3)]);
            let (mass, step) = set.byte_weights(&dots, line, share, 100, &mut codes, &mut heavy);
            prop_assert_eq!(set.largest_dot(&dots), most);
            prop_assert_eq!(heavy.remove(0), (0.0, 3));
            let expected: f64 = dots.iter().map(|dot| exact(*dot)).sum();
            prop_assert!((f64::from(mass) - expected).abs() <= 2e-4 * expected, "{}: mass {mass} for {expected}", set.name());
            prop_assert!(f64::from(step) * 255.0 <= 1.0002 * f64::from(share).max(1e-30), "unit {step} at {share}");
            for (weight, place) in &heavy {
                prop_assert!(*weight > share);
                prop_assert_eq!(codes[*place as usize - 100], 0);
            }
            for (i, (code, dot)) in codes.iter().zip(&dots).enumerate() {
                let weight = exact(*dot);
                if heavy.iter().any(|entry| entry.1 as usize == 100 + i) {
                    prop_assert!(weight > 0.9998 * f64::from(share));
                } else {
                    prop_assert!(weight < 1.0002 * f64::from(share), "{weight} is heavier than {share}");
                    // No weight is off by more than one unit.
                    let found = f64::from(*code) * f64::from(step);
                    prop_assert!((found - weight).abs() <= 1.01 * f64::from(step) + 2e-4 * weight, "{}: {found} for {weight}", set.name());
                }
            }
            all.push((mass, step, codes, heavy));
        }
        prop_assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "sets differ");
    }

    #[test]
    fn exponentials_are_accurate(values in vec(-200f32..0.0, 1..100), scale in 0.01f32..1.0) {
        for set in available() {
            let mut out = values.clone();
            let sum = set.exp_sum(&mut out, -0.25, scale);
            let mut expected_sum = 0.0;
            for (found, x) in out.iter().zip(&values) {
                let expected = f64::from((x + 0.25) * scale).exp();
                expected_sum += f64::from(*found);
                prop_assert!((f64::from(*found) - expected).abs() <= 3e-7 * expected + 2e-38, "{}: exp {x} {found} {expected}", set.name());
            }
            close(set.name(), sum, expected_sum, expected_sum);
        }
    }

    #[test]
    fn clusters_weigh_what_their_means_and_spreads_say(
        clusters in vec((-60f32..60.0, 0f32..6.0, 1u32..90), 1..80),
        scale in 0.05f32..1.0,
        factor in 0f32..1.0,
    ) {
        let scores: Vec<f32> = clusters.iter().map(|x| x.0).collect();
        let spreads: Vec<f32> = clusters.iter().map(|x| x.1).collect();
        let mut starts = vec![5];
        clusters.iter().for_each(|x| starts.push(starts[starts.len() - 1] + x.2));
        let variance = |c: usize| f64::from(factor) * f64::from(spreads[c]).powi(2);
        let log = |c: usize| f64::from(scores[c]) * f64::from(scale) + (0.5 * variance(c)).min(2.0);
        let most = (0..scores.len()).map(log).fold(f64::NEG_INFINITY, f64::max);
        for set in available() {
            let (mut masses, mut errors) = (vec![f32::NAN; scores.len()], vec![f32::NAN; scores.len()]);
            let (unit, sum) = set.cluster_masses(&scores, &spreads, &starts, [scale, factor], &mut masses, &mut errors);
            prop_assert!((f64::from(unit) - most).abs() <= 1e-5 * (1.0 + most.abs()), "{}: unit {unit}, {most}", set.name());
            let mut total = 0.0;
            for (c, cluster) in clusters.iter().enumerate() {
                let (size, weight) = (f64::from(cluster.2), (log(c) - most).exp());
                total += size * weight;
                // What is rounded is the logarithm, of up to 62.
                let near = |found: f32, expected: f64, slack: f64| (f64::from(found) - expected).abs() <= 1e-4 * expected + slack;
                prop_assert!(near(masses[c], size * weight, 1e-30), "{}: mass {} of {c}", set.name(), masses[c]);
                let expected = weight * (size * variance(c).min(8.0).exp_m1()).sqrt();
                // A variance near nothing is a difference of numbers near one.
                let slack = 1e-3 * weight * size.sqrt() + 1e-30;
                prop_assert!(near(errors[c], expected, slack), "{}: error {} of {c}, {expected}", set.name(), errors[c]);
            }
            prop_assert!((f64::from(sum) - total).abs() <= 1e-4 * total, "{}: sum {sum}, {total}", set.name());
            let terms = (0..masses.len()).map(|c| f64::from(masses[c]) * variance(c).min(1.5));
            let expected: f64 = terms.sum();
            close(set.name(), set.lean(&masses, &spreads, factor, 1.5), expected, expected);
        }
    }

    #[test]
    fn products_become_scores_to_the_last_bit_but_one(dots in vec(-600_000i32..600_000, 0..100), scale in -0.01f32..0.01, offset in -40f32..40.0) {
        for set in available() {
            let mut out = vec![f32::NAN; dots.len()];
            set.affine(&dots, [scale, offset], &mut out);
            for (dot, found) in dots.iter().zip(out) {
                let expected = f64::from(*dot) * f64::from(scale) + f64::from(offset);
                let slack = 2e-7 * (f64::from(*dot) * f64::from(scale)).abs().max(f64::from(offset).abs());
                prop_assert!((f64::from(found) - expected).abs() <= slack, "{}: {dot} gave {found}", set.name());
            }
        }
    }

    #[test]
    fn weights_are_split_in_order_and_the_light_ones_summed(
        entries in vec((0f32..1.0, -30f32..30.0), 0..100),
        bars in (0f32..1.1, 0f32..1.1),
        exact in vec(0usize..100, 0..4),
        factor in 0f32..2.0,
    ) {
        let (mut weights, scores): (Vec<f32>, Vec<f32>) = entries.into_iter().unzip();
        let bars = [bars.0.min(bars.1), bars.0.max(bars.1)];
        // A weight of just the bar is above it.
        for (number, place) in exact.into_iter().enumerate() {
            if let Some(weight) = weights.get_mut(place) { *weight = bars[number % 2] }
        }
        let picked = |from: f32, to: f32| {
            let own = || (40u32..).zip(&weights).filter(move |entry| *entry.1 >= from && *entry.1 < to);
            Picked { weights: own().map(|entry| *entry.1).collect(), places: own().map(|entry| entry.0).collect() }
        };
        let light = || weights.iter().zip(&scores).filter(|entry| *entry.0 < bars[0]);
        let product = |entry: (&f32, &f32)| f64::from(*entry.0) * f64::from(*entry.1);
        let scaled: Vec<f32> = weights.iter().map(|weight| weight * factor).collect();
        let total: f64 = scaled.iter().map(|x| f64::from(*x)).sum();
        for set in available() {
            let before = Picked { weights: vec![7.0], places: vec![3] };
            let mut found = [before.clone(), before];
            let [sum, products] = set.split_weights(&weights, &scores, bars, 40, &mut found);
            for (found, expected) in found.iter().zip([picked(bars[0], bars[1]), picked(bars[1], f32::INFINITY)]) {
                prop_assert_eq!((found.weights[0], found.places[0]), (7.0, 3));
                prop_assert_eq!(&found.weights[1..], &expected.weights[..], "{}", set.name());
                prop_assert_eq!(&found.places[1..], &expected.places[..], "{}", set.name());
            }
            let expected: f64 = light().map(|entry| f64::from(*entry.0)).sum();
            close(set.name(), sum, expected, expected);
            close(set.name(), products, light().map(product).sum(), light().map(product).map(f64::abs).sum());
            let mut own = weights.clone();
            let sum = set.scale_sum(&mut own, factor);
            prop_assert_eq!(&own, &scaled);
            close(set.name(), sum, total, total);
        }
    }

    #[test]
    fn selection_keeps_order_and_drops_nan(mut scores in vec(-2f32..2.0, 0..100), threshold in -2f32..2.0, holes in vec(0usize..100, 0..5)) {
        for hole in holes { if let Some(score) = scores.get_mut(hole) { *score = f32::NAN } }
        let largest = scores.iter().copied().filter(|x| !x.is_nan()).fold(f32::NEG_INFINITY, f32::max);
        let expected: Vec<(f32, u32)> = (7u32..).zip(&scores).filter(|x| *x.1 > threshold).map(|(i, s)| (*s, i)).collect();
        for set in available() {
            let mut out = Vec::new();
            set.above(&scores, threshold, 7, &mut out);
            prop_assert_eq!(&out, &expected);
            prop_assert_eq!(set.max(&scores), largest, "{} max", set.name());
            prop_assert_eq!(set.count_above(&scores, threshold), expected.len(), "{} count", set.name());
            let below: f64 = scores.iter().filter(|x| **x < threshold).map(|x| f64::from(*x).powi(2)).sum();
            close(set.name(), set.squares_below(&scores, threshold), below, below);
            let mut ranks = vec![u32::MAX; scores.len()];
            set.ranks(&scores, &mut ranks);
            for (rank, own) in ranks.iter().zip(&scores) {
                prop_assert_eq!(*rank as usize, scores.iter().filter(|x| *x > own).count(), "{} rank", set.name());
            }
        }
    }
}

#[test]
fn special_halves_survive_widening() {
    let specials: Vec<f16> = (0..=u16::MAX).map(f16::from_bits).collect();
    for set in available() {
        for half in &specials {
            let mut out = [0f32];
            set.gather_dot_f16(&[1.0], &[*half], &[0], &mut out);
            assert!(
                out[0] == half.to_f32() || (out[0].is_nan() && half.is_nan()),
                "{}: {half:?} gave {}",
                set.name(),
                out[0]
            );
        }
    }
}

#[test]
fn small_weights_round_to_themselves_on_average() {
    let (rows, dim) = (4096, 16);
    // One weight of 1 makes the unit 1/255; the others are a fiftieth of that, and all rows the same.
    let mut dots = vec![0; rows];
    dots[1000] = 1000;
    let line = [(50.0f32 * 255.0).log2() / 1000.0, -(50.0f32 * 255.0).log2()];
    let packed = pack_nibbles(&vec![1; rows * dim], dim);
    for set in available() {
        let (mut sums, mut codes) = (vec![0f32; dim], vec![0; rows]);
        let (mass, unit) = set.byte_weights(&dots, line, 2.0, 0, &mut codes, &mut Vec::new());
        set.add_nibble_rows(&codes, &[unit], &packed, &[[1.0, 0.0]; 16], &mut sums);
        let exact = 1.0 + 4095.0 / (50.0 * 255.0);
        assert!((mass - exact).abs() < 2e-4 * exact, "{}: {mass} for {exact}", set.name());
        assert!((sums[0] - exact).abs() < 0.08 * exact, "{}: {} for {exact}", set.name(), sums[0]);
    }
}

#[test]
fn byte_weights_of_extremes_stay_numbers() {
    let dots: Vec<i32> = (0..16).map(|i| if i % 2 == 0 { i32::MIN } else { i32::MAX }).collect();
    for (line, bar) in [([1e30, 0.0], 0.0), ([1e-9, -1e4], 1e-30), ([0.0, 0.0], f32::INFINITY), ([-1.0, 5.0], 1.0)] {
        let mut all = Vec::new();
        for set in available() {
            let (mut codes, mut heavy) = (vec![0; 16], Vec::new());
            let (mass, unit) = set.byte_weights(&dots, line, bar, 0, &mut codes, &mut heavy);
            assert!(mass.is_finite() && unit.is_finite() && unit > 0.0, "{}: {mass}, {unit}", set.name());
            all.push((mass, unit, codes, heavy));
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "sets differ at {line:?}, {bar}");
    }
}

#[test]
fn minus_infinity_has_no_weight() {
    for set in available() {
        let mut values = [f32::NEG_INFINITY, 0.0];
        assert_eq!(set.exp_sum(&mut values, 0.0, 1.0), 1.0);
        assert_eq!(values, [0.0, 1.0]);
    }
}

#[test]
fn an_id_out_of_range_panics() {
    for set in available() {
        let found =
            std::panic::catch_unwind(AssertUnwindSafe(|| set.gather_dot_f32(&[1.0, 2.0], &[0.0; 4], &[2], &mut [0.0])));
        assert!(found.is_err(), "{} accepted row 2 of 2", set.name());
    }
}
