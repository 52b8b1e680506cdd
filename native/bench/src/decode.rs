//! One decode step of a layer whose keys and values come from memory, against exact attention.

use std::time::Instant;

use rayon::prelude::*;
use sparrow_index::{
    AttendOptions, AttentionHead, AttentionIndex, AttentionLayer, Budget, BuildOptions, ExactAttention, LayerOptions,
    Partial, Plan, Rows,
};
use sparrow_kernels::{Buffer, best, f16, pack_byte_blocks};
use sparrow_threads::with_threads;

use crate::report::Report;
use crate::sets::Head;

const STEPS: usize = 24;
/// Relative error of a layer's output that is allowed.
const TARGET: f64 = 0.01;

/// Measures a layer of these heads. `judged` rows are those with a bar: a layer of a real model is too small for its times to
/// mean what those of four heads beyond every cache do.
pub fn measure(case: &str, heads: &[Head], report: &mut Report) -> Result<(), String> {
    let (dim, group) = (heads[0].dim, heads[0].group);
    let keys: Vec<f32> = heads.iter().flat_map(|head| head.keys.iter().copied()).collect();
    let values: Vec<f32> = heads.iter().flat_map(|head| head.values.iter().copied()).collect();
    // By query head, from token by token.
    let queries: Vec<f32> = heads
        .iter()
        .flat_map(|head| {
            let tokens = head.train.len() / (group * dim);
            let places = (0..group).flat_map(move |member| (0..tokens).map(move |token| token * group + member));
            places.flat_map(|row| head.train[row * dim..][..dim].iter().copied())
        })
        .collect();
    let scale = 1.0 / (dim as f32).sqrt();
    let options = LayerOptions {
        kv_heads: heads.len(),
        query_heads: heads.len() * group,
        dim,
        value_dim: dim,
        scale,
        target: TARGET as f32,
        fixed: false,
        build: BuildOptions { strategies: vec!["clusters", "flat"], ..BuildOptions::default() },
    };
    let start = Instant::now();
    let layer = AttentionLayer::build(&keys, &values, &queries, &options).map_err(|error| error.to_string())?;
    report.note(&format!("{case}: layer of {} heads built in {:.1} s", heads.len(), start.elapsed().as_secs_f64()));
    layer.heads().iter().for_each(|head| report.note(&format!("  {:?}", head.plan(0.01))));
    drop((keys, values, queries));

    let exact: Vec<(ExactAttention, Buffer<f16>)> = heads
        .iter()
        .map(|head| (ExactAttention::build(&halves(&head.keys), dim), Buffer::new(&halves(&head.values))))
        .collect();
    let scans: Vec<ByteScan> = heads.iter().map(ByteScan::build).collect();
    let by_bytes: Vec<AttentionHead> =
        heads.iter().map(|head| all_by_bytes(head, scale)).collect::<Result<_, String>>()?;
    let step = |i: usize| -> Vec<f32> {
        heads
            .iter()
            .flat_map(|head| {
                let count = head.test.len() / dim;
                (0..group)
                    .flat_map(move |member| head.test[(i * group + member) % count * dim..][..dim].iter().copied())
            })
            .collect()
    };
    let options = AttendOptions { budget: Budget::Error(0.01), bound: false };
    // In this order: ours, and the scans of all keys that it is judged by.
    let mut ways = [
        Way::new("ours"),
        Way::new("exact f16"),
        Way::new("all keys, scores by int8"),
        Way::new("int8 scan, best 100"),
    ];
    let (mut looked, mut read) = (0f64, 0f64);
    for i in 0..STEPS {
        let queries = step(i);
        let each = || queries.par_chunks_exact(group * dim);
        // Side by side, so that whatever else runs slows all alike.
        let found = ways[0].time(|| layer.attend(&queries, options));
        let truth: Vec<Partial> = ways[1].time(|| {
            let each = exact.par_iter().zip(each());
            each.flat_map_iter(|((keys, values), queries)| keys.attend(best(), queries, values, scale)).collect()
        });
        let all: Vec<Partial> = ways[2].time(|| {
            let each = by_bytes.par_iter().zip(each());
            each.flat_map_iter(|(head, queries)| head.attend(queries, options).into_iter().map(|x| x.0)).collect()
        });
        let best_100: Vec<Partial> = ways[3].time(|| {
            let each = scans.par_iter().zip(&exact).zip(each());
            each.flat_map_iter(|((scan, (_, values)), queries)| scan.attend(queries, values, scale)).collect()
        });
        // The layer's whole output against exact attention's.
        ways[0].error += layer_error(found.iter().map(|x| &x.0), &truth) / STEPS as f64;
        ways[2].error += layer_error(all.iter(), &truth) / STEPS as f64;
        ways[3].error += layer_error(best_100.iter(), &truth) / STEPS as f64;
        for (_, report) in &found {
            looked += f64::from(report.scanned);
            read += f64::from(report.read);
        }
    }
    let count = (STEPS * heads.len() * group) as f64;
    let keys = heads[0].keys.len() / dim;
    let (ours, dense) = (ways[0].median(), ways[1].median());
    report.note(&format!(
        "  ours scores {:.2} % of keys and reads {:.2} % of values",
        looked / count / keys as f64 * 100.0,
        read / count / keys as f64 * 100.0
    ));
    for way in &mut ways {
        let time = way.median() * 1e3;
        report.note(&format!("  {}: {time:.2} ms a step, error {:.4}", way.name, way.error));
    }
    // A scan that drops most of the mass is no competitor: equal error, or none.
    let scans = ways[1..].iter_mut().filter(|way| way.error <= TARGET);
    let (name, fastest) =
        scans.map(|way| (way.name, way.median())).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or(("exact f16", dense));
    report.row(case, "step_ms", ours * 1e3, "ms", None);
    report.row(case, "speedup_vs_exact_f16", dense / ours, "", Some(("exact f16", dense / ours)));
    report.row(case, "speedup_vs_best_exact", fastest / ours, "", Some((name, fastest / ours)));
    report.row(case, "rel_l2", ways[0].error, "", None);
    report.row(case, "bytes_per_token", layer.bytes() as f64 / (keys * heads.len()) as f64, "B", None);
    Ok(())
}

/// A way of doing a step.
struct Way {
    name: &'static str,
    error: f64,
    times: Vec<f64>,
}

impl Way {
    fn new(name: &'static str) -> Self {
        Self { name, error: 0.0, times: Vec::new() }
    }

    /// On the threads that a decode step has.
    fn time<T: Send>(&mut self, step: impl FnOnce() -> T + Send) -> T {
        let start = Instant::now();
        let result = with_threads(step);
        self.times.push(start.elapsed().as_secs_f64());
        result
    }

    fn median(&mut self) -> f64 {
        self.times.sort_by(f64::total_cmp);
        self.times[self.times.len() / 2]
    }
}

/// A head that scores all keys by bytes and reads all values, whatever it would choose.
fn all_by_bytes(head: &Head, scale: f32) -> Result<AttentionHead, String> {
    let rows = |data| Rows { data, dim: head.dim };
    let build = BuildOptions { strategies: vec!["flat"], max_queries: 256, ..BuildOptions::default() };
    let built = AttentionIndex::build(rows(&head.keys), rows(&head.train), &build)
        .and_then(|index| AttentionHead::new(index, rows(&head.values), scale));
    let mut head = built.map_err(|error| error.to_string())?;
    head.set_plan(Plan::Bytes { share: 1.0 / 2048.0 });
    Ok(head)
}

/// |found - truth| / |truth| over all heads.
fn layer_error<'a>(found: impl Iterator<Item = &'a Partial>, truth: &[Partial]) -> f64 {
    let (mut wrong, mut whole) = (0f64, 0f64);
    for (found, truth) in found.zip(truth) {
        for (a, b) in found.output.iter().zip(&truth.output) {
            wrong += f64::from(a - b).powi(2);
            whole += f64::from(*b).powi(2);
        }
    }
    (wrong / whole.max(f64::MIN_POSITIVE)).sqrt()
}

fn halves(values: &[f32]) -> Vec<f16> {
    values.iter().map(|x| f16::from_f32(*x)).collect()
}

/// The fastest scan of all keys we know, at an error that is printed: bytes, the queries of a group sharing the pass, the best
/// 150 scored again in half precision, attention over the best 100 of those.
struct ByteScan {
    blocks: Buffer<u8>,
    halves: Buffer<f16>,
    steps: Vec<f32>,
    mean: Vec<f32>,
    keys: usize,
    dim: usize,
}

impl ByteScan {
    fn build(head: &Head) -> Self {
        let dim = head.dim;
        let rows = Rows { data: &head.keys, dim };
        let mean = rows.mean();
        let mut steps = vec![1e-20f32; dim];
        for row in rows.iter() {
            steps.iter_mut().zip(row.iter().zip(&mean)).for_each(|(s, (x, m))| *s = s.max((x - m).abs() / 127.0));
        }
        let code = |(j, x): (usize, &f32)| (((x - mean[j]) / steps[j]).round() + 128.0) as u8;
        let codes: Vec<u8> = rows.iter().flat_map(|row| row.iter().enumerate().map(code).collect::<Vec<_>>()).collect();
        let blocks = Buffer::new(&pack_byte_blocks(&codes, dim, 128));
        Self { blocks, halves: Buffer::new(&halves(&head.keys)), steps, mean, keys: rows.len(), dim }
    }

    fn attend(&self, queries: &[f32], values: &[f16], scale: f32) -> Vec<Partial> {
        let kernels = best();
        let dim = self.dim;
        let codes: Vec<i8> = queries
            .chunks_exact(dim)
            .flat_map(|query| {
                let folded: Vec<f32> = query.iter().zip(&self.steps).map(|(q, s)| q * s).collect();
                let unit = folded.iter().fold(1e-20f32, |most, x| most.max(x.abs())) / 127.0;
                folded.into_iter().map(move |x| (x / unit).round() as i8)
            })
            .collect();
        let count = queries.len() / dim;
        let mut tops: Vec<Vec<(f32, u32)>> = vec![Vec::new(); count];
        let mut bars = vec![f32::NEG_INFINITY; count];
        const TILE: usize = 2048;
        let mut dots = vec![0i32; count * TILE];
        let mut scores = vec![0f32; TILE];
        for (number, tile) in self.blocks.chunks(TILE * dim).enumerate() {
            let width = tile.len() / dim;
            let real = width.min(self.keys - number * TILE);
            kernels.scan_u8(&codes, dim, tile, &mut dots[..count * width]);
            for (q, (top, bar)) in tops.iter_mut().zip(&mut bars).enumerate() {
                scores[..real].iter_mut().zip(&dots[q * width..]).for_each(|(s, d)| *s = *d as f32);
                kernels.above(&scores[..real], *bar, (number * TILE) as u32, top);
                if top.len() >= 600 {
                    top.select_nth_unstable_by(149, |a, b| b.0.total_cmp(&a.0));
                    top.truncate(150);
                    *bar = top[149].0;
                }
            }
        }
        debug_assert_eq!(self.mean.len(), dim);
        queries
            .chunks_exact(dim)
            .zip(&mut tops)
            .map(|(query, top)| {
                top.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
                top.truncate(150);
                let ids: Vec<u32> = top.iter().map(|hit| hit.1).collect();
                let mut exact = vec![0f32; ids.len()];
                kernels.gather_dot_f16(query, &self.halves, &ids, &mut exact);
                let mut best: Vec<(f32, u32)> = exact.into_iter().zip(ids).collect();
                best.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
                best.truncate(100);
                let (mut weights, ids): (Vec<f32>, Vec<u32>) = best.into_iter().unzip();
                let most = weights[0];
                let mass = kernels.exp_sum(&mut weights, most, scale);
                let mut sum = vec![0f32; values.len() / self.keys];
                kernels.gather_add_f16(&weights, values, &ids, &mut sum);
                Partial { output: sum.iter().map(|x| x / mass).collect(), lse: most * scale + mass.ln() }
            })
            .collect()
    }
}
