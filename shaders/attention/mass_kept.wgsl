// Keeps the binary logarithm of the mass of each (decoding row, head), so that attention over other keys can be merged in.

@group(0) @binding(7) var<storage, read_write> log_mass: array<f32>;  // [decoding row][head]

fn note_mass(row: u32, head: u32, top: f32, sum: f32) {
  log_mass[(row + step.decodes - step.rows) * HEADS + head] = top + log2(sum);
}
