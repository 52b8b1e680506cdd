//! Fixed budgets answered by a graph: their recall, what they leave alone, growing, threads.

mod support;

use sparrow_index::{
    AttendOptions, AttentionLayer, Budget, BuildOptions, LayerOptions, Partial, Rng, Strategy, relative_error,
};
use support::{dense, head, to_half_grid};

const KV_HEADS: usize = 2;
const GROUP: usize = 3;
const DIM: usize = 24;
const TOKENS: usize = 6000;
const K: usize = 100;
/// So low that all of the best keys count.
const SCALE: f32 = 0.03;

/// Keys and values of a head in order of position, and its queries.
struct Data {
    keys: Vec<f32>,
    queries: Vec<f32>,
    values: Vec<f32>,
}

fn data(tokens: usize) -> Vec<Data> {
    (0..KV_HEADS)
        .map(|kv| {
            let (mut keys, queries, mut values) = head(tokens, 400 * GROUP, DIM, 31 + kv as u64);
            to_half_grid(&mut keys);
            to_half_grid(&mut values);
            Data { keys, queries, values }
        })
        .collect()
}

fn part(heads: &[Data], from: usize, to: usize) -> (Vec<f32>, Vec<f32>) {
    let of = |all: &Vec<f32>| all[from * DIM..to * DIM].to_vec();
    (heads.iter().flat_map(|h| of(&h.keys)).collect(), heads.iter().flat_map(|h| of(&h.values)).collect())
}

fn options(fixed: bool, strategies: Vec<&'static str>) -> LayerOptions {
    LayerOptions {
        kv_heads: KV_HEADS,
        query_heads: KV_HEADS * GROUP,
        dim: DIM,
        value_dim: DIM,
        scale: SCALE,
        target: 0.01,
        fixed,
        build: BuildOptions { strategies, ..BuildOptions::default() },
    }
}

/// A layer over the first tokens, built for all but the last ten queries of each query head.
fn layer(heads: &[Data], tokens: usize, options: &LayerOptions) -> AttentionLayer {
    let (keys, values) = part(heads, 0, tokens);
    let queries: Vec<f32> = heads
        .iter()
        .flat_map(|h| h.queries.chunks_exact(400 * DIM).flat_map(|own| own[..390 * DIM].to_vec()))
        .collect();
    AttentionLayer::build(&keys, &values, &queries, options).unwrap()
}

/// Queries of a token that the layer was not built for.
fn token(heads: &[Data], number: usize) -> Vec<f32> {
    let own = |h: &Data| -> Vec<f32> {
        h.queries.chunks_exact(400 * DIM).flat_map(|own| own[(390 + number) * DIM..][..DIM].to_vec()).collect()
    };
    heads.iter().flat_map(own).collect()
}

/// Attention over exactly the `k` best of the first tokens.
fn exactly(query: &[f32], data: &Data, tokens: usize, k: usize) -> Partial {
    let score = |i: usize| -> f64 { query.iter().zip(&data.keys[i * DIM..]).map(|(a, b)| f64::from(a * b)).sum() };
    let mut scores: Vec<(f64, usize)> = (0..tokens).map(|i| (score(i), i)).collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let kept: std::collections::HashSet<usize> = scores[..k].iter().map(|x| x.1).collect();
    let (output, lse) = dense(query, &data.keys[..tokens * DIM], &data.values, DIM, SCALE, |i| kept.contains(&i));
    Partial { output: output.iter().map(|x| *x as f32).collect(), lse: lse as f32 }
}

/// Means over heads and ten tokens: share of the best keys' mass that was found, error of the output against theirs, keys scanned.
fn quality(layer: &AttentionLayer, heads: &[Data], tokens: usize, k: usize) -> (f32, f32, f32) {
    let (mut mass, mut error, mut scanned) = (0.0, 0.0, 0.0);
    for number in 0..10 {
        let queries = token(heads, number);
        let found = layer.attend(&queries, AttendOptions { budget: Budget::Keys(k), bound: false });
        for (h, (found, report)) in found.iter().enumerate() {
            let wanted = exactly(&queries[h * DIM..][..DIM], &heads[h / GROUP], tokens, k);
            assert!(found.lse <= wanted.lse + 1e-3, "no more than the best {k} have");
            assert_eq!(report.read as usize, k);
            assert_eq!((report.rest, report.bound), (1.0, 1.0), "neither was asked for");
            mass += (found.lse - wanted.lse).exp();
            error += relative_error(found, &wanted);
            scanned += report.scanned as f32;
        }
    }
    let count = (10 * KV_HEADS * GROUP) as f32;
    (mass / count, error / count, scanned / count)
}

fn walks(layer: &AttentionLayer) -> bool {
    layer.heads().iter().all(|head| matches!(head.search(), Strategy::Graph { .. }))
}

#[test]
fn a_graph_finds_nearly_the_best_keys_and_looks_at_few() {
    let heads = data(TOKENS);
    let layer = layer(&heads, TOKENS, &options(true, vec!["graph"]));
    assert!(walks(&layer));
    // More than the graph was measured for, too.
    for (k, most) in [(K, 0.25), (10, 0.25), (3 * K, 0.5)] {
        let (mass, error, scanned) = quality(&layer, &heads, TOKENS, k);
        assert!(mass > 0.995, "{k} keys: {mass} of the mass");
        assert!(error < 0.04, "{k} keys: error {error}");
        assert!(scanned < most * TOKENS as f32, "{k} keys: {scanned} scanned");
    }
    let all = AttendOptions { budget: Budget::Keys(K), bound: true };
    for (_, report) in layer.attend(&token(&heads, 0), all) {
        assert!(report.rest > 0.0 && report.rest < 1.0, "{report:?}");
    }
}

#[test]
fn many_threads_favour_the_graph_and_error_budgets_do_not_notice() {
    let mut heads = data(TOKENS);
    // Queries in all directions, whose keys are in many clusters.
    let mut rng = Rng::new(8);
    heads.iter_mut().for_each(|head| head.queries.iter_mut().for_each(|x| *x = rng.normal()));
    let with = |fixed, threads| {
        let mut options = options(fixed, vec![]);
        options.build.threads = threads;
        layer(&heads, TOKENS, &options)
    };
    let (none, alone, many) = (with(false, 1), with(true, 1), with(true, 1000));
    // Clusters of so few keys are in any cache.
    assert!(!walks(&none) && !walks(&alone) && walks(&many));
    assert_eq!(none.bytes(), alone.bytes());
    // Without the option nothing is kept besides, whatever would be the cheapest.
    let unasked = with(false, 1000);
    assert!(!walks(&unasked) && unasked.bytes() == none.bytes());
    let besides = (many.bytes() - none.bytes()) as f32 / (TOKENS * KV_HEADS) as f32;
    // 96 bytes of edges, a row of bytes, entry points.
    assert!((96.0 + 32.0..96.0 + 32.0 + 4.0).contains(&besides), "{besides} bytes a key");
    let options = AttendOptions { budget: Budget::Error(0.01), bound: true };
    assert_eq!(many.attend(&token(&heads, 1), options), none.attend(&token(&heads, 1), options));
}

#[test]
fn a_graph_grows_with_the_context() {
    let more = 2500;
    let heads = data(TOKENS + more);
    let mut layer = layer(&heads, TOKENS, &options(true, vec!["graph"]));
    let mut end = TOKENS;
    for step in [64, 900, 64, 1000, 472] {
        let (keys, values) = part(&heads, end, end + step);
        layer.append(&keys, &values).unwrap();
        end += step;
        assert!(walks(&layer));
        let (mass, error, _) = quality(&layer, &heads, end, K);
        assert!(mass > 0.995, "{end} keys: {mass} of the mass");
        assert!(error < 0.05, "{end} keys: error {error}");
        let queries = token(&heads, 2);
        let sparse = layer.attend(&queries, AttendOptions { budget: Budget::Error(0.01), bound: false });
        let truth = layer.attend(&queries, AttendOptions { budget: Budget::All, bound: false });
        for ((sparse, _), (truth, _)) in sparse.iter().zip(&truth) {
            assert!(relative_error(sparse, truth) < 0.1, "{end} keys");
        }
    }
    // A query for what came last finds it.
    let mut queries = vec![0f32; KV_HEADS * GROUP * DIM];
    for (h, query) in queries.chunks_exact_mut(DIM).enumerate() {
        let last = &heads[h / GROUP].keys[(end - 1) * DIM..];
        query.iter_mut().zip(last).for_each(|(q, x)| *q = 8.0 * x);
    }
    let found = layer.attend(&queries, AttendOptions { budget: Budget::Keys(1), bound: false });
    for (h, (found, _)) in found.iter().enumerate() {
        let wanted = exactly(&queries[h * DIM..][..DIM], &heads[h / GROUP], end, 1);
        assert!((found.lse - wanted.lse).abs() < 1e-3 * wanted.lse.abs(), "{} for {}", found.lse, wanted.lse);
    }
}

#[test]
fn any_number_of_threads_finds_the_same() {
    let heads = data(3000);
    let layer = layer(&heads, 3000, &options(true, vec!["graph"]));
    let mut rng = Rng::new(5);
    let queries: Vec<f32> = (0..KV_HEADS * GROUP * DIM).map(|_| rng.normal()).collect();
    for budget in [Budget::Keys(K), Budget::Keys(3000)] {
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| layer.attend(&queries, AttendOptions { budget, bound: true }))
        };
        let one = with(1);
        for threads in [2, 7, 16] {
            assert_eq!(with(threads), one, "{threads} threads, {budget:?}");
        }
    }
}
