// The sum over a workgroup, for real GPUs.

var<workgroup> head_sums: array<f32, #THREADS>;

fn head_sum(thread: u32, value: f32) -> f32 {
  head_sums[thread] = value;
  for (var half = #(THREADS / 2)u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      head_sums[thread] += head_sums[thread + half];
    }
  }
  workgroupBarrier();
  return head_sums[0];
}
