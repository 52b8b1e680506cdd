// Y[t, n] = sum over k of X[t, k] W[n, k], for a few dozen rows t at a time, on a real GPU: short prefill.
//
// As linear_tiled, but so few rows make too few threads for a GPU if each takes all of k: each of the 8 ranges of k whose sums both files add up has 32
// threads of its own. A thread makes ROWS rows x 2 columns, whose weights nobody else reads; the operand passes through workgroup memory, 16 of k a round.
// (One H200, us of a layer of Llama 3 8B's shape in Q8_0 with linear_tiled in tiles of 32 or 64 rows, and with this: 16 rows 1300, 590; 32 rows 1310, 780;
// 64 rows 1630, 1290. Threads of 8 x 4, 16 x 4 and 4 x 4 for 16 x 2 took 670, 770 and 700 with 16 rows in a run where this took 560.)

override K_QUADS: u32;  // columns / 128

// By range: a round of the operand, [ROWS][4 quads]; at the end sums, [4 pairs of rows][32 pairs of columns].
var<workgroup> tile: array<array<vec4<f32>, 128>, 8>;

@compute @workgroup_size(256)
fn linear_ranges(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  lane_id = thread % 8u;
  let range = thread / 32u;
  let place = thread % 32u;
  let rows = row_count();
  let first_row = group_id.y * #(ROWS)u;
  let pair = group_id.x * 32u + place;
  // Ranges begin a round before those of linear_tiled's scales do: see there. Short rows leave the last of them empty.
  let last = K_QUADS * 8u - 1u;
  let length = (K_QUADS + 7u) / 8u * 8u;
  let begin = max(range * length, 1u) - 1u;
  var end = (range + 1u) * length - 1u;
  if (end >= last) {
    end = last + 1u;
  }
  if (range * length > last) {
    end = begin;
  }
  // This thread's share of loading the operand: a quad of some rows.
  let load_quad = place % 4u;
  //#for j in 0..ROWS / 8
  let x_start_#j = input_row(row_offset() + min(first_row + place / 4u + #(8 * j)u, rows - 1u));
  //#end
  //#for r in 0..ROWS
  var acc_#r = vec2<f32>(0.0);
  //#end
  // What a round needs is loaded one before, and used in no way until then: a use would wait for it.
  var at = min(begin, last);
  //#for j in 0..ROWS / 8
  var x_#j = input_load(x_start_#j, at * 4u + load_quad);
  //#end
  //#for c in 0..2
  //#for w in 0..WORDS
  var word_#c_#w = weight_word(2u * pair + #(c)u, at * 4u / WEIGHT_GROUPS + #(w)u);
  //#end
  var scales_#c = weight_scales(2u * pair + #(c)u, at / 8u);
  //#end
  for (var round = begin; round <= begin + length; round++) {
    workgroupBarrier();
    //#for j in 0..ROWS / 8
    tile[range][place + #(32 * j)u] = input_make(x_#j, at * 4u + load_quad);
    //#end
    let first_group = at % 2u * 4u;
    //#for c in 0..2
    let scale_#c = scales_#c[at / 2u % 4u];
    //#for w in 0..WORDS
    let now_#c_#w = word_#c_#w;
    //#end
    //#end
    workgroupBarrier();
    at = min(round + 1u, last);
    if (at % 8u == 0u) {
      //#for c in 0..2
      scales_#c = weight_scales(2u * pair + #(c)u, at / 8u);
      //#end
    }
    //#for j in 0..ROWS / 8
    x_#j = input_load(x_start_#j, at * 4u + load_quad);
    //#end
    //#for c in 0..2
    //#for w in 0..WORDS
    word_#c_#w = weight_word(2u * pair + #(c)u, at * 4u / WEIGHT_GROUPS + #(w)u);
    //#end
    //#end
    if (round < end) {
      //#for q in 0..4
      {
        let even = weight_unpack(now_0_#(q * WORDS / 4), first_group + #(q)u, scale_0);
        let odd = weight_unpack(now_1_#(q * WORDS / 4), first_group + #(q)u, scale_1);
        //#for r in 0..ROWS
        {
          let x = tile[range][#(4 * r + q)u];
          //#for i in 0..4
          acc_#r = fma(vec2<f32>(x[#i]), vec2<f32>(even[#i], odd[#i]), acc_#r);
          //#end
        }
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
    tile[range][#(32 * s)u + place] = vec4<f32>(acc_#(8 * b + 2 * s), acc_#(8 * b + 2 * s + 1));
    //#end
    workgroupBarrier();
    var sum = vec2<f32>(0.0);
    for (var part = 0u; part < 8u; part++) {
      let two = tile[part][range / 2u * 32u + place];
      sum += select(two.xy, two.zw, range % 2u == 1u);
    }
    let row = first_row + #(8 * b)u + range;
    if (row < rows) {
      finish(row_offset() + row, pair, sum * input_scale(input_row(row_offset() + row)));
    }
  }
  //#end
}
