// Weights [N][K] in 4 bits with a scale and an offset for each block of 32: w = scale * code + offset. A word is a block: element j holds
// weights 4 j to 4 j + 3 in the low halves of its bytes and 16 + 4 j to 19 + 4 j in the high ones, as Q4_0 has them.
// Scales lie apart, [N][K / 32] pairs (scale, offset) of f16.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 1u;
const WEIGHT_GROUPS = 8u;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;
@group(0) @binding(2) var<storage, read> weight_scale: array<vec4<u32>>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

fn weight_scales(row: u32, quad: u32) -> vec4<u32> {
  return weight_scale[row * (WEIGHT_WORDS_PER_ROW / 4u) + quad];
}

fn weight_unpack(word: WeightWord, group: u32, scale: u32) -> vec4<f32> {
  let line = unpack2x16float(scale);
  let codes = (word[group % 4u] >> (group / 4u * 4u)) & 0x0f0f0f0fu;
  return fma(vec4<f32>(unpack4xU8(codes)), vec4<f32>(line.x), vec4<f32>(line.y));
}
