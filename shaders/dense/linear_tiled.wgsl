// Y[t, n] = sum over k of X[t, k] W[n, k], for many rows t, on a real GPU.
//
// A workgroup of 16 × 16 threads makes 128 rows × 64 columns; a thread makes 8 × 4. Tiles of 16 k of both operands pass through workgroup
// memory as quads along k, each row 5 quads apart: an odd stride keeps the 8 quads of a load on different banks, if neighbouring threads read
// neighbouring rows of a tile. Of W, of which each has four columns in a row, every fourth therefore stands together (2,048 rows of [28672][4096] on an H200:
// 16.8 ms, 24.9 in order). 12 quad loads feed 128 multiply-adds a thread, and 15.2 KiB fit the least workgroup memory WebGPU guarantees. Loading the next tile
// ahead, or 8 × 8 a thread from tiles of 8 k, gained nothing there (17.2 and 18.0 ms).

override K_QUADS: u32;  // columns / 128

const STRIDE = 5u;
// Quads from one fourth of W's tile to the next: 16 rows, and 4 more for other banks.
const W_FOURTH = 84u;
var<workgroup> x_tile: array<vec4<f32>, 640>;  // 128 rows
var<workgroup> w_tile: array<vec4<f32>, 332>;  // 64 columns

@compute @workgroup_size(256)
fn linear_tiled(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  lane_id = thread % 8u;
  let across = thread % 16u;
  let down = thread / 16u;
  let rows = row_count();
  let first_row = group_id.y * 128u;
  let first_column = group_id.x * 64u;
  // This thread's share of loading: quad thread % 4 of rows thread / 4 and 64 further down, and of one column.
  let load_quad = thread % 4u;
  let load_row = thread / 4u;
  let x_start_0 = input_row(row_offset() + min(first_row + load_row, rows - 1u));
  let x_start_1 = input_row(row_offset() + min(first_row + load_row + 64u, rows - 1u));
  let w_row = first_column + load_row;
  let w_place = load_row % 4u * W_FOURTH + load_row / 4u * STRIDE + load_quad;
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
      x_tile[load_row * STRIDE + load_quad] = x_0;
      x_tile[(load_row + 64u) * STRIDE + load_quad] = x_1;
      w_tile[w_place] = w;
      workgroupBarrier();
      //#for q in 0..4
      {
        //#for c in 0..4
        let w_#c = w_tile[#(c)u * W_FOURTH + across * STRIDE + #(q)u];
        //#end
        //#for i in 0..4
        let v_#i = vec4<f32>(w_0[#i], w_1[#i], w_2[#i], w_3[#i]);
        //#end
        //#for r in 0..8
        {
          let x = x_tile[(down + #(r * 16)u) * STRIDE + #(q)u];
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
