// Rows of an operand that is normalised, as bytes, and 1 / root mean square of each, which multiplies its products. A workgroup of 256 threads per row.

@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> row_scale: array<f32>;

@compute @workgroup_size(256)
fn quantise_normed_rows(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = group_id.x;
  for (var block = local.x; block < 4u * K_QUADS; block += 256u) {
    let first = 8u * block;
    var x: array<vec4<f32>, 8>;
    //#for q in 0..8
    x[#q] = input[row * INPUT_QUADS_PER_ROW + first + #(q)u] * gain[first + #(q)u];
    //#end
    quantise_block(row, block, x);
  }
  let scale = scale_of_row(row, local.x);
  if (local.x == 0u) {
    row_scale[row] = scale;
  }
}
