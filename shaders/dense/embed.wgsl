// Loads the token embedding of each row whose token is one of those here. A row of a decoding sequence takes the token its slot sampled in the step before:
// it never left the GPU.

override FIRST_TOKEN: u32;
override TOKENS: u32;
override OUTPUT_QUADS_PER_ROW: u32;
override GROUP: u32;
override EMBED_SCALE: f32;

@group(0) @binding(5) var<storage, read_write> output: array<vec4<f32>>;
@group(0) @binding(10) var<storage, read> rows: array<StepRow>;
@group(0) @binding(13) var<storage, read> last_sampled: array<u32>;

@compute @workgroup_size(GROUP)
fn embed(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let row = group_id.x;
  var token = rows[row].token;
  if (token == LAST_SAMPLED) {
    token = last_sampled[rows[row].slot];
  }
  token -= FIRST_TOKEN;
  if (token >= TOKENS) {
    return;
  }
  for (var quad = local.x; quad < OUTPUT_QUADS_PER_ROW; quad += GROUP) {
    let block = quad / 8u;
    let scale = weight_scales(token, block / 4u)[block % 4u];
    output[row * OUTPUT_QUADS_PER_ROW + quad] =
      EMBED_SCALE * weight_unpack(weight_word(token, quad / WEIGHT_GROUPS), quad % 8u, scale);
  }
}
