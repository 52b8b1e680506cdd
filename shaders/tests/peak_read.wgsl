// Measures the memory ceiling: every lane sums READS quads, a stride of all lanes apart.

override READS: u32;
override GROUP: u32;

@group(0) @binding(3) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;

@compute @workgroup_size(GROUP)
fn peak_read(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>) {
  let lanes = groups.x * GROUP;
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < READS; i++) {
    sum += input[id.x + i * lanes];
  }
  output[id.x] = sum;
}
