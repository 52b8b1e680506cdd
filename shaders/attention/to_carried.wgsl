// Attention has seen the pages that its rows share: what each row has so far is kept for from_carried.wgsl.

@group(0) @binding(12) var<storage, read_write> carried: array<vec4<f32>>;  // [decoding row][head][16 * CHUNKS, then (sum, maximum) by lane]

fn carried_at(r: u32) -> u32 {
  return ((row_of(r) + step.decodes - step.rows) * HEADS + head_of(r)) * #(16 * CHUNKS + 8)u;
}

fn settle(r: u32, top: f32, sum: f32) -> f32 {
  if (r < row_total()) {
    carried[carried_at(r) + #(16 * CHUNKS)u + lane_id] = vec4<f32>(sum, top, 0.0, 0.0);
  }
  return 1.0;
}

fn put(r: u32, quad: u32, value: vec4<f32>) {
  carried[carried_at(r) + quad] = value;
}
