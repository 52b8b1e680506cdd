// Reads keys and values stored in f32, 8 elements at a time.

struct Eight {
  low: vec4<f32>,
  high: vec4<f32>,
}

@group(0) @binding(8) var<storage, read> key_cache: array<vec4<f32>>;
@group(0) @binding(9) var<storage, read> value_cache: array<vec4<f32>>;

fn key_eight(index: u32) -> Eight {
  return Eight(key_cache[2u * index], key_cache[2u * index + 1u]);
}

fn value_eight(index: u32) -> Eight {
  return Eight(value_cache[2u * index], value_cache[2u * index + 1u]);
}
