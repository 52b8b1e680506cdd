// Decode attention on a real GPU: one token of one sequence, the query heads of one key/value head, one span of its pages (split-KV, as
// Flash-Decoding does). attention_merge.wgsl joins the spans by log-sum-exp.
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
@group(0) @binding(6) var<storage, read> rows: array<StepRow>;
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
  let sequence = group_id.x;
  let row = step.rows - step.decodes + sequence;
  let first_head = group_id.y * #(ROWS)u;
  let kv = first_head / QUERIES_PER_KV;
  let length = rows[row].position + 1u;
  let begin = group_id.z * SPAN_PAGES * PAGE_TOKENS;
  if (begin >= length) {
    return;
  }
  let end = min(length, begin + SPAN_PAGES * PAGE_TOKENS);
  let table = rows[row].table;
  for (var i = thread; i < #(ROWS * 16 * CHUNKS)u; i += 64u) {
    q_tile[i] = query[(row * HEADS + first_head) * #(16 * CHUNKS)u + i];
  }
  //#for r in 0..ROWS
  var top_#r = MASKED;
  var sum_#r = 0.0;
  var low_#r = vec4<f32>(0.0);
  var high_#r = vec4<f32>(0.0);
  //#end
  let eight = thread % #(8 * CHUNKS)u;
  let lane = thread / #(8 * CHUNKS)u;
  for (var base = begin; base < end; base += KEYS) {
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
  let slot = (sequence * SPANS + group_id.z) * HEADS + first_head;
  //#for r in 0..ROWS
  workgroupBarrier();
  joined[2u * thread] = low_#r;
  joined[2u * thread + 1u] = high_#r;
  tops[thread] = sum_#r;
  workgroupBarrier();
  if (thread < #(16 * CHUNKS)u) {
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < #(8 / CHUNKS)u; i++) {
      total += joined[i * #(16 * CHUNKS)u + thread];
    }
    partial[(slot + #(r)u) * #(16 * CHUNKS)u + thread] = total;
  }
  if (thread == 0u) {
    var total = 0.0;
    for (var i = 0u; i < 64u; i++) {
      total += tops[i];
    }
    partial_state[slot + #(r)u] = vec2<f32>(top_#r, total);
  }
  //#end
}
