//! Appends that are refused, and keys and scores far from any that a model has.

mod support;

use sparrow_index::{
    AttendOptions, AttentionHead, AttentionIndex, AttentionLayer, Budget, BuildOptions, IndexError, LayerOptions, Plan,
    Rng, Rows, Strategy,
};
use support::{dense, relative, to_half_grid};

fn normal(count: usize, rng: &mut Rng) -> Vec<f32> {
    let mut values: Vec<f32> = (0..count).map(|_| rng.normal()).collect();
    to_half_grid(&mut values);
    values
}

fn build(keys: &[f32], queries: &[f32], values: &[f32], dim: usize, scale: f32) -> AttentionHead {
    let options =
        BuildOptions { k: 8, strategies: vec!["clusters", "flat"], keep_all: true, ..BuildOptions::default() };
    let index = AttentionIndex::build(Rows { data: keys, dim }, Rows { data: queries, dim }, &options).unwrap();
    AttentionHead::new(index, Rows { data: values, dim }, scale).unwrap()
}

const WITHIN: AttendOptions = AttendOptions { budget: Budget::Error(0.01), bound: false };

#[test]
fn what_one_head_refuses_to_take_no_head_has() {
    let (kv_heads, dim, tokens) = (3, 8, 40);
    let mut rng = Rng::new(9);
    let [keys, values, queries] = [tokens, tokens, 9].map(|rows| normal(kv_heads * rows * dim, &mut rng));
    let options = LayerOptions {
        kv_heads,
        query_heads: kv_heads,
        dim,
        value_dim: dim,
        scale: 0.3,
        target: 0.01,
        fixed: false,
        build: BuildOptions::default(),
    };
    let mut layer = AttentionLayer::build(&keys, &values, &queries, &options).unwrap();
    for of_values in [false, true] {
        let mut more = [vec![1.0; kv_heads * dim], vec![1.0; kv_heads * dim]];
        more[usize::from(of_values)][2 * dim] = 7e4;
        assert!(layer.append(&more[0], &more[1]).is_err());
        assert!(layer.heads().iter().all(|head| head.len() == tokens), "of the values: {of_values}");
    }
}

#[test]
fn a_key_far_outside_of_what_bytes_reach_has_a_finite_answer() {
    let (count, dim, scale) = (2000, 64, 0.125);
    let mut rng = Rng::new(3);
    let (keys, queries) = (normal(count * dim, &mut rng), normal(8 * dim, &mut rng));
    let values = normal(count * dim, &mut rng);
    for far in [3.0, 30.0, 1000.0] {
        let mut head = build(&keys, &queries, &values, dim, scale);
        head.set_plan(Plan::Bytes { share: 1e-3 });
        let mut key: Vec<f32> = queries[..dim].iter().map(|x| far * x).collect();
        to_half_grid(&mut key);
        let value = normal(dim, &mut rng);
        head.append(Rows { data: &key, dim }, Rows { data: &value, dim }).unwrap();
        let (output, lse) =
            dense(&queries[..dim], &[&keys[..], &key].concat(), &[&values[..], &value].concat(), dim, scale, |_| true);
        let (found, _) = &head.attend(&queries[..dim], WITHIN)[0];
        let off = relative(&found.output, &output);
        assert!(
            off < 0.02 && (f64::from(found.lse) - lse).abs() < 0.01 + 1e-6 * lse,
            "{far}: {off}, {} {lse}",
            found.lse
        );
    }
}

#[test]
fn keys_of_another_range_than_those_before_them_get_bytes_of_their_own() {
    let (dim, more, scale) = (16, 1500, 0.25);
    let mut rng = Rng::new(4);
    for (count, far) in [(1, 1.0), (2000, 4.0)] {
        let queries = normal(6 * dim, &mut rng);
        let (keys, values) = (normal(count * dim, &mut rng), normal((count + more) * dim, &mut rng));
        let mut tail: Vec<f32> = normal(more * dim, &mut rng).iter().map(|x| far * x).collect();
        to_half_grid(&mut tail);
        let mut head = build(&keys, &queries, &values[..count * dim], dim, scale);
        head.append(Rows { data: &tail, dim }, Rows { data: &values[count * dim..], dim }).unwrap();
        head.set_plan(Plan::Clusters { threshold: 1e-4, fine: false });
        let all = [&keys[..], &tail].concat();
        for (query, (found, _)) in queries.chunks_exact(dim).zip(head.attend(&queries, WITHIN)) {
            let (output, lse) = dense(query, &all, &values, dim, scale, |_| true);
            let (off, mass) = (relative(&found.output, &output), (f64::from(found.lse) - lse).abs());
            assert!(off < 0.02 && mass < 0.01, "{count} keys, then {far} times as far: {off}, log-mass {mass}");
        }
    }
}

#[test]
fn scores_whose_last_digit_is_more_than_a_unit_of_the_softmax_give_the_largest() {
    let (count, dim) = (300, 100);
    let mut rng = Rng::new(5);
    let mut keys = normal(count * dim, &mut rng);
    keys.iter_mut().for_each(|x| *x = if *x > 0.0 { 65504.0 } else { -65504.0 });
    let queries: Vec<f32> = normal(100 * dim, &mut rng).iter().map(|x| 3e5 * x).collect();
    let values = normal(count * dim, &mut rng);
    let scale = 1.0 / (dim as f32).sqrt();
    let head = build(&keys, &keys, &values, dim, scale);
    for (query, (found, _)) in queries.chunks_exact(dim).zip(head.attend(&queries, WITHIN)) {
        let (output, lse) = dense(query, &keys, &values, dim, scale, |_| true);
        let off = relative(&found.output, &output);
        assert!(off < 1e-3 && (f64::from(found.lse) / lse - 1.0).abs() < 1e-6, "{off}, log-mass {} {lse}", found.lse);
    }
}

#[test]
fn queries_too_large_to_square_their_scores_are_refused() {
    let dim = 8;
    let mut rng = Rng::new(6);
    let (keys, mut queries) = (normal(300 * dim, &mut rng), normal(40 * dim, &mut rng));
    queries.iter_mut().for_each(|x| *x *= 1e38);
    for name in ["graph", "clusters", "flat"] {
        let options = BuildOptions { strategies: vec![name], ..BuildOptions::default() };
        let built = AttentionIndex::build(Rows { data: &keys, dim }, Rows { data: &queries, dim }, &options);
        assert!(matches!(built, Err(IndexError::Argument(text)) if text.contains("query")), "{name}");
    }
}

#[test]
fn reports_are_numbers_even_where_bytes_are_of_no_use() {
    let (count, dim) = (300, 16);
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let (mut keys, values) = (normal(count * dim, &mut rng), normal(count * dim, &mut rng));
        keys.iter_mut().for_each(|x| *x = if *x > 0.0 { 65504.0 } else { -65504.0 });
        let queries: Vec<f32> = normal(6 * dim, &mut rng).iter().map(|x| 1e3 * x).collect();
        let mut head = build(&keys, &queries, &values, dim, 0.25);
        for plan in [Plan::Clusters { threshold: 1e-6, fine: false }, Plan::Clusters { threshold: 1e-2, fine: false }] {
            head.set_plan(plan);
            for (found, report) in head.attend(&queries, AttendOptions { bound: true, ..WITHIN }) {
                assert!([report.rest, report.bound].iter().all(|x| (0.0..=1.0).contains(x)), "{report:?}");
                assert!(found.output.iter().all(|x| x.is_finite()), "{report:?}");
            }
        }
    }
}

#[test]
fn hostile_rows_have_the_answers_of_double_precision() {
    let (count, dim) = (3000, 32);
    // Elements of keys, of queries and of values by what is hostile about them, and the error allowed.
    type Make = fn(usize, f32) -> f32;
    let cases: [(&str, [Make; 3], f64); 7] = [
        (
            "a giant channel",
            [|j, x| if j == 3 { 3e4 + 100.0 * x } else { x }, |j, x| if j == 3 { 1e-3 * x } else { x }, |_, x| x],
            0.02,
        ),
        (
            "a giant channel of queries",
            [|j, x| if j == 3 { 1e-3 * x } else { x }, |j, x| if j == 3 { 1e3 * x } else { x }, |_, x| x],
            0.02,
        ),
        ("equal scores", [|j, _| j as f32, |_, x| x, |_, x| 1.0 + x], 0.02),
        ("zeros", [|_, _| 0.0, |_, _| 0.0, |_, x| 1.0 + x], 0.02),
        ("denormal keys", [|_, x| 2e-7 * x, |_, x| 1e4 * x, |_, x| 1.0 + x], 0.02),
        ("denormal queries", [|_, x| x, |_, x| 1e-40 * x, |_, x| 1.0 + x], 0.02),
        (
            "the largest values",
            [|_, x| x, |_, x| x, |j, x| if (x > 0.0) == (j % 2 == 0) { 65504.0 } else { -65504.0 }],
            0.02,
        ),
    ];
    for (name, [of_keys, of_queries, of_values], allowed) in cases {
        let mut rng = Rng::new(21);
        let mut rows =
            |count: usize, make: Make| -> Vec<f32> { (0..count * dim).map(|i| make(i % dim, rng.normal())).collect() };
        let (mut keys, queries, mut values) = (rows(count, of_keys), rows(60, of_queries), rows(count, of_values));
        to_half_grid(&mut keys);
        to_half_grid(&mut values);
        let scale = 1.0 / (dim as f32).sqrt();
        let mut head = build(&keys, &queries, &values, dim, scale);
        let plans = [
            Plan::Exact,
            Plan::Bytes { share: 1.0 / 16384.0 },
            Plan::Clusters { threshold: 1e-5, fine: false },
            Plan::Clusters { threshold: 1e-5, fine: true },
            Plan::Keys { strategy: Strategy::Flat { rerank: count as u32 } },
        ];
        for plan in plans {
            head.set_plan(plan);
            for (query, (found, report)) in
                queries.chunks_exact(dim).zip(head.attend(&queries[..8 * dim], AttendOptions { bound: true, ..WITHIN }))
            {
                let (output, lse) = dense(query, &keys, &values, dim, scale, |_| true);
                let (off, mass) = (relative(&found.output, &output), (f64::from(found.lse) - lse).abs());
                assert!(
                    off < allowed && mass < 0.01 + 1e-5 * lse.abs(),
                    "{name}, {plan:?}: {off}, log-mass off by {mass}"
                );
                assert!(
                    [report.rest, report.bound].iter().all(|x| (0.0..=1.0).contains(x)),
                    "{name}, {plan:?}: {report:?}"
                );
            }
        }
    }
}
