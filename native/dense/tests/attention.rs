//! Attention against plain f64, in steps of any shape.

mod common;

use common::{Numbers, distance};
use half::f16;
use sparrow_dense::{AttentionShape, KvPages, KvShape, PAGE, Rows, attend};
use sparrow_kernels::{Kernels, available};

/// A sequence's keys and values, `[page][KV head][64][dim]`, and its queries.
struct Scene {
    shape: AttentionShape,
    keys: Vec<f16>,
    values: Vec<f16>,
    queries: Vec<f32>,
    /// Where its pages are in the cache.
    pages: Vec<u32>,
}

fn shape(heads: usize, kv_heads: usize, dim: usize, window: Option<usize>) -> AttentionShape {
    // Some of a head's elements are padding, and so are some of a row's outputs.
    AttentionShape { heads, kv_heads, dim, kept: dim - 20, stride: heads * (dim - 20) + 8, window }
}

impl Scene {
    fn new(shape: AttentionShape, tokens: usize, seed: u64) -> Self {
        let mut numbers = Numbers(seed);
        let pages = tokens.div_ceil(PAGE);
        let count = pages * shape.kv_heads * PAGE * shape.dim;
        let mut halves = || -> Vec<f16> { numbers.some(count).into_iter().map(f16::from_f32).collect() };
        let (keys, values) = (halves(), halves());
        // Scores between some -10 and 10.
        let queries = numbers.some(tokens * shape.heads * shape.dim).into_iter().map(|x| 2.0 * x).collect();
        // Every other page, from behind.
        let pages = (0..pages as u32).rev().map(|page| 2 * page + 1).collect();
        Self { shape, keys, values, queries, pages }
    }

    fn cache(&self) -> KvPages {
        let AttentionShape { kv_heads, dim, .. } = self.shape;
        let mut cache = KvPages::new(KvShape { layers: 2, kv_heads, dim, pages: 2 * self.pages.len() }).unwrap();
        let bits = |halves: &[f16]| halves.iter().map(|half| half.to_bits()).collect::<Vec<_>>();
        cache.write(1, &self.pages, [&bits(&self.keys), &bits(&self.values)]).unwrap();
        cache
    }

    /// Outputs of the tokens of each of the runs, and log-masses of those that decode.
    fn attend(&self, set: &dyn Kernels, cache: &KvPages, runs: &[(usize, usize, bool)]) -> (Vec<f32>, Vec<f32>) {
        let AttentionShape { heads, dim, kept, stride, .. } = self.shape;
        let mut rows = Vec::new();
        let mut queries = Vec::new();
        for &(first, end, decodes) in runs {
            let own = Rows {
                first: queries.len() / (heads * dim),
                count: end - first,
                rotated: 0,
                position: first,
                pages: &self.pages,
                decodes,
            };
            rows.push(own);
            queries.extend_from_slice(&self.queries[first * heads * dim..end * heads * dim]);
        }
        let mut out = vec![f32::NAN; queries.len() / (heads * dim) * stride];
        let mut masses = vec![f32::NAN; runs.iter().filter(|run| run.2).count() * heads];
        attend(set, self.shape, (cache, 1), &rows, &queries, &mut out, &mut masses).unwrap();
        assert!(out.chunks(stride).all(|out| out[heads * kept..].iter().all(|x| *x == 0.0)));
        (out.chunks(stride).flat_map(|out| &out[..heads * kept]).copied().collect(), masses)
    }

    /// The outputs of tokens, and the binary logarithms of their masses.
    fn expected(&self, first: usize, end: usize) -> (Vec<f64>, Vec<f64>) {
        let AttentionShape { heads, kv_heads, dim, kept, window, .. } = self.shape;
        let at = |of: &[f16], token: usize, head: usize, j: usize| {
            of[((token / PAGE * kv_heads + head) * PAGE + token % PAGE) * dim + j].to_f64()
        };
        let (mut out, mut masses) = (Vec::new(), Vec::new());
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
                masses.push(total.log2());
                for j in 0..kept {
                    let sum: f64 =
                        weights.iter().enumerate().map(|(i, w)| w * at(&self.values, least + i, kv, j)).sum();
                    out.push(sum / total);
                }
            }
        }
        (out, masses)
    }
}

#[test]
fn attention_agrees_with_f64_and_rows_with_themselves() {
    for (heads, kv_heads, dim, window, tokens) in [
        (2, 1, 64, None, 200),
        (3, 3, 128, None, 70),
        (4, 2, 64, Some(50), 300),
        (2, 2, 256, Some(1), 67),
        // More pages than are widened at a time, or than a part of decoding has.
        (1, 1, 256, None, 600),
        (8, 1, 64, None, 1100),
        (4, 2, 64, Some(600), 1100),
    ] {
        let scene = Scene::new(shape(heads, kv_heads, dim, window), tokens, tokens as u64);
        let cache = scene.cache();
        let (expected, _) = scene.expected(0, tokens);
        let row = heads * scene.shape.kept;
        let last = tokens - 1;
        let decoding = [0, 1, 62, 63, 64, 65, tokens / 2, last];
        for set in available() {
            let (whole, _) = scene.attend(set, &cache, &[(0, tokens, false)]);
            let off = distance(&whole, &expected);
            assert!(off < 2e-6, "{} {:?}: {off}", set.name(), scene.shape);
            // In chunks, and beside other rows, a row's bits are the same.
            for (first, end) in [(0, 1), (0, 63), (1, 64), (63, tokens), (last, tokens)] {
                let (part, _) = scene.attend(set, &cache, &[(5, 60, false), (first, end, false), (last, tokens, true)]);
                let found = &part[55 * row..][..(end - first) * row];
                assert_eq!(found, &whole[first * row..end * row], "{} {first}..{end} {:?}", set.name(), scene.shape);
            }
            // More rows than attend together, the last of them over and over: with the pages of all others.
            let runs: Vec<_> = decoding.iter().chain([&last; 9]).map(|at| (*at, at + 1, true)).collect();
            let (decoded, masses) = scene.attend(set, &cache, &runs);
            for (i, at) in runs.iter().map(|run| run.0).enumerate() {
                let (expected, log_masses) = scene.expected(at, at + 1);
                let (found, mass) = (&decoded[i * row..][..row], &masses[i * heads..][..heads]);
                // What was computed as a part of a prompt comes again when it decodes; plain Rust adds up otherwise there, and is of no use here.
                let same = found == &whole[at * row..][..row];
                assert!(same || !set.products_pay(), "{} {at} {:?}", set.name(), scene.shape);
                let off = distance(found, &expected);
                assert!(off < 1e-5, "{} {at} {:?}: {off}", set.name(), scene.shape);
                for (mass, expected) in mass.iter().zip(log_masses) {
                    assert!((f64::from(*mass) - expected).abs() < 1e-4, "{} {at}: {mass} {expected}", set.name());
                }
                let (alone, own) = scene.attend(set, &cache, &[(0, 9, false), (at, at + 1, true)]);
                assert_eq!((&alone[9 * row..], &own[..]), (found, mass), "{} {at} {:?}", set.name(), scene.shape);
            }
        }
    }
}

#[test]
fn what_a_row_does_not_see_does_not_matter() {
    let mut scene = Scene::new(shape(2, 1, 64, None), 100, 9);
    let set = available()[0];
    let runs = [(0, 70, false), (69, 70, true)];
    let before = scene.attend(set, &scene.cache(), &runs);
    // Keys of tokens from 70 on.
    for token in 70..128 {
        let at = (token / 64 * 64 + token % 64) * 64;
        scene.keys[at..at + 64].fill(f16::from_f32(60000.0));
        scene.values[at..at + 64].fill(f16::from_f32(-60000.0));
    }
    assert_eq!(scene.attend(set, &scene.cache(), &runs), before);
}

#[test]
fn scores_of_any_size_give_numbers_and_what_is_none_shows() {
    for set in available() {
        for size in [1e5, -1e5] {
            let mut scene = Scene::new(shape(1, 1, 64, Some(64)), 130, 4);
            scene.keys.fill(f16::from_f32(1.0));
            scene.queries.fill(size);
            let (out, masses) = scene.attend(set, &scene.cache(), &[(0, 130, false), (129, 130, true)]);
            assert!(out.iter().all(|x| x.is_finite() && x.abs() <= 1.0), "{} {size}", set.name());
            assert!((masses[0] - (size * 64.0 + 6.0)).abs() <= 1e-6 * size.abs() * 64.0, "{} {size}", set.name());
        }
        let mut scene = Scene::new(shape(1, 1, 64, None), 66, 5);
        scene.queries[64 * 64 + 3] = f32::NAN;
        let kept = scene.shape.kept;
        let (out, masses) = scene.attend(set, &scene.cache(), &[(0, 66, false), (64, 65, true), (65, 66, true)]);
        let bad: Vec<usize> = (0..68).filter(|row| out[row * kept..][..kept].iter().any(|x| x.is_nan())).collect();
        assert_eq!(bad, [64, 66], "{}", set.name());
        assert!(masses[0].is_nan() && masses[1].is_finite(), "{}: {masses:?}", set.name());
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let set = available()[0];
    let good = AttentionShape { heads: 4, kv_heads: 2, dim: 64, kept: 64, stride: 256, window: None };
    let cache = KvPages::new(KvShape { layers: 1, kv_heads: 2, dim: 64, pages: 2 }).unwrap();
    let rows = Rows { first: 0, count: 1, rotated: 0, position: 70, pages: &[0, 1], decodes: true };
    let ask = |shape: AttentionShape, rows: &[Rows<'_>], lengths: [usize; 3]| {
        let [queries, out, masses] = lengths.map(|length| vec![0f32; length]);
        attend(set, shape, (&cache, 0), rows, &queries, &mut out.clone(), &mut masses.clone())
    };
    assert!(ask(good, &[rows], [256, 256, 4]).is_ok());
    assert!(ask(good, &[], [0, 0, 0]).is_ok());
    for wrong in [
        AttentionShape { heads: 0, ..good },
        AttentionShape { kv_heads: 3, ..good },
        AttentionShape { kv_heads: 0, ..good },
        AttentionShape { kv_heads: 4, ..good },
        AttentionShape { dim: 32, ..good },
        AttentionShape { dim: 128, ..good },
        AttentionShape { kept: 65, ..good },
        AttentionShape { stride: 255, ..good },
        AttentionShape { window: Some(0), ..good },
    ] {
        assert!(ask(wrong, &[rows], [wrong.heads * wrong.dim, wrong.stride, wrong.heads]).is_err(), "{wrong:?}");
    }
    for wrong in [
        Rows { first: 1, ..rows },
        Rows { count: 0, ..rows },
        Rows { count: 2, ..rows },
        Rows { position: 128, ..rows },
        Rows { position: usize::MAX, ..rows },
        Rows { pages: &[0], ..rows },
        Rows { pages: &[0, 2], ..rows },
    ] {
        assert!(ask(good, &[wrong], [256, 256, 4]).is_err(), "{wrong:?}");
    }
    for lengths in [[255, 256, 4], [256, 255, 4], [256, 256, 3]] {
        assert!(ask(good, &[rows], lengths).is_err(), "{lengths:?}");
    }
    for wrong in [(0, 1, 64, 1), (1, 0, 64, 1), (1, 1, 32, 1), (1, 1, 0, 1), (1, 1, 64, 0), (1, 1 << 40, 64, 1 << 40)] {
        let (layers, kv_heads, dim, pages) = wrong;
        assert!(KvPages::new(KvShape { layers, kv_heads, dim, pages }).is_err(), "{wrong:?}");
    }
}
