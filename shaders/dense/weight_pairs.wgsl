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

fn weight_octet(row: u32, octet: u32) -> array<vec4<f32>, 2> {
  let pairs = row * (WEIGHT_WORDS_PER_ROW / (4u * WEIGHT_BLOCK_WORDS)) + octet / 16u;
  let pair = weight_scale[pairs][octet / 4u % 4u];
  let word = row * WEIGHT_WORDS_PER_ROW + octet / (4u / WEIGHT_BLOCK_WORDS);
  if (WEIGHT_BLOCK_WORDS == 1u) {
    let codes = weight[word][octet % 4u];
    return array<vec4<f32>, 2>(weight_four(codes, 0u, pair), weight_four(codes, 4u, pair));
  }
  let first = octet % 2u * 2u;
  let group = octet % 4u * 2u;
  return array<vec4<f32>, 2>(
    weight_four(weight[word][first], group, pair),
    weight_four(weight[word][first + 1u], group + 1u, pair),
  );
}

fn octet_quads(octet: u32) -> vec2<u32> {
  if (WEIGHT_BLOCK_WORDS == 1u) {
    return octet / 4u * 8u + octet % 4u + vec2<u32>(0u, 4u);
  }
  return 2u * octet + vec2<u32>(0u, 1u);
}

// For products of bytes: a block's pair.
fn weight_line(pair: u32) -> vec2<f32> {
  return unpack2x16float(pair);
}
