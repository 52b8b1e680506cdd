// Stores columns 2 * pair and 2 * pair + 1 of a row.

override OUTPUT_PAIRS_PER_ROW: u32;
// Where a row's first column is stored.
override OUTPUT_FIRST_PAIR: u32 = 0u;

@group(0) @binding(5) var<storage, read_write> output: array<vec2<f32>>;

fn finish(row: u32, pair: u32, value: vec2<f32>) {
  output[row * OUTPUT_PAIRS_PER_ROW + OUTPUT_FIRST_PAIR + pair] = value;
}
