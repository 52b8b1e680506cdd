// Copies the rows listed for sampling next to each other: one workgroup a row.

override INPUT_QUADS_PER_ROW: u32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> samples: array<Sample>;
@group(0) @binding(8) var<storage, read_write> gathered: array<vec4<f32>>;

@compute @workgroup_size(8)
fn gather_rows(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = group_id.x;
  for (var quad = local.x; quad < INPUT_QUADS_PER_ROW; quad += 8u) {
    gathered[row * INPUT_QUADS_PER_ROW + quad] = input[samples[row].row * INPUT_QUADS_PER_ROW + quad];
  }
}
