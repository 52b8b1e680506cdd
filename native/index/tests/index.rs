//! Recall against the flat oracle, determinism, appending.

mod support;

use sparrow_index::{
    AttentionHead, AttentionIndex, BuildOptions, FlatIndex, Hit, IndexError, IvfIndex, Rng, Rows, VectorIndex,
};
use support::head;

/// Share of the oracle's hits that `index` finds, and the mean share of keys scanned.
fn recall(index: &dyn VectorIndex, oracle: &FlatIndex, queries: Rows<'_>, k: usize, effort: usize) -> (f32, f32) {
    let (mut found, mut wanted) = (Vec::<Hit>::new(), Vec::<Hit>::new());
    let (mut common, mut scanned) = (0, 0);
    for query in queries.iter() {
        scanned += index.search(query, k, effort, &mut found);
        oracle.search(query, k, 1, &mut wanted);
        common += found.iter().filter(|hit| wanted.iter().any(|other| other.id == hit.id)).count();
        assert!(found.is_sorted_by(|a, b| a.score >= b.score), "hits come best first");
    }
    let count = queries.len() as f32;
    (common as f32 / (k as f32 * count), scanned as f32 / (count * index.len() as f32))
}

#[test]
fn every_strategy_reaches_its_recall_and_graph_and_clusters_scan_little() {
    let (dim, k) = (32, 50);
    let (keys, queries, _) = head(8000, 1200, dim, 1);
    let (train, test) = queries.split_at(1000 * dim);
    let (keys, train, test) = (Rows { data: &keys, dim }, Rows { data: train, dim }, Rows { data: test, dim });
    let oracle = FlatIndex::build(keys);
    for (name, most) in [("graph", 0.25), ("clusters", 0.3), ("flat", 1.01)] {
        let options = BuildOptions { k, strategies: vec![name], ..BuildOptions::default() };
        let index = AttentionIndex::build(keys, train, &options).unwrap();
        assert_eq!(index.strategy().name(), name);
        let (recall, scanned) = recall(&index, &oracle, test, k, index.strategy().effort());
        assert!(recall > 0.93, "{name}: recall {recall}");
        assert!(scanned < most, "{name}: scanned {scanned}");
    }
    let ivf = IvfIndex::build(keys, 64, 1);
    let efforts = ivf.efforts(k);
    assert!(recall(&ivf, &oracle, test, k, *efforts.last().unwrap()).0 > 0.99, "all clusters probed is exact");
}

#[test]
fn a_build_is_the_same_for_a_seed_whatever_the_threads() {
    let dim = 24;
    let (keys, queries, _) = head(5000, 700, dim, 2);
    let build = |threads, seed| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let options = BuildOptions {
                seed,
                keep_all: true,
                strategies: vec!["graph", "clusters", "flat"],
                ..BuildOptions::default()
            };
            let index =
                AttentionIndex::build(Rows { data: &keys, dim }, Rows { data: &queries, dim }, &options).unwrap();
            index.to_bytes()
        })
    };
    let one = build(1, 7);
    assert!(one == build(4, 7), "four threads built another index");
    assert!(one == build(4, 7), "the second build with four threads differs from the first");
    assert!(one != build(1, 8), "the seed has no effect");
}

#[test]
fn appended_keys_are_found() {
    let dim = 16;
    let (keys, queries, _) = head(6000, 600, dim, 3);
    let all = Rows { data: &keys, dim };
    for name in ["graph", "clusters", "flat"] {
        let options = BuildOptions { k: 20, strategies: vec![name], ..BuildOptions::default() };
        let first = Rows { data: &keys[..3500 * dim], dim };
        let mut index = AttentionIndex::build(first, Rows { data: &queries[..500 * dim], dim }, &options).unwrap();
        for part in keys[3500 * dim..].chunks(310 * dim) {
            index.append(Rows { data: part, dim }).unwrap();
        }
        assert_eq!(index.len(), 6000);
        let test = Rows { data: &queries[500 * dim..], dim };
        let (recall, _) = recall(&index, &FlatIndex::build(all), test, 20, 2 * index.strategy().effort());
        assert!(recall > 0.9, "{name}: recall {recall}");
    }
}

#[test]
fn an_index_that_grows_tenfold_keeps_its_recall() {
    let (dim, k, first, count) = (32, 100, 2000, 20_000);
    let mut rng = Rng::new(9);
    // Embeddings: twelve directions and noise.
    let basis: Vec<f32> = (0..12 * dim).map(|_| rng.normal()).collect();
    let mut rows = |count: usize| -> Vec<f32> {
        let mut all = Vec::new();
        for _ in 0..count {
            let parts: Vec<f32> = (0..12).map(|_| rng.normal()).collect();
            all.extend(
                (0..dim).map(|j| (0..12).map(|i| parts[i] * basis[i * dim + j]).sum::<f32>() + 0.2 * rng.normal()),
            );
        }
        all
    };
    let (keys, train, test) = (rows(count), rows(500), rows(50));
    let (train, test) = (Rows { data: &train, dim }, Rows { data: &test, dim });
    let oracle = FlatIndex::build(Rows { data: &keys, dim });
    let options = BuildOptions { k, strategies: vec!["clusters"], ..BuildOptions::default() };
    let mut index = AttentionIndex::build(Rows { data: &keys[..first * dim], dim }, train, &options).unwrap();
    // One is written and read again after every step of growth.
    let mut read = AttentionIndex::from_bytes(&index.to_bytes()).unwrap();
    for part in keys[first * dim..].chunks(1000 * dim) {
        index.append(Rows { data: part, dim }).unwrap();
        read.append(Rows { data: part, dim }).unwrap();
        read = AttentionIndex::from_bytes(&read.to_bytes()).unwrap();
    }
    assert_eq!(read.strategy(), index.strategy());
    let (recall, scanned) = recall(&index, &oracle, test, k, index.strategy().effort());
    assert!(recall > 0.93 && scanned < 0.5, "recall {recall}, scanned {scanned}");
}

#[test]
fn tiny_and_degenerate_sets_work() {
    for (keys, dim) in [(vec![1.0f32; 4], 4), (vec![0.0; 300], 3), ((0..200).map(|i| (i % 2) as f32).collect(), 1)] {
        let keys = Rows { data: &keys, dim };
        let index = AttentionIndex::build(keys, Rows { data: &[], dim }, &BuildOptions::default()).unwrap();
        let mut hits = Vec::new();
        index.search(keys.row(0), 10, index.strategy().effort(), &mut hits);
        assert_eq!(hits.len(), keys.len().min(10), "{} keys of dimension {dim}", keys.len());
        index.search(keys.row(0), 0, 1, &mut hits);
        assert!(hits.is_empty());
    }
}

#[test]
fn bad_arguments_are_named() {
    let refused = |result: Result<AttentionIndex, IndexError>| result.map(|_| ()).unwrap_err().to_string();
    let none = Rows { data: &[], dim: 4 };
    let four = [1.0f32; 8];
    let keys = Rows { data: &four, dim: 4 };
    let options = BuildOptions::default();
    assert!(refused(AttentionIndex::build(none, none, &options)).contains("no keys"));
    assert!(refused(AttentionIndex::build(keys, Rows { data: &four, dim: 2 }, &options)).contains("dimension 2"));
    let bad = BuildOptions { cluster_size: 0, ..BuildOptions::default() };
    assert!(refused(AttentionIndex::build(keys, keys, &bad)).contains("cluster_size: 0"));
    assert!(Rows::new("keys", &four, 3).is_err_and(|e| e.to_string().contains("8 elements")));
    assert!(Rows::new("keys", &[f32::NAN], 1).is_err_and(|e| e.to_string().contains("NaN")));
    assert!(Rows::new("keys", &four, 0).is_err());
}

#[test]
fn numbers_beyond_half_precision_are_refused_and_change_nothing() {
    let dim = 4;
    let keys: Vec<f32> = (0..40).map(|i| i as f32).collect();
    let with = |at: usize, x: f32| {
        let mut all = keys.clone();
        all[at] = x;
        all
    };
    let options = BuildOptions::default();
    let build = |data: &[f32]| AttentionIndex::build(Rows { data, dim }, Rows { data: &keys, dim }, &options);
    let error = build(&with(9, -1e5)).err().unwrap().to_string();
    assert!(error.contains("keys: element 1 of row 2 is -100000, expected at most 65504 either way"), "{error}");
    let mut index = build(&with(9, 65504.0)).unwrap();
    let error = index.append(Rows { data: &with(7, 1e6), dim }).unwrap_err().to_string();
    assert!(error.contains("append keys: element 3 of row 1 is 1000000"), "{error}");
    assert_eq!(index.len(), 10);
    let far = with(0, 7e4);
    let error = AttentionHead::new(index, Rows { data: &far, dim }, 1.0).err().unwrap().to_string();
    assert!(error.contains("values: element 0 of row 0 is 70000"), "{error}");
    let mut head = AttentionHead::new(build(&keys).unwrap(), Rows { data: &keys, dim }, 1.0).unwrap();
    assert!(head.append(Rows { data: &keys, dim }, Rows { data: &far, dim }).is_err());
    assert_eq!(head.len(), 10);
}

#[test]
fn queries_unlike_any_that_trained_are_answered_by_near_clusters() {
    let (dim, topics, count, k) = (384, 60, 4000, 10);
    let mut rng = Rng::new(5);
    // Embeddings: a topic among few directions, little in all others, of length 1.
    let basis: Vec<f32> = (0..24 * dim).map(|_| rng.normal()).collect();
    let centres: Vec<f32> = (0..topics * 24).map(|_| rng.normal()).collect();
    let mut keys = Vec::new();
    for _ in 0..count {
        let topic = rng.below(topics);
        let parts: Vec<f32> = (0..24).map(|i| centres[topic * 24 + i] + 0.6 * rng.normal()).collect();
        let mut row: Vec<f32> = (0..dim)
            .map(|j| (0..24).map(|i| parts[i] * basis[i * dim + j]).sum::<f32>() + 0.5 * rng.normal())
            .collect();
        let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
        row.iter_mut().for_each(|x| *x /= norm);
        keys.extend(row);
    }
    let noisy: Vec<f32> = keys[..100 * dim].iter().map(|x| x + 0.3 / (dim as f32).sqrt() * rng.normal()).collect();
    let rows = Rows { data: &keys, dim };
    let options = BuildOptions { k, strategies: vec!["clusters"], ..BuildOptions::default() };
    let index = AttentionIndex::build(rows, Rows { data: &[], dim }, &options).unwrap();
    let oracle = FlatIndex::build(rows);
    let (recall, scanned) = recall(&index, &oracle, Rows { data: &noisy, dim }, k, index.strategy().effort());
    assert!(recall > 0.9 && scanned < 0.3, "recall {recall}, scanned {scanned}");
}

#[test]
fn clusters_of_few_keys_leave_no_place_empty() {
    let (dim, count, k) = (8, 1000, 20);
    let mut rng = Rng::new(8);
    let keys: Vec<f32> = (0..count * dim).map(|_| rng.normal()).collect();
    let rows = Rows { data: &keys, dim };
    let options = BuildOptions { k, cluster_size: 4, strategies: vec!["clusters"], ..BuildOptions::default() };
    let index = AttentionIndex::build(rows, rows, &options).unwrap();
    let mut hits = Vec::new();
    for effort in [1, 2] {
        for query in rows.iter().take(50) {
            index.search(query, k, effort, &mut hits);
            assert_eq!(hits.len(), k, "effort {effort}");
        }
    }
}
