// Weights [N][K] in f32. A word is 4 weights, a block of 32 is 8 words.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 8u;
const WEIGHT_GROUPS = 1u;
alias WeightWord = vec4<f32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

// Four weights of a row by themselves.
fn weight_quad(row: u32, quad: u32) -> vec4<f32> {
  return weight[row * WEIGHT_WORDS_PER_ROW + quad];
}

// One scale for each of the 4 blocks of 32 weights from 128 * `quad` on.
fn weight_scales(row: u32, quad: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

// Four weights: group 0 to 7 of their block of 32, which `word` holds, and the block's scale.
fn weight_unpack(word: WeightWord, group: u32, scale: f32) -> vec4<f32> {
  return word;
}
