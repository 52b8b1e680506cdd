// Rows of the operand as bytes, a block of 32 a thread.

override INPUT_QUADS_PER_ROW: u32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;

@compute @workgroup_size(64)
fn quantise_rows(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= 4u * K_QUADS) {
    return;
  }
  let first = id.y * INPUT_QUADS_PER_ROW + 8u * id.x;
  var x: array<vec4<f32>, 8>;
  //#for q in 0..8
  x[#q] = input[first + #(q)u];
  //#end
  quantise_block(id.y, id.x, x);
}
