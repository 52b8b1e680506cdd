// Takes time and nothing else: one workgroup counts for as many rounds as the dispatch has workgroups, the others return at once.

override ROUND: u32;

@group(0) @binding(0) var<storage, read_write> sink: array<u32>;          // [32]

@compute @workgroup_size(32)
fn keep_busy(
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(workgroup_id) group_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  if (group_id.x > 0u) { return; }
  var x = sink[local.x];
  // Each step needs the one before, and the compiler does not know how many there are. (Software Vulkan ends a loop after 65,535 rounds,
  // however long they are.)
  for (var i = 0u; i < groups.x * ROUND; i++) {
    x = x * 1664525u + 1013904223u;
    x ^= x >> 15u;
    x = x * 2246822519u + 3266489917u;
    x ^= x >> 13u;
    x = x * 1664525u + 1013904223u;
    x ^= x >> 15u;
    x = x * 2246822519u + 3266489917u;
    x ^= x >> 13u;
  }
  sink[local.x] = x;
}
