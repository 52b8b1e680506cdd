// Y[t, n] = sum over k of X[t, k] W[n, k], for up to ROWS rows t at a time, on a real GPU: decode.
//
// Memory-bound, so it is laid out for loads: 32 neighbouring threads read neighbouring words of one row of W, each word once for all ROWS rows.
// A workgroup of 4 × 32 threads makes 4 pairs of columns. Sums are taken in an order that does not depend on the number of rows.

override K_QUADS: u32;  // columns / 128

var<workgroup> sums: array<vec2<f32>, #(128 * ROWS)>;

@compute @workgroup_size(128)
fn linear_split(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let lane = local.x % 32u;
  let part = local.x / 32u;
  let pair = group_id.x * 4u + part;
  let rows = row_count();
  let first_row = group_id.y * #(ROWS)u;
  //#for r in 0..ROWS
  let start_#r = input_row(row_offset() + min(first_row + #(r)u, rows - 1u));
  var acc_#r = vec2<f32>(0.0);
  //#end
  let words = K_QUADS * 4u * WEIGHT_BLOCK_WORDS;
  for (var word = lane; word < words; word += 32u) {
    let even = weight_word(2u * pair, word);
    let odd = weight_word(2u * pair + 1u, word);
    let block = word / WEIGHT_BLOCK_WORDS;
    let even_scale = weight_scales(2u * pair, block / 4u)[block % 4u];
    let odd_scale = weight_scales(2u * pair + 1u, block / 4u)[block % 4u];
    //#for g in 0..WORD_QUADS
    {
      let part = (word * #(WORD_QUADS)u + #(g)u) % 8u;
      let w_even = weight_unpack(even, part, even_scale);
      let w_odd = weight_unpack(odd, part, odd_scale);
      //#for r in 0..ROWS
      {
        let x = input_quad(start_#r, word * #(WORD_QUADS)u + #(g)u);
        acc_#r += vec2<f32>(dot(w_even, x), dot(w_odd, x));
      }
      //#end
    }
    //#end
  }
  //#for r in 0..ROWS
  sums[#(r * 128)u + local.x] = acc_#r;
  //#end
  for (var half = 16u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      //#for r in 0..ROWS
      sums[#(r * 128)u + local.x] += sums[#(r * 128)u + local.x + half];
      //#end
    }
  }
  if (lane == 0u) {
    //#for r in 0..ROWS
    if (first_row + #(r)u < rows) {
      finish(row_offset() + first_row + #(r)u, pair, sums[#(r * 128)u + local.x] * input_scale(start_#r));
    }
    //#end
  }
}
