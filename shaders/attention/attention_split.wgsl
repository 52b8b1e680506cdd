// Decode attention on a real GPU: the query heads of one key/value head, one span of pages (split-KV, as Flash-Decoding does), of one row
// (attention_decode.wgsl) or of several that share the span (attention_shared.wgsl). attention_merge.wgsl joins the spans by log-sum-exp.
//
// KEYS threads take as many keys a round. For Q K^T a thread owns a key; for P V, 8 dimensions of every so manieth group of 4 keys, so that
// neighbouring threads read neighbouring bytes of V. What a round waits for is memory, so loads that do not depend on each other stand
// together. Span length is fixed, so a result does not depend on the batch.

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
const KEYS = #(KEYS)u;

var<workgroup> q_tile: array<vec4<f32>, #(ROWS * 16 * CHUNKS)>;
// Scores, then weights: 4 keys a vector. At the end, what the threads found: (low, high) of each.
var<workgroup> p_tile: array<vec4<f32>, #(TILE_QUADS)>;
var<workgroup> tops: array<vec4<f32>, #(ROWS * 4)>;
var<workgroup> page_tile: array<u32, #(KEYS / 64)>;

@compute @workgroup_size(#(KEYS))
fn attention_split(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  begin(group_id);
  let kv = kv_head();
  let table = page_table();
  let total = row_total();
  let length = limit_of(0u) + 1u;
  var span = group_id.z;
  //#for n in 0..WINDOWED
  // No more are dispatched than a window has.
  span += first_seen(limit_of(0u)) / (SPAN_PAGES * PAGE_TOKENS);
  //#end
  var first = span * SPAN_PAGES * PAGE_TOKENS;
  if (first >= length || first < tokens_before()) {
    return;
  }
  let end = min(length, first + SPAN_PAGES * PAGE_TOKENS);
  //#for n in 0..WINDOWED
  let seen = first_seen(limit_of(0u));
  first += (max(first, seen) - first) / KEYS * KEYS;
  //#end
  for (var i = thread; i < #(ROWS * 16 * CHUNKS)u; i += KEYS) {
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
    if (thread < #(KEYS / 64)u) {
      // Beyond the last key: any page, since its weights are 0.
      page_tile[thread] = pages[table + min(base + thread * PAGE_TOKENS, end - 1u) / PAGE_TOKENS] * KV_HEADS + kv;
    }
    workgroupBarrier();
    //#for r in 0..ROWS
    var score_#r = MASKED;
    //#end
    var visible = base + thread < end;
    //#for n in 0..WINDOWED
    visible = visible && base + thread >= seen;
    //#end
    if (visible) {
      //#for r in 0..ROWS
      score_#r = 0.0;
      //#end
      let at = (page_tile[thread / PAGE_TOKENS] * PAGE_TOKENS + thread % PAGE_TOKENS) * #(8 * CHUNKS)u;
      for (var e = 0u; e < #(8 * CHUNKS)u; e += #(UNROLL)u) {
        //#for u in 0..UNROLL
        let k_#u = key_eight(at + e + #(u)u);
        //#end
        //#for r in 0..ROWS
        //#for u in 0..UNROLL
        score_#r += dot(q_tile[#(r * 16 * CHUNKS)u + 2u * (e + #(u)u)], k_#u.low) + dot(q_tile[#(r * 16 * CHUNKS)u + 2u * (e + #(u)u) + 1u], k_#u.high);
        //#end
        //#end
      }
    }
    //#for r in 0..ROWS
    p_tile[#(r * KEYS / 4)u + thread / 4u][thread % 4u] = score_#r;
    //#end
    workgroupBarrier();
    for (var i = thread; i < #(ROWS * 16)u; i += KEYS) {
      var most = p_tile[#(KEYS / 64)u * i];
      //#for u in 1..KEYS / 64
      most = max(most, p_tile[#(KEYS / 64)u * i + #(u)u]);
      //#end
      tops[i / 4u][i % 4u] = max(max(most.x, most.y), max(most.z, most.w));
    }
    workgroupBarrier();
    //#for r in 0..ROWS
    {
      let most = max(max(tops[#(r * 4)u], tops[#(r * 4 + 1)u]), max(tops[#(r * 4 + 2)u], tops[#(r * 4 + 3)u]));
      let top = max(top_#r, max(max(most.x, most.y), max(most.z, most.w)));
      let decay = exp2(top_#r - top);
      top_#r = top;
      low_#r *= decay;
      high_#r *= decay;
      let p = exp2(score_#r - top);
      p_tile[#(r * KEYS / 4)u + thread / 4u][thread % 4u] = p;
      sum_#r = sum_#r * decay + p;
    }
    //#end
    workgroupBarrier();
    let count = min(KEYS, end - base);
    for (var k = 4u * lane; k < count; k += #(KEYS / 2 / CHUNKS)u) {
      let at = (page_tile[k / PAGE_TOKENS] * PAGE_TOKENS + k % PAGE_TOKENS) * #(8 * CHUNKS)u + eight;
      //#for u in 0..4
      let v_#u = value_eight(at + #(u * 8 * CHUNKS)u);
      //#end
      //#for r in 0..ROWS
      {
        let p = p_tile[#(r * KEYS / 4)u + k / 4u];
        low_#r = fma(vec4<f32>(p.x), v_0.low, fma(vec4<f32>(p.y), v_1.low, fma(vec4<f32>(p.z), v_2.low, fma(vec4<f32>(p.w), v_3.low, low_#r))));
        high_#r = fma(vec4<f32>(p.x), v_0.high, fma(vec4<f32>(p.y), v_1.high, fma(vec4<f32>(p.z), v_2.high, fma(vec4<f32>(p.w), v_3.high, high_#r))));
      }
      //#end
    }
  }
  // Join the threads that took different keys: first the masses of all rows, then the sums of one row after another.
  workgroupBarrier();
  //#for r in 0..ROWS
  p_tile[#(r * KEYS / 4)u + thread / 4u][thread % 4u] = sum_#r;
  //#end
  workgroupBarrier();
  for (var i = thread; i < #(ROWS * 16)u; i += KEYS) {
    var four = p_tile[#(KEYS / 64)u * i];
    //#for u in 1..KEYS / 64
    four += p_tile[#(KEYS / 64)u * i + #(u)u];
    //#end
    tops[i / 4u][i % 4u] = dot(four, vec4<f32>(1.0));
  }
  //#for r in 0..ROWS
  workgroupBarrier();
  p_tile[2u * thread] = low_#r;
  p_tile[2u * thread + 1u] = high_#r;
  workgroupBarrier();
  if (#(r)u < total && thread < #(16 * CHUNKS)u) {
    let slot = ((row_of(#(r)u) + step.decodes - step.rows) * SPANS + span) * HEADS + head_of(#(r)u);
    var sum = vec4<f32>(0.0);
    for (var i = 0u; i < #(KEYS / 8 / CHUNKS)u; i++) {
      sum += p_tile[i * #(16 * CHUNKS)u + thread];
    }
    partial[slot * #(16 * CHUNKS)u + thread] = sum;
    if (thread == 0u) {
      let four = (tops[#(r * 4)u] + tops[#(r * 4 + 1)u]) + (tops[#(r * 4 + 2)u] + tops[#(r * 4 + 3)u]);
      partial_state[slot] = vec2<f32>(top_#r, dot(four, vec4<f32>(1.0)));
    }
  }
  //#end
}
