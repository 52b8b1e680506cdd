// Decode attention on a real GPU: the query heads of one key/value head, one span of pages (split-KV, as Flash-Decoding does), of one row
// (attention_decode.wgsl) or of several that share the span (attention_shared.wgsl). attention_merge.wgsl joins the spans by log-sum-exp.
//
// 64 threads take 256 keys a round: for Q K^T a thread owns 4 keys; for P V, 8 dimensions of every 8th (CHUNKS = 1) or 4th (2) key, so that
// neighbouring threads read neighbouring bytes of V. Span length is fixed, so a result does not depend on the batch.

override HEADS: u32;
override KV_HEADS: u32;
override QUERIES_PER_KV: u32;
override SPAN_PAGES: u32;
override SPANS: u32;

@group(0) @binding(3) var<storage, read> query: array<vec4<f32>>;               // [row][head][16 * CHUNKS], scaled
@group(0) @binding(5) var<storage, read_write> partial: array<vec4<f32>>;       // [sequence][span][head][16 * CHUNKS], not normalised
@group(0) @binding(7) var<storage, read_write> partial_state: array<vec2<f32>>; // (maximum, sum) likewise
@group(0) @binding(11) var<storage, read> pages: array<u32>;

const MASKED = -1e30;
const KEYS = 256u;

var<workgroup> q_tile: array<vec4<f32>, #(ROWS * 16 * CHUNKS)>;
var<workgroup> p_tile: array<f32, #(ROWS * 256)>;
var<workgroup> tops: array<f32, #(ROWS * 64)>;
var<workgroup> joined: array<vec4<f32>, 128>;

@compute @workgroup_size(64)
fn attention_split(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  begin(group_id);
  let kv = kv_head();
  let table = page_table();
  let total = row_total();
  let length = limit_of(0u) + 1u;
  let first = group_id.z * SPAN_PAGES * PAGE_TOKENS;
  if (first >= length || first < tokens_before()) {
    return;
  }
  let end = min(length, first + SPAN_PAGES * PAGE_TOKENS);
  for (var i = thread; i < #(ROWS * 16 * CHUNKS)u; i += 64u) {
    let r = min(i / #(16 * CHUNKS)u, total - 1u);
    q_tile[i] = query[(row_of(r) * HEADS + head_of(r)) * #(16 * CHUNKS)u + i % #(16 * CHUNKS)u];
  }
  //#for r in 0..ROWS
  var top_#r = MASKED;
  var sum_#r = 0.0;
  var low_#r = vec4<f32>(0.0);
  var high_#r = vec4<f32>(0.0);
  //#end
  let eight = thread % #(8 * CHUNKS)u;
  let lane = thread / #(8 * CHUNKS)u;
  for (var base = first; base < end; base += KEYS) {
    workgroupBarrier();
    //#for r in 0..ROWS
    var best_#r = MASKED;
    //#end
    for (var j = 0u; j < 4u; j++) {
      let key = base + j * 64u + thread;
      //#for r in 0..ROWS
      var score_#r = 0.0;
      //#end
      if (key < end) {
        let at = ((pages[table + key / PAGE_TOKENS] * KV_HEADS + kv) * PAGE_TOKENS + key % PAGE_TOKENS) * #(8 * CHUNKS)u;
        for (var e = 0u; e < #(8 * CHUNKS)u; e++) {
          let k = key_eight(at + e);
          //#for r in 0..ROWS
          score_#r += dot(q_tile[#(r * 16 * CHUNKS)u + 2u * e], k.low) + dot(q_tile[#(r * 16 * CHUNKS)u + 2u * e + 1u], k.high);
          //#end
        }
      }
      //#for r in 0..ROWS
      score_#r = select(MASKED, score_#r, key < end);
      best_#r = max(best_#r, score_#r);
      p_tile[#(r * 256)u + j * 64u + thread] = score_#r;
      //#end
    }
    //#for r in 0..ROWS
    tops[#(r * 64)u + thread] = best_#r;
    //#end
    for (var half = 32u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (thread < half) {
        //#for r in 0..ROWS
        tops[#(r * 64)u + thread] = max(tops[#(r * 64)u + thread], tops[#(r * 64)u + thread + half]);
        //#end
      }
    }
    workgroupBarrier();
    //#for r in 0..ROWS
    {
      let top = max(top_#r, tops[#(r * 64)u]);
      let decay = exp2(top_#r - top);
      top_#r = top;
      sum_#r *= decay;
      low_#r *= decay;
      high_#r *= decay;
      for (var j = 0u; j < 4u; j++) {
        let p = exp2(p_tile[#(r * 256)u + j * 64u + thread] - top);
        p_tile[#(r * 256)u + j * 64u + thread] = p;
        sum_#r += p;
      }
    }
    //#end
    workgroupBarrier();
    let count = min(KEYS, end - base);
    for (var k = lane; k < count; k += #(8 / CHUNKS)u) {
      let key = base + k;
      let at = ((pages[table + key / PAGE_TOKENS] * KV_HEADS + kv) * PAGE_TOKENS + key % PAGE_TOKENS) * #(8 * CHUNKS)u;
      let v = value_eight(at + eight);
      //#for r in 0..ROWS
      low_#r = fma(vec4<f32>(p_tile[#(r * 256)u + k]), v.low, low_#r);
      high_#r = fma(vec4<f32>(p_tile[#(r * 256)u + k]), v.high, high_#r);
      //#end
    }
  }
  // Join the threads that took different keys.
  //#for r in 0..ROWS
  workgroupBarrier();
  joined[2u * thread] = low_#r;
  joined[2u * thread + 1u] = high_#r;
  tops[thread] = sum_#r;
  workgroupBarrier();
  if (#(r)u < total) {
    let slot = ((row_of(#(r)u) + step.decodes - step.rows) * SPANS + group_id.z) * HEADS + head_of(#(r)u);
    if (thread < #(16 * CHUNKS)u) {
      var sum = vec4<f32>(0.0);
      for (var i = 0u; i < #(8 / CHUNKS)u; i++) {
        sum += joined[i * #(16 * CHUNKS)u + thread];
      }
      partial[slot * #(16 * CHUNKS)u + thread] = sum;
    }
    if (thread == 0u) {
      var sum = 0.0;
      for (var i = 0u; i < 64u; i++) {
        sum += tops[i];
      }
      partial_state[slot] = vec2<f32>(top_#r, sum);
    }
  }
  //#end
}
