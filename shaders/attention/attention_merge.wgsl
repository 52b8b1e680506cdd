// Joins the spans that attention_split.wgsl left for one (sequence, head): o = sum of 2^(m_i - m) o_i / sum of 2^(m_i - m) z_i.

override HEADS: u32;
override SPAN_PAGES: u32;
override SPANS: u32;
override OUTPUT_QUADS: u32;
override OUTPUT_ROW_QUADS: u32;

@group(0) @binding(3) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> partial_state: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> rows: array<StepRow>;

@compute @workgroup_size(32)
fn attention_merge(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = step.rows - step.decodes + group_id.x;
  let head = group_id.y;
  let spans = rows[row].position / (SPAN_PAGES * PAGE_TOKENS) + 1u;
  let first = group_id.x * SPANS * HEADS + head;
  var top = -1e30;
  for (var i = 0u; i < spans; i++) {
    top = max(top, partial_state[first + i * HEADS].x);
  }
  for (var quad = local.x; quad < OUTPUT_QUADS; quad += 32u) {
    var out = vec4<f32>(0.0);
    var sum = 0.0;
    for (var i = 0u; i < spans; i++) {
      let state = partial_state[first + i * HEADS];
      let weight = exp2(state.x - top);
      sum = fma(weight, state.y, sum);
      out = fma(vec4<f32>(weight), partial[(first + i * HEADS) * #(16 * CHUNKS)u + quad], out);
    }
    output[row * OUTPUT_ROW_QUADS + head * OUTPUT_QUADS + quad] = out / sum;
    if (quad == 0u) {
      note_mass(row, head, top, sum);
    }
  }
}
