// Signed bytes: w = scale * code. The pair holds the scales of the first and of the second 16 weights of the block.

const WEIGHT_BLOCK_WORDS = 2u;

fn weight_four(word: u32, group: u32, pair: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(word)) * unpack2x16float(pair)[group / 4u];
}

// For products of bytes: 16 codes.
fn weight_bytes(word: vec4<u32>, sixteen: u32) -> vec4<u32> {
  return word;
}
