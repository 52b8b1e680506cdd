// Writes pairs of key or value elements in f32.

alias KvPair = vec2<f32>;

fn kv_pair(value: vec2<f32>) -> KvPair {
  return value;
}
