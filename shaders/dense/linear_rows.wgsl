// Y[t, n] = sum over k of X[t, k] W[n, k], for many rows t: the workhorse of prefill and of batched decode.
//
// Shape (measured on llvmpipe, which this follows; a load of 16 bytes costs there as much as 50 multiply-adds): a workgroup is one
// group of 8 lanes; a lane owns COLS columns and all ROWS rows of the tile. Lane i loads row i of X and the group shares it by
// shuffles, so X is loaded once per workgroup and W once per lane. No workgroup memory, no barrier.
//
// Every (row, column) is accumulated over k in rising order, one multiply-add at a time, in every variant of this file and in
// linear_vector.wgsl: results do not depend on how many rows a batch has.
//
// A short `finish` is repeated for every row. A long one (LONG_FINISH = 1) stands in a loop that reads the sums back from memory: with 128
// copies of finish_qkv.wgsl this kernel takes LLVM 25 s of CPU time to compile, with 4 it takes 3.

override K_QUADS: u32;  // columns / 128

@compute @workgroup_size(8)
fn linear_rows(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  lane_id = local.x;
  let first_row = group_id.y * #(ROWS)u;
  let first_pair = group_id.x * #(COLS * 4)u + lane_id;
  let rows = row_count();
  //#for j in 0..ROW_LOADS
  let start_#j = input_row(row_offset() + min(first_row + min(#(j * 8)u + lane_id, #(ROWS - 1)u), rows - 1u));
  //#end
  //#for c in 0..COLS
  let n_#c = 2u * (first_pair + #(c % (COLS / 2) * 8)u) + #(c / (COLS / 2))u;
  //#end
  //#for r in 0..ROWS
  //#for g in 0..COLS / 4
  var acc_#r_#g = vec4<f32>(0.0);
  //#end
  //#end
  for (var quad = 0u; quad < K_QUADS; quad++) {
    //#for c in 0..COLS
    let scales_#c = weight_scales(n_#c, quad);
    //#end
    for (var step = 0u; step < #(32 / STEP_QUADS)u; step++) {
      // STEP_QUADS quads (of 4 weights) a time: accumulators live in memory between iterations, so a short body would be all loads.
      let block = step / #(8 / STEP_QUADS)u;
      let at = (quad * 32u + step * #(STEP_QUADS)u) / WEIGHT_GROUPS;
      //#for c in 0..COLS
      let scale_#c = scales_#c[block];
      //#for w in 0..STEP_WORDS
      let word_#c_#w = weight_word(n_#c, at + #(w)u);
      //#end
      //#end
      //#for u in 0..STEP_QUADS
      let part_#u = (step * #(STEP_QUADS)u + #(u)u) % 8u;
      //#for c in 0..COLS
      let w_#u_#c = weight_unpack(word_#c_#(u * STEP_WORDS / STEP_QUADS), part_#u, scale_#c);
      //#end
      //#for g in 0..COLS / 4
      //#for i in 0..4
      let v_#u_#g_#i = vec4<f32>(w_#u_#(g * 4)[#i], w_#u_#(g * 4 + 1)[#i], w_#u_#(g * 4 + 2)[#i], w_#u_#(g * 4 + 3)[#i]);
      //#end
      //#end
      //#for j in 0..ROW_LOADS
      let x_#u_#j = input_quad(start_#j, quad * 32u + step * #(STEP_QUADS)u + #(u)u);
      //#end
      //#end
      //#for r in 0..ROWS
      {
        //#for u in 0..STEP_QUADS
        let x_#u = lane_pick4(x_#u_#(r / 8), #(r % 8)u);
        //#for g in 0..COLS / 4
        //#for i in 0..4
        acc_#r_#g = fma(vec4<f32>(x_#u[#i]), v_#u_#g_#i, acc_#r_#g);
        //#end
        //#end
        //#end
      }
      //#end
    }
  }
  //#for short in 0..1 - LONG_FINISH
  //#for r in 0..ROWS
  if (first_row + #(r)u < rows) {
    let scale = input_scale(input_row(row_offset() + first_row + #(r)u));
    //#for c in 0..COLS / 2
    finish(row_offset() + first_row + #(r)u, first_pair + #(c * 8)u, scale * vec2<f32>(acc_#r_#(c / 4)[#(c % 4)], acc_#r_#((c + COLS / 2) / 4)[#((c + COLS / 2) % 4)]));
    //#end
  }
  //#end
  //#end
  //#for long in 0..LONG_FINISH
  var sums = array<vec4<f32>, #(ROWS * COLS / 4)>(
  //#for r in 0..ROWS
  //#for g in 0..COLS / 4
    acc_#r_#g,
  //#end
  //#end
  );
  let count = min(#(ROWS)u, rows - first_row);
  for (var r = 0u; r < count; r++) {
    let row = row_offset() + first_row + r;
    let scale = input_scale(input_row(row));
    //#for g in 0..COLS / 4
    let sum_#g = scale * sums[r * #(COLS / 4)u + #(g)u];
    //#end
    //#for c in 0..COLS / 2
    finish(row, first_pair + #(c * 8)u, vec2<f32>(sum_#(c / 4)[#(c % 4)], sum_#((c + COLS / 2) / 4)[#((c + COLS / 2) % 4)]));
    //#end
  }
  //#end
}
