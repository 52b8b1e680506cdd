// Weights [N][K] in f32. A word is 4 weights, a block of 32 is 8 words.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 8u;
const WEIGHT_GROUPS = 1u;
alias WeightWord = vec4<f32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

// Eight weights of a row that lie together, without loading others.
fn weight_octet(row: u32, octet: u32) -> array<vec4<f32>, 2> {
  let first = row * WEIGHT_WORDS_PER_ROW + 2u * octet;
  return array<vec4<f32>, 2>(weight[first], weight[first + 1u]);
}

// The quads of X that an octet's two halves are multiplied with.
fn octet_quads(octet: u32) -> vec2<u32> {
  return 2u * octet + vec2<u32>(0u, 1u);
}

// One scale for each of the 4 blocks of 32 weights from 128 * `quad` on.
fn weight_scales(row: u32, quad: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

// Four weights: group 0 to 7 of their block of 32, which `word` holds, and the block's scale.
fn weight_unpack(word: WeightWord, group: u32, scale: f32) -> vec4<f32> {
  return word;
}
