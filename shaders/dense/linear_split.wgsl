// Y[t, n] = sum over k of X[t, k] W[n, k], for up to ROWS rows t at a time, on a real GPU: decode.
//
// Memory-bound, so it is laid out for loads: of LANES neighbouring threads each takes the next eight weights of a row of W, once for all ROWS rows, and the
// operand's eight beside them, for PAIRS pairs of columns. Sums are taken in an order that depends on neither.

override K_QUADS: u32;  // columns / 128

var<workgroup> sums: array<vec2<f32>, #(THREADS * SUMS)>;

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
  // Eight weights at a time share the load of their scale. A thread with a whole word of 16 or 32 would load the operand in strides, which costs the
  // cache four to eight times as much (eight rows of [28672][4096] on an H200: Q8_0 195 us for 153).
  let octets = K_QUADS * 16u;
  for (var first = lane; first < octets; first += #(LANES)u) {
    // Neither changes anything, but with them NVIDIA's compiler loads what there is to load before it adds (eight rows of [4096][14336] in Q8_0:
    // 62 us for 111).
    let at = min(first, octets - 1u);
    let there = first < octets;
    let quads = octet_quads(at);
    //#for p in 0..PAIRS
    let even_#p = weight_octet(2u * (first_pair + #(p)u), at);
    let odd_#p = weight_octet(2u * (first_pair + #(p)u) + 1u, at);
    //#end
    //#for r in 0..ROWS
    let x_#r = select(vec4<f32>(0.0), input_quad(start_#r, quads.x), there);
    let y_#r = select(vec4<f32>(0.0), input_quad(start_#r, quads.y), there);
    //#end
    //#for r in 0..ROWS
    //#for p in 0..PAIRS
    acc_#r_#p += vec2<f32>(
      dot(even_#p[0], x_#r) + dot(even_#p[1], y_#r),
      dot(odd_#p[0], x_#r) + dot(odd_#p[1], y_#r),
    );
    //#end
    //#end
  }
  //#for once in 0..1 - BATCHED
  //#for p in 0..PAIRS
  sums[#(p * THREADS)u + local.x] = acc_0_#p;
  //#end
  for (var half = #(LANES / 2)u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      //#for s in 0..PAIRS
      sums[#(s * THREADS)u + local.x] += sums[#(s * THREADS)u + local.x + half];
      //#end
    }
  }
  if (lane == 0u && first_row < rows) {
    //#for p in 0..PAIRS
    finish(row_offset() + first_row, first_pair + #(p)u, sums[#(p * THREADS)u + local.x] * input_scale(start_0));
    //#end
  }
  //#end
  //#for once in 0..BATCHED
  // The same tree for 8 sums at a time: every thread adds every eighth lane of one, then one of eight what they found.
  let number = lane % 8u;
  let part = lane / 8u;
  let place = number * #(THREADS)u + local.x - lane + part;
  let r = number / #(PAIRS)u;
  //#for b in 0..ROWS * PAIRS / 8
  workgroupBarrier();
  //#for s in 0..8
  sums[#(s * THREADS)u + local.x] = acc_#((8 * b + s) / PAIRS)_#((8 * b + s) % PAIRS);
  //#end
  workgroupBarrier();
  sums[place] = ((sums[place] + sums[place + 32u]) + (sums[place + 16u] + sums[place + 48u])) +
    ((sums[place + 8u] + sums[place + 40u]) + (sums[place + 24u] + sums[place + 56u]));
  workgroupBarrier();
  if (part == 0u && first_row + #(8 * b / PAIRS)u + r < rows) {
    let row = row_offset() + first_row + #(8 * b / PAIRS)u + r;
    let sum = ((sums[place] + sums[place + 4u]) + (sums[place + 2u] + sums[place + 6u])) +
      ((sums[place + 1u] + sums[place + 5u]) + (sums[place + 3u] + sums[place + 7u]));
    finish(row, first_pair + number % #(PAIRS)u, sum * input_scale(input_row(row)));
  }
  //#end
  //#end
}
