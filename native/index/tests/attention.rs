//! The identities of attention in parts, and its error against plain attention in f64.

mod support;

use proptest::prelude::*;
use sparrow_index::{
    AttendOptions, AttentionHead, AttentionIndex, AttentionLayer, Budget, BuildOptions, LayerOptions, Partial, Plan,
    Rows, Strategy as Search,
};
use support::{dense, head, relative, to_half_grid};

fn build(keys: &[f32], queries: &[f32], values: &[f32], dim: usize, target: Option<f32>) -> AttentionHead {
    let options =
        BuildOptions { keep_all: true, strategies: vec!["graph", "clusters", "flat"], ..BuildOptions::default() };
    let queries = Rows { data: queries, dim };
    let index = AttentionIndex::build(Rows { data: keys, dim }, queries, &options).unwrap();
    let value_dim = values.len() / (keys.len() / dim);
    let mut head = AttentionHead::new(index, Rows { data: values, dim: value_dim }, 1.0 / (dim as f32).sqrt()).unwrap();
    if let Some(target) = target {
        let sample = &queries.data[..32.min(queries.len()) * dim];
        let truth = head.exactly(sample);
        head.choose_plan(sample, &truth, target, 0.0, 4, false);
    }
    head
}

const ALL: AttendOptions = AttendOptions { budget: Budget::All, bound: false };

#[test]
fn every_key_gives_dense_attention() {
    for (keys, dim) in [(1, 4), (15, 8), (700, 32), (3000, 20)] {
        let (mut rows, queries, mut values) = head(keys, 40, dim, 1);
        to_half_grid(&mut rows);
        to_half_grid(&mut values);
        let head = build(&rows, &queries, &values, dim, None);
        let scale = 1.0 / (dim as f32).sqrt();
        for budget in [Budget::All, Budget::Keys(keys), Budget::Keys(10 * keys), Budget::Error(0.0)] {
            for (query, (found, report)) in
                queries.chunks_exact(dim).zip(head.attend(&queries, AttendOptions { budget, bound: false }))
            {
                let (output, lse) = dense(query, &rows, &values, dim, scale, |_| true);
                assert!(relative(&found.output, &output) < 1e-5, "{keys} keys, {budget:?}");
                assert!((f64::from(found.lse) - lse).abs() < 1e-4 * lse.abs().max(1.0));
                assert_eq!((report.rest, report.bound), (0.0, 0.0));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn any_partition_merges_to_the_whole(seed in any::<u64>(), parts in 1usize..6, order in any::<u64>()) {
        let (keys, dim) = (60, 12);
        let (rows, queries, values) = head(keys, 1, dim, seed);
        let query = &queries[..dim];
        let part_of = |i: usize| (i as u64).wrapping_mul(seed | 1).wrapping_add(seed >> 7) as usize % parts;
        let mut pieces: Vec<Partial> = (0..parts)
            .map(|part| {
                if !(0..keys).any(|i| part_of(i) == part) {
                    return Partial::empty(dim);
                }
                let (output, lse) = dense(query, &rows, &values, dim, 0.3, |i| part_of(i) == part);
                Partial { output: output.iter().map(|x| *x as f32).collect(), lse: lse as f32 }
            })
            .collect();
        pieces.rotate_left(order as usize % parts);
        let mut whole = Partial::empty(dim);
        pieces.iter().for_each(|piece| whole.merge(piece));
        // The other grouping: the second half first.
        let (front, back) = pieces.split_at(parts / 2);
        let mut other = Partial::empty(dim);
        let mut tail = Partial::empty(dim);
        back.iter().for_each(|piece| tail.merge(piece));
        front.iter().for_each(|piece| other.merge(piece));
        other.merge(&tail);
        let (output, lse) = dense(query, &rows, &values, dim, 0.3, |_| true);
        for found in [whole, other] {
            prop_assert!(relative(&found.output, &output) < 1e-5);
            prop_assert!((f64::from(found.lse) - lse).abs() < 1e-4 * lse.abs().max(1.0));
        }
    }
}

#[test]
fn the_chosen_plan_keeps_the_error_on_new_queries() {
    let (keys, dim, count) = (6000, 32, 400);
    let (rows, queries, values) = head(keys, count, dim, 5);
    // Attention as wide as the head has it, and narrower: there most keys are left alone.
    for sharper in [1.0, 4.0] {
        let queries: Vec<f32> = queries.iter().map(|x| x * sharper).collect();
        let (train, fresh) = queries.split_at(300 * dim);
        let head = build(&rows, train, &values, dim, Some(0.01));
        // The wider of the two takes most keys, which only bytes make cheaper.
        let cheaper = sharper > 1.0 || sparrow_kernels::best().nibble_sums_pay();
        assert!(!cheaper || head.plan(0.01) != Plan::Exact, "these keys do not need exact attention");
        let found = head.attend(fresh, AttendOptions { budget: Budget::Error(0.01), bound: true });
        let truth = head.attend(fresh, ALL);
        let (mut total, mut scanned) = (0.0, 0);
        for ((found, report), (truth, _)) in found.iter().zip(&truth) {
            total += sparrow_index::relative_error(found, truth);
            let off = (found.lse - truth.lse).abs();
            assert!(off < 0.1 * sharper, "{:?}: log-mass off by {off}", head.plan(0.01));
            scanned += report.scanned as usize;
            assert!((0.0..=1.0).contains(&report.rest) && report.rest <= report.bound + 0.02, "{report:?}");
        }
        let (scanned, error) = (scanned / found.len(), total / found.len() as f32);
        assert!(sharper == 1.0 || scanned < keys / 2, "{:?}: mean keys scanned {scanned}", head.plan(0.01));
        assert!(error < 0.015, "{:?}: mean error {error}", head.plan(0.01));
    }
}

#[test]
fn estimates_follow_what_values_have_in_common_with_scores() {
    let (keys, dim, value_dim) = (4000, 24, 16);
    let (rows, queries, _) = head(keys, 300, dim, 9);
    let mut rng = sparrow_index::Rng::new(4);
    let map: Vec<f32> = (0..value_dim * dim).map(|_| rng.normal()).collect();
    let linear = |row: &[f32]| -> Vec<f32> {
        map.chunks_exact(dim).map(|map| map.iter().zip(row).map(|(m, k)| m * k).sum()).collect()
    };
    let values: Vec<f32> = rows.chunks_exact(dim).flat_map(linear).collect();
    // Queries of little weight: attention is diffuse, and every cluster is estimated.
    let queries: Vec<f32> = queries.iter().map(|x| 0.15 * x).collect();
    let mut head = build(&rows, &queries, &values, dim, None);
    head.set_plan(Plan::Clusters { threshold: 0.5, fine: false });
    let options = AttendOptions { budget: Budget::Error(0.01), bound: false };
    let (mut total, mut read) = (0.0, 0);
    for query in queries.chunks_exact(dim).take(40) {
        let (truth, _) = &head.attend(query, ALL)[0];
        let (found, report) = &head.attend(query, options)[0];
        total += sparrow_index::relative_error(found, truth);
        read += report.read;
    }
    assert_eq!(read, 0);
    // By mean values alone it is 0.0038.
    assert!(total / 40.0 < 0.003, "mean error {}", total / 40.0);
}

#[test]
fn the_bound_is_above_the_mass_left_out() {
    let (keys, dim) = (4000, 24);
    let (mut rows, queries, mut values) = head(keys, 300, dim, 8);
    to_half_grid(&mut rows);
    to_half_grid(&mut values);
    let head = build(&rows, &queries, &values, dim, Some(0.05));
    for query in queries.chunks_exact(dim).take(60) {
        let found = head.attend(query, AttendOptions { budget: Budget::Error(0.05), bound: true });
        let report = found[0].1;
        // What was computed exactly is at most the true mass, so the share estimated is at most the bound.
        assert!(report.bound >= report.rest * 0.98, "{report:?}");
    }
    // Where every cluster is opened, the keys whose values are not read are all that is left.
    let mut head = head;
    let mut unread = 0;
    for threshold in [1e-5, 1e-4, 1e-3] {
        head.set_plan(Plan::Clusters { threshold, fine: false });
        for query in queries.chunks_exact(dim).take(20) {
            let report = head.attend(query, AttendOptions { budget: Budget::Error(0.01), bound: true })[0].1;
            assert!(report.bound >= report.rest * 0.98, "{threshold}: {report:?}");
            unread += usize::from(report.scanned as usize > keys && report.rest > 1e-5);
        }
    }
    assert!(unread > 0, "no query opened all clusters and left keys unread");
}

#[test]
fn fixed_budgets_find_nearly_the_best_keys() {
    let (keys, dim, k) = (5000, 32, 100);
    let (mut rows, queries, mut values) = head(keys, 200, dim, 3);
    to_half_grid(&mut rows);
    to_half_grid(&mut values);
    let head = build(&rows, &queries, &values, dim, None);
    let scale = 1.0 / (dim as f32).sqrt();
    for query in queries.chunks_exact(dim).take(20) {
        let mut scores: Vec<(f64, usize)> =
            (0..keys).map(|i| (query.iter().zip(&rows[i * dim..]).map(|(a, b)| f64::from(a * b)).sum(), i)).collect();
        scores.sort_by(|a, b| b.0.total_cmp(&a.0));
        let kept: std::collections::HashSet<usize> = scores[..k].iter().map(|x| x.1).collect();
        let (_, lse) = dense(query, &rows, &values, dim, scale, |i| kept.contains(&i));
        let (found, report) = &head.attend(query, AttendOptions { budget: Budget::Keys(k), bound: false })[0];
        assert!(f64::from(found.lse) <= lse + 1e-3, "no more than the best k have");
        assert!(f64::from(found.lse) > lse - 0.2, "{} against {lse}", found.lse);
        assert!(report.scanned > 0);
    }
}

#[test]
fn appended_keys_are_attended_exactly() {
    let (keys, dim, more) = (3000, 16, 2600);
    let (mut rows, queries, mut values) = head(keys + more, 300, dim, 4);
    to_half_grid(&mut rows);
    to_half_grid(&mut values);
    let scale = 1.0 / (dim as f32).sqrt();
    let mut head = build(&rows[..keys * dim], &queries, &values[..keys * dim], dim, Some(0.01));
    let mut at = keys;
    for step in [1, 2, 500, 900, 1, 700, 496] {
        let part = at * dim..(at + step) * dim;
        head.append(Rows { data: &rows[part.clone()], dim }, Rows { data: &values[part], dim }).unwrap();
        at += step;
        let (found, _) = &head.attend(&queries[..dim], ALL)[0];
        let (output, lse) = dense(&queries[..dim], &rows[..at * dim], &values[..at * dim], dim, scale, |_| true);
        assert!(relative(&found.output, &output) < 1e-5, "{at} keys");
        assert!((f64::from(found.lse) - lse).abs() < 1e-3);
        let (sparse, _) = &head.attend(&queries[..dim], AttendOptions { budget: Budget::Error(0.01), bound: false })[0];
        assert!(relative(&sparse.output, &output) < 0.1, "{at} keys");
    }
    assert_eq!(head.len(), keys + more);
}

#[test]
fn a_tail_that_outweighs_the_clusters_merges_as_any_part_does() {
    let (keys, dim) = (3000, 16);
    let (mut rows, queries, mut values) = head(keys, 300, dim, 4);
    to_half_grid(&mut rows);
    to_half_grid(&mut values);
    let scale = 1.0 / (dim as f32).sqrt();
    let options = AttendOptions { budget: Budget::Error(0.01), bound: false };
    let score = |query: &[f32], key: &[f32]| scale * query.iter().zip(key).map(|(a, b)| a * b).sum::<f32>();
    for (query, above) in queries.chunks_exact(dim).zip([0.5, 2.0, 4.0]) {
        let mut head = build(&rows, &queries, &values, dim, None);
        head.set_plan(Plan::Clusters { threshold: 0.05, fine: false });
        let (mut expected, report) = head.attend(query, options).remove(0);
        assert!(report.rest > 0.02, "{}", report.rest);
        let most = rows.chunks_exact(dim).map(|key| score(query, key)).fold(f32::MIN, f32::max);
        let mut key: Vec<f32> = query.iter().map(|x| x * (most + above) / score(query, query)).collect();
        to_half_grid(&mut key);
        let value = vec![2.0; dim];
        head.append(Rows { data: &key, dim }, Rows { data: &value, dim }).unwrap();
        expected.merge(&Partial { output: value, lse: score(query, &key) });
        let (found, _) = head.attend(query, options).remove(0);
        let output: Vec<f64> = expected.output.iter().map(|x| f64::from(*x)).collect();
        assert!(relative(&found.output, &output) < 1e-3, "{above}: {}", relative(&found.output, &output));
        assert!((found.lse - expected.lse).abs() < 1e-3, "{above}: {} {}", found.lse, expected.lse);
    }
}

#[test]
fn every_kind_of_plan_converges_to_dense_attention() {
    let (keys, dim) = (3000, 24);
    let (mut rows, queries, mut values) = head(keys, 300, dim, 6);
    to_half_grid(&mut rows);
    to_half_grid(&mut values);
    let scale = 1.0 / (dim as f32).sqrt();
    let mut head = build(&rows, &queries, &values, dim, None);
    let options = AttendOptions { budget: Budget::Error(0.01), bound: false };
    for plan in [
        Plan::Clusters { threshold: 1e-7, fine: false },
        Plan::Keys { strategy: Search::Graph { pool: keys as u32 } },
        Plan::Keys { strategy: Search::Flat { rerank: keys as u32 } },
    ] {
        head.set_plan(plan);
        for query in queries.chunks_exact(dim).take(10) {
            let (output, lse) = dense(query, &rows, &values, dim, scale, |_| true);
            let (found, _) = &head.attend(query, options)[0];
            assert!(relative(&found.output, &output) < 2e-4, "{plan:?}: {}", relative(&found.output, &output));
            assert!((f64::from(found.lse) - lse).abs() < 1e-3, "{plan:?}");
        }
    }
}

#[test]
fn a_layer_attends_for_every_head_and_grows() {
    let (tokens, dim, kv_heads, query_heads) = (1500, 16, 2, 6);
    let heads: Vec<_> =
        (0..kv_heads).map(|kv| head(tokens + 300, 200 * query_heads / kv_heads, dim, 20 + kv as u64)).collect();
    let part = |from: usize, to: usize| -> (Vec<f32>, Vec<f32>) {
        let of = |all: &[f32]| all[from * dim..to * dim].to_vec();
        (heads.iter().flat_map(|h| of(&h.0)).collect(), heads.iter().flat_map(|h| of(&h.2)).collect())
    };
    let queries: Vec<f32> = heads.iter().flat_map(|h| h.1.clone()).collect();
    let options = LayerOptions {
        kv_heads,
        query_heads,
        dim,
        value_dim: dim,
        scale: 0.25,
        target: 0.01,
        fixed: false,
        build: BuildOptions::default(),
    };
    let (keys, values) = part(0, tokens);
    let mut layer = AttentionLayer::build(&keys, &values, &queries, &options).unwrap();
    let token: Vec<f32> = (0..query_heads).flat_map(|h| queries[h * 200 * dim..][..dim].to_vec()).collect();
    for end in [tokens, tokens + 300] {
        if end > tokens {
            let (keys, values) = part(tokens, end);
            layer.append(&keys, &values).unwrap();
        }
        assert_eq!(layer.tokens(), end);
        let exact = layer.attend(&token, ALL);
        let sparse = layer.attend(&token, AttendOptions { budget: Budget::Error(0.01), bound: false });
        assert_eq!(exact.len(), query_heads);
        for (h, ((all, _), (some, _))) in exact.iter().zip(&sparse).enumerate() {
            let own = &heads[h / (query_heads / kv_heads)];
            let query = &token[h * dim..][..dim];
            let (output, lse) = dense(query, &own.0[..end * dim], &own.2[..end * dim], dim, 0.25, |_| true);
            assert!(relative(&all.output, &output) < 2e-3, "head {h}: keys and values are kept in half precision");
            assert!((f64::from(all.lse) - lse).abs() < 5e-3);
            assert!(relative(&some.output, &output) < 0.06, "head {h}: {}", relative(&some.output, &output));
        }
    }
    assert!(
        AttentionLayer::build(&keys, &values, &queries, &LayerOptions { query_heads: 5, ..options.clone() }).is_err()
    );
    assert!(AttentionLayer::build(&keys, &values[16..], &queries, &options).is_err());
    assert!(AttentionLayer::build(&keys, &values, &[], &options).is_err_and(|e| e.to_string().contains("0 queries")));
    assert!(layer.append(&keys[..32], &values[..64]).is_err());
}

#[test]
fn all_keys_by_bytes_are_close_to_dense_and_count_every_key() {
    for (keys, dim, group) in [(1, 4, 1), (1500, 32, 3), (3000, 20, 5), (2048, 64, 1)] {
        let (rows, queries, values) = head(keys, 40, dim, 6);
        let mut head = build(&rows, &queries, &values, dim, None);
        head.set_plan(Plan::Bytes { share: 1e-3 });
        let scale = 1.0 / (dim as f32).sqrt();
        // Appended keys are in no cluster yet: they count, too.
        head.append(Rows { data: &rows[..dim], dim }, Rows { data: &values[..dim], dim }).unwrap();
        let (rows, values) = ([&rows[..], &rows[..dim]].concat(), [&values[..], &values[..dim]].concat());
        let options = AttendOptions { budget: Budget::Error(0.01), bound: true };
        for queries in queries.chunks_exact(group * dim) {
            for (query, (found, report)) in queries.chunks_exact(dim).zip(head.attend(queries, options)) {
                let (output, lse) = dense(query, &rows, &values, dim, scale, |_| true);
                let error = relative(&found.output, &output);
                assert!(error < 0.02, "{keys} keys of {dim}: relative error {error}");
                assert!((f64::from(found.lse) - lse).abs() < 0.01);
                assert_eq!((report.scanned, report.rest, report.bound), (keys as u32 + 1, 0.0, 0.0));
            }
        }
    }
}

#[test]
fn heavy_keys_of_any_tile_are_read_in_full() {
    let (keys, dim, group) = (8192, 32, 2);
    let (mut rows, queries, mut values) = head(keys, 40, dim, 16);
    // Keys that score more and more for the first query, all over the tiles, with values far out of what codes reach.
    let query: Vec<f32> = queries[..dim].to_vec();
    let square: f32 = query.iter().map(|x| x * x).sum();
    for i in 0..12 {
        let place = 100 + i * 650;
        let score = 6.0 + 0.5 * i as f32;
        let factor = score * (dim as f32).sqrt() / square;
        rows[place * dim..][..dim].iter_mut().zip(&query).for_each(|(x, q)| *x = factor * q);
        values[place * dim..][..dim]
            .iter_mut()
            .enumerate()
            .for_each(|(j, x)| *x = if (i + j) % 3 == 0 { 60.0 } else { -40.0 });
    }
    to_half_grid(&mut rows);
    to_half_grid(&mut values);
    let mut head = build(&rows, &queries, &values, dim, None);
    let scale = 1.0 / (dim as f32).sqrt();
    for share in [1.0 / 2048.0, 1.0 / 16384.0] {
        head.set_plan(Plan::Bytes { share });
        let options = AttendOptions { budget: Budget::Error(0.01), bound: false };
        let asked = &queries[..group * dim];
        for (query, (found, _)) in asked.chunks_exact(dim).zip(head.attend(asked, options)) {
            let (output, lse) = dense(query, &rows, &values, dim, scale, |_| true);
            let error = relative(&found.output, &output);
            assert!(error < 0.01, "share {share}: relative error {error}");
            assert!((f64::from(found.lse) - lse).abs() < 0.01);
        }
    }
}

#[test]
fn a_head_whose_values_are_all_alike_gets_the_loosest_plan() {
    let (keys, dim) = (3000, 16);
    let (rows, queries, _) = head(keys, 40, dim, 3);
    let head = build(&rows, &queries, &vec![1.0; keys * dim], dim, Some(0.01));
    let Plan::Clusters { threshold, .. } = head.plan(0.01) else {
        panic!("{:?} where any estimate is right", head.plan(0.01))
    };
    assert!(threshold > 0.45, "{threshold} where any threshold is right");
}

#[test]
fn a_head_read_by_many_threads_says_what_one_thread_says() {
    let (tokens, dim, query_heads) = (5000, 32, 3);
    let (keys, queries, values) = head(tokens, 200 * query_heads, dim, 11);
    // So flat that most keys count.
    let options = LayerOptions {
        kv_heads: 1,
        query_heads,
        dim,
        value_dim: dim,
        scale: 0.1,
        target: 0.003,
        fixed: false,
        build: BuildOptions::default(),
    };
    let layer = AttentionLayer::build(&keys, &values, &queries, &options).unwrap();
    let pays = sparrow_kernels::best().nibble_sums_pay();
    let plan = layer.heads()[0].plan(0.003);
    assert!(if pays { matches!(plan, Plan::Bytes { .. }) } else { plan == Plan::Exact }, "{plan:?}");
    let token: Vec<f32> = (0..query_heads).flat_map(|h| queries[h * 200 * dim..][..dim].to_vec()).collect();
    let options = AttendOptions { budget: Budget::Error(0.003), bound: true };
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| layer.attend(&token, options))
    };
    for threads in [1, 2, 3, 16] {
        for (h, (found, report)) in with(threads).iter().enumerate() {
            let (output, lse) = dense(&token[h * dim..][..dim], &keys, &values, dim, 0.1, |_| true);
            assert!(
                relative(&found.output, &output) < 0.003,
                "{threads} threads: {}",
                relative(&found.output, &output)
            );
            assert!((f64::from(found.lse) - lse).abs() < 0.003);
            assert_eq!((report.scanned, report.read), (tokens as u32, tokens as u32), "{threads} threads");
        }
    }
}

#[test]
fn what_clusters_say_does_not_depend_on_threads() {
    // Every key is opened: several pieces, the last of them short.
    let (tokens, dim, group) = (21_000, 16, 3);
    let (mut keys, queries, mut values) = head(tokens, 60, dim, 17);
    to_half_grid(&mut keys);
    to_half_grid(&mut values);
    let mut head = build(&keys, &queries, &values, dim, None);
    let scale = 1.0 / (dim as f32).sqrt();
    for threshold in [1e-7, 0.003] {
        head.set_plan(Plan::Clusters { threshold, fine: false });
        let options = AttendOptions { budget: Budget::Error(0.01), bound: true };
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| head.attend(&queries[..group * dim], options))
        };
        let one = with(1);
        for threads in [2, 7] {
            assert_eq!(with(threads), one, "{threads} threads");
        }
        for (query, (found, report)) in queries.chunks_exact(dim).zip(&one) {
            let (output, lse) = dense(query, &keys, &values, dim, scale, |_| true);
            let exactly = threshold < 1e-6;
            let allowed = if exactly { 2e-4 } else { 0.1 };
            assert!(relative(&found.output, &output) < allowed, "{threshold}: {}", relative(&found.output, &output));
            assert!((f64::from(found.lse) - lse).abs() < 10.0 * allowed);
            // Scanned are keys and centroids.
            let all = tokens..tokens + tokens / 8;
            assert_eq!(all.contains(&(report.scanned as usize)), exactly, "{} of {tokens}", report.scanned);
        }
    }
}
