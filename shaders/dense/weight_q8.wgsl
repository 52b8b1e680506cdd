// Weights [N][K] in Q8_0: int8 with one scale for each block of 32. A word is 16 weights, a block is 2 words.
// Scales lie apart, [N][K / 32] in f32, so that words stay aligned to 16 bytes.

override WEIGHT_WORDS_PER_ROW: u32;
const WEIGHT_BLOCK_WORDS = 2u;
const WEIGHT_GROUPS = 4u;
alias WeightWord = vec4<u32>;

@group(0) @binding(1) var<storage, read> weight: array<WeightWord>;
@group(0) @binding(2) var<storage, read> weight_scale: array<vec4<f32>>;

fn weight_word(row: u32, word: u32) -> WeightWord {
  return weight[row * WEIGHT_WORDS_PER_ROW + word];
}

fn weight_octet(row: u32, octet: u32) -> array<vec4<f32>, 2> {
  let scale = weight_scale[row * (WEIGHT_WORDS_PER_ROW / 8u) + octet / 16u][octet / 4u % 4u];
  let word = row * WEIGHT_WORDS_PER_ROW + octet / 2u;
  let first = octet % 2u * 2u;
  return array<vec4<f32>, 2>(
    vec4<f32>(unpack4xI8(weight[word][first])) * scale,
    vec4<f32>(unpack4xI8(weight[word][first + 1u])) * scale,
  );
}

fn octet_quads(octet: u32) -> vec2<u32> {
  return 2u * octet + vec2<u32>(0u, 1u);
}

fn weight_scales(row: u32, quad: u32) -> vec4<f32> {
  return weight_scale[row * (WEIGHT_WORDS_PER_ROW / 8u) + quad];
}

fn weight_unpack(word: WeightWord, group: u32, scale: f32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(word[group % 4u])) * scale;
}

// For products of bytes: 16 of a word, and what a block's sums are multiplied with (.x), as of unpack_ fragments.
fn weight_bytes(word: WeightWord, sixteen: u32) -> vec4<u32> {
  return word;
}

fn weight_line(scale: f32) -> vec2<f32> {
  return vec2<f32>(scale, 0.0);
}
