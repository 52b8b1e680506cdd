// Weights [N][K] in f16. A word is 8 weights, a block of 32 is 4 words.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 4u;
const WEIGHT_GROUPS = 2u;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

fn weight_quad(row: u32, quad: u32) -> vec4<f32> {
  let word = weight[row * WEIGHT_WORDS_PER_ROW + quad / 2u];
  let half = select(word.xy, word.zw, quad % 2u == 1u);
  return vec4<f32>(unpack2x16float(half.x), unpack2x16float(half.y));
}

fn weight_scales(row: u32, quad: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

fn weight_unpack(word: WeightWord, group: u32, scale: f32) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(word[group % 2u * 2u]), unpack2x16float(word[group % 2u * 2u + 1u]));
}
