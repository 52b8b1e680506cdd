// Squared ReLU (So et al. 2021, Primer).

override OUTPUT_PAIRS_PER_ROW: u32;

@group(0) @binding(5) var<storage, read_write> output: array<vec2<f32>>;

fn finish(row: u32, pair: u32, value: vec2<f32>) {
  let positive = max(value, vec2<f32>(0.0));
  output[row * OUTPUT_PAIRS_PER_ROW + pair] = positive * positive;
}
