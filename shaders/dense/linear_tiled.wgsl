// Y[t, n] = sum over k of X[t, k] W[n, k], for many rows t, on a real GPU.
//
// A workgroup of 16 × 16 threads makes 128 rows × 64 columns; a thread makes 8 × 4. Tiles of 16 k of both operands pass through workgroup
// memory as quads along k: 12 quad loads feed 128 multiply-adds a thread, and 12.5 KiB fit the least workgroup memory WebGPU guarantees. What a thread
// reads of a tile is a constant away from one place (other indices are checked at every load), and of neighbouring threads each has an operand in
// common with the next and the other with the next but one, so that loads are merged. (2,048 rows of [28672][4096] in Q8_0 on one H200: 14.9 ms; 15.6 with rows
// of 16 threads; 16.8 with computed indices; 15.1 with 8 × 8 a thread of 128; 15.4 and 22.4 with the next tile loaded ahead into registers, and also stored by
// turns in two tiles, which halves how many workgroups are resident.)

override K_QUADS: u32;  // columns / 128

// Of each thread along a side of the workgroup its rows of a tile: 4 quads each, and one more so that neighbours begin on different banks.
var<workgroup> x_tile: array<array<vec4<f32>, 33>, 16>;
var<workgroup> w_tile: array<array<vec4<f32>, 17>, 16>;

@compute @workgroup_size(256)
fn linear_tiled(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  lane_id = thread % 8u;
  let across = thread / 2u % 16u;
  let down = thread / 32u * 2u + thread % 2u;
  let rows = row_count();
  let first_row = group_id.y * 128u;
  let first_column = group_id.x * 64u;
  // This thread's share of loading: quad thread % 4 of rows thread / 4 and 64 further down, and of one column.
  let load_quad = thread % 4u;
  let load_row = thread / 4u;
  let x_start_0 = input_row(row_offset() + min(first_row + load_row, rows - 1u));
  let x_start_1 = input_row(row_offset() + min(first_row + load_row + 64u, rows - 1u));
  let w_row = first_column + load_row;
  let x_place = load_row / 16u * 4u + load_quad;
  let w_place = load_row % 4u * 4u + load_quad;
  //#for r in 0..8
  var acc_#r = vec4<f32>(0.0);
  //#end
  for (var quad = 0u; quad < K_QUADS; quad++) {
    let scales = weight_scales(w_row, quad);
    for (var half = 0u; half < 8u; half++) {
      let at = quad * 32u + half * 4u + load_quad;
      let x_0 = input_quad(x_start_0, at);
      let x_1 = input_quad(x_start_1, at);
      let w = weight_unpack(weight_word(w_row, at / WEIGHT_GROUPS), at % 8u, scales[half / 2u]);
      workgroupBarrier();
      x_tile[load_row % 16u][x_place] = x_0;
      x_tile[load_row % 16u][x_place + 16u] = x_1;
      w_tile[load_row / 4u][w_place] = w;
      workgroupBarrier();
      //#for q in 0..4
      {
        //#for c in 0..4
        let w_#c = w_tile[across][#(c * 4 + q)u];
        //#end
        //#for i in 0..4
        let v_#i = vec4<f32>(w_0[#i], w_1[#i], w_2[#i], w_3[#i]);
        //#end
        //#for r in 0..8
        {
          let x = x_tile[down][#(r * 4 + q)u];
          //#for i in 0..4
          acc_#r = fma(vec4<f32>(x[#i]), v_#i, acc_#r);
          //#end
        }
        //#end
      }
      //#end
    }
  }
  //#for r in 0..8
  if (first_row + down + #(r * 16)u < rows) {
    let row = row_offset() + first_row + down + #(r * 16)u;
    let scaled = acc_#r * input_scale(input_row(row));
    let pair = first_column / 2u + across * 2u;
    finish(row, pair, scaled.xy);
    finish(row, pair + 1u, scaled.zw);
  }
  //#end
}
