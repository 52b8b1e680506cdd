// Y[t, n] = sum over k of X[t, k] W[n, k], for many rows t, on a real GPU: prefill.
//
// A workgroup of 16 × 16 threads makes 16 R rows × 64 columns; a thread makes R × 4. Tiles of KQ quads along k of both operands pass through workgroup
// memory: with R = 8 and KQ = 4, 12 quad loads feed 128 multiply-adds a thread, and 12.5 KiB fit the least workgroup memory WebGPU guarantees. What a thread
// reads of a tile is a constant away from one place (other indices are checked at every load), and of neighbouring threads each has an operand in
// common with the next and the other with the next but one, so that loads are merged. What is added up in which order depends on neither R nor KQ.
// (One H200, 2,048 rows of [28672][4096] in Q8_0: 14.6 ms; 16.7 if scales are loaded last; 14.9 without loading ahead; 15.6 also with rows of 16 threads; 16.8 also with
// computed indices. 8 × 8 a thread of 128 took 15.1, and tiles by turns in two places 22.4, which halves how many workgroups are resident.)

override K_QUADS: u32;  // columns / 128

const ROUNDS_PER_SCALES = #(32 / KQ)u;

// Of each thread along a side of the workgroup its rows of a tile: KQ quads each, and one more so that neighbours begin on different banks.
var<workgroup> x_tile: array<array<vec4<f32>, #(R * KQ + 1)>, 16>;
var<workgroup> w_tile: array<array<vec4<f32>, #(4 * KQ + 1)>, 16>;

@compute @workgroup_size(256)
fn linear_tiled(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  lane_id = thread % 8u;
  let across = thread / 2u % 16u;
  let down = thread / 32u * 2u + thread % 2u;
  let rows = row_count();
  let first_row = group_id.y * #(16 * R)u;
  let first_column = group_id.x * 64u;
  // This thread's share of loading: a quad of some rows of both tiles.
  let load_quad = thread % #(KQ)u;
  let load_row = thread / #(KQ)u;
  //#for j in 0..R * KQ / 16
  let x_start_#j = input_row(row_offset() + min(first_row + load_row + #(256 / KQ * j)u, rows - 1u));
  //#end
  let w_row = first_column + load_row;
  let x_place = load_row / 16u * #(KQ)u + load_quad;
  let w_place = load_row % 4u * #(KQ)u + load_quad;
  //#for r in 0..R
  var acc_#r = vec4<f32>(0.0);
  //#end
  // Sums over 8 ranges of k, where linear_ranges has threads of their own for each: an index that only the device knows keeps them out of registers, which
  // are short. Registers take 4 % longer than no ranges, this 1.4 %; sums at a range's very end, another branch, 6 %.
  let nought = rows >> 31u;
  var sums = array<vec4<f32>, #R>();
  let units = (K_QUADS + 7u) / 8u;
  // What a round needs is loaded one before, and used in no way until then: a use would wait for it.
  //#for j in 0..R * KQ / 16
  var x_#j = input_load(x_start_#j, load_quad);
  //#end
  //#for j in 0..KQ / 4
  var word_#j = weight_word(w_row + #(256 / KQ * j)u, load_quad / WEIGHT_GROUPS);
  var scales_#j = weight_scales(w_row + #(256 / KQ * j)u, 0u);
  //#end
  for (var round = 0u; round < K_QUADS * ROUNDS_PER_SCALES; round++) {
    let at = round * #(KQ)u + load_quad;
    workgroupBarrier();
    //#for j in 0..R * KQ / 16
    x_tile[load_row % 16u][x_place + #(16 * j)u] = input_make(x_#j, at);
    //#end
    //#for j in 0..KQ / 4
    w_tile[load_row / 4u + #(64 / KQ * j)u][w_place] = weight_unpack(word_#j, at % 8u, scales_#j[round * #(KQ)u / 8u % 4u]);
    //#end
    workgroupBarrier();
    if (round + 1u < K_QUADS * ROUNDS_PER_SCALES) {
      if ((round + 1u) % ROUNDS_PER_SCALES == 0u) {
        if ((round + 1u) / ROUNDS_PER_SCALES % units == 0u) {
          //#for r in 0..R
          sums[#(r)u + nought] += acc_#r;
          acc_#r = vec4<f32>(0.0);
          //#end
        }
        //#for j in 0..KQ / 4
        scales_#j = weight_scales(w_row + #(256 / KQ * j)u, (round + 1u) / ROUNDS_PER_SCALES);
        //#end
      }
      let next = at + #(KQ)u;
      //#for j in 0..R * KQ / 16
      x_#j = input_load(x_start_#j, next);
      //#end
      //#for j in 0..KQ / 4
      word_#j = weight_word(w_row + #(256 / KQ * j)u, next / WEIGHT_GROUPS);
      //#end
    }
    //#for q in 0..KQ
    {
      //#for c in 0..4
      let w_#c = w_tile[across][#(c * KQ + q)u];
      //#end
      //#for i in 0..4
      let v_#i = vec4<f32>(w_0[#i], w_1[#i], w_2[#i], w_3[#i]);
      //#end
      //#for r in 0..R
      {
        let x = x_tile[down][#(r * KQ + q)u];
        //#for i in 0..4
        acc_#r = fma(vec4<f32>(x[#i]), v_#i, acc_#r);
        //#end
      }
      //#end
    }
    //#end
  }
  //#for r in 0..R
  if (first_row + down + #(16 * r)u < rows) {
    let row = row_offset() + first_row + down + #(16 * r)u;
    let scaled = (sums[#(r)u + nought] + acc_#r) * input_scale(input_row(row));
    let pair = first_column / 2u + across * 2u;
    finish(row, pair, scaled.xy);
    finish(row, pair + 1u, scaled.zw);
  }
  //#end
}
