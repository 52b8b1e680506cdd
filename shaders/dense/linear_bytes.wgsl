// Y[t, n] = sum over k of X[t, k] W[n, k], for many rows t of bytes and quantised weights, on a real GPU: prefill by products of bytes.
//
// A workgroup of 16 x 16 threads makes 128 rows x 128 columns; a thread makes 8 x 8, in integers for a block of 32 of k and in f32 over those. Tiles of two
// blocks pass through workgroup memory; how they lie there and are loaded says linear_tiled. What is added up in which order depends on no tile: sums over 8
// ranges of k, for each of which linear_bytes_ranges has threads of its own.
// (One H200, ms of a layer of Llama 3 8B's shape in Q8_0, 2,048 rows: linear_tiled 27.9, this 14; without ranges 13.0, with their sums out of registers as there
// 14.5, added at the end of a range's last round 15.0; tiles of one block 16.2. A thread of 4 x 4 took 6 % longer than 8 x 8, of 8 x 4 9 %.)

override K_QUADS: u32;       // columns / 128
override COLUMN_TILES: u32;  // columns of Y / 64: the last tile of 128 may have half of them only

// Of each thread along a side of the workgroup its rows of a tile: four words each, and one more so that neighbours begin on different banks.
var<workgroup> x_tile: array<array<vec4<u32>, 33>, 16>;
var<workgroup> w_tile: array<array<array<vec4<u32>, 17>, 16>, 2>;
// Beside them, by row, what stands with each of the two blocks.
var<workgroup> x_scales: array<array<vec2<f32>, 8>, 16>;
//#for once in 0..OFFSET
var<workgroup> x_totals: array<array<vec2<f32>, 8>, 16>;
//#end
// By half of the columns: of a thread's four columns together, each number of each block's line.
var<workgroup> w_lines: array<array<array<vec4<f32>, 4>, 16>, 2>;

@compute @workgroup_size(256)
fn linear_bytes(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let thread = local.x;
  lane_id = thread % 8u;
  let across = thread / 2u % 16u;
  let down = thread / 32u * 2u + thread % 2u;
  let rows = row_count();
  let first_row = group_id.y * 128u;
  let first_column = group_id.x * 128u;
  let last_column = COLUMN_TILES * 64u - 1u;
  // This thread's share of loading: a word of two rows of both tiles, and what stands beside the blocks of one row of either.
  let load_word = thread % 4u;
  let load_row = thread / 4u;
  //#for j in 0..2
  let x_start_#j = (row_offset() + min(first_row + load_row + #(64 * j)u, rows - 1u)) * K_QUADS * 8u + load_word;
  let w_row_#j = min(first_column + load_row + #(64 * j)u, last_column);
  //#end
  let x_line_start = (row_offset() + min(first_row + thread % 128u, rows - 1u)) * K_QUADS * 4u;
  let w_line_row = min(first_column + thread % 128u, last_column);
  //#for r in 0..8
  //#for c in 0..2
  var sums_#r_#c = vec4<f32>(0.0);
  //#end
  //#end
  // What a round needs is loaded one before, and used in no way until then: a use would wait for it.
  //#for j in 0..2
  var x_#j = operand[x_start_#j];
  var word_#j = weight_word(w_row_#j, load_word * WEIGHT_BLOCK_WORDS / 2u);
  var x_line_#j = operand_line[x_line_start + #(j)u];
  //#end
  var scales = weight_scales(w_line_row, 0u);
  let rounds = 2u * K_QUADS;
  let length = (K_QUADS + 7u) / 8u * 2u;
  for (var first = 0u; first < rounds; first += length) {
    //#for r in 0..8
    //#for c in 0..2
    var acc_#r_#c = vec4<f32>(0.0);
    //#end
    //#end
    let end = min(first + length, rounds);
    for (var round = first; round < end; round++) {
      workgroupBarrier();
      //#for j in 0..2
      x_tile[load_row % 16u][(load_row / 16u + #(4 * j)u) * 4u + load_word] = x_#j;
      w_tile[#j][load_row / 4u][load_row % 4u * 4u + load_word] = weight_bytes(word_#j, load_word);
      //#end
      if (thread < 128u) {
        x_scales[thread % 16u][thread / 16u] = vec2<f32>(x_line_0.x, x_line_1.x);
        //#for once in 0..OFFSET
        x_totals[thread % 16u][thread / 16u] = vec2<f32>(x_line_0.y, x_line_1.y);
        //#end
      } else {
        //#for j in 0..2
        let line_#j = weight_line(scales[round % 2u * 2u + #(j)u]);
        w_lines[thread / 64u % 2u][thread / 4u % 16u][#(2 * j)u][thread % 4u] = line_#j.x;
        w_lines[thread / 64u % 2u][thread / 4u % 16u][#(2 * j + 1)u][thread % 4u] = line_#j.y;
        //#end
      }
      workgroupBarrier();
      if (round + 1u < rounds) {
        if (round % 2u == 1u) {
          scales = weight_scales(w_line_row, (round + 1u) / 2u);
        }
        let next = (round + 1u) * 4u;
        //#for j in 0..2
        x_#j = operand[x_start_#j + next];
        word_#j = weight_word(w_row_#j, (next + load_word) * WEIGHT_BLOCK_WORDS / 2u);
        x_line_#j = operand_line[x_line_start + next / 2u + #(j)u];
        //#end
      }
      //#for b in 0..2
      {
        //#for h in 0..HALVES
        {
          //#for r in 0..8
          //#for c in 0..2
          var dots_#r_#c = vec4<i32>(0);
          //#end
          //#end
          //#for q in 0..2 / HALVES
          {
            //#for c in 0..2
            //#for d in 0..4
            let w_#c_#d = w_tile[#c][across][#(4 * d + 2 * b + h + q)u];
            //#end
            //#end
            //#for r in 0..8
            {
              let x = x_tile[down][#(4 * r + 2 * b + h + q)u];
              //#for i in 0..4
              //#for c in 0..2
              dots_#r_#c += vec4<i32>(
                dot4I8Packed(x[#i], w_#c_0[#i]),
                dot4I8Packed(x[#i], w_#c_1[#i]),
                dot4I8Packed(x[#i], w_#c_2[#i]),
                dot4I8Packed(x[#i], w_#c_3[#i]),
              );
              //#end
              //#end
            }
            //#end
          }
          //#end
          //#for c in 0..2
          let scale_#c = w_lines[#c][across][#(2 * b + h)u];
          //#end
          //#for r in 0..8
          {
            let scale = x_scales[down][#(r)u][#b];
            //#for c in 0..2
            acc_#r_#c = fma(vec4<f32>(dots_#r_#c), scale * scale_#c, acc_#r_#c);
            //#end
          }
          //#end
        }
        //#end
        //#for once in 0..OFFSET
        //#for c in 0..2
        let offset_#c = w_lines[#c][across][#(2 * b + 1)u];
        //#end
        //#for r in 0..8
        {
          let total = x_totals[down][#(r)u][#b];
          //#for c in 0..2
          acc_#r_#c = fma(vec4<f32>(total), offset_#c, acc_#r_#c);
          //#end
        }
        //#end
        //#end
      }
      //#end
    }
    //#for r in 0..8
    //#for c in 0..2
    sums_#r_#c += acc_#r_#c;
    //#end
    //#end
  }
  //#for c in 0..2
  if (group_id.x * 2u + #(c)u < COLUMN_TILES) {
    let pair = group_id.x * 64u + #(32 * c)u + across * 2u;
    //#for r in 0..8
    if (first_row + down + #(16 * r)u < rows) {
      let row = row_offset() + first_row + down + #(16 * r)u;
      let scaled = sums_#r_#c * operand_scale(row);
      finish(row, pair, scaled.xy);
      finish(row, pair + 1u, scaled.zw);
    }
    //#end
  }
  //#end
}
