// Changes each adjusted row's logits as its request asks: a bias per token, less penalties for the tokens that it has generated; and no
// chance for tokens that its mask leaves out.
//
// Counts live on the GPU, since a step may follow another whose token the processor has not seen. A row may have several workgroups.

struct Adjusted {
  sample: u32,      // whose logits
  slot: u32,
  table: u32,       // 0: no bias, no penalty; 1: those of the slot's row; 2: what the slot sampled last is not counted there yet
  presence: f32,    // taken once from every token generated before
  frequency: f32,   // taken as often as the token was generated
  mask: u32,        // row of `masks`, or NO_MASK
  never: f32,       // minus infinity, which no shader may write down
}

const NO_MASK = 0xffffffffu;

override VOCABULARY: u32;
override LOGITS_PER_ROW: u32;
override GROUP: u32 = 256u;

@group(0) @binding(3) var<storage, read_write> logits: array<f32>;
@group(0) @binding(7) var<storage, read> adjusted: array<Adjusted>;
@group(0) @binding(8) var<storage, read_write> adjustments: array<u32>;  // per slot and token: bias (f16), how often it was generated (u16)
@group(0) @binding(9) var<storage, read> masks: array<u32>;  // per masked row a bit for each token
@group(0) @binding(13) var<storage, read> last_sampled: array<u32>;

@compute @workgroup_size(GROUP)
fn adjust(
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(workgroup_id) group_id: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
) {
  let request = adjusted[group_id.x];
  let last = select(0xffffffffu, last_sampled[request.slot], request.table == 2u);
  let start = request.sample * LOGITS_PER_ROW;
  let own = request.slot * VOCABULARY;
  let mask = request.mask * ((VOCABULARY + 31u) / 32u);
  for (var i = group_id.y * GROUP + local.x; i < VOCABULARY; i += groups.y * GROUP) {
    if (request.table > 0u) {
      var entry = adjustments[own + i];
      if (i == last && (entry & 0xffffu) < 0xffffu) {
        entry += 1u;
        adjustments[own + i] = entry;
      }
      let count = entry & 0xffffu;
      logits[start + i] += unpack2x16float(entry).y - f32(count) * request.frequency - select(0.0, request.presence, count > 0u);
    }
    if (request.mask != NO_MASK && extractBits(masks[mask + i / 32u], i % 32u, 1u) == 0u) {
      logits[start + i] = request.never;
    }
  }
}
