// Writes pairs of key or value elements in f16. Packing needs no f16 arithmetic from the device.

alias KvPair = u32;

fn kv_pair(value: vec2<f32>) -> KvPair {
  return pack2x16float(value);
}
