// One row whose next token is wanted.
struct Sample {
  row: u32,
  slot: u32,
  index: u32,        // tokens sampled before by this request: with the seed, all that randomness depends on
  seed: u32,
  top_k: u32,        // 0: all
  temperature: f32,  // 0: greedy
  top_p: f32,
  min_p: f32,
}
