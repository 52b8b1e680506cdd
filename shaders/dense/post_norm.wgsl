// RMS norm of what attention or feed-forward yields, on its way to the residual stream (Gemma 2 report, section 2): one row a workgroup.

override QUADS_PER_ROW: u32;
override NORM_WIDTH: u32;    // padding is zero
override NORM_EPSILON: f32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> gain: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(#THREADS)
fn post_norm(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let start = group_id.x * QUADS_PER_ROW;
  var squares = 0.0;
  for (var quad = local.x; quad < QUADS_PER_ROW; quad += #(THREADS)u) {
    let x = input[start + quad];
    squares += dot(x, x);
  }
  let scale = inverseSqrt(head_sum(local.x, squares) / f32(NORM_WIDTH) + NORM_EPSILON);
  for (var quad = local.x; quad < QUADS_PER_ROW; quad += #(THREADS)u) {
    output[start + quad] += scale * input[start + quad] * gain[quad];
  }
}
