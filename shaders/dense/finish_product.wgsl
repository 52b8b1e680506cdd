// What becomes of products that the processor made: [columns / 64, rows / 8] workgroups. Products lie in panels of 32 columns, `[panel][row][32]`.

@group(0) @binding(3) var<storage, read> product: array<vec2<f32>>;

@compute @workgroup_size(8)
fn finish_product(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let rows = row_count();
  let end = min(group_id.y * 8u + 8u, rows);
  for (var row = group_id.y * 8u; row < end; row++) {
    for (var i = 0u; i < 4u; i++) {
      let pair = group_id.x * 32u + i * 8u + local.x;
      finish(row_offset() + row, pair, product[((pair / 16u) * rows + row) * 16u + pair % 16u]);
    }
  }
}
