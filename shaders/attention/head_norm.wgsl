// RMS norm of every query and key head (Qwen 3: Yang et al. 2025, after Henry et al. 2020), then what becomes of them in
// finish_qkv.wgsl: one (row, head) a workgroup, value heads as they are. A head may be wider than the 64 columns that a workgroup of the
// product has, so this cannot be part of it.

override NORM_WIDTH: u32;    // true head dimension; padding is zero
override NORM_EPSILON: f32;
override ROW_PAIRS: u32;     // from one row of `projected` to the next

@group(0) @binding(3) var<storage, read> projected: array<vec2<f32>>;  // [row][query, key and value heads][HEAD_DIM / 2]
@group(0) @binding(4) var<storage, read> gain: array<vec2<f32>>;       // [queries, keys][HEAD_DIM / 2]

@compute @workgroup_size(#THREADS)
fn head_norm(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let pairs = HEAD_DIM / 2u;
  let row = group_id.x;
  let head = group_id.y;
  let first = head * pairs;
  let start = row * ROW_PAIRS + first;
  var squares = 0.0;
  for (var index = local.x; index < pairs; index += #(THREADS)u) {
    let value = projected[start + index];
    squares += dot(value, value);
  }
  let scale = inverseSqrt(head_sum(local.x, squares) / f32(NORM_WIDTH) + NORM_EPSILON);
  for (var index = local.x; index < pairs; index += #(THREADS)u) {
    var value = projected[start + index];
    if (head < HEADS + KV_HEADS) {
      value *= scale * gain[select(0u, pairs, head >= HEADS) + index];
    }
    finish(row, first + index, value);
  }
}
