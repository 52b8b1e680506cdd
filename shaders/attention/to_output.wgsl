// Attention has seen all keys of its rows: their outputs are normalised and written.

override OUTPUT_QUADS: u32;      // quads of a head's true dimension; query and cache pad it to 16 * CHUNKS
override OUTPUT_ROW_QUADS: u32;  // quads from one output row to the next

@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;  // [row: OUTPUT_ROW_QUADS][head][OUTPUT_QUADS]

// What row r's sums are multiplied by.
fn settle(r: u32, top: f32, sum: f32) -> f32 {
  let mass = lane_sum(sum);
  if (lane_id == 0u && r < row_total()) {
    note_mass(row_of(r), head_of(r), top, mass);
  }
  return 1.0 / mass;
}

fn put(r: u32, quad: u32, value: vec4<f32>) {
  if (quad < OUTPUT_QUADS) {
    output[row_of(r) * OUTPUT_ROW_QUADS + head_of(r) * OUTPUT_QUADS + quad] = value;
  }
}
