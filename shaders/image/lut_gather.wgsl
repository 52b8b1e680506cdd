// Activations of the first layers from two frames: `pixels` gives upper seven bits and lowest bit of both frames' pixel in one word;
// `pairs` gives, for each 2x2 of pixels, the upper seven bits of the frame's four in one word and of its predecessor's in another.

struct GatherShape {
  width: u32,
  height: u32,
}

@group(0) @binding(0) var<uniform> shape: GatherShape;
// Bytes, rows end to end.
@group(0) @binding(1) var<storage, read> frame: array<u32>;
@group(0) @binding(2) var<storage, read> previous: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;

// Places of a cell's four pixels; an odd size repeats its last row or column.
fn places(cell: vec2<u32>) -> vec4<u32> {
  let x0 = cell.x * 2u;
  let x1 = min(x0 + 1u, shape.width - 1u);
  let y0 = cell.y * 2u * shape.width;
  let y1 = min(cell.y * 2u + 1u, shape.height - 1u) * shape.width;
  return vec4<u32>(y0 + x0, y0 + x1, y1 + x0, y1 + x1);
}

fn now(at: u32) -> u32 {
  return (frame[at / 4u] >> (8u * (at % 4u))) & 255u;
}

fn before(at: u32) -> u32 {
  return (previous[at / 4u] >> (8u * (at % 4u))) & 255u;
}

fn pack(bytes: vec4<u32>) -> u32 {
  return bytes.x | (bytes.y << 8u) | (bytes.z << 16u) | (bytes.w << 24u);
}

@compute @workgroup_size(64)
fn pixels(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.width || id.y >= shape.height) {
    return;
  }
  let at = id.y * shape.width + id.x;
  result[at] = pack(vec4<u32>(now(at) >> 1u, now(at) & 1u, before(at) >> 1u, before(at) & 1u));
}

@compute @workgroup_size(64)
fn pairs(@builtin(global_invocation_id) id: vec3<u32>) {
  let columns = (shape.width + 1u) / 2u;
  if (id.x >= columns || id.y >= (shape.height + 1u) / 2u) {
    return;
  }
  let p = places(id.xy);
  let at = (id.y * columns + id.x) * 2u;
  result[at] = pack(vec4<u32>(now(p.x), now(p.y), now(p.z), now(p.w)) >> vec4<u32>(1u));
  result[at + 1u] = pack(vec4<u32>(before(p.x), before(p.y), before(p.z), before(p.w)) >> vec4<u32>(1u));
}
