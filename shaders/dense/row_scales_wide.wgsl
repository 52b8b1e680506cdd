// One workgroup of 256 threads per row: 1 / root mean square. For real GPUs.

override INPUT_QUADS_PER_ROW: u32;
override NORM_WIDTH: u32;
override NORM_EPSILON: f32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read_write> row_scale: array<f32>;

var<workgroup> squares: array<f32, 256>;

@compute @workgroup_size(256)
fn row_scales(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let start = group_id.x * INPUT_QUADS_PER_ROW;
  var sum = 0.0;
  for (var quad = local.x; quad < INPUT_QUADS_PER_ROW; quad += 256u) {
    let x = input[start + quad];
    sum += dot(x, x);
  }
  squares[local.x] = sum;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (local.x < half) {
      squares[local.x] += squares[local.x + half];
    }
  }
  if (local.x == 0u) {
    row_scale[group_id.x] = inverseSqrt(squares[0] / f32(NORM_WIDTH) + NORM_EPSILON);
  }
}
