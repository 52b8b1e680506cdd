// RMS-normalised rows of the residual stream (Zhang & Sennrich 2019). The gain is applied as X is loaded; the root mean square, one number a row,
// after the sum. Every workgroup computes it anew: for a few rows that is cheaper than a dispatch of its own.

override INPUT_QUADS_PER_ROW: u32;
override NORM_WIDTH: u32;    // true width; rows are padded with zeros
override NORM_EPSILON: f32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;

fn input_row(row: u32) -> u32 {
  return row * INPUT_QUADS_PER_ROW;
}

fn input_quad(start: u32, quad: u32) -> vec4<f32> {
  return input[start + quad] * gain[quad];
}

fn input_scale(start: u32) -> f32 {
  return rms_scale(start);
}
