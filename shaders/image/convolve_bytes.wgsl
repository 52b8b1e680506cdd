// A 3x3 convolution on 7-bit activations with 8-bit weights: `(bias + sum) >> shift`, clamped to 0..127 (HIDDEN) or -128..127.
// Beyond the border lies the nearest pixel. One invocation makes 16 output channels of PIXELS pixels side by side
// (a constant of the host's: four where registers are what counts, two where there are more lanes than pixels).
//
// Four bytes a product: a quarter of the loads of weights that sums in f32 need. Software Vulkan, which has no such instruction, is 1.6 times as fast
// by it too.

struct ConvolveShape {
  width: u32,
  height: u32,
}

@group(0) @binding(0) var<uniform> shape: ConvolveShape;
// `height x width` pixels of STRIDE words, four channels a word, the first WORDS of them the layer's inputs.
@group(0) @binding(1) var<storage, read> activations: array<u32>;
// `[9][WORDS][outputs]` words of four inputs' weights.
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
// Bias, then shift, of each output.
@group(0) @binding(3) var<storage, read> requantise: array<vec4<i32>>;
@group(0) @binding(4) var<storage, read_write> result: array<u32>;

override WORDS: u32 = 8u;
override STRIDE: u32 = 8u;
override GROUPS: u32 = 2u;  // outputs / 16
override HIDDEN: bool = true;

fn activation(x: i32, row: u32, word: u32) -> u32 {
  return activations[(row + u32(clamp(x, 0, i32(shape.width) - 1))) * STRIDE + word];
}

fn pack(sum: vec4<i32>, shift: vec4<i32>) -> u32 {
  let low = vec4<i32>(select(-128, 0, HIDDEN));
  let value = vec4<u32>(clamp(sum >> vec4<u32>(shift), low, vec4<i32>(127))) & vec4<u32>(255u);
  return value.x | (value.y << 8u) | (value.z << 16u) | (value.w << 24u);
}

@compute @workgroup_size(32)
fn convolve(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  // Rows end to end, so that no narrow frame leaves invocations idle; on along y, for frames of more workgroups than fit one dimension.
  let columns = (shape.width + #(PIXELS - 1)u) / #(PIXELS)u;
  let at = id.y * groups.x * 32u + id.x;
  let x0 = at % columns * #(PIXELS)u;
  let y0 = at / columns;
  if (y0 >= shape.height) {
    return;
  }
  let first = id.z * 4u;
  //#for q in 0..4
  let bias_#q = requantise[first + #(q)u];
  //#for p in 0..PIXELS
  var sum_#p_#q = bias_#q;
  //#end
  //#end
  for (var tap = 0u; tap < 9u; tap++) {
    let x = i32(x0 + tap % 3u) - 1;
    let row = u32(clamp(i32(y0 + tap / 3u) - 1, 0, i32(shape.height) - 1)) * shape.width;
    for (var word = 0u; word < WORDS; word++) {
      //#for p in 0..PIXELS
      let a_#p = activation(x + #p, row, word);
      //#end
      let w = ((tap * WORDS + word) * GROUPS + id.z) * 4u;
      //#for q in 0..4
      {
        let v = weights[w + #(q)u];
        //#for p in 0..PIXELS
        sum_#p_#q += vec4<i32>(dot4I8Packed(a_#p, v.x), dot4I8Packed(a_#p, v.y), dot4I8Packed(a_#p, v.z), dot4I8Packed(a_#p, v.w));
        //#end
      }
      //#end
    }
  }
  let shifts = GROUPS * 4u + first;
  //#for p in 0..PIXELS
  if (x0 + #(p)u < shape.width) {
    let to = ((y0 * shape.width + x0 + #(p)u) * GROUPS + id.z) * 4u;
    //#for q in 0..4
    result[to + #(q)u] = pack(sum_#p_#q, requantise[shifts + #(q)u]);
    //#end
  }
  //#end
}
