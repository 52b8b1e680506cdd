// Merges what was attended to elsewhere into the output of the step's last rows, one (row, head) a workgroup:
// o = (2^a o_a + 2^b o_b) / (2^a + 2^b) with logarithms of masses a, b taken relative to the larger (RetrievalAttention, Liu et al. 2024,
// equations 4 and 5). A part without keys has log-mass EMPTY and output zero: it changes nothing, and two of them give zero.

override HEADS: u32;
override OUTPUT_QUADS: u32;
override OUTPUT_ROW_QUADS: u32;

@group(0) @binding(3) var<storage, read> retrieved: array<vec4<f32>>;     // [row][head][16 * CHUNKS]
@group(0) @binding(4) var<storage, read> retrieved_mass: array<f32>;      // [row][head], binary logarithms
@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(7) var<storage, read> log_mass: array<f32>;            // [decoding row][head]

@compute @workgroup_size(32)
fn merge_retrieved(
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(workgroup_id) group_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let head = group_id.y;
  let own = group_id.x * HEADS + head;
  let row = step.rows - groups.x + group_id.x;
  let a = log_mass[(step.decodes - groups.x + group_id.x) * HEADS + head];
  let b = retrieved_mass[own];
  let top = max(a, b);
  let share_a = exp2(a - top);
  let share_b = exp2(b - top);
  let inverse = 1.0 / (share_a + share_b);
  for (var quad = local.x; quad < OUTPUT_QUADS; quad += 32u) {
    let at = row * OUTPUT_ROW_QUADS + head * OUTPUT_QUADS + quad;
    output[at] = (share_a * output[at] + share_b * retrieved[own * #(16 * CHUNKS)u + quad]) * inverse;
  }
}
