// Exact attention over a paged cache with an online softmax (Dao et al. 2022, FlashAttention; Milakov & Gimelshein 2018), one page
// of 64 keys per step.
//
// A workgroup is one group of 8 lanes. For Q K^T a lane owns 8 of the 64 keys; for P V it owns 8 dimensions of each 64 of the output.
// Queries and probabilities travel by shuffles: no workgroup memory, no barrier. Row sums stay in their lane until the end; only the
// row maximum is reduced per page. Queries come scaled by log2(e) / sqrt(head dimension), so that exp2 serves.
// What a row yields does not depend on the rows beside it. attention_prefill.wgsl, attention_decode.wgsl and attention_shared.wgsl say
// what a row is; from_start.wgsl or from_carried.wgsl where it begins, to_output.wgsl or to_carried.wgsl where it ends up.

override HEADS: u32;
override KV_HEADS: u32;
override QUERIES_PER_KV: u32;

@group(0) @binding(3) var<storage, read> query: array<vec4<f32>>;  // [row][head][16 * CHUNKS]
@group(0) @binding(11) var<storage, read> pages: array<u32>;

const MASKED = -1e30;

@compute @workgroup_size(8)
fn attention(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  lane_id = local.x;
  begin(group_id);
  let kv = kv_head();
  let table = page_table();
  let total = row_total();
  //#for j in 0..ROW_LOADS
  let own_#j = min(min(#(j * 8)u + lane_id, #(ROWS - 1)u), total - 1u);
  let query_#j = (row_of(own_#j) * HEADS + head_of(own_#j)) * #(16 * CHUNKS)u;
  //#end
  //#for r in 0..ROWS
  var top_#r = top_before(#(r)u);
  var sum_#r = sum_before(#(r)u);
  //#for d in 0..CHUNKS * 2
  var out_#r_#d = out_before(#(r)u, #(d / 2 * 16 + d % 2)u + lane_id * 2u);
  //#end
  //#end
  let last = limit_of(total - 1u);
  var begun = tokens_before();
  //#for n in 0..WINDOWED
  begun = first_seen(limit_of(0u)) / PAGE_TOKENS * PAGE_TOKENS;
  //#end
  for (var base = begun; base <= last; base += PAGE_TOKENS) {
    let page = (pages[table + base / PAGE_TOKENS] * KV_HEADS + kv) * #(64 * 8 * CHUNKS)u;
    //#for r in 0..ROWS
    var score_#r_0 = vec4<f32>(0.0);
    var score_#r_1 = vec4<f32>(0.0);
    //#end
    for (var eight = 0u; eight < #(8 * CHUNKS)u; eight++) {
      //#for c in 0..8
      let key_#c = key_eight(page + (#(c * 8)u + lane_id) * #(8 * CHUNKS)u + eight);
      //#end
      //#for g in 0..2
      //#for i in 0..4
      let low_#g_#i = vec4<f32>(key_#(g * 4).low[#i], key_#(g * 4 + 1).low[#i], key_#(g * 4 + 2).low[#i], key_#(g * 4 + 3).low[#i]);
      let high_#g_#i = vec4<f32>(key_#(g * 4).high[#i], key_#(g * 4 + 1).high[#i], key_#(g * 4 + 2).high[#i], key_#(g * 4 + 3).high[#i]);
      //#end
      //#end
      //#for j in 0..ROW_LOADS
      let q_low_#j = query[query_#j + 2u * eight];
      let q_high_#j = query[query_#j + 2u * eight + 1u];
      //#end
      //#for r in 0..ROWS
      {
        let low = lane_pick4(q_low_#(r / 8), #(r % 8)u);
        let high = lane_pick4(q_high_#(r / 8), #(r % 8)u);
        //#for g in 0..2
        //#for i in 0..4
        score_#r_#g = fma(vec4<f32>(low[#i]), low_#g_#i, score_#r_#g);
        //#end
        //#for i in 0..4
        score_#r_#g = fma(vec4<f32>(high[#i]), high_#g_#i, score_#r_#g);
        //#end
        //#end
      }
      //#end
    }
    if (base + PAGE_TOKENS > limit_of(0u) + 1u) {
      let position = vec4<u32>(base + lane_id) + vec4<u32>(0u, 8u, 16u, 24u);
      //#for r in 0..ROWS
      score_#r_0 = select(vec4<f32>(MASKED), score_#r_0, position <= vec4<u32>(limit_of(#(r)u)));
      score_#r_1 = select(vec4<f32>(MASKED), score_#r_1, position + vec4<u32>(32u) <= vec4<u32>(limit_of(#(r)u)));
      //#end
    }
    //#for n in 0..WINDOWED
    // A row that sees none of a page is put right by the first that it sees: what it had, sums of finite values, decays to nothing.
    if (base < first_seen(last)) {
      let position = vec4<u32>(base + lane_id) + vec4<u32>(0u, 8u, 16u, 24u);
      //#for r in 0..ROWS
      score_#r_0 = select(vec4<f32>(MASKED), score_#r_0, position >= vec4<u32>(first_seen(limit_of(#(r)u))));
      score_#r_1 = select(vec4<f32>(MASKED), score_#r_1, position + vec4<u32>(32u) >= vec4<u32>(first_seen(limit_of(#(r)u))));
      //#end
    }
    //#end
    //#for r in 0..ROWS
    {
      let both = max(score_#r_0, score_#r_1);
      let top = max(top_#r, lane_max(max(max(both.x, both.y), max(both.z, both.w))));
      let decay = exp2(top_#r - top);
      top_#r = top;
      score_#r_0 = exp2(score_#r_0 - top);
      score_#r_1 = exp2(score_#r_1 - top);
      sum_#r = sum_#r * decay + dot(score_#r_0, vec4<f32>(1.0)) + dot(score_#r_1, vec4<f32>(1.0));
      //#for d in 0..CHUNKS * 2
      out_#r_#d *= decay;
      //#end
    }
    //#end
    for (var owner = 0u; owner < 8u; owner++) {
      //#for g in 0..2
      //#for d in 0..CHUNKS
      {
        //#for i in 0..4
        let value_#i = value_eight(page + (#(g * 32 + i * 8)u + owner) * #(8 * CHUNKS)u + #(d * 8)u + lane_id);
        //#end
        //#for r in 0..ROWS
        {
          let p = lane_pick4(score_#r_#g, owner);
          out_#r_#(d * 2) = fma(vec4<f32>(p.w), value_3.low, fma(vec4<f32>(p.z), value_2.low, fma(vec4<f32>(p.y), value_1.low, fma(vec4<f32>(p.x), value_0.low, out_#r_#(d * 2)))));
          out_#r_#(d * 2 + 1) = fma(vec4<f32>(p.w), value_3.high, fma(vec4<f32>(p.z), value_2.high, fma(vec4<f32>(p.y), value_1.high, fma(vec4<f32>(p.x), value_0.high, out_#r_#(d * 2 + 1)))));
        }
        //#end
      }
      //#end
      //#end
    }
  }
  //#for r in 0..ROWS
  {
    let scale = settle(#(r)u, top_#r, sum_#r);
    if (#(r)u < total) {
      //#for d in 0..CHUNKS * 2
      put(#(r)u, #(d / 2 * 16 + d % 2)u + lane_id * 2u, out_#r_#d * scale);
      //#end
    }
  }
  //#end
}
