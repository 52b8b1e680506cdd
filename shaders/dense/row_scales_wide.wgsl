// 1 / root mean square of each row, one workgroup of 256 threads per row. For real GPUs.

@group(0) @binding(6) var<storage, read_write> row_scale: array<f32>;

@compute @workgroup_size(256)
fn row_scales(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let scale = scale_of_row(group_id.x, local.x);
  if (local.x == 0u) {
    row_scale[group_id.x] = scale;
  }
}
