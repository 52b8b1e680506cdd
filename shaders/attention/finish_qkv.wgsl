// Query, key and value projections of one row: adds their biases, if any (a `bias_` fragment), rotates queries and keys (RoPE, Su et al. 2021,
// adjacent pairs as GGUF's llama layout has them), stores queries for this step and keys and values in their page. Heads lie one after the
// other, each padded to HEAD_DIM.
//
// Page layout of one layer: [page][kv head][slot of 64][HEAD_DIM], keys and values apart.
// cos and sin of position p come from tables by p = 256 a + b and the addition theorem: exact to 1e-7 at any position, where
// a shader's own sin of a large angle is not.

override HEADS: u32;
override KV_HEADS: u32;
override HEAD_DIM: u32;
override QUERY_SCALE: f32;  // log2(e) times the model's factor, mostly 1 / sqrt(true head dimension): the softmax then uses exp2

@group(0) @binding(5) var<storage, read_write> query: array<vec2<f32>>;       // [row][head][HEAD_DIM / 2]
@group(0) @binding(8) var<storage, read_write> key_cache: array<KvPair>;
@group(0) @binding(9) var<storage, read_write> value_cache: array<KvPair>;
@group(0) @binding(10) var<storage, read> rows: array<StepRow>;
@group(0) @binding(11) var<storage, read> pages: array<u32>;
@group(0) @binding(12) var<storage, read> rope: array<vec2<f32>>;             // [256 fine, then coarse][HEAD_DIM / 2] of (cos, sin)

fn rotate(position: u32, index: u32, value: vec2<f32>) -> vec2<f32> {
  let pairs = HEAD_DIM / 2u;
  let fine = rope[(position % 256u) * pairs + index];
  let coarse = rope[(256u + position / 256u) * pairs + index];
  let cos_sin = vec2<f32>(fine.x * coarse.x - fine.y * coarse.y, fine.x * coarse.y + fine.y * coarse.x);
  return vec2<f32>(value.x * cos_sin.x - value.y * cos_sin.y, value.x * cos_sin.y + value.y * cos_sin.x);
}

fn finish(row: u32, pair: u32, product: vec2<f32>) {
  let value = biased(pair, product);
  let pairs = HEAD_DIM / 2u;
  let head = pair / pairs;
  let index = pair % pairs;
  let position = rows[row].position;
  if (head < HEADS) {
    query[(row * HEADS + head) * pairs + index] = QUERY_SCALE * rotate(position, index, value);
    return;
  }
  if (head >= HEADS + 2u * KV_HEADS) {
    return;  // padding of the last tile
  }
  let page = pages[rows[row].table + position / PAGE_TOKENS];
  let kv_head = (head - HEADS) % KV_HEADS;
  let at = ((page * KV_HEADS + kv_head) * PAGE_TOKENS + position % PAGE_TOKENS) * pairs + index;
  if (head < HEADS + KV_HEADS) {
    key_cache[at] = kv_pair(rotate(position, index, value));
  } else {
    value_cache[at] = kv_pair(value);
  }
}
