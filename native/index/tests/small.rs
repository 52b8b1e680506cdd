//! Everything at sizes that a race detector (ThreadSanitizer) gets through in seconds: builds on several threads, every strategy and
//! every plan, appending, and a way through bytes.

mod support;

use sparrow_index::{
    AttendOptions, AttentionHead, AttentionIndex, AttentionLayer, Budget, BuildOptions, LayerOptions, Plan, Rows,
    Strategy as Search, VectorIndex,
};
use support::{dense, head, relative, to_half_grid};

const KEYS: usize = 2500;
const QUERIES: usize = 500;
const DIM: usize = 16;
const GROUP: usize = 2;

fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn every_strategy_is_built_alike_by_any_number_of_threads_and_survives_bytes() {
    let (keys, queries, _) = head(KEYS, QUERIES, DIM, 3);
    let (keys, queries) = (Rows { data: &keys, dim: DIM }, Rows { data: &queries, dim: DIM });
    for name in ["graph", "clusters", "flat"] {
        let options = BuildOptions { k: 8, strategies: vec![name], ..BuildOptions::default() };
        let mut index = on_threads(3, || AttentionIndex::build(keys, queries, &options).unwrap());
        let bytes = index.to_bytes();
        assert!(
            bytes == on_threads(1, || AttentionIndex::build(keys, queries, &options).unwrap()).to_bytes(),
            "{name}"
        );
        let mut read = AttentionIndex::from_bytes(&bytes).unwrap();
        let (mut found, mut again) = (Vec::new(), Vec::new());
        for index in [&mut index, &mut read] {
            index.append(Rows { data: &queries.data[..10 * DIM], dim: DIM }).unwrap();
        }
        for query in queries.iter().take(6) {
            index.search(query, 8, index.strategy().effort(), &mut found);
            read.search(query, 8, read.strategy().effort(), &mut again);
            assert_eq!(found, again, "{name}");
            assert_eq!(found.len(), 8);
        }
    }
}

#[test]
fn every_plan_of_a_head_is_near_dense_attention() {
    let (mut keys, queries, mut values) = head(KEYS, QUERIES, DIM, 6);
    to_half_grid(&mut keys);
    to_half_grid(&mut values);
    let options =
        BuildOptions { k: 8, keep_all: true, strategies: vec!["graph", "clusters", "flat"], ..BuildOptions::default() };
    let index = on_threads(2, || {
        AttentionIndex::build(Rows { data: &keys, dim: DIM }, Rows { data: &queries, dim: DIM }, &options).unwrap()
    });
    let mut head = AttentionHead::new(index, Rows { data: &values, dim: DIM }, 0.25).unwrap();
    let (keys, values) = ([&keys[..], &keys[..DIM]].concat(), [&values[..], &values[..DIM]].concat());
    head.append(Rows { data: &keys[..DIM], dim: DIM }, Rows { data: &values[..DIM], dim: DIM }).unwrap();
    for (plan, most) in [
        (Plan::Exact, 1e-5),
        (Plan::Bytes { share: 1e-3 }, 0.02),
        (Plan::Clusters { threshold: 1e-7, fine: false }, 2e-4),
        (Plan::Keys { strategy: Search::Graph { pool: KEYS as u32 } }, 2e-4),
        (Plan::Keys { strategy: Search::Flat { rerank: KEYS as u32 } }, 2e-4),
    ] {
        head.set_plan(plan);
        let queries = &queries[..2 * GROUP * DIM];
        let options = AttendOptions { budget: Budget::Error(0.01), bound: true };
        for (query, (found, _)) in queries.chunks_exact(DIM).zip(head.attend(queries, options)) {
            let (output, _) = dense(query, &keys, &values, DIM, 0.25, |_| true);
            let error = relative(&found.output, &output);
            assert!(error < most, "{plan:?}: relative error {error}");
        }
    }
}

#[test]
fn a_layer_is_built_and_answers_on_several_threads() {
    let (kv_heads, query_heads) = (2, 2 * GROUP);
    let heads: Vec<_> = (0..kv_heads).map(|kv| head(KEYS + 24, QUERIES * GROUP, DIM, 30 + kv as u64)).collect();
    let part = |from: usize, to: usize| -> (Vec<f32>, Vec<f32>) {
        let of = |all: &[f32]| all[from * DIM..to * DIM].to_vec();
        (heads.iter().flat_map(|h| of(&h.0)).collect(), heads.iter().flat_map(|h| of(&h.2)).collect())
    };
    let queries: Vec<f32> = heads.iter().flat_map(|h| h.1.clone()).collect();
    let options = LayerOptions {
        kv_heads,
        query_heads,
        dim: DIM,
        value_dim: DIM,
        scale: 0.25,
        target: 0.01,
        fixed: false,
        build: BuildOptions { k: 8, ..BuildOptions::default() },
    };
    let (keys, values) = part(0, KEYS);
    let (more_keys, more_values) = part(KEYS, KEYS + 24);
    let token: Vec<f32> = (0..query_heads).flat_map(|h| queries[h * QUERIES * DIM..][..DIM].to_vec()).collect();
    let found = on_threads(3, || {
        let mut layer = AttentionLayer::build(&keys, &values, &queries, &options).unwrap();
        layer.append(&more_keys, &more_values).unwrap();
        layer.attend(&token, AttendOptions { budget: Budget::Error(0.01), bound: true })
    });
    for (h, (found, report)) in found.iter().enumerate() {
        let own = &heads[h / GROUP];
        let (output, _) = dense(&token[h * DIM..][..DIM], &own.0, &own.2, DIM, 0.25, |_| true);
        assert!(relative(&found.output, &output) < 0.06, "head {h}: {}", relative(&found.output, &output));
        assert!(report.scanned > 0);
    }
}
