// As input_norm.wgsl, with the scales computed beforehand by row_scales: pays from about 16 rows on.

override INPUT_QUADS_PER_ROW: u32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> row_scale: array<f32>;

fn input_row(row: u32) -> u32 {
  return row * INPUT_QUADS_PER_ROW;
}

fn input_quad(start: u32, quad: u32) -> vec4<f32> {
  return input[start + quad] * gain[quad];
}

fn input_scale(start: u32) -> f32 {
  return row_scale[start / INPUT_QUADS_PER_ROW];
}

fn input_load(start: u32, quad: u32) -> vec4<f32> {
  return input[start + quad];
}

fn input_make(loaded: vec4<f32>, quad: u32) -> vec4<f32> {
  return loaded * gain[quad];
}
