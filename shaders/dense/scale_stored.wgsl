// The factor of a row's products where its operand is normalised: what row_scales wrote.

@group(0) @binding(6) var<storage, read> row_scale: array<f32>;

fn operand_scale(row: u32) -> f32 {
  return row_scale[row];
}
