// 1 / root mean square of a row, by the 256 threads of a workgroup; the first of them gets it.

override INPUT_QUADS_PER_ROW: u32;
override NORM_WIDTH: u32;
override NORM_EPSILON: f32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;

var<workgroup> squares: array<f32, 256>;

fn scale_of_row(row: u32, thread: u32) -> f32 {
  let start = row * INPUT_QUADS_PER_ROW;
  var sum = 0.0;
  for (var quad = thread; quad < INPUT_QUADS_PER_ROW; quad += 256u) {
    let x = input[start + quad];
    sum += dot(x, x);
  }
  squares[thread] = sum;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      squares[thread] += squares[thread + half];
    }
  }
  return inverseSqrt(squares[0] / f32(NORM_WIDTH) + NORM_EPSILON);
}
