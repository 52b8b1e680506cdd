// Prefill attention on a real GPU: 32 successive tokens of one sequence, one query head, one page of 64 keys per round.
//
// 128 threads. Q K^T: thread (t / 16, t % 16) makes 4 rows × 4 keys, keys of a slice of 16 dimensions passing through workgroup memory. Softmax:
// four threads a row. P V: 4 rows × 4 dimensions (of each 64) a thread, 16 / CHUNKS rows of V at a time. 14 KiB of workgroup
// memory in all. What a row yields does not depend on the rows beside it.

override HEADS: u32;
override KV_HEADS: u32;
override QUERIES_PER_KV: u32;
override OUTPUT_QUADS: u32;
override OUTPUT_ROW_QUADS: u32;

@group(0) @binding(3) var<storage, read> query: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> blocks: array<vec4<u32>>;  // (first row, rows, position of the first, page table)
@group(0) @binding(11) var<storage, read> pages: array<u32>;

const MASKED = -1e30;
const P_STRIDE = 65u;

var<workgroup> kv_tile: array<vec4<f32>, 320>;   // keys: 64 × 4 quads, 5 apart; values: 256 quads
var<workgroup> p_tile: array<f32, 2080>;         // 32 rows × 64 keys, 65 apart
var<workgroup> row_part: array<f32, 128>;
var<workgroup> row_decay: array<f32, 32>;

@compute @workgroup_size(128)
fn attention_tiled(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  let block = blocks[group_id.x];
  let head = group_id.y;
  let kv = head / QUERIES_PER_KV;
  let across = thread % 16u;
  let first = thread / 16u * 4u;
  //#for r in 0..4
  let query_#r = ((block.x + min(first + #(r)u, block.y - 1u)) * HEADS + head) * #(16 * CHUNKS)u;
  //#for d in 0..CHUNKS
  var out_#r_#d = vec4<f32>(0.0);
  //#end
  //#end
  // Softmax state of row thread / 4, shared by its four threads.
  let own_row = thread / 4u;
  let own_part = thread % 4u;
  var top = MASKED;
  var sum = 0.0;
  let last = block.z + block.y - 1u;
  for (var base = 0u; base <= last; base += PAGE_TOKENS) {
    let page = (pages[block.w + base / PAGE_TOKENS] * KV_HEADS + kv) * #(64 * 8 * CHUNKS)u;
    //#for r in 0..4
    var score_#r = vec4<f32>(0.0);
    //#end
    for (var slice = 0u; slice < #(4 * CHUNKS)u; slice++) {
      workgroupBarrier();
      {
        let k = key_eight(page + thread / 2u * #(8 * CHUNKS)u + slice * 2u + thread % 2u);
        kv_tile[thread / 2u * 5u + thread % 2u * 2u] = k.low;
        kv_tile[thread / 2u * 5u + thread % 2u * 2u + 1u] = k.high;
      }
      workgroupBarrier();
      //#for q in 0..4
      {
        //#for c in 0..4
        let k_#c = kv_tile[(across + #(c * 16)u) * 5u + #(q)u];
        //#end
        //#for i in 0..4
        let v_#i = vec4<f32>(k_0[#i], k_1[#i], k_2[#i], k_3[#i]);
        //#end
        //#for r in 0..4
        {
          let x = query[query_#r + slice * 4u + #(q)u];
          //#for i in 0..4
          score_#r = fma(vec4<f32>(x[#i]), v_#i, score_#r);
          //#end
        }
        //#end
      }
      //#end
    }
    //#for r in 0..4
    //#for c in 0..4
    p_tile[(first + #(r)u) * P_STRIDE + across + #(c * 16)u] =
      select(MASKED, score_#r[#c], base + across + #(c * 16)u <= block.z + first + #(r)u);
    //#end
    //#end
    workgroupBarrier();
    var best = MASKED;
    for (var i = 0u; i < 16u; i++) {
      best = max(best, p_tile[own_row * P_STRIDE + own_part * 16u + i]);
    }
    row_part[thread] = best;
    workgroupBarrier();
    let quarter = own_row * 4u;
    let now = max(top, max(max(row_part[quarter], row_part[quarter + 1u]), max(row_part[quarter + 2u], row_part[quarter + 3u])));
    let decay = exp2(top - now);
    top = now;
    sum *= decay;
    for (var i = 0u; i < 16u; i++) {
      let p = exp2(p_tile[own_row * P_STRIDE + own_part * 16u + i] - now);
      p_tile[own_row * P_STRIDE + own_part * 16u + i] = p;
      sum += p;
    }
    if (own_part == 0u) {
      row_decay[own_row] = decay;
    }
    workgroupBarrier();
    //#for r in 0..4
    //#for d in 0..CHUNKS
    out_#r_#d *= row_decay[first + #(r)u];
    //#end
    //#end
    for (var key = 0u; key < 64u; key += #(16 / CHUNKS)u) {
      workgroupBarrier();
      {
        let v = value_eight(page + key * #(8 * CHUNKS)u + thread);
        kv_tile[2u * thread] = v.low;
        kv_tile[2u * thread + 1u] = v.high;
      }
      workgroupBarrier();
      for (var k = 0u; k < #(16 / CHUNKS)u; k++) {
        //#for d in 0..CHUNKS
        let v_#d = kv_tile[k * #(16 * CHUNKS)u + #(d * 16)u + across];
        //#end
        //#for r in 0..4
        {
          let p = vec4<f32>(p_tile[(first + #(r)u) * P_STRIDE + key + k]);
          //#for d in 0..CHUNKS
          out_#r_#d = fma(p, v_#d, out_#r_#d);
          //#end
        }
        //#end
      }
    }
  }
  workgroupBarrier();
  row_part[thread] = sum;
  workgroupBarrier();
  //#for r in 0..4
  if (first + #(r)u < block.y) {
    let at = (first + #(r)u) * 4u;
    let inverse = 1.0 / (row_part[at] + row_part[at + 1u] + row_part[at + 2u] + row_part[at + 3u]);
    let start = (block.x + first + #(r)u) * OUTPUT_ROW_QUADS + head * OUTPUT_QUADS;
    //#for d in 0..CHUNKS
    if (#(d * 16)u + across < OUTPUT_QUADS) {
      output[start + #(d * 16)u + across] = out_#r_#d * inverse;
    }
    //#end
  }
  //#end
}
