// One table stage. `refine` gives one output a pixel as a word; `enlarge` gives SCALE x SCALE bytes, four pixels an invocation so
// that every invocation writes whole words of its own (the output's rows are padded to four input pixels).

struct StageShape {
  width: u32,
  height: u32,
  // Pixels of a row of the frame that is read.
  stride: u32,
  shift: u32,
  patterns: u32,
  rotations: u32,
  divisor: i32,
  bias: i32,
  centre: u32,
  rows: u32,
}

@group(0) @binding(0) var<uniform> shape: StageShape;
// Bytes, rows end to end; what `refine` made (REFINED) is words.
@group(0) @binding(1) var<storage, read> frame: array<u32>;
// For each pattern and rotation dy, dx of four pixels.
@group(0) @binding(2) var<storage, read> offsets: array<i32>;
// Rows of 16 bytes (four words) to enlarge, of one word to refine; patterns one after the other.
@group(0) @binding(3) var<storage, read> tables: array<u32>;
// For each rotation the place in the row of each output.
@group(0) @binding(4) var<storage, read> turned: array<u32>;
@group(0) @binding(5) var<storage, read_write> result: array<u32>;

override SCALE: u32 = 4u;
// Pixels a side that are read for each place, 1 or 2: the lowest bit of a coordinate is the phase then.
override STEP: i32 = 1;
override REFINED: bool = false;

// Beyond the border the nearest place's pixel of the same phase.
fn pixel(x: i32, y: i32) -> u32 {
  let bit = STEP - 1;
  let cx = clamp(x >> u32(bit), 0, i32(shape.width) - 1) * STEP + (x & bit);
  let cy = clamp(y >> u32(bit), 0, i32(shape.height) - 1) * STEP + (y & bit);
  let at = u32(cy) * shape.stride + u32(cx);
  if (REFINED) {
    return frame[at];
  }
  return (frame[at / 4u] >> (8u * (at % 4u))) & 255u;
}

fn look(place_x: i32, place_y: i32, pattern: u32, turn: u32) -> Simplex {
  let x = place_x * STEP;
  let y = place_y * STEP;
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

// (x, y): the pixel that lies under the output.
fn finish(sum: i32, x: i32, y: i32) -> u32 {
  let value = floor_divide(sum + shape.divisor / 2, shape.divisor);
  return u32(clamp(value + select(0, i32(pixel(x, y)), shape.centre != 0u), 0, 255));
}

@compute @workgroup_size(64)
fn refine(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.width || id.y >= shape.height) {
    return;
  }
  let x = i32(id.x);
  let y = i32(id.y);
  var sum = shape.bias;
  for (var pattern = 0u; pattern < shape.patterns; pattern++) {
    for (var turn = 0u; turn < shape.rotations; turn++) {
      let corners = look(x, y, pattern, turn);
      //#for k in 0..5
      sum += corners.weight[#k] * bitcast<i32>(tables[pattern * shape.rows + corners.row[#k]]);
      //#end
    }
  }
  result[id.y * shape.width + id.x] = finish(sum, x, y);
}

@compute @workgroup_size(64)
fn enlarge(@builtin(global_invocation_id) id: vec3<u32>) {
  let columns = (shape.width + 3u) / 4u;
  if (id.x >= columns || id.y >= shape.height) {
    return;
  }
  var words = array<u32, 16>();
  for (var i = 0u; i < min(4u, shape.width - id.x * 4u); i++) {
    let x = i32(id.x * 4u + i);
    let y = i32(id.y);
    var sum = array<i32, 16>();
    for (var o = 0u; o < 16u; o++) {
      sum[o] = shape.bias;
    }
    for (var turn = 0u; turn < shape.rotations; turn++) {
      // An initial value must be written: without one, naga zeroes the variable once and not in every turn of the loop.
      var part = array<i32, 16>();
      for (var pattern = 0u; pattern < shape.patterns; pattern++) {
        let corners = look(x, y, pattern, turn);
        //#for k in 0..5
        {
          let at = (pattern * shape.rows + corners.row[#k]) * 4u;
          //#for w in 0..4
          {
            let value = signed_bytes(tables[at + #(w)u]) * corners.weight[#k];
            part[#(w * 4)] += value.x;
            part[#(w * 4 + 1)] += value.y;
            part[#(w * 4 + 2)] += value.z;
            part[#(w * 4 + 3)] += value.w;
          }
          //#end
        }
        //#end
      }
      for (var o = 0u; o < SCALE * SCALE; o++) {
        sum[o] += part[turned[turn * 16u + o]];
      }
    }
    for (var o = 0u; o < SCALE * SCALE; o++) {
      let column = i * SCALE + o % SCALE;
      let near = SCALE / u32(STEP);
      let value = finish(sum[o], x * STEP + i32(o % SCALE / near), y * STEP + i32(o / SCALE / near));
      words[o / SCALE * SCALE + column / 4u] |= value << (8u * (column % 4u));
    }
  }
  for (var row = 0u; row < SCALE; row++) {
    for (var k = 0u; k < SCALE; k++) {
      result[((id.y * SCALE + row) * columns + id.x) * SCALE + k] = words[row * SCALE + k];
    }
  }
}
