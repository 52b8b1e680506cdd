// Adds to the residual stream, with a bias if there is one (a `bias_` fragment).

override OUTPUT_PAIRS_PER_ROW: u32;

@group(0) @binding(5) var<storage, read_write> output: array<vec2<f32>>;

fn finish(row: u32, pair: u32, value: vec2<f32>) {
  output[row * OUTPUT_PAIRS_PER_ROW + pair] += biased(pair, value);
}
