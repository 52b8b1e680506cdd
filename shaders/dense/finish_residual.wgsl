// Adds to the residual stream, with a bias if there is one (a `bias_` fragment), times a factor that is 1 in most models.

override OUTPUT_PAIRS_PER_ROW: u32;
override RESIDUAL_SCALE: f32;

@group(0) @binding(5) var<storage, read_write> output: array<vec2<f32>>;

fn finish(row: u32, pair: u32, value: vec2<f32>) {
  output[row * OUTPUT_PAIRS_PER_ROW + pair] += RESIDUAL_SCALE * biased(pair, value);
}
