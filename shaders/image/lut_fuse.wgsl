// Experts blended per pixel by gates at half resolution, plus the residual: the last step of the fusion. As many pixels an invocation as
// fill whole words of the output (whose rows are padded to four input pixels): one at x4, four otherwise. Constants of the host's: SCALE,
// PIXELS an invocation, EXPERTS a table row holds, WORDS of a row that hold outputs.

struct FuseShape {
  width: u32,
  height: u32,
  shift: u32,     // log2 of the table interval
  total: u32,     // bits below the point of the sum: the table's and the gate's
  patterns: u32,
  rows: u32,
}

@group(0) @binding(0) var<uniform> shape: FuseShape;
// Bytes, rows end to end.
@group(0) @binding(1) var<storage, read> frame: array<u32>;
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
// `[patterns][rows][experts]` of 16 bytes.
@group(0) @binding(3) var<storage, read> tables: array<vec4<u32>>;
// 16 bytes for each 2x2 of pixels, one a gate, 64 = 1.
@group(0) @binding(4) var<storage, read> gates: array<u32>;
// 16 signed bytes a pixel, half grey levels.
@group(0) @binding(5) var<storage, read> residual: array<u32>;
@group(0) @binding(6) var<storage, read_write> result: array<u32>;

fn pixel(x: i32, y: i32) -> u32 {
  let cx = clamp(x, 0, i32(shape.width) - 1);
  let cy = clamp(y, 0, i32(shape.height) - 1);
  let at = u32(cy) * shape.width + u32(cx);
  return (frame[at / 4u] >> (8u * (at % 4u))) & 255u;
}

fn look(x: i32, y: i32, pattern: u32, turn: u32) -> Simplex {
  let o = (pattern * 4u + turn) * 8u;
  return simplex(
    vec4<u32>(
      pixel(x + offsets[o + 1u], y + offsets[o]),
      pixel(x + offsets[o + 3u], y + offsets[o + 2u]),
      pixel(x + offsets[o + 5u], y + offsets[o + 4u]),
      pixel(x + offsets[o + 7u], y + offsets[o + 6u]),
    ),
    shape.shift,
  );
}

// Gate `e` at the pixel: bilinear between the centres of 2x2 cells, (9a + 3b + 3c + d + 8) >> 4, borders clamped.
fn gate(x: u32, y: u32, e: u32) -> i32 {
  let w = (shape.width + 1u) / 2u;
  let h = (shape.height + 1u) / 2u;
  let xa = x / 2u;
  let xb = select(max(xa, 1u) - 1u, min(xa + 1u, w - 1u), x % 2u == 1u);
  let ya = y / 2u;
  let yb = select(max(ya, 1u) - 1u, min(ya + 1u, h - 1u), y % 2u == 1u);
  let a = half_gate(ya * w + xa, e);
  let b = half_gate(yb * w + xa, e);
  let c = half_gate(ya * w + xb, e);
  let d = half_gate(yb * w + xb, e);
  return i32((9u * a + 3u * b + 3u * c + d + 8u) >> 4u);
}

fn half_gate(cell: u32, e: u32) -> u32 {
  return (gates[cell * 4u + e / 4u] >> (8u * (e % 4u))) & 255u;
}

@compute @workgroup_size(64)
fn fuse(@builtin(global_invocation_id) id: vec3<u32>) {
  let x0 = id.x * #(PIXELS)u;
  if (x0 >= shape.width || id.y >= shape.height) {
    return;
  }
  var words = array<u32, 16>();
  for (var i = 0u; i < min(#(PIXELS)u, shape.width - x0); i++) {
    let ux = x0 + i;
    let x = i32(ux);
    let y = i32(id.y);
    //#for e in 0..EXPERTS
    let weight_#e = gate(ux, id.y, #(e)u);
    //#end
    //#for o in 0..(SCALE * SCALE)
    var sum_#o = 0;
    //#end
    // From the last turn to the first, the sum so far turned by a quarter each time: no output is found by a computed index.
    for (var back = 0u; back < 4u; back++) {
      let turn = 3u - back;
      //#for w in 0..WORDS
      // An initial value must be written: without one, naga zeroes the variable once and not in every turn of the loop.
      var part_#w = vec4<i32>(0);
      //#end
      for (var pattern = 0u; pattern < shape.patterns; pattern++) {
        let corners = look(x, y, pattern, turn);
        //#for k in 0..5
        {
          let at = (pattern * shape.rows + corners.row[#k]) * #(EXPERTS)u;
          //#for e in 0..EXPERTS
          {
            let row = tables[at + #(e)u];
            let scale = corners.weight[#k] * weight_#e;
            //#for w in 0..WORDS
            part_#w += signed_bytes(row[#w]) * scale;
            //#end
          }
          //#end
        }
        //#end
      }
      //#for y in 0..SCALE
      //#for x in 0..SCALE
      let turned_#(y * SCALE + x) = sum_#((SCALE - 1 - x) * SCALE + y);
      //#end
      //#end
      //#for o in 0..(SCALE * SCALE)
      sum_#o = turned_#o + part_#(o / 4)[#(o % 4)];
      //#end
    }
    let centre = i32(pixel(x, y));
    let extra = (id.y * shape.width + ux) * 4u;
    //#for w in 0..WORDS
    let extra_#w = (signed_bytes(residual[extra + #(w)u]) << vec4<u32>(shape.total - 1u)) + (1 << (shape.total - 1u));
    //#end
    //#for o in 0..(SCALE * SCALE)
    {
      let value = ((sum_#o + extra_#(o / 4)[#(o % 4)]) >> shape.total) + centre;
      let column = i * #(SCALE)u + #(o % SCALE)u;
      words[#(o / SCALE * SCALE)u + column / 4u] |= u32(clamp(value, 0, 255)) << (8u * (column % 4u));
    }
    //#end
  }
  let stride = (shape.width + 3u) / 4u * #(SCALE)u;
  let count = #(PIXELS * SCALE / 4)u;
  for (var row = 0u; row < #(SCALE)u; row++) {
    for (var k = 0u; k < count; k++) {
      result[(id.y * #(SCALE)u + row) * stride + id.x * count + k] = words[row * #(SCALE)u + k];
    }
  }
}
