// Prefill attention on a real GPU: up to 32 successive tokens of one sequence, one query head, one page of 64 keys per round.
//
// 128 threads; thread t has the rows t / 32 * 2 + t % 2 + 8 r, and of the keys or dimensions the part t / 2 % 16: neighbours have one operand in common with the next
// thread and the other with the next but one, so that their loads are merged. Q K^T: 4 rows × 4 keys, slices of 16 dimensions passing through workgroup memory by
// turns in two places, the next one loaded meanwhile. Softmax: four threads a row. P V: 4 rows × 4 dimensions (of each 64), 16 / CHUNKS rows of V at a time.
// (One H200, 32 query heads of 128 on 8, 2,048 rows behind 32K: 26.8 TFLOP/s. What counts is how many workgroups are resident: six
// with 16 KiB each, 23.8 with 20 KiB (slices of V by turns in two places), 14.0 with 34 KiB (the same beside unused memory), 19.8 with 8 rows a thread and 31 KiB.)
//
// Keys are taken in spans of SPAN_PAGES from the context's start on, and what each span yields is joined to what those before it did, in order. Either a
// workgroup does all spans, or (SPLIT) every span has a workgroup of its own and attention_tiled_merge.wgsl joins them by the same arithmetic. So
// what a row yields depends neither on the rows beside it nor on which of the two was done.

override HEADS: u32;
override KV_HEADS: u32;
override QUERIES_PER_KV: u32;
override OUTPUT_QUADS: u32;
override OUTPUT_ROW_QUADS: u32;
override SPAN_PAGES: u32;

@group(0) @binding(3) var<storage, read> query: array<vec4<f32>>;
//#for w in SPLIT..1
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
//#end
//#for s in 0..SPLIT
@group(0) @binding(5) var<storage, read_write> partial: array<vec4<f32>>;       // [row][span of the step][head][16 * CHUNKS], not normalised
@group(0) @binding(7) var<storage, read_write> partial_state: array<vec2<f32>>; // (maximum, sum) likewise
//#end
@group(0) @binding(6) var<storage, read> blocks: array<vec4<u32>>;  // (first row, rows, position of the first, page table)
@group(0) @binding(11) var<storage, read> pages: array<u32>;

const MASKED = -1e30;
// In the first 96 places two slices of keys and queries pass through; then 72 hold weights, and 32 behind them a slice of values.
const SLICE = 48u;
const VALUES = 72u;

// Places of 8 quads, and one more so that neighbouring places begin on different banks. What a thread reads of a slice is in a few places, from which
// all else is a constant away: other indices are checked against the array's length at every load.
var<workgroup> tile: array<array<vec4<f32>, 9>, 104>;
var<workgroup> row_part: array<f32, 128>;
var<workgroup> row_decay: array<f32, 32>;
//#for w in SPLIT..1
var<workgroup> row_weight: array<f32, 32>;
var<workgroup> row_scale: array<f32, 32>;
//#end

@compute @workgroup_size(128)
fn attention_tiled(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  let block = blocks[group_id.x];
  let head = group_id.y;
  let kv = head / QUERIES_PER_KV;
  let across = thread / 2u % 16u;
  let first = thread / 32u * 2u + thread % 2u;
  // What this thread puts into workgroup memory. Keys 4 a + c of a page, 4 quads of each: place a + 16 (c / 2). Queries of row f + 8 r: place
  // 32 + f + 8 (r / 2).
  let load_query = ((block.x + min(thread / 4u, block.y - 1u)) * HEADS + head) * #(16 * CHUNKS)u + thread % 4u;
  let key_place = thread / 8u + thread / 4u % 2u * 16u;
  let key_quad = thread / 2u % 2u * 4u + thread % 2u * 2u;
  let query_place = 32u + thread / 4u % 8u + thread / 64u * 8u;
  let query_quad = thread / 32u % 2u * 4u + thread % 4u;
  // Quad d of key k and dimensions 64 d + 4 a on, of a slice of values: item CHUNKS k + d of a, of which 8 are in place a and 8 in place a + 16.
  let value_place = VALUES + thread / 64u * 16u + thread % 8u * 2u;
  let value_quad = thread / 8u % 8u;
  // Weights of keys 4 q to 4 q + 3 and row f + 8 r: quad 4 (q % 2) + r of place 9 (q / 2) + f. Of a row's 16 quads each of its four threads has every fourth.
  let scores = across / 2u * 9u + first;
  let own_row = thread / 4u;
  let own = thread % 4u / 2u * 9u + own_row % 8u;
  let own_quad = thread % 2u * 4u + own_row / 8u;
  let last = block.z + block.y - 1u;
  //#for s in 0..SPLIT
  let spans = (step.prefillEnd - 1u) / (SPAN_PAGES * PAGE_TOKENS) + 1u;
  let start = group_id.z * SPAN_PAGES * PAGE_TOKENS;
  if (start > last) {
    return;
  }
  //#end
  //#for w in SPLIT..1
  // Where the first row's window begins, in whole pages. A row that sees none of a page is put right by the first that it sees.
  var first_key = 0u;
  //#for n in 0..WINDOWED
  first_key = first_seen(block.z) / PAGE_TOKENS * PAGE_TOKENS;
  //#end
  let first_span = first_key / (SPAN_PAGES * PAGE_TOKENS) * (SPAN_PAGES * PAGE_TOKENS);
  // Of all spans so far, for the thread's own row.
  var all_top = MASKED;
  var all_sum = 0.0;
  for (var start = first_span; start <= last; start += SPAN_PAGES * PAGE_TOKENS) {
  //#end
    var top = MASKED;
    var sum = 0.0;
    //#for r in 0..4
    //#for d in 0..CHUNKS
    var out_#r_#d = vec4<f32>(0.0);
    //#end
    //#end
    let end = min(last, start + SPAN_PAGES * PAGE_TOKENS - 1u);
    var begun = start;
    //#for n in 0..WINDOWED
    begun = max(start, first_key);
    //#end
    for (var base = begun; base <= end; base += PAGE_TOKENS) {
      let page = (pages[block.w + base / PAGE_TOKENS] * KV_HEADS + kv) * #(64 * 8 * CHUNKS)u;
      let key_from = page + thread / 2u * #(8 * CHUNKS)u + thread % 2u;
      var next_key = key_eight(key_from);
      var next_query = query[load_query];
      //#for r in 0..4
      var score_#r = vec4<f32>(0.0);
      //#end
      workgroupBarrier();
      for (var slice = 0u; slice < #(4 * CHUNKS)u; slice++) {
        let turn = slice % 2u * SLICE;
        tile[turn + key_place][key_quad] = next_key.low;
        tile[turn + key_place][key_quad + 1u] = next_key.high;
        tile[turn + query_place][query_quad] = next_query;
        workgroupBarrier();
        if (slice < #(4 * CHUNKS - 1)u) {
          next_key = key_eight(key_from + slice * 2u + 2u);
          next_query = query[load_query + slice * 4u + 4u];
        }
        let keys_0 = turn + across;
        let keys_1 = turn + 16u + across;
        let queries_0 = turn + 32u + first;
        let queries_1 = turn + 40u + first;
        //#for q in 0..4
        {
          //#for c in 0..4
          let k_#c = tile[keys_#(c / 2)][#(c % 2 * 4 + q)u];
          //#end
          //#for i in 0..4
          let v_#i = vec4<f32>(k_0[#i], k_1[#i], k_2[#i], k_3[#i]);
          //#end
          //#for r in 0..4
          {
            let x = tile[queries_#(r / 2)][#(r % 2 * 4 + q)u];
            //#for i in 0..4
            score_#r = fma(vec4<f32>(x[#i]), v_#i, score_#r);
            //#end
          }
          //#end
        }
        //#end
      }
      let value_from = page + thread;
      var next_value = value_eight(value_from);
      workgroupBarrier();
      let keys = vec4<u32>(base + across * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
      //#for r in 0..4
      //#for n in 0..WINDOWED
      score_#r = select(vec4<f32>(MASKED), score_#r, keys >= vec4<u32>(first_seen(block.z + first + #(8 * r)u)));
      //#end
      tile[scores][across % 2u * 4u + #(r)u] =
        select(vec4<f32>(MASKED), score_#r, keys <= vec4<u32>(block.z + first + #(8 * r)u));
      //#end
      workgroupBarrier();
      var best = tile[own][own_quad];
      //#for i in 1..4
      best = max(best, tile[own + #(18 * i)u][own_quad]);
      //#end
      row_part[thread] = max(max(best.x, best.y), max(best.z, best.w));
      workgroupBarrier();
      let quarter = own_row * 4u;
      let now = max(top, max(max(row_part[quarter], row_part[quarter + 1u]), max(row_part[quarter + 2u], row_part[quarter + 3u])));
      let decay = exp2(top - now);
      top = now;
      var added = vec4<f32>(0.0);
      //#for i in 0..4
      {
        let p = exp2(tile[own + #(18 * i)u][own_quad] - now);
        tile[own + #(18 * i)u][own_quad] = p;
        added += p;
      }
      //#end
      sum = fma(sum, decay, (added.x + added.y) + (added.z + added.w));
      if (thread % 4u == 0u) {
        row_decay[own_row] = decay;
      }
      for (var slice = 0u; slice < #(4 * CHUNKS)u; slice++) {
        workgroupBarrier();
        tile[value_place][value_quad] = next_value.low;
        tile[value_place + 1u][value_quad] = next_value.high;
        workgroupBarrier();
        if (slice == 0u) {
          //#for r in 0..4
          {
            let kept = row_decay[first + #(8 * r)u];
            //#for d in 0..CHUNKS
            out_#r_#d *= kept;
            //#end
          }
          //#end
        }
        if (slice < #(4 * CHUNKS - 1)u) {
          next_value = value_eight(value_from + (slice + 1u) * 128u);
        }
        //#for k in 0..4 / CHUNKS
        {
          //#for i in 0..4
          //#for d in 0..CHUNKS
          let v_#i_#d = tile[VALUES + #((4 * CHUNKS * k + CHUNKS * i + d) / 8 * 16)u + across][#((4 * CHUNKS * k + CHUNKS * i + d) % 8)u];
          //#end
          //#end
          let weights = (slice * #(4 / CHUNKS)u + #(k)u) / 2u * 9u + first;
          // In slices of one quad of keys every other one is the second half of its place.
          let weight_quad = slice % #(CHUNKS / 4 + 1)u * 4u + #(k % 2 * 4)u;
          //#for r in 0..4
          {
            let p = tile[weights][weight_quad + #(r)u];
            //#for i in 0..4
            //#for d in 0..CHUNKS
            out_#r_#d = fma(vec4<f32>(p[#i]), v_#i_#d, out_#r_#d);
            //#end
            //#end
          }
          //#end
        }
        //#end
      }
    }
    row_part[thread] = sum;
    workgroupBarrier();
    {
      let quarter = own_row * 4u;
      sum = (row_part[quarter] + row_part[quarter + 1u]) + (row_part[quarter + 2u] + row_part[quarter + 3u]);
    }
    //#for s in 0..SPLIT
    if (thread % 4u == 0u && own_row < block.y) {
      partial_state[((block.x + own_row) * spans + group_id.z) * HEADS + head] = vec2<f32>(top, sum);
    }
    //#for r in 0..4
    if (first + #(8 * r)u < block.y) {
      let slot = ((block.x + first + #(8 * r)u) * spans + group_id.z) * HEADS + head;
      //#for d in 0..CHUNKS
      partial[slot * #(16 * CHUNKS)u + #(d * 16)u + across] = out_#r_#d;
      //#end
    }
    //#end
    //#end
    //#for w in SPLIT..1
    let joined = max(all_top, top);
    let before = exp2(all_top - joined);
    let weight = exp2(top - joined);
    all_top = joined;
    all_sum = fma(all_sum, before, weight * sum);
    if (thread % 4u == 0u) {
      row_decay[own_row] = before;
      row_weight[own_row] = weight;
      row_scale[own_row] = select(1.0, 1.0 / all_sum, end == last);
    }
    workgroupBarrier();
    //#for r in 0..4
    if (first + #(8 * r)u < block.y) {
      let at = (block.x + first + #(8 * r)u) * OUTPUT_ROW_QUADS + head * OUTPUT_QUADS;
      let weight = row_weight[first + #(8 * r)u];
      let before = row_decay[first + #(8 * r)u];
      //#for d in 0..CHUNKS
      if (#(d * 16)u + across < OUTPUT_QUADS) {
        var all = out_#r_#d * weight;
        if (start > first_span) {
          all = fma(output[at + #(d * 16)u + across], vec4<f32>(before), all);
        }
        output[at + #(d * 16)u + across] = all * row_scale[first + #(8 * r)u];
      }
      //#end
    }
    //#end
  }
  //#end
}
