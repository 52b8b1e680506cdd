// Signed bytes: w = scale * code. The pair holds the scales of the first and of the second 16 weights of the block.

const WEIGHT_BLOCK_WORDS = 2u;

fn weight_unpack(word: vec4<u32>, group: u32, pair: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(word[group % 4u])) * unpack2x16float(pair)[group / 4u];
}

fn weight_quad(row: u32, quad: u32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(weight_code(row, quad))) * weight_pair(row, quad)[quad % 8u / 4u];
}
