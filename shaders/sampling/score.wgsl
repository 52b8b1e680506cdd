// Natural logarithm of the probability that each row's logits give to a wanted token (Sample.index): for measuring a model, not for serving.

override VOCABULARY: u32;
override LOGITS_PER_ROW: u32;
override GROUP: u32 = 256u;

@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(5) var<storage, read_write> sampled: array<f32>;
@group(0) @binding(7) var<storage, read> samples: array<Sample>;

var<workgroup> partial: array<f32, GROUP>;

@compute @workgroup_size(GROUP)
fn score(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let own = local.x;
  let start = group_id.x * LOGITS_PER_ROW;
  var top = -3.4e38;
  for (var i = own; i < VOCABULARY; i += GROUP) {
    top = max(top, logits[start + i]);
  }
  partial[own] = top;
  workgroupBarrier();
  for (var half = GROUP / 2u; half > 0u; half /= 2u) {
    if (own < half) {
      partial[own] = max(partial[own], partial[own + half]);
    }
    workgroupBarrier();
  }
  top = partial[0];
  workgroupBarrier();
  var sum = 0.0;
  for (var i = own; i < VOCABULARY; i += GROUP) {
    sum += exp(logits[start + i] - top);
  }
  partial[own] = sum;
  workgroupBarrier();
  for (var half = GROUP / 2u; half > 0u; half /= 2u) {
    if (own < half) {
      partial[own] += partial[own + half];
    }
    workgroupBarrier();
  }
  if (own == 0u) {
    sampled[group_id.x] = logits[start + samples[group_id.x].index] - top - log(partial[0]);
  }
}
