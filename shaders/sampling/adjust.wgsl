// Adds to each adjusted row's logits what its request asks for: a bias per token, less penalties for the tokens that it has generated.
//
// Counts live on the GPU, since a step may follow another whose token the processor has not seen. One workgroup a row.

struct Adjusted {
  sample: u32,      // whose logits
  slot: u32,
  count_last: u32,  // 1: what the slot sampled last is not counted yet
  presence: f32,    // taken once from every token generated before
  frequency: f32,   // taken as often as the token was generated
}

override VOCABULARY: u32;
override LOGITS_PER_ROW: u32;
override GROUP: u32 = 256u;

@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(7) var<storage, read> adjusted: array<Adjusted>;
@group(0) @binding(8) var<storage, read_write> adjustments: array<u32>;  // per slot and token: bias (f16), how often it was generated (u16)
@group(0) @binding(13) var<storage, read> last_sampled: array<u32>;

@compute @workgroup_size(GROUP)
fn adjust(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let request = adjusted[group_id.x];
  let last = select(0xffffffffu, last_sampled[request.slot], request.count_last == 1u);
  let start = request.sample * LOGITS_PER_ROW;
  let own = request.slot * VOCABULARY;
  for (var i = local.x; i < VOCABULARY; i += GROUP) {
    var entry = adjustments[own + i];
    if (i == last && (entry & 0xffffu) < 0xffffu) {
      entry += 1u;
      adjustments[own + i] = entry;
    }
    let count = entry & 0xffffu;
    logits[start + i] += unpack2x16float(entry).y - f32(count) * request.frequency - select(0.0, request.presence, count > 0u);
  }
}
