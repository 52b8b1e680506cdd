// Weights [N][K] in codes, WEIGHT_BLOCK_WORDS words for each block of 32, with two numbers for each block beside them: [N][K / 32] pairs of f16, apart
// so that words stay aligned to 16 bytes. What they mean says `weight_four` of the fragment `unpack_` that comes with this.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_GROUPS = 8u / WEIGHT_BLOCK_WORDS;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;
@group(0) @binding(2) var<storage, read> weight_scale: array<vec4<u32>>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

fn weight_scales(row: u32, quad: u32) -> vec4<u32> {
  return weight_scale[row * (WEIGHT_WORDS_PER_ROW / (4u * WEIGHT_BLOCK_WORDS)) + quad];
}

fn weight_unpack(word: WeightWord, group: u32, pair: u32) -> vec4<f32> {
  return weight_four(word[group % 4u], group, pair);
}

// As `weight_quad` of weight_f32.wgsl: loads no more than these four weights and their pair.
fn weight_quad(row: u32, quad: u32) -> vec4<f32> {
  let word = row * WEIGHT_WORDS_PER_ROW + quad / 8u * WEIGHT_BLOCK_WORDS + quad % 8u / 4u % WEIGHT_BLOCK_WORDS;
  let pairs = row * (WEIGHT_WORDS_PER_ROW / (4u * WEIGHT_BLOCK_WORDS)) + quad / 32u;
  return weight_four(weight[word][quad % 4u], quad % 8u, weight_scale[pairs][quad / 8u % 4u]);
}
