// GeGLU (Shazeer 2020) with the tanh form of GELU (Hendrycks & Gimpel 2016), as a logistic function: 0.5 (1 + tanh u) = 1 / (1 + exp(-2 u)). Gate
// and up projection are interleaved row by row, so a pair is (gate, up) of one neuron.

override OUTPUT_PAIRS_PER_ROW: u32;  // neurons

@group(0) @binding(5) var<storage, read_write> output: array<f32>;

fn finish(row: u32, pair: u32, value: vec2<f32>) {
  let x = value.x;
  let twice = 1.5957691216 * fma(0.044715 * x * x, x, x);
  output[row * OUTPUT_PAIRS_PER_ROW + pair] = x / (1.0 + exp(min(-twice, 80.0))) * value.y;
}
