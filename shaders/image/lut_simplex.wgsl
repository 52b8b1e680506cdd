// Sort-based 4-simplex interpolation: the five corners of one lookup and their weights.
//
// Four pixels fall into a cell of the table. Sorting their fractions in descending order (ties keep the axis order, by the axis
// number in the key's low bits) gives the path from the cell's low corner to its high one; differences of neighbouring fractions
// weigh the corners on it. The same integers as native/lut/src/scalar.rs.

struct Simplex {
  row: array<u32, 5>,
  weight: array<i32, 5>,
}

fn simplex(pixels: vec4<u32>, shift: u32) -> Simplex {
  let length = (256u >> shift) + 1u;
  let cell = pixels >> vec4<u32>(shift);
  let base = ((cell.x * length + cell.y) * length + cell.z) * length + cell.w;
  let fraction = pixels & vec4<u32>((1u << shift) - 1u);
  let key = fraction * 4u + vec4<u32>(3u, 2u, 1u, 0u);
  let a = max(key.x, key.y);
  let b = min(key.x, key.y);
  let c = max(key.z, key.w);
  let d = min(key.z, key.w);
  let first = max(a, c);
  let p = min(a, c);
  let q = max(b, d);
  let last = min(b, d);
  let second = max(p, q);
  let third = min(p, q);
  var out: Simplex;
  out.row[0] = base;
  out.row[1] = base + stride(first & 3u, length);
  out.row[2] = out.row[1] + stride(second & 3u, length);
  out.row[3] = out.row[2] + stride(third & 3u, length);
  out.row[4] = base + ((length + 1u) * length + 1u) * length + 1u;
  let f = vec4<i32>(vec4<u32>(first, second, third, last) >> vec4<u32>(2u));
  out.weight[0] = i32(1u << shift) - f.x;
  out.weight[1] = f.x - f.y;
  out.weight[2] = f.y - f.z;
  out.weight[3] = f.z - f.w;
  out.weight[4] = f.w;
  return out;
}

// Rows between a corner and the next along axis `3 - code`.
fn stride(code: u32, length: u32) -> u32 {
  let square = length * length;
  return select(select(1u, length, code == 1u), select(square, square * length, code == 3u), code >= 2u);
}

fn signed_bytes(word: u32) -> vec4<i32> {
  let w = bitcast<i32>(word);
  return vec4<i32>(w << 24u, w << 16u, w << 8u, w) >> vec4<u32>(24u);
}

// floor(sum / divisor), divisor > 0.
fn floor_divide(sum: i32, divisor: i32) -> i32 {
  return sum / divisor - select(0, 1, sum % divisor < 0);
}
