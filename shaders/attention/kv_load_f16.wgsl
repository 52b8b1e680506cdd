// Reads keys and values stored in f16, 8 elements (16 bytes) at a time.

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

@group(0) @binding(8) var<storage, read> key_cache: array<vec4<u32>>;
@group(0) @binding(9) var<storage, read> value_cache: array<vec4<u32>>;

fn unpack_eight(word: vec4<u32>) -> Eight {
  return Eight(
    vec4<f32>(unpack2x16float(word.x), unpack2x16float(word.y)),
    vec4<f32>(unpack2x16float(word.z), unpack2x16float(word.w)),
  );
}

fn key_eight(index: u32) -> Eight {
  return unpack_eight(key_cache[index]);
}

fn value_eight(index: u32) -> Eight {
  return unpack_eight(value_cache[index]);
}
