// Y[t, n] = sum over k of X[t, k] W[n, k], for a few dozen rows t of bytes at a time, on a real GPU: short prefill by products of bytes.
//
// As linear_bytes, but so few rows make too few threads for a GPU if each takes all of k: each of the 8 ranges of k whose sums both files add up has 32
// threads of its own. A thread makes ROWS rows x 2 columns, whose weights nobody else reads; the operand passes through workgroup memory, a block of k a round.
// (One H200, us of a layer of Llama 3 8B's shape in Q8_0: 16 rows 590 with linear_ranges, 365 with this; 64 rows 1290, 745; 192 rows 3620, 2000. With two blocks
// a round 365, 875 and 2440.)

override K_QUADS: u32;  // columns / 128

// By range: a block of the operand, [ROWS][2 words], and its lines; at the end sums, [4 pairs of rows][32 pairs of columns].
var<workgroup> tile: array<array<vec4<u32>, #(2 * ROWS)>, 8>;
var<workgroup> lines: array<array<vec2<f32>, #ROWS>, 8>;
var<workgroup> parts: array<array<vec4<f32>, 128>, 8>;

@compute @workgroup_size(256)
fn linear_bytes_ranges(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  lane_id = thread % 8u;
  let range = thread / 32u;
  let place = thread % 32u;
  let rows = row_count();
  let first_row = group_id.y * #(ROWS)u;
  let pair = group_id.x * 32u + place;
  let blocks = K_QUADS * 4u;
  let length = (K_QUADS + 7u) / 8u * 4u;
  // Short rows leave the last ranges partly or wholly empty.
  let begin = min(range * length, blocks);
  let end = min(begin + length, blocks);
  // This thread's share of loading the operand: a word of some rows, and the line of one.
  //#for j in 0..ROWS / 16
  let x_start_#j = (row_offset() + min(first_row + place / 2u + #(16 * j)u, rows - 1u)) * blocks * 2u + place % 2u;
  //#end
  let line_start = (row_offset() + min(first_row + place % #(ROWS)u, rows - 1u)) * blocks;
  //#for r in 0..ROWS
  var acc_#r = vec2<f32>(0.0);
  //#end
  // What a round needs is loaded one before, and used in no way until then: a use would wait for it.
  var at = min(begin, blocks - 1u);
  //#for j in 0..ROWS / 16
  var x_#j = operand[x_start_#j + 2u * at];
  //#end
  var line = operand_line[line_start + at];
  //#for c in 0..2
  //#for w in 0..WORDS
  var word_#c_#w = weight_word(2u * pair + #(c)u, at * #(WORDS)u + #(w)u);
  //#end
  var scales_#c = weight_scales(2u * pair + #(c)u, at / 4u);
  //#end
  for (var round = 0u; round < length; round++) {
    workgroupBarrier();
    //#for j in 0..ROWS / 16
    tile[range][place + #(32 * j)u] = x_#j;
    //#end
    if (place < #(ROWS)u) {
      lines[range][place] = line;
    }
    //#for c in 0..2
    let line_#c = weight_line(scales_#c[at % 4u]);
    //#for q in 0..2
    let w_#c_#q = weight_bytes(word_#c_#(q * WORDS / 2), #(q)u);
    //#end
    //#end
    let inside = begin + round < end;
    workgroupBarrier();
    at = min(begin + round + 1u, blocks - 1u);
    if (at % 4u == 0u) {
      //#for c in 0..2
      scales_#c = weight_scales(2u * pair + #(c)u, at / 4u);
      //#end
    }
    //#for j in 0..ROWS / 16
    x_#j = operand[x_start_#j + 2u * at];
    //#end
    line = operand_line[line_start + at];
    //#for c in 0..2
    //#for w in 0..WORDS
    word_#c_#w = weight_word(2u * pair + #(c)u, at * #(WORDS)u + #(w)u);
    //#end
    //#end
    if (inside) {
      //#for r in 0..ROWS
      {
        let beside = lines[range][#(r)u];
        //#for h in 0..HALVES
        {
          var sum = vec2<i32>(0);
          //#for q in 0..2 / HALVES
          {
            let x = tile[range][#(2 * r + h + q)u];
            //#for i in 0..4
            sum += vec2<i32>(dot4I8Packed(x[#i], w_0_#(h + q)[#i]), dot4I8Packed(x[#i], w_1_#(h + q)[#i]));
            //#end
          }
          //#end
          acc_#r = fma(vec2<f32>(sum), beside.x * vec2<f32>(line_0[#h], line_1[#h]), acc_#r);
        }
        //#end
        //#for once in 0..OFFSET
        acc_#r = fma(vec2<f32>(beside.y), vec2<f32>(line_0.y, line_1.y), acc_#r);
        //#end
      }
      //#end
    }
  }
  // Eight rows at a time: each thread adds up a pair of columns of one.
  //#for b in 0..ROWS / 8
  {
    workgroupBarrier();
    //#for s in 0..4
    parts[range][#(32 * s)u + place] = vec4<f32>(acc_#(8 * b + 2 * s), acc_#(8 * b + 2 * s + 1));
    //#end
    workgroupBarrier();
    var sum = vec2<f32>(0.0);
    for (var part = 0u; part < 8u; part++) {
      let two = parts[part][range / 2u * 32u + place];
      sum += select(two.xy, two.zw, range % 2u == 1u);
    }
    let row = first_row + #(8 * b)u + range;
    if (row < rows) {
      finish(row_offset() + row, pair, sum * operand_scale(row_offset() + row));
    }
  }
  //#end
}
