// Y[t, n] = sum over k of X[t, k] W[n, k], one row t per workgroup: decode of a few sequences.
//
// With a single row there is nothing to share W with, so the 8 lanes load 8 different quads of X at once and pass them round by
// shuffles: one load per 32 k instead of eight. Order of accumulation as in linear_rows.wgsl.

override K_QUADS: u32;  // columns / 128

@compute @workgroup_size(8)
fn linear_vector(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  lane_id = local.x;
  let row = row_offset() + group_id.y;
  let first_pair = group_id.x * #(COLS * 4)u + lane_id;
  let start = input_row(row);
  //#for c in 0..COLS
  let n_#c = 2u * (first_pair + #(c % (COLS / 2) * 8)u) + #(c / (COLS / 2))u;
  var acc_#c = 0.0;
  //#end
  for (var quad = 0u; quad < K_QUADS; quad++) {
    //#for c in 0..COLS
    let scales_#c = weight_scales(n_#c, quad);
    //#end
    for (var block = 0u; block < 4u; block++) {
      let x_own = input_quad(start, (quad * 4u + block) * 8u + lane_id);
      //#for c in 0..COLS
      let scale_#c = scales_#c[block];
      //#for w in 0..BLOCK_WORDS
      let word_#c_#w = weight_word(n_#c, (quad * 4u + block) * #(BLOCK_WORDS)u + #(w)u);
      //#end
      //#end
      //#for i in 0..8
      {
        let x = lane_pick4(x_own, #(i)u);
        //#for c in 0..COLS
        {
          let w = weight_unpack(word_#c_#(i * BLOCK_WORDS / 8), #(i)u, scale_#c);
          acc_#c = fma(x.x, w.x, acc_#c);
          acc_#c = fma(x.y, w.y, acc_#c);
          acc_#c = fma(x.z, w.z, acc_#c);
          acc_#c = fma(x.w, w.w, acc_#c);
        }
        //#end
      }
      //#end
    }
  }
  let scale = input_scale(start);
  //#for c in 0..COLS / 2
  finish(row, first_pair + #(c * 8)u, scale * vec2<f32>(acc_#c, acc_#(c + COLS / 2)));
  //#end
}
