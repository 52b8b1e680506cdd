// Rows of the operand as they are.

override INPUT_QUADS_PER_ROW: u32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;

fn input_row(row: u32) -> u32 {
  return row * INPUT_QUADS_PER_ROW;
}

fn input_quad(start: u32, quad: u32) -> vec4<f32> {
  return input[start + quad];
}

fn input_scale(start: u32) -> f32 {
  return 1.0;
}

// `input_quad` in two parts: what is loaded, and what becomes of it.
fn input_load(start: u32, quad: u32) -> vec4<f32> {
  return input[start + quad];
}

fn input_make(loaded: vec4<f32>, quad: u32) -> vec4<f32> {
  return loaded;
}
