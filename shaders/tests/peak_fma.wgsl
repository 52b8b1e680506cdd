// Measures the arithmetic ceiling: PEAK_ROUNDS × 32 independent vec4 multiply-adds a lane, nothing else.

override PEAK_ROUNDS: u32;
override GROUP: u32;

@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(GROUP)
fn peak_fma(@builtin(global_invocation_id) id: vec3<u32>) {
  let x = vec4<f32>(f32(id.x) * 1e-9);
  //#for i in 0..8
  var acc_#i = vec4<f32>(#(i).0);
  //#end
  for (var round = 0u; round < PEAK_ROUNDS; round++) {
    //#for n in 0..4
    //#for i in 0..8
    acc_#i = fma(acc_#i, x, x);
    //#end
    //#end
  }
  output[id.x] = acc_0 + acc_1 + acc_2 + acc_3 + acc_4 + acc_5 + acc_6 + acc_7;
}
