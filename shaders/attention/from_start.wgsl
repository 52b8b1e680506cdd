// Attention begins at a row's first page.

fn top_before(r: u32) -> f32 {
  return MASKED;
}

fn sum_before(r: u32) -> f32 {
  return 0.0;
}

fn out_before(r: u32, quad: u32) -> vec4<f32> {
  return vec4<f32>(0.0);
}
