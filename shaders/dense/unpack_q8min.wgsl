// Signed bytes: w = scale * code + offset. The pair is (scale, offset).

const WEIGHT_BLOCK_WORDS = 2u;

fn weight_four(word: u32, group: u32, pair: u32) -> vec4<f32> {
  let line = unpack2x16float(pair);
  return fma(vec4<f32>(unpack4xI8(word)), vec4<f32>(line.x), vec4<f32>(line.y));
}

// For products of bytes: 16 codes.
fn weight_bytes(word: vec4<u32>, sixteen: u32) -> vec4<u32> {
  return word;
}
