// Adds the biases of columns 2 * pair and 2 * pair + 1.

@group(0) @binding(13) var<storage, read> bias: array<vec2<f32>>;

fn biased(pair: u32, value: vec2<f32>) -> vec2<f32> {
  return value + bias[pair];
}
