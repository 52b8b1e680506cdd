// One workgroup per row: 1 / root mean square.

override INPUT_QUADS_PER_ROW: u32;
override NORM_WIDTH: u32;
override NORM_EPSILON: f32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> row_scale: array<f32>;

@compute @workgroup_size(8)
fn row_scales(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  lane_id = local.x;
  let scale = rms_scale(group_id.x * INPUT_QUADS_PER_ROW);
  if (lane_id == 0u) {
    row_scale[group_id.x] = scale;
  }
}
