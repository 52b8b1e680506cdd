//! Appends that are refused, and keys and scores far from any that a model has.

use sparrow_index::{AttentionLayer, BuildOptions, LayerOptions, Rng};

fn normal(count: usize, rng: &mut Rng) -> Vec<f32> {
    (0..count).map(|_| rng.normal()).collect()
}

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
