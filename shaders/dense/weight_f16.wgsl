// Weights [N][K] in f16. A word is 8 weights, a block of 32 is 4 words.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 4u;
const WEIGHT_GROUPS = 2u;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

fn weight_octet(row: u32, octet: u32) -> array<vec4<f32>, 2> {
  let word = weight[row * WEIGHT_WORDS_PER_ROW + octet];
  return array<vec4<f32>, 2>(
    vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y)),
    vec4<f32>(unpack2x16float(word.z), unpack2x16float(word.w)),
  );
}

fn octet_quads(octet: u32) -> vec2<u32> {
  return 2u * octet + vec2<u32>(0u, 1u);
}

fn weight_scales(row: u32, quad: u32) -> vec4<f32> {
  return vec4<f32>(1.0);
}

fn weight_unpack(word: WeightWord, group: u32, scale: f32) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(word[group % 2u * 2u]), unpack2x16float(word[group % 2u * 2u + 1u]));
}
