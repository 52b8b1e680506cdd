// Activations of the first layers from two frames: `split` gives upper seven bits and lowest bit of both frames' pixel in one word;
// `pairs` gives, for each 2x2 of pixels, the upper seven bits of the frame's four in one word and of its predecessor's in another.

struct GatherShape {
  width: u32,
  height: u32,
}

@group(0) @binding(0) var<uniform> shape: GatherShape;
@group(0) @binding(1) var<storage, read> frame: array<u32>;
@group(0) @binding(2) var<storage, read> previous: array<u32>;
@group(0) @binding(3) var<storage, read_write> result: array<u32>;

@compute @workgroup_size(64)
fn split(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.width || id.y >= shape.height) {
    return;
  }
  let at = id.y * shape.width + id.x;
  let a = frame[at];
  let b = previous[at];
  result[at] = (a >> 1u) | ((a & 1u) << 8u) | ((b >> 1u) << 16u) | ((b & 1u) << 24u);
}

@compute @workgroup_size(64)
fn pairs(@builtin(global_invocation_id) id: vec3<u32>) {
  let columns = (shape.width + 1u) / 2u;
  if (id.x >= columns || id.y >= (shape.height + 1u) / 2u) {
    return;
  }
  let x0 = id.x * 2u;
  let x1 = min(x0 + 1u, shape.width - 1u);
  let y0 = id.y * 2u * shape.width;
  let y1 = min(id.y * 2u + 1u, shape.height - 1u) * shape.width;
  let at = (id.y * columns + id.x) * 2u;
  result[at] = (frame[y0 + x0] >> 1u) | ((frame[y0 + x1] >> 1u) << 8u) | ((frame[y1 + x0] >> 1u) << 16u) | ((frame[y1 + x1] >> 1u) << 24u);
  result[at + 1u] = (previous[y0 + x0] >> 1u) | ((previous[y0 + x1] >> 1u) << 8u) | ((previous[y1 + x0] >> 1u) << 16u) | ((previous[y1 + x1] >> 1u) << 24u);
}
