// Y[t, n] = sum over k of X[t, k] W[n, k], for up to ROWS rows t at a time, on a real GPU: decode.
//
// Memory-bound, so it is laid out for loads: LANES neighbouring threads read neighbouring words of a row of W, each word once for all ROWS rows, and
// every thread does so for PAIRS pairs of columns. Sums are taken in an order that depends on neither.

override K_QUADS: u32;  // columns / 128

var<workgroup> sums: array<vec2<f32>, #(THREADS * ROWS * PAIRS)>;

@compute @workgroup_size(#THREADS)
fn linear_split(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let lane = local.x % #(LANES)u;
  let first_pair = (group_id.x * #(THREADS / LANES)u + local.x / #(LANES)u) * #(PAIRS)u;
  let rows = row_count();
  let first_row = group_id.y * #(ROWS)u;
  //#for r in 0..ROWS
  let start_#r = input_row(row_offset() + min(first_row + #(r)u, rows - 1u));
  //#for p in 0..PAIRS
  var acc_#r_#p = vec2<f32>(0.0);
  //#end
  //#end
  let words = K_QUADS * 4u * WEIGHT_BLOCK_WORDS;
  for (var word = lane; word < words; word += #(LANES)u) {
    let block = word / WEIGHT_BLOCK_WORDS;
    //#for p in 0..PAIRS
    let even_#p = weight_word(2u * (first_pair + #(p)u), word);
    let odd_#p = weight_word(2u * (first_pair + #(p)u) + 1u, word);
    let even_scale_#p = weight_scales(2u * (first_pair + #(p)u), block / 4u)[block % 4u];
    let odd_scale_#p = weight_scales(2u * (first_pair + #(p)u) + 1u, block / 4u)[block % 4u];
    //#end
    //#for g in 0..WORD_QUADS
    {
      let part = (word * #(WORD_QUADS)u + #(g)u) % 8u;
      //#for p in 0..PAIRS
      let w_even_#p = weight_unpack(even_#p, part, even_scale_#p);
      let w_odd_#p = weight_unpack(odd_#p, part, odd_scale_#p);
      //#end
      //#for r in 0..ROWS
      {
        let x = input_quad(start_#r, word * #(WORD_QUADS)u + #(g)u);
        //#for p in 0..PAIRS
        acc_#r_#p += vec2<f32>(dot(w_even_#p, x), dot(w_odd_#p, x));
        //#end
      }
      //#end
    }
    //#end
  }
  //#for r in 0..ROWS
  //#for p in 0..PAIRS
  sums[#((r * PAIRS + p) * THREADS)u + local.x] = acc_#r_#p;
  //#end
  //#end
  for (var half = #(LANES / 2)u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      //#for s in 0..ROWS * PAIRS
      sums[#(s * THREADS)u + local.x] += sums[#(s * THREADS)u + local.x + half];
      //#end
    }
  }
  if (lane == 0u) {
    //#for r in 0..ROWS
    if (first_row + #(r)u < rows) {
      //#for p in 0..PAIRS
      finish(row_offset() + first_row + #(r)u, first_pair + #(p)u, sums[#((r * PAIRS + p) * THREADS)u + local.x] * input_scale(start_#r));
      //#end
    }
    //#end
  }
}
