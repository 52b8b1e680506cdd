// A 3x3 convolution on 7-bit activations with 8-bit weights: `(bias + sum) >> shift`, clamped to 0..127 (HIDDEN) or -128..127.
// Zero borders. One invocation makes 16 output channels of one pixel, which share every activation word that it loads.

struct ConvolveShape {
  width: u32,
  height: u32,
}

@group(0) @binding(0) var<uniform> shape: ConvolveShape;
// `height x width` pixels of WORDS words, four channels a word.
@group(0) @binding(1) var<storage, read> activations: array<u32>;
// `[9 * WORDS][outputs]` words of four inputs' weights.
@group(0) @binding(2) var<storage, read> weights: array<u32>;
// Bias, then shift, of each output.
@group(0) @binding(3) var<storage, read> requantise: array<i32>;
@group(0) @binding(4) var<storage, read_write> result: array<u32>;

override WORDS: u32 = 8u;
override GROUPS: u32 = 2u;  // outputs / 16
override HIDDEN: bool = true;

@compute @workgroup_size(64)
fn convolve(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= shape.width || id.y >= shape.height) {
    return;
  }
  let first = id.z * 16u;
  let outputs = GROUPS * 16u;
  //#for o in 0..16
  var sum_#o = requantise[first + #(o)u];
  //#end
  for (var tap = 0u; tap < 9u; tap++) {
    let x = i32(id.x + tap % 3u) - 1;
    let y = i32(id.y + tap / 3u) - 1;
    if (x < 0 || y < 0 || x >= i32(shape.width) || y >= i32(shape.height)) {
      continue;
    }
    let at = (u32(y) * shape.width + u32(x)) * WORDS;
    for (var word = 0u; word < WORDS; word++) {
      let a = activations[at + word];
      let w = (tap * WORDS + word) * outputs + first;
      //#for o in 0..16
      sum_#o += dot4I8Packed(a, weights[w + #(o)u]);
      //#end
    }
  }
  let low = select(-128, 0, HIDDEN);
  let to = ((id.y * shape.width + id.x) * GROUPS + id.z) * 4u;
  //#for o in 0..16
  let out_#o = u32(clamp(sum_#o >> u32(requantise[outputs + first + #(o)u]), low, 127)) & 255u;
  //#end
  //#for q in 0..4
  result[to + #(q)u] = out_#(q * 4) | (out_#(q * 4 + 1) << 8u) | (out_#(q * 4 + 2) << 16u) | (out_#(q * 4 + 3) << 24u);
  //#end
}
