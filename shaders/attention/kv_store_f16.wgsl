// Writes pairs of key or value elements in f16. Packing needs no f16 arithmetic from the device. What f16 cannot hold becomes its largest
// number: an infinity would stay in the page, and attention multiplies the stale slots of a recycled page by 0.

alias KvPair = u32;

const MAX_F16 = 65504.0;

fn kv_pair(value: vec2<f32>) -> KvPair {
  return pack2x16float(clamp(value, vec2<f32>(-MAX_F16), vec2<f32>(MAX_F16)));
}
