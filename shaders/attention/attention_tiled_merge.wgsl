// Joins the spans that attention_tiled.wgsl left for one (prefill row, head), in order and by the arithmetic with which that kernel joins them itself.

override HEADS: u32;
override SPAN_PAGES: u32;
override OUTPUT_QUADS: u32;
override OUTPUT_ROW_QUADS: u32;

@group(0) @binding(3) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> partial_state: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> rows: array<StepRow>;

@compute @workgroup_size(#(16 * CHUNKS))
fn attention_tiled_merge(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = group_id.x;
  let head = group_id.y;
  let spans = (step.prefillEnd - 1u) / (SPAN_PAGES * PAGE_TOKENS) + 1u;
  let own = rows[row].position / (SPAN_PAGES * PAGE_TOKENS) + 1u;
  var top = -1e30;
  var sum = 0.0;
  var all = vec4<f32>(0.0);
  for (var span = 0u; span < own; span++) {
    let slot = (row * spans + span) * HEADS + head;
    let state = partial_state[slot];
    let joined = max(top, state.x);
    let before = exp2(top - joined);
    let weight = exp2(state.x - joined);
    top = joined;
    sum = fma(sum, before, weight * state.y);
    let out = partial[slot * #(16 * CHUNKS)u + local.x] * weight;
    all = select(fma(all, vec4<f32>(before), out), out, span == 0u);
  }
  if (local.x < OUTPUT_QUADS) {
    output[row * OUTPUT_ROW_QUADS + head * OUTPUT_QUADS + local.x] = all * (1.0 / sum);
  }
}
