// Weights [N][K] in codes, WEIGHT_BLOCK_WORDS words for each block of 32, with two numbers for each block beside them: [N][K / 32] pairs of f16, apart
// so that words stay aligned to 16 bytes. What they mean says the fragment `unpack_` that comes with this.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_GROUPS = 8u / WEIGHT_BLOCK_WORDS;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;
@group(0) @binding(2) var<storage, read> weight_scale: array<vec4<u32>>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

// Element `quad % 4` of the word that holds these four weights.
fn weight_code(row: u32, quad: u32) -> u32 {
  return weight[row * WEIGHT_WORDS_PER_ROW + quad / 8u * WEIGHT_BLOCK_WORDS + quad % 8u / 4u % WEIGHT_BLOCK_WORDS][quad % 4u];
}

fn weight_pair(row: u32, quad: u32) -> vec2<f32> {
  return unpack2x16float(weight_scale[row * (WEIGHT_WORDS_PER_ROW / (4u * WEIGHT_BLOCK_WORDS)) + quad / 32u][quad / 8u % 4u]);
}

fn weight_scales(row: u32, quad: u32) -> vec4<u32> {
  return weight_scale[row * (WEIGHT_WORDS_PER_ROW / (4u * WEIGHT_BLOCK_WORDS)) + quad];
}
