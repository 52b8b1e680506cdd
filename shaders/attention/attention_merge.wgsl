// Joins the spans that attention_split.wgsl left for one (sequence, head): o = sum of 2^(m_i - m) o_i / sum of 2^(m_i - m) z_i.
//
// Of 256 threads as many as an output has quads take every so manieth span, so that the spans of a long context are not read one by one.

override HEADS: u32;
override SPAN_PAGES: u32;
override SPANS: u32;
override OUTPUT_QUADS: u32;
override OUTPUT_ROW_QUADS: u32;

@group(0) @binding(3) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> partial_state: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> rows: array<StepRow>;

const LANES = #(16 / CHUNKS)u;

var<workgroup> tops: array<f32, 256>;
var<workgroup> sums: array<f32, 256>;
var<workgroup> outs: array<vec4<f32>, 256>;

@compute @workgroup_size(256)
fn attention_merge(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  let row = step.rows - step.decodes + group_id.x;
  let head = group_id.y;
  let spans = rows[row].position / (SPAN_PAGES * PAGE_TOKENS) + 1u;
  let first = group_id.x * SPANS * HEADS + head;
  var first_span = 0u;
  //#for n in 0..WINDOWED
  first_span = first_seen(rows[row].position) / (SPAN_PAGES * PAGE_TOKENS);
  //#end
  var top = -1e30;
  for (var i = first_span + thread; i < spans; i += 256u) {
    top = max(top, partial_state[first + i * HEADS].x);
  }
  tops[thread] = top;
  for (var half = 128u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) {
      tops[thread] = max(tops[thread], tops[thread + half]);
    }
  }
  workgroupBarrier();
  top = tops[0];
  let quad = thread % #(16 * CHUNKS)u;
  let lane = thread / #(16 * CHUNKS)u;
  var out = vec4<f32>(0.0);
  var sum = 0.0;
  for (var i = first_span + lane; i < spans; i += LANES) {
    let state = partial_state[first + i * HEADS];
    let weight = exp2(state.x - top);
    sum = fma(weight, state.y, sum);
    out = fma(vec4<f32>(weight), partial[(first + i * HEADS) * #(16 * CHUNKS)u + quad], out);
  }
  sums[thread] = sum;
  outs[thread] = out;
  workgroupBarrier();
  if (thread < OUTPUT_QUADS) {
    for (var i = 1u; i < LANES; i++) {
      sum += sums[i * #(16 * CHUNKS)u + thread];
      out += outs[i * #(16 * CHUNKS)u + thread];
    }
    output[row * OUTPUT_ROW_QUADS + head * OUTPUT_QUADS + thread] = out / sum;
    if (thread == 0u) {
      note_mass(row, head, top, sum);
    }
  }
}
