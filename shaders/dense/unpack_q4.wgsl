// 4 bits: w = scale * code + offset. Element j of a word holds weights 4 j to 4 j + 3 of its block in the low halves of its bytes and 16 + 4 j to
// 19 + 4 j in the high ones, as Q4_0 has them. The pair is (scale, offset).

const WEIGHT_BLOCK_WORDS = 1u;

fn weight_four(word: u32, group: u32, pair: u32) -> vec4<f32> {
  let line = unpack2x16float(pair);
  let codes = (word >> (group / 4u * 4u)) & 0x0f0f0f0fu;
  return fma(vec4<f32>(unpack4xU8(codes)), vec4<f32>(line.x), vec4<f32>(line.y));
}

// For products of bytes: the 16 codes of half a block.
fn weight_bytes(word: vec4<u32>, sixteen: u32) -> vec4<u32> {
  return (word >> vec4<u32>(sixteen % 2u * 4u)) & vec4<u32>(0x0f0f0f0fu);
}
