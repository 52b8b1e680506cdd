// What every kernel of a step may ask. Rows are the tokens processed in this step, all sequences one after the other.

struct StepUniform {
  rows: u32,        // tokens in the step
  samples: u32,     // rows whose next token is wanted
  decodes: u32,     // sequences that decode: the last rows, one each
  prefillEnd: u32,  // keys that the prefill row with most of them sees
}

// One token of the step.
struct StepRow {
  token: u32,       // 0xffffffff: the token its slot sampled last
  slot: u32,
  position: u32,
  table: u32,       // where its sequence's page numbers start in `pages`
}

const LAST_SAMPLED = 0xffffffffu;
const PAGE_TOKENS = 64u;

@group(0) @binding(0) var<uniform> step: StepUniform;
