// SwiGLU (Shazeer 2020). Gate and up projection are interleaved row by row, so a pair is (gate, up) of one neuron.

override OUTPUT_PAIRS_PER_ROW: u32;  // neurons

@group(0) @binding(5) var<storage, read_write> output: array<f32>;

fn finish(row: u32, pair: u32, value: vec2<f32>) {
  output[row * OUTPUT_PAIRS_PER_ROW + pair] = value.x / (1.0 + exp(-value.x)) * value.y;
}
