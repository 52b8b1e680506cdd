// Attention goes on where to_carried.wgsl stopped, with exactly the numbers it had: a row's sums are taken in the same order as if it had
// walked all its pages alone. Rows that share none begin at their first page.

@group(0) @binding(12) var<storage, read> carried: array<vec4<f32>>;  // as to_carried.wgsl writes it

fn carried_at(r: u32) -> u32 {
  return (sequence() * HEADS + head_of(r)) * #(16 * CHUNKS + 8)u;
}

fn top_before(r: u32) -> f32 {
  return select(MASKED, carried[carried_at(r) + #(16 * CHUNKS)u + lane_id].y, tokens_before() > 0u);
}

fn sum_before(r: u32) -> f32 {
  return select(0.0, carried[carried_at(r) + #(16 * CHUNKS)u + lane_id].x, tokens_before() > 0u);
}

fn out_before(r: u32, quad: u32) -> vec4<f32> {
  return select(vec4<f32>(0.0), carried[carried_at(r) + quad], tokens_before() > 0u);
}
