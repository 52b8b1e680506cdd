// Y[t, n] = sum over k of X[t, k] W[n, k], for up to ROWS rows t of bytes at a time, on a real GPU: decode by products of bytes.
//
// As linear_split, laid out for loads: of LANES neighbouring threads each takes the next block of 32 weights of a row of W, once for all ROWS rows and PAIRS pairs of
// columns. Integers over a block, f32 over a lane's blocks, then over the lanes: an order that depends on neither.

override K_QUADS: u32;  // columns / 128

// By sum, SUMS at a time; a line is one longer than there are threads, so that those that add up different sums read different banks.
var<workgroup> sums: array<vec2<f32>, #(SUMS * (THREADS + 1))>;

@compute @workgroup_size(#THREADS)
fn linear_bytes_split(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  lane_id = local.x % 8u;
  let lane = local.x % #(LANES)u;
  let first_pair = (group_id.y * #(THREADS / LANES)u + local.x / #(LANES)u) * #(PAIRS)u;
  let rows = row_count();
  let first_row = group_id.x * #(ROWS)u;
  let blocks = K_QUADS * 4u;
  //#for r in 0..ROWS
  let start_#r = (row_offset() + min(first_row + #(r)u, rows - 1u)) * blocks;
  //#for p in 0..PAIRS
  var acc_#r_#p = vec2<f32>(0.0);
  //#end
  //#end
  for (var first = lane; first < blocks; first += #(LANES)u) {
    // As in linear_split: with these NVIDIA's compiler loads what there is to load before it adds.
    let at = min(first, blocks - 1u);
    let there = first < blocks;
    //#for c in 0..2 * PAIRS
    //#for w in 0..WORDS
    let word_#c_#w = weight_word(2u * first_pair + #(c)u, at * #(WORDS)u + #(w)u);
    //#end
    let line_#c = weight_line(weight_scales(2u * first_pair + #(c)u, at / 4u)[at % 4u]);
    //#end
    //#for c in 0..2 * PAIRS
    //#for q in 0..2
    let w_#c_#q = weight_bytes(word_#c_#(q * WORDS / 2), #(q)u);
    //#end
    //#end
    //#for r in 0..ROWS
    {
      let x_0 = operand[2u * (start_#r + at)];
      let x_1 = operand[2u * (start_#r + at) + 1u];
      let beside = select(vec2<f32>(0.0), operand_line[start_#r + at], there);
      //#for p in 0..PAIRS
      //#for h in 0..HALVES
      {
        var sum = vec2<i32>(0);
        //#for q in 0..2 / HALVES
        //#for i in 0..4
        sum += vec2<i32>(
          dot4I8Packed(x_#(h + q)[#i], w_#(2 * p)_#(h + q)[#i]),
          dot4I8Packed(x_#(h + q)[#i], w_#(2 * p + 1)_#(h + q)[#i]),
        );
        //#end
        //#end
        acc_#r_#p = fma(vec2<f32>(sum), beside.x * vec2<f32>(line_#(2 * p)[#h], line_#(2 * p + 1)[#h]), acc_#r_#p);
      }
      //#end
      //#for once in 0..OFFSET
      acc_#r_#p = fma(vec2<f32>(beside.y), vec2<f32>(line_#(2 * p).y, line_#(2 * p + 1).y), acc_#r_#p);
      //#end
      //#end
    }
    //#end
  }
  // Up to eight at a time: a thread adds up eight lanes of one, then one of eight what they found.
  let number = lane % 8u;
  let part = lane / 8u;
  let place = min(number, #(SUMS - 1)u) * #(THREADS + 1)u + local.x - lane + 8u * part;
  //#for b in 0..ROWS * PAIRS / SUMS
  workgroupBarrier();
  //#for s in 0..SUMS
  sums[#(s * (THREADS + 1))u + local.x] = acc_#((SUMS * b + s) / PAIRS)_#((SUMS * b + s) % PAIRS);
  //#end
  workgroupBarrier();
  if (number < #(SUMS)u) {
    var sum = sums[place];
    //#for l in 1..8
    sum += sums[place + #(l)u];
    //#end
    sums[place] = sum;
  }
  workgroupBarrier();
  let row_#b = first_row + #(SUMS * b / PAIRS)u + number / #(PAIRS)u;
  if (part == 0u && number < #(SUMS)u && row_#b < rows) {
    var sum = sums[place];
    //#for l in 1..LANES / 8
    sum += sums[place + #(8 * l)u];
    //#end
    finish(row_offset() + row_#b, first_pair + number % #(PAIRS)u, sum * operand_scale(row_offset() + row_#b));
  }
  //#end
}
