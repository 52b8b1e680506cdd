// Weights [N][K] in bytes with a scale and an offset for each block of 32: w = scale * code + offset. A word is 16 weights, a block is 2 words.
// Scales lie apart, [N][K / 32] pairs (scale, offset) of f16.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 2u;
const WEIGHT_GROUPS = 4u;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;
@group(0) @binding(2) var<storage, read> weight_scale: array<vec4<u32>>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

fn weight_scales(row: u32, quad: u32) -> vec4<u32> {
  return weight_scale[row * (WEIGHT_WORDS_PER_ROW / 8u) + quad];
}

fn weight_unpack(word: WeightWord, group: u32, scale: u32) -> vec4<f32> {
  let line = unpack2x16float(scale);
  return fma(vec4<f32>(unpack4xI8(word[group % 4u])), vec4<f32>(line.x), vec4<f32>(line.y));
}
